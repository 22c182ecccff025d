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
from mitmgate.wire.denial import denial_for_request, error_message, unknown_target
from mitmgate.wire.inventory import Transport
from mitmgate.wire.jsonrpc import Request
from mitmgate.wire.sessions import key_of
from mitmgate.wire.strictjson import encode_json

_STATUS = {
    "malformed_request": 400,
    "host_mismatch": 421,
    "body_too_large": 413,
    "upstream_failed": 502,
    "upstream_certificate": 502,
    "unresolvable": 502,
    "internal_error": 502,
    "agent_required": 407,
    "agent_refused": 407,
}
_UNREAD = frozenset({"parse_error", "unknown_encoding", "bad_encoding", "body_too_large"})
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
    outcome: Outcome, exchange: Exchange | None, text: str, instead: str | None = None
) -> Reply:
    """Return the reply that tells the client *text* instead of what *outcome* stopped.

    *instead* is the JSON that stands for an answer of which only a part was stopped.
    """
    if outcome.subject.channel == "mcp" and exchange is not None:
        if outcome.kind == "answer" and instead is not None:
            return Reply(200, "application/json", instead.encode())
        return _mcp_reply(outcome, exchange, text)
    reply = problem_reply(_STATUS.get(outcome.code, 403), outcome, text)
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


def problem_reply(status: int, outcome: Outcome, text: str) -> Reply:
    """Return an RFC 9457 problem document; ``code`` is our stable extension member."""
    document = {
        "type": "about:blank",
        "title": "Stopped by mitmgate",
        "status": status,
        "detail": text,
        "code": outcome.code,
        "host": outcome.subject.host,
        "rule": outcome.rule,
        "id": outcome.id,
    }
    return Reply(status, "application/problem+json", (encode_json(document) + "\n").encode())


def _mcp_reply(outcome: Outcome, exchange: Exchange, text: str) -> Reply:
    message = denials(outcome, exchange, text)
    if message is not None:
        # 400 is what servers of 2026-07-28 answer here, and what its clients expect.
        status = 400 if outcome.code in _ERA_ERRORS and not exchange.batch else 200
        return Reply(status, "application/json", encode_json(message).encode())
    if exchange.transport is Transport.WEBSOCKET:
        return problem_reply(403, outcome, text)
    if exchange.stream or exchange.ends_session:
        # 405: this server offers none of it; every client goes on without.
        return Reply(405, None, b"")
    if outcome.kind == "request" and outcome.code in _UNREAD:
        body = encode_json(error_message(None, -32600, text)).encode()
        return Reply(400, "application/json", body)
    return Reply(202, None, b"")
