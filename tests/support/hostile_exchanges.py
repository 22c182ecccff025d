"""Exchanges on every transport with hostile bytes in them, and what must hold for each outcome."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, ModuleType

from fuzzing import CONTENT_TYPES, LIMIT
from judging import SERVER, make_judge
from specification import exchanges

from mitmgate.judge.inputs import (
    AnswerInput,
    EndInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
)
from mitmgate.judge.judge import Judge
from mitmgate.judge.limits import Limits
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.prepare import PreparedAnswer, PreparedMessage, PreparedRequest
from mitmgate.judge.replies import Reply
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.http import AnswerHead, Headers, RequestHead
from mitmgate.wire.jsonrpc import Batch, Message, Notification, Request, RequestId, parse_message
from mitmgate.wire.mirror import decode_value
from mitmgate.wire.sessions import Sessions, key_of

REMEMBERED = 8
OPEN = 64  # requests of all conversations together
REFUSAL = "no such luck"
STREAM: Headers = (("content-type", "text/event-stream"),)
SOCKET: Headers = (
    ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-protocol", "mcp"),
)  # fmt: skip
CALL = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": {"name": "get"}})
DENIED_CALL = CALL.replace('"get"', '"rm"')
ANSWER = json.dumps({"jsonrpc": "2.0", "id": 0, "result": {"content": []}})
STATUSES = frozenset({200, 202, 400, 403, 405, 413, 421, 502})

type Prepared = PreparedRequest | PreparedAnswer | PreparedMessage


def limits() -> Limits:
    """Return limits that hold little."""
    return Limits(body=LIMIT, event=LIMIT, exchanges=REMEMBERED, remembered=REMEMBERED)


def fuzz_judge() -> Judge:
    """Return a judge whose memory holds little."""
    judge = make_judge(limits=limits())
    judge._memory.sessions = Sessions(REMEMBERED, OPEN)
    return judge


# What a client and a server may do, the bytes of each in every place of it.


def request_input(exchange: str, method: str, target: str, number: int, body: bytes) -> Input:
    """Return a request to a server of MCP or to another one, with headers of some revision."""
    named = sorted(exchanges())[number % len(exchanges())]
    kind = CONTENT_TYPES[number % len(CONTENT_TYPES)] or "application/json"
    headers: Headers = tuple({**dict(exchanges()[named].headers), "content-type": kind}.items())
    host = (SERVER, SERVER, "docs.example")[number % 3]
    return RequestInput(
        exchange, "agent", RequestHead(method, "https", host, 443, target, headers), host, body
    )


def _posted(data: bytes, number: int) -> Iterator[Input]:
    yield request_input(f"x{number % 11}", "POST", "/mcp", number, data)


def _answered(data: bytes, number: int) -> Iterator[Input]:
    exchange = f"x{number % 11}"
    kind = CONTENT_TYPES[number % len(CONTENT_TYPES)] or "application/json"
    yield request_input(exchange, "POST", "/mcp", number, CALL.encode())
    head = AnswerHead(200 if number % 4 else 400, (("content-type", kind),))
    yield AnswerInput(exchange, head, data)


def _streamed(data: bytes, number: int) -> Iterator[Input]:
    exchange, head = f"x{number % 11}", AnswerHead(200, STREAM)
    yield request_input(exchange, "POST", "/mcp", number, CALL.encode())
    event = ("message", "", "endpoint", "ping")[number % 4]
    yield EventInput(exchange, 0, event, data.decode("utf-8", "replace"), head)
    yield EventInput(exchange, 1, "message", ANSWER, head, notes=(data.decode("latin-1"),))


def batch_of(*items: bytes | str) -> bytes:
    """Return *items* as one batch, if they are messages."""
    return b"[%b]" % b", ".join(x.encode() if isinstance(x, str) else x for x in items)


def _batched(data: bytes, number: int) -> Iterator[Input]:
    exchange, head = f"x{number % 11}", AnswerHead(200, (("content-type", "application/json"),))
    call = (CALL, DENIED_CALL)[number % 2]
    others = CALL.replace('"id": 0', '"id": "b"'), ANSWER.replace('"id": 0', '"id": "b"')
    sent = (batch_of(data, call), batch_of(others[0], call))[number // 2 % 2]
    yield request_input(exchange, "POST", "/mcp", number, sent)
    yield AnswerInput(exchange, head, batch_of(data, ANSWER))
    told = batch_of(others[1], data).decode("utf-8", "replace")
    yield EventInput(exchange, 0, "message", told, AnswerHead(200, STREAM))


def _channelled(data: bytes, number: int) -> Iterator[Input]:
    """HTTP+SSE (2024-11-05): a stream that tells where to post, and what is posted there."""
    stream, posting, head = f"s{number % 5}", f"x{number % 11}", AnswerHead(200, STREAM)
    asks: Headers = (("accept", "text/event-stream"),)
    host = (SERVER, SERVER, "docs.example")[number % 3]
    yield RequestInput(stream, "agent", RequestHead("GET", "https", host, 443, "/mcp", asks), host)
    text, target = data.decode("utf-8", "replace"), f"/messages?session_id={number % 13}"
    yield EventInput(stream, 0, "endpoint", text if number % 4 == 0 else target, head)
    yield request_input(posting, "POST", target, number, (DENIED_CALL, CALL)[number % 2].encode())
    yield AnswerInput(posting, AnswerHead(202, ()), b"Accepted")
    yield EventInput(stream, 1, "message", text, head)
    yield EventInput(stream, 2, "message", ANSWER, head)
    yield request_input(posting, "POST", target, number, data)
    yield EventInput(stream, 3, "message", batch_of(data, ANSWER).decode("utf-8", "replace"), head)
    if number % 3 == 0:
        yield EndInput(stream)


def _on_a_socket(data: bytes, number: int) -> Iterator[Input]:
    exchange = f"w{number % 5}"
    host = (SERVER, SERVER, "docs.example")[number % 3]
    head = RequestHead("GET", "https", host, 443, "/mcp", SOCKET)
    yield RequestInput(exchange, "agent", head, host)
    told = (DENIED_CALL, CALL)[number % 2]
    said = (data, data, told.encode(), ANSWER.encode(), batch_of(data, told),
            batch_of(ANSWER, data), data)  # fmt: skip
    for index, content in enumerate(said):
        try:
            text: str | bytes = content.decode()
        except UnicodeDecodeError:
            text = content
        yield MessageInput(exchange, index, index % 2 == 0, text)


WAYS: tuple[Callable[[bytes, int], Iterator[Input]], ...] = (
    _posted, _answered, _streamed, _batched, _channelled, _on_a_socket
)  # fmt: skip


def inputs_of(data: bytes, what: int) -> Iterator[Input]:
    """Yield what is said on one of the transports, *data* in each place where a peer puts it."""
    number = what // len(WAYS)
    exchange = ""
    for one in WAYS[what % len(WAYS)](data, number):
        exchange = one.exchange
        yield one
    if number % 5 == 0:
        yield EndInput(exchange)


# What must hold for all of them.


def check_judge(judge: Judge, given: Input) -> list[str]:
    """Any input: an outcome, and what a proxy does with it keeps what was promised.

    Return the text that goes on, if any does, and the headers that an edit of it writes anew.
    """
    prepared = judge.prepare(given)
    outcome = judge.conclude(prepared, now=0.0)
    if not isinstance(prepared, PreparedRequest | PreparedAnswer | PreparedMessage):
        assert outcome is None
        return []
    assert outcome is not None
    assert outcome.exchange == given.exchange
    if outcome.verdict is Verdict.DENY:
        assert outcome.effective is Verdict.DENY
        assert outcome.agent_reason
    _check_parts(outcome, prepared)
    edited = judge.edited(outcome, prepared)
    assert (edited is not None) == bool(outcome.edits)
    if edited is not None:
        _check_edited(prepared, edited)
    released = outcome.effective is Verdict.ALLOW
    if outcome.effective is Verdict.ASK:
        released = outcome.number % 2 == 0
        judge.apply_resolution(outcome, "allow" if released else "deny")
        if released and outcome.question is not None:
            return check_judge(judge, given)  # what was asked may go on; now the rest is judged
    if not released:
        instead = check_stopped(judge, outcome, prepared)
        return [] if instead is None else [instead]
    if edited is not None:
        headers = judge.mirrors(prepared, edited).values()
        return [edited, *(decode_value(value) or value for value in headers)]
    return [] if prepared.body.text is None else [prepared.body.text]


def messages_of(message: Message | Batch | None) -> tuple[Message, ...]:
    """Return the messages that *message* is or holds."""
    if message is None:
        return ()
    return message.messages if isinstance(message, Batch) else (message,)


def _identity(message: Message) -> tuple[object, str | None]:
    """Return the id and the method of *message*: what no edit of ours may touch."""
    method = message.method if isinstance(message, Request | Notification) else None
    number: RequestId | None = None if isinstance(message, Notification) else message.id
    return None if number is None else key_of(number), method


def _check_parts(outcome: Outcome, prepared: Prepared) -> None:
    """Each message of a batch has a decision, and the whole is no laxer than the strictest."""
    message = prepared.body.message
    if outcome.parts:
        assert len(outcome.parts) == len(messages_of(message))
        assert outcome.verdict >= max(part.verdict for part in outcome.parts)
        assert not any(part.parts for part in outcome.parts)
    if isinstance(message, Batch) and outcome.subject.channel == "mcp":
        assert outcome.parts or outcome.effective is not Verdict.ALLOW
    if outcome.effective is Verdict.ALLOW:
        assert all(part.effective is Verdict.ALLOW for part in outcome.parts)


def _check_edited(prepared: Prepared, edited: str) -> None:
    """An edit changes something, and makes no other message of it."""
    assert edited != prepared.body.text
    if prepared.body.message is None:
        return
    before, after = messages_of(prepared.body.message), messages_of(parse_message(edited))
    assert [_identity(one) for one in before] == [_identity(one) for one in after]


def check_stopped(judge: Judge, outcome: Outcome, prepared: Prepared) -> str | None:
    """What goes on for *prepared* is JSON that answers it or asks nothing in its place."""
    instead = judge.stop(outcome, prepared, REFUSAL)
    _check_reply(judge.reply(outcome, REFUSAL, instead))
    if instead is None:
        return None
    exchange, said = judge._memory.get(outcome.exchange), parse_message(instead)
    assert exchange is not None
    came = messages_of(prepared.body.message)
    known = {_identity(one)[0] for one in came} | {key_of(one.id) for one in exchange.requests}
    # Of a batch from a server the messages that were let through are still in it.
    allowed = [_identity(one) for part, one in zip(outcome.parts, came, strict=False)
               if part.effective is Verdict.ALLOW]  # fmt: skip
    for one in messages_of(said):
        number, method = _identity(one)
        assert number in known, instead
        assert method in (None, "ping") or (number, method) in allowed, instead
    whole = prepared.body.message is not None and not isinstance(prepared.body.message, Batch)
    if whole and outcome.code != "parse_error":  # which is no answer to anything, whatever its id
        assert not isinstance(said, Batch)
        assert _identity(said)[0] == _identity(came[0])[0]
    return instead


def _check_reply(reply: Reply) -> None:
    assert reply.status in STATUSES
    assert (reply.content_type is None) == (reply.body == b"")
    if reply.body:
        json.loads(reply.body)


def run(judge: Judge, given: Iterable[Input]) -> list[str]:
    """Check all of *given* in order; return the texts that went on."""
    return [text for one in given for text in check_judge(judge, one)]


def reachable(root: object) -> int:
    """Return the bytes of all data that *root* holds, directly or not."""
    seen, size, todo = set[int](), 0, [root]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | FunctionType):
            continue
        seen.add(id(item))
        size += sys.getsizeof(item)
        todo += gc.get_referents(item)
    return size
