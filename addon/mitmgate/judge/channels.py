"""The ``endpoint`` event of HTTP+SSE (2024-11-05): where the client is told to post its messages.

The stream that carries it speaks MCP, whatever it passed as until then; what is posted to the
URL belongs to the same server. Source: MCP 2024-11-05 basic/transports, HTTP with SSE.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, urljoin, urlsplit

from mitmgate.errors import WireError
from mitmgate.judge.calls import denied_before, unknown_server
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, Weighed, answer_refused
from mitmgate.judge.inputs import EventInput
from mitmgate.net.authority import normalise_host
from mitmgate.policy.syntax import is_plain_path
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.inventory import Transport

ENDS_STREAM = frozenset({"foreign_endpoint", "unknown_server", "kill_switch", "not_json_lines"})
"""Codes of denials after which nothing on the stream can be of use: it is cut."""

_NO_REFERENCE = frozenset('"<>\\^`{|}')  # RFC 3986 has none of them
_LONGEST = 8192
_PORTS = {"http": 80, "https": 443}


def judge_endpoint_event(context: Context, event: EventInput) -> Concluded | None:
    """Decide on an ``endpoint`` event; None where this stream is none of MCP.

    What it tells is learned when the event goes on: ``Memory.open_channel``.
    """
    exchange = context.exchange
    if exchange.endpoint is None:
        return None
    try:
        endpoint, query = _message_endpoint(exchange.endpoint, event.data)
    except WireError as problem:
        if not exchange.mcp:
            return None  # another protocol's event of that name
        return Concluded(exchange.subject, Weighed(answer_refused(problem)))
    exchange.transport = Transport.SSE
    exchange.subject = replace(exchange.subject, channel="mcp", method="stream")
    taken = _taken(context, endpoint, query)
    if taken is not None:
        foreign = WireError("foreign_endpoint", f"the endpoint event names {taken}")
        return Concluded(exchange.subject, Weighed(answer_refused(foreign)))
    exchange.told = endpoint, query
    asked = denied_before(context, endpoint) or unknown_server(context)
    if asked is not None:
        decision, question = asked
        return Concluded(exchange.subject, Weighed(decision), question=question)
    told = Decision(Verdict.ALLOW, "endpoint", "endpoint",
                    f"messages go to {endpoint.path[:200]} of the same origin", "")  # fmt: skip
    return Concluded(exchange.subject, Weighed(told))


def _taken(context: Context, endpoint: Endpoint, query: str) -> str | None:
    """Return what *endpoint* is, where it cannot belong to the server of this stream."""
    # Two servers may share an origin: what is posted to the other's URL falls under its rules.
    exchange, own = context.exchange, context.exchange.subject.server
    if not is_plain_path(endpoint.path) or _is_respelled(endpoint.path):
        return "a path that can be read in two ways"
    # Most web frameworks take the path with and without its last slash for one.
    for path in {endpoint.path, endpoint.path.rstrip("/") or "/", f"{endpoint.path}/"}:
        named = context.policy.server_for(endpoint.scheme, endpoint.host, endpoint.port, path)
        if named not in (None, own):
            return "a URL of another server"
    channel = context.memory.sessions.channel(endpoint, query)
    if channel is not None and (channel.home[0] != exchange.endpoint or channel.server != own):
        return "the URL of another stream"
    return None


def _is_respelled(path: str) -> bool:
    """Tell whether *path* escapes what needs no escape: "/m%63p" is "/mcp" (RFC 3986, 6.2.2.2)."""
    escaped = (unquote(f"%{part[:2]}", "latin-1") for part in path.split("%")[1:])
    return ";" in path or any(char.isalnum() or char in "-._~/%" for char in escaped)


def _message_endpoint(stream: Endpoint, data: str) -> tuple[Endpoint, str]:
    """Return the endpoint and the query that *data*, a URI reference, names.

    WireError ``foreign_endpoint`` where it is of another origin than the *stream*.
    """
    reference = data.strip()
    odd = " " in reference or not reference.isprintable() or not _NO_REFERENCE.isdisjoint(reference)
    if not reference or len(reference) > _LONGEST or odd:
        raise WireError("foreign_endpoint", "the endpoint event names no URL")
    host = f"[{stream.host}]" if ":" in stream.host else stream.host
    base = f"{stream.scheme}://{host}:{stream.port}{stream.path}"
    try:
        parts = urlsplit(urljoin(base, reference))
        port = parts.port or _PORTS.get(parts.scheme, 0)
        found = Endpoint(parts.scheme, normalise_host(parts.hostname or ""), port, parts.path)
    except (ValueError, WireError):
        raise WireError("foreign_endpoint", "the endpoint event names no URL") from None
    same = (found.scheme, found.host, found.port) == (stream.scheme, stream.host, stream.port)
    if not same or parts.username is not None or parts.password is not None:
        raise WireError("foreign_endpoint", "the endpoint event names another origin")
    return found._replace(path=found.path or "/"), parts.query
