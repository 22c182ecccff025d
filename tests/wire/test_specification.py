"""Every message that MCP has, in every revision, is read, recognised, walked and let through."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import mcp_types
import pytest
from judging import SERVER, event, request, scanner
from mcp_types import methods
from pydantic import BaseModel
from specification import MODERN, Exchange, Json, exchanges, spellings

from mitmgate.judge.inputs import AnswerInput, Input
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import Policy, load_policy
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.edit import apply_edits
from mitmgate.wire.http import AnswerHead, Headers
from mitmgate.wire.jsonrpc import Batch, Failure, Notification, Request, Result, parse_message
from mitmgate.wire.mirror import header_mismatch
from mitmgate.wire.recognise import Recognition, is_modern, recognise
from mitmgate.wire.sse import SseDecoder
from mitmgate.wire.surfaces import (
    DEFINING_METHODS,
    PROTOCOL_KEYS,
    Surface,
    Text,
    walk_error,
    walk_params,
    walk_result,
)

EXCHANGES = exchanges()
FROM_CLIENT = {name: one for name, one in EXCHANGES.items() if one.sender == "client"}
FROM_SERVER = {name: one for name, one in EXCHANGES.items() if one.sender == "server"}
# Legacy messages are the same in every later revision, to whoever reads one by one.
ONCE = {one.title: one for one in reversed(EXCHANGES.values())}


def messages(one: Exchange) -> list[Json]:
    return [one.message, *one.answers.values()]


def succeeded(one: Exchange) -> list[Json]:
    return [answer["result"] for answer in one.answers.values() if "result" in answer]


# The corpus itself: valid to the official types, and nothing missing.

TASK_TYPES: dict[str, type[BaseModel]] = {
    "tasks/get": mcp_types.GetTaskRequest,
    "tasks/result": mcp_types.GetTaskPayloadRequest,
    "tasks/list": mcp_types.ListTasksRequest,
    "tasks/cancel": mcp_types.CancelTaskRequest,
    "notifications/tasks/status": mcp_types.TaskStatusNotification,
}


def envelope(message: Json) -> type[BaseModel]:
    if "method" in message:
        return mcp_types.JSONRPCRequest if "id" in message else mcp_types.JSONRPCNotification
    return mcp_types.JSONRPCError if "error" in message else mcp_types.JSONRPCResponse


@pytest.mark.parametrize("one", ONCE.values(), ids=ONCE)
def test_the_envelopes_are_valid(one: Exchange) -> None:
    for message in messages(one):
        envelope(message).model_validate(message)


@pytest.mark.parametrize("one", EXCHANGES.values(), ids=EXCHANGES)
def test_the_message_is_valid_to_the_official_types(one: Exchange) -> None:
    if one.extension:
        return  # the official types know none
    params = one.message.get("params")
    if one.method in TASK_TYPES:
        TASK_TYPES[one.method].model_validate({"method": one.method, "params": params})
    else:
        kind = "request" if "id" in one.message else "notification"
        parse = getattr(methods, f"parse_{one.sender}_{kind}")
        assert parse(one.method, one.revision, params).method == one.method
    answering = "server" if one.sender == "client" else "client"
    for result in succeeded(one):
        if one.model is not None:
            getattr(mcp_types, one.model).model_validate(result)
        else:
            getattr(methods, f"parse_{answering}_result")(one.method, one.revision, result)


TABLES: dict[str, tuple[Any, str]] = {
    "requests of clients": (methods.CLIENT_REQUESTS, "client"),
    "requests of servers": (methods.SERVER_REQUESTS, "server"),
    "notifications of clients": (methods.CLIENT_NOTIFICATIONS, "client"),
    "notifications of servers": (methods.SERVER_NOTIFICATIONS, "server"),
}


@pytest.mark.parametrize(("table", "sender"), TABLES.values(), ids=TABLES)
def test_no_message_of_the_official_types_is_missing(table: Any, sender: str) -> None:
    there = {(one.method, one.revision) for one in EXCHANGES.values() if one.sender == sender}
    assert not set(table) - there


def test_every_request_has_an_answer_and_no_notification_has() -> None:
    for name, one in EXCHANGES.items():
        assert bool(one.answers) == ("id" in one.message), name


def test_every_error_code_of_the_specification_is_there() -> None:
    answers = [answer for one in EXCHANGES.values() for answer in one.answers.values()]
    codes = {answer["error"]["code"] for answer in answers if "error" in answer}
    named = {-32600, -32601, -32602, -32603, -32002, -32042, -32020, -32021, -32022}
    assert named <= codes


# The wire core reads them.


def check_read(message: Json, text: str) -> None:
    read = parse_message(text)
    assert not isinstance(read, Batch)
    number = getattr(read, "id", None)
    assert (number, type(number)) == (message.get("id"), type(message.get("id")))
    match read:
        case Request() | Notification():
            assert (read.method, read.params) == (message["method"], message.get("params"))
        case Result():
            assert read.result == message["result"]
        case Failure():
            assert read.error == message["error"]


@pytest.mark.parametrize("one", ONCE.values(), ids=ONCE)
def test_is_read_in_every_spelling_and_means_the_same(one: Exchange) -> None:
    for message in messages(one):
        for text in spellings(message):
            check_read(message, text)
            assert apply_edits(text, ()) == text


@pytest.mark.parametrize("one", ONCE.values(), ids=ONCE)
def test_an_event_around_it_is_read_and_kept(one: Exchange) -> None:
    for message in messages(one):
        text = json.dumps(message, ensure_ascii=False)
        stream = f"event: message\r\nid: 1\r\ndata: {text}\r\n\r\n".encode()
        (block,) = SseDecoder().feed(stream)
        assert (block.raw, block.data, block.event, block.id) == (stream, text, "message", "1")


@pytest.mark.parametrize("one", EXCHANGES.values(), ids=EXCHANGES)
def test_is_recognised_and_so_is_its_answer(one: Exchange) -> None:
    message = parse_message(json.dumps(one.message))
    assert recognise(message, ()) is not Recognition.NONE
    if one.sender == "client" and one.revision == MODERN:
        assert recognise(message, one.headers) is Recognition.DEFINITE
    for answer in one.answers.values():
        assert recognise(parse_message(json.dumps(answer)), ()) is Recognition.CANDIDATE


@pytest.mark.parametrize("one", FROM_CLIENT.values(), ids=FROM_CLIENT)
def test_its_headers_say_what_it_says(one: Exchange) -> None:
    message = parse_message(json.dumps(one.message))
    assert is_modern(message, one.headers) is (one.revision == MODERN)
    assert header_mismatch(message, one.headers) is None


def test_a_batch_of_all_legacy_calls_is_read() -> None:
    calls = [one.message for one in FROM_CLIENT.values() if one.revision == "2025-03-26"]
    batch = parse_message(json.dumps(calls))
    assert isinstance(batch, Batch)
    assert len(batch.messages) == len(calls)
    assert recognise(batch, ()) is Recognition.DEFINITE


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in PROTOCOL_KEYS:
                yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def walk(message: Json) -> tuple[Iterable[Text], Json]:
    """Return what the walker gives for *message*, and what it should have walked."""
    read = parse_message(json.dumps(message))
    match read:
        case Request() | Notification():
            return walk_params(read.method, read.params), message.get("params", {})
        case Result():
            return walk_result("tools/call", read.result), message["result"]
        case Failure():
            return walk_error(read.error), message["error"]
        case Batch():
            raise AssertionError("none of these is a batch")


@pytest.mark.parametrize("one", ONCE.values(), ids=ONCE)
def test_every_text_in_it_is_walked(one: Exchange) -> None:
    for message in messages(one):
        walked, value = walk(message)
        opaque = "requestState" if "result" in message else ""
        looked_at = {key: item for key, item in value.items() if key != opaque}
        as_written = [text.text for text in walked if not text.derived]
        assert as_written == list(strings(looked_at))


def test_definitions_are_told_from_results() -> None:
    defining = [one for one in EXCHANGES.values() if one.method in DEFINING_METHODS]
    assert {one.method for one in defining} == DEFINING_METHODS
    for one in defining:
        walked = [text for given in succeeded(one) for text in walk_result(one.method, given)]
        assert {text.surface for text in walked} <= {Surface.DEFINITIONS}
        assert walked or one.method.endswith("/list")


# The judge lets all of them through, every detector on, and changes nothing.

ALLOW_ALL = f"""\
version: 1
servers: {{files: {{url: "https://{SERVER}/mcp"}}}}
mcp: {{otherwise: allow}}
"""


@functools.cache
def allow_all() -> Policy:
    return load_policy(ALLOW_ALL, file="p.yaml")


class Watched:
    """A judge that lets everything through, and looks at what it did."""

    def __init__(self) -> None:
        self._judge = Judge(allow_all(), scanner())

    def passes(self, given: Input) -> None:
        prepared = self._judge.prepare(given)
        outcome = self._judge.conclude(prepared, now=0.0)
        assert outcome is not None
        assert (outcome.verdict, outcome.subject.channel) == (Verdict.ALLOW, "mcp"), outcome.reason
        # The specification's own examples have e-mail addresses, and the policy logs them.
        found = [finding.rule for finding in outcome.findings if finding.detector != "pii"]
        assert (found, outcome.edits) == ([], ())
        assert self._judge.edited(outcome, prepared) is None


def posted(one: Exchange) -> Input:
    return request("POST", body=json.dumps(one.message).encode(), headers=one.headers)


def sent_back(answer: Json, *, exchange: str) -> Input:
    """Return what a client posts to answer a server's request."""
    headers: Headers = (("content-type", "application/json"), ("mcp-session-id", "s-1"))
    return request("POST", body=json.dumps(answer).encode(), headers=headers, exchange=exchange)


def opened() -> Input:
    """Return the request for the stream on which a legacy server speaks."""
    headers = (("accept", "text/event-stream"), ("mcp-session-id", "s-1"))
    return request("GET", headers=headers, exchange="stream")


def answered(one: Exchange, answer: Json) -> Input:
    head = AnswerHead(one.status(answer), (("content-type", "application/json"),))
    return AnswerInput("x", head, json.dumps(answer).encode())


@pytest.mark.parametrize("one", FROM_CLIENT.values(), ids=FROM_CLIENT)
def test_a_client_s_message_passes_and_so_does_every_answer(one: Exchange) -> None:
    Watched().passes(posted(one))
    for answer in one.answers.values():
        for given in (answered(one, answer), event(answer)):
            judge = Watched()
            judge.passes(posted(one))
            judge.passes(given)


@pytest.mark.parametrize("one", FROM_SERVER.values(), ids=FROM_SERVER)
def test_a_server_s_message_passes_and_so_does_every_answer(one: Exchange) -> None:
    for answer in [*one.answers.values(), None]:
        judge = Watched()
        if one.revision == MODERN:
            judge.passes(posted(EXCHANGES[f"{MODERN} tools/call, a call"]))
            judge.passes(event(one.message))
        else:
            judge.passes(opened())
            judge.passes(event(one.message, exchange="stream"))
        if answer is not None:
            judge.passes(sent_back(answer, exchange="back"))


NAMELESS: dict[str, Json] = {
    "an error with a null id": {"jsonrpc": "2.0", "id": None,
                                "error": {"code": -32700, "message": "Parse error: Invalid JSON"}},
    "an error without an id": {"jsonrpc": "2.0",
                               "error": {"code": -32600, "message": "Invalid request"}},
}  # fmt: skip


@pytest.mark.parametrize("answer", NAMELESS.values(), ids=NAMELESS)
def test_an_error_that_names_no_request_passes_with_its_status(answer: Json) -> None:
    judge = Watched()
    judge.passes(posted(EXCHANGES[f"{MODERN} tools/call, a call"]))
    head = AnswerHead(400, (("content-type", "application/json"),))
    judge.passes(AnswerInput("x", head, json.dumps(answer).encode()))
