"""What a client gets instead of what was denied: HTTP replies in the shapes that clients survive.

MCP: HTTP 200 with a tool error or a JSON-RPC error (WIRE section 2.8); plain egress: 403
``application/problem+json`` (RFC 9457) with a stable code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mitmgate.judge.outcome import Outcome
from mitmgate.judge.state import Exchange
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.denial import denial_for_request, error_message, unknown_target
from mitmgate.wire.inventory import Transport
from mitmgate.wire.jsonrpc import Request
from mitmgate.wire.sessions import key_of
from mitmgate.wire.strictjson import encode_json


@dataclass(frozen=True, slots=True)
class Told:
    """How a client is told: the HTTP status, and whether the same request may do better later."""

    status: int = 403
    retry: bool = False


CODES: Mapping[str, Told] = {
    "malformed_request": Told(400),
    "malformed_multipart": Told(400),
    "bad_authority": Told(400),
    "not_http": Told(400),
    "host_mismatch": Told(421),
    "body_too_large": Told(413),
    "request_too_large": Told(413),
    "head_too_large": Told(431),
    "request_timeout": Told(408, retry=True),
    "upstream_failed": Told(502, retry=True),
    "upstream_certificate": Told(502),
    "upstream_proxy_failed": Told(502, retry=True),
    "malformed_answer": Told(502),
    "unresolvable": Told(502, retry=True),
    "internal_error": Told(502, retry=True),
    "agent_required": Told(407),
    "agent_refused": Told(407),
}
"""Denials of what is not MCP, by their code; what is not here is told as ``Told()`` says."""

_UNREAD = frozenset({"parse_error", "unknown_encoding", "bad_encoding", "body_too_large"})
_NEVER = (
    "Sending it again gives the same answer. Go on without it, or tell the user, who can ask the "
    "operator of this proxy."
)
_ASKED = "It needs a person's approval: ask the operator of this proxy before you send it again."
_LATER = "It may work later: try again once, after a while, and then tell the user."
# MCP 2026-07-28, basic/transports/streamable-http and basic/index: answered with 400.
_ERA_ERRORS = {"header_mismatch": -32020, "missing_meta": -32602}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer made by us."""

    status: int
    content_type: str | None
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def reply_for(
    outcome: Outcome,
    exchange: Exchange | None,
    text: str,
    instead: str | None = None,
    *,
    contact: str | None = None,
) -> Reply:
    """Return the reply that tells the client *text* instead of what *outcome* stopped.

    *instead* is the JSON that stands for an answer of which only a part was stopped; *contact*
    says whom to ask.
    """
    if outcome.subject.channel == "mcp" and exchange is not None:
        if outcome.kind == "answer" and instead is not None:
            return Reply(200, "application/json", instead.encode())
        return _mcp_reply(outcome, exchange, text)
    reply = problem_reply(CODES.get(outcome.code, Told()), outcome, text, contact)
    if reply.status == 407:
        return replace(reply, headers=(("proxy-authenticate", 'Basic realm="mitmgate"'),))
    return reply


def request_denial(
    outcome: Outcome, exchange: Exchange, request: Request, text: str
) -> Mapping[str, Any]:
    """Return the JSON-RPC message that denies *request*."""
    if outcome.code in _ERA_ERRORS:
        return error_message(request.id, _ERA_ERRORS[outcome.code], text)
    if outcome.code in ("hidden", "locked_hidden") and not exchange.batch:
        return unknown_target(request, outcome.subject.tool or "")
    return denial_for_request(request, text, modern=exchange.modern)


def withheld(outcome: Outcome, *, from_server: bool) -> str:
    """Return the sentence that goes before the reason where a tool has run already."""
    if from_server and outcome.subject.method == "tools/call":
        return "The tool has run; its result was withheld. Do not call it again for this. "
    return ""


def denials(outcome: Outcome, exchange: Exchange, text: str) -> Any:
    """Return what denies the unanswered requests of *exchange*: a message, a batch, or None."""
    waiting = [r for r in exchange.requests if key_of(r.id) not in exchange.answered]
    messages = [request_denial(outcome, exchange, request, text) for request in waiting]
    if exchange.batch:
        return messages or None
    return messages[0] if messages else None


def problem_reply(told: Told, outcome: Outcome, text: str, contact: str | None = None) -> Reply:
    """Return an RFC 9457 problem document; all members behind ``detail`` are our extensions.

    ``code`` is our stable word, ``retry`` says whether sending it again can help, ``advice`` what
    else can, ``contact`` who.
    """
    document = {
        "type": "about:blank",
        "title": "Stopped by mitmgate",
        "status": told.status,
        "detail": text,
        "code": outcome.code,
        "host": outcome.subject.host,
        "rule": outcome.rule,
        "id": outcome.id,
        "retry": told.retry,
        "advice": _advice(told, outcome),
    } | ({} if contact is None else {"contact": contact})
    body = (encode_json(document) + "\n").encode()
    return Reply(told.status, "application/problem+json", body)


def _advice(told: Told, outcome: Outcome) -> str:
    if told.retry:
        return _LATER
    return _ASKED if outcome.effective is Verdict.ASK else _NEVER


def _mcp_reply(outcome: Outcome, exchange: Exchange, text: str) -> Reply:
    message = denials(outcome, exchange, text)
    if message is not None:
        # 400 is what servers of 2026-07-28 answer here, and what its clients expect.
        status = 400 if outcome.code in _ERA_ERRORS and not exchange.batch else 200
        return Reply(status, "application/json", encode_json(message).encode())
    if exchange.transport is Transport.WEBSOCKET:
        return problem_reply(Told(), outcome, text)
    if exchange.stream or exchange.ends_session:
        # 405: this server offers none of it; every client goes on without.
        return Reply(405, None, b"")
    if outcome.kind == "request" and outcome.code in _UNREAD:
        body = encode_json(error_message(None, -32600, text)).encode()
        return Reply(400, "application/json", body)
    return Reply(202, None, b"")
