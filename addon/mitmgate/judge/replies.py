"""What a client gets instead of what was denied: HTTP replies in the shapes that clients survive.

MCP: HTTP 200 with a tool error or a JSON-RPC error (WIRE section 2.8); plain egress: 403
``application/problem+json`` (RFC 9457) with a stable code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.judge.outcome import Outcome
from mitmgate.judge.state import Exchange
from mitmgate.wire.denial import denial_for_request, error_message
from mitmgate.wire.strictjson import encode_json

_STATUS = {
    "malformed_request": 400,
    "host_mismatch": 421,
    "body_too_large": 413,
    "upstream_failed": 502,
    "upstream_certificate": 502,
    "unresolvable": 502,
    "internal_error": 502,
}
_UNREAD = frozenset(
    {"parse_error", "batch_refused", "unknown_encoding", "bad_encoding", "body_too_large"}
)
_HEADER_MISMATCH = -32020  # MCP 2026-07-28, basic/transports/streamable-http


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer made by us."""

    status: int
    content_type: str | None
    body: bytes


def reply_for(outcome: Outcome, exchange: Exchange | None, text: str) -> Reply:
    """Return the reply that tells the client *text* instead of what *outcome* stopped."""
    if outcome.subject.channel == "mcp" and exchange is not None:
        return _mcp_reply(outcome, exchange, text)
    return problem_reply(_STATUS.get(outcome.code, 403), outcome, text)


def denial_message(outcome: Outcome, exchange: Exchange, text: str) -> Mapping[str, Any] | None:
    """Return the JSON-RPC message that denies the request of *exchange*, or None if it had none."""
    request = exchange.request
    if request is None:
        return None
    if outcome.code == "header_mismatch":
        return error_message(request.id, _HEADER_MISMATCH, text)
    return denial_for_request(request, text, modern=exchange.modern)


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
    message = denial_message(outcome, exchange, text)
    if message is None:
        if exchange.stream:
            # 405: this server offers no stream here; every client goes on without one.
            return Reply(405, None, b"")
        if exchange.batch:
            denials = [denial_for_request(r, text, modern=False) for r in exchange.batch]
            return Reply(200, "application/json", encode_json(denials).encode())
        if outcome.kind == "request" and outcome.code in _UNREAD:
            body = encode_json(error_message(None, -32600, text)).encode()
            return Reply(400, "application/json", body)
        return Reply(202, None, b"")
    status = 400 if outcome.code == "header_mismatch" else 200
    return Reply(status, "application/json", encode_json(message).encode())
