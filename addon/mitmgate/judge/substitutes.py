"""What goes on in the place of a message that was stopped.

A denial that can ride on the HTTP answer is a reply (``replies``). Elsewhere the denied request is
swapped for a ``ping`` of the same id, and the answer to it becomes the denial: a client of HTTP+SSE
or WebSocket reads it where it waits, and a server whose request was denied is told so too.
"""

from __future__ import annotations

from typing import Any

from mitmgate.judge.batches import moved
from mitmgate.judge.calls import brief
from mitmgate.judge.context import Context
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.prepare import PreparedAnswer, PreparedMessage, PreparedRequest
from mitmgate.judge.replies import denials, request_denial, withheld
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.denial import decline_for, ping
from mitmgate.wire.edit import Change, Cut, Swap, apply_edits
from mitmgate.wire.jsonrpc import Batch, Failure, Message, Notification, Request, Result
from mitmgate.wire.sessions import key_of
from mitmgate.wire.strictjson import encode_json, parse_json

type Stoppable = PreparedRequest | PreparedAnswer | PreparedMessage


def substitute(context: Context, outcome: Outcome, prepared: Stoppable, text: str) -> str | None:
    """Take in that *outcome* stopped *prepared*; return the JSON that goes on, None: nothing.

    *text* is the sentence that the other side reads.
    """
    message = prepared.body.message
    if any(_is_of_id(finding.pointer) for finding in prepared.findings):
        return None  # a ping would repeat the id
    if _is_from_client(prepared):
        instead = _for_server(context, outcome, message, text)
        return None if instead is None else encode_json(instead)
    if isinstance(message, Batch) and outcome.parts:
        return _batch_for_client(context, outcome, prepared, text)
    instead = _for_client(context, outcome, message, text)
    return None if instead is None else encode_json(instead)


def _is_of_id(pointer: str) -> bool:
    return pointer == "#id" or (pointer.startswith("#") and pointer.endswith("/id"))


def _is_from_client(prepared: Stoppable) -> bool:
    if isinstance(prepared, PreparedMessage):
        return prepared.input.from_client
    return isinstance(prepared, PreparedRequest)


def _for_server(
    context: Context, outcome: Outcome, message: Message | Batch | None, text: str
) -> Any:
    """Return what the server gets in the place of what its client sent."""
    exchange = context.exchange
    match message:
        case Request() if exchange.answers_elsewhere:
            asked = brief(message)
            denial = request_denial(outcome, exchange, asked, text)
            context.memory.ask(exchange, asked, swapped=encode_json(denial))
            return ping(message.id)
        case Result() | Failure() if message.id is not None:
            opened = exchange.answering.get(key_of(message.id))
            if opened is None:
                return None
            if opened.swapped is not None:
                return parse_json(opened.swapped)  # it waits for more than this refusal
            return decline_for(opened.method, message.id, text)
        case Batch() if exchange.answers_elsewhere or not exchange.requests:
            items = [_for_server(context, outcome, item, text) for item in message.messages]
            return [item for item in items if item is not None] or None
        case _:
            return None


def _for_client(
    context: Context, outcome: Outcome, message: Message | Batch | None, text: str
) -> Any:
    """Return what the client gets in the place of what its server sent."""
    exchange = context.exchange
    match message:
        case Request():
            session = exchange.conversation
            if session is None:
                return None
            opened = session.server.find(message.id, exchange.key, pong=False)
            if opened is None:
                return None
            opened.swapped = encode_json(decline_for(message.method, message.id, text))
            return ping(message.id)
        case Notification():
            return None
        case _ if outcome.code == "unmatched_answer":
            return None
        case Result() | Failure() if message.id is not None and outcome.code != "parse_error":
            own = (r for r in exchange.requests if key_of(r.id) == key_of(message.id))
            asked = next(own, Request(message.id, outcome.subject.method))
            return request_denial(outcome, exchange, asked, text)
        case _:
            return denials(outcome, exchange, text)


def _batch_for_client(
    context: Context, outcome: Outcome, prepared: Stoppable, text: str
) -> str | None:
    """Return the batch with its stopped messages replaced and the others as they came."""
    batch = prepared.body.message
    if not isinstance(batch, Batch) or prepared.body.text is None:
        return None
    changes: list[Change] = []
    for number, (part, message) in enumerate(zip(outcome.parts, batch.messages, strict=True)):
        if part.effective is Verdict.ALLOW:
            changes += [moved(number, edit) for edit in part.effective_edits]
            continue
        told = withheld(part, from_server=True) + (part.agent_reason or text)
        instead = _for_client(context, part, message, told)
        place = f"/{number}"
        changes.append(Cut(place) if instead is None else Swap(place, encode_json(instead)))
    if len([change for change in changes if isinstance(change, Cut)]) >= len(batch.messages):
        return None
    return apply_edits(prepared.body.text, changes)
