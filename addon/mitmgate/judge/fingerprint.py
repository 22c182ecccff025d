"""What makes a call this one: what rows, tickets and remembered answers know calls by.

Two calls are the same where a server cannot tell them apart: the order of keys, blanks and the
request's id do not count; every number counts as it is spelt (1 and 1.0 are two).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mitmgate.hold.target import Target
from mitmgate.policy.syntax import is_plain_path
from mitmgate.wire.jsonrpc import Batch, Message, Request
from mitmgate.wire.recognise import target_name

if TYPE_CHECKING:
    from mitmgate.judge.prepare import PreparedRequest
    from mitmgate.judge.state import Exchange

MOST_ARGUMENTS = 256
INLINE_CHARACTERS = 32 * 1024
"""Longer bodies are hashed in a thread, before they are judged."""

_NUMBER = "\ud800"  # parse_json refuses half a surrogate pair, so no string begins with one
_LONGEST_TRACESTATE = 512
_HEX = frozenset("0123456789abcdef")
_TRACEPARENT = (2, 32, 16, 2)


@dataclass(frozen=True, slots=True)
class Digest:
    """Of a body: the SHA-256 of its bytes, of what it means as MCP, and of each argument in it.

    ``arguments`` is None where there are too many to tell, and for what is no single request.
    """

    raw: str
    meaning: str
    arguments: Mapping[str, str] | None


def digest_of(prepared: PreparedRequest) -> Digest:
    """Return the hashes of what *prepared* carries: pure, and work for a large body."""
    text, message = prepared.body.text, prepared.body.message
    raw = hashlib.sha256(prepared.input.body).hexdigest()
    if text is None or message is None:
        return Digest(raw, raw, {})
    value = _DECODER.decode(text)
    if isinstance(message, Batch):
        return Digest(raw, _hash([_meant(one) for one in value]), None)
    meant = _meant(value)
    params = meant.get("params")
    given = params.get("arguments") if isinstance(params, dict) else None
    return Digest(raw, _hash(meant), _arguments(given))


def is_long(prepared: PreparedRequest) -> bool:
    """Tell whether :func:`digest_of` would keep an event loop waiting."""
    size = len(prepared.input.body)
    return max(size, len(prepared.body.text or "")) > INLINE_CHARACTERS


def target_of(exchange: Exchange, prepared: PreparedRequest) -> Target | None:
    """Return what *prepared*, judged as *exchange*, is known by; None without an endpoint."""
    if exchange.endpoint is None:
        return None
    if exchange.mcp:
        return mcp_target(exchange, prepared, prepared.body.message)
    return egress_target(exchange, prepared)


def mcp_target(
    exchange: Exchange, prepared: PreparedRequest | None, message: Message | Batch | None
) -> Target:
    """Return what *message* of *exchange* is known by.

    Without *prepared*, and for a part of a batch, only by what it aims at.
    """
    subject, endpoint = exchange.subject, exchange.endpoint
    is_call = isinstance(message, Request)
    method = message.method if isinstance(message, Request) else subject.method
    tool = target_name(method, message.params) if isinstance(message, Request) else None
    server = subject.server or _server_url(exchange)
    call, arguments = None, None
    if prepared is not None and prepared.body.message is message and not prepared.input.unread:
        digest = prepared.digest or digest_of(prepared)
        head = prepared.input.head
        place = [endpoint.scheme, endpoint.host, endpoint.port] if endpoint is not None else []
        call = _hash(["mcp", subject.agent, server, *place, head.target, method, digest.meaning])
        arguments = digest.arguments if is_call else {}
    return Target(
        agent=subject.agent,
        channel="mcp",
        method=method,
        call=call,
        session=exchange.session,
        server=server,
        tool=tool,
        arguments=arguments,
    )


def egress_target(exchange: Exchange, prepared: PreparedRequest) -> Target:
    """Return what *prepared*, which is not MCP, is known by."""
    head, agent = prepared.input.head, exchange.subject.agent
    digest = prepared.digest or digest_of(prepared)
    origin = f"{head.scheme}://{head.host}:{head.port}"
    read_as = [head.get_all("content-type"), head.get_all("content-encoding")]
    upgrade = head.get_all("upgrade")
    whole = prepared.input.unread is None
    facts = ["egress", agent, head.method, origin, head.target, read_as, upgrade, digest.raw]
    return Target(
        agent=agent,
        channel="egress",
        method=head.method,
        call=_hash(facts) if whole else None,  # what was not read may be anything
        origin=origin,
        path=head.path if is_plain_path(head.path) else None,
        url=_hash([origin, head.target]),
    )


def _server_url(exchange: Exchange) -> str:
    home = exchange.home[0] if exchange.home is not None else exchange.endpoint
    return "" if home is None else f"{home.scheme}://{home.host}:{home.port}{home.path}"


def _meant(value: Any) -> Any:
    """Return a message without what only ties it to this connection and this attempt."""
    if not isinstance(value, dict):
        return value
    meant = {key: item for key, item in value.items() if key not in ("id", "jsonrpc")}
    params = meant.get("params")
    if isinstance(params, dict) and isinstance(params.get("_meta"), dict):
        meta = _without_traces(params["_meta"])
        rest = {key: item for key, item in params.items() if key != "_meta"}
        meant["params"] = rest | ({"_meta": meta} if meta else {})
    return meant


def _without_traces(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return *meta* without the progress token and a trace that is one (W3C Trace Context)."""
    left = {key: value for key, value in meta.items() if key != "progressToken"}
    if _is_traceparent(left.get("traceparent")):
        del left["traceparent"]
        state = left.get("tracestate")
        if isinstance(state, str) and len(state) <= _LONGEST_TRACESTATE and state.isprintable():
            del left["tracestate"]
    return left


def _is_traceparent(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    parts = value.split("-")
    sizes = tuple(len(part) for part in parts)
    return sizes == _TRACEPARENT and all(_HEX.issuperset(part) for part in parts)


def _arguments(given: Any) -> Mapping[str, str] | None:
    if not isinstance(given, dict):
        return {}
    if len(given) > MOST_ARGUMENTS:
        return None
    return {name: _hash(value) for name, value in given.items()}


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _spelt(digits: str) -> str:
    return _NUMBER + digits


_DECODER = json.JSONDecoder(parse_int=_spelt, parse_float=_spelt)
