"""The ``endpoint`` event of HTTP+SSE (2024-11-05): where the client is told to post its messages.

The stream that carries it speaks MCP, whatever it passed as until then; what is posted to the
URL belongs to the same server. Source: MCP 2024-11-05 basic/transports, HTTP with SSE.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from mitmgate.errors import WireError
from mitmgate.judge.calls import unknown_server
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, Weighed, answer_refused
from mitmgate.judge.inputs import EventInput
from mitmgate.net.authority import normalise_host
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.inventory import Transport

ENDS_STREAM = frozenset({"foreign_endpoint", "unknown_server"})
"""Codes of denials after which nothing on the stream can be of use: it is cut."""

_LONGEST = 8192
_PORTS = {"http": 80, "https": 443}


def judge_endpoint_event(context: Context, event: EventInput) -> Concluded | None:
    """Decide on an ``endpoint`` event; None where this stream is none of MCP.

    Only the first event of a stream can make MCP of what passed as egress.
    """
    exchange = context.exchange
    if exchange.endpoint is None or not (exchange.mcp or event.number == 0):
        return None
    try:
        endpoint, query = _message_endpoint(exchange.endpoint, event.data)
    except WireError as problem:
        if not exchange.mcp:
            return None  # another protocol's event of that name
        return Concluded(exchange.subject, Weighed(answer_refused(problem)))
    memory = context.memory
    exchange.transport = Transport.SSE
    exchange.subject = replace(exchange.subject, channel="mcp", method="stream")
    memory.endpoints.learn(endpoint)
    home = exchange.endpoint, exchange.subject.endpoint
    exchange.session = memory.sessions.open_channel(
        endpoint, query, server=exchange.subject.server, home=home
    )
    asked = unknown_server(context)
    if asked is not None:
        decision, question = asked
        return Concluded(exchange.subject, Weighed(decision), question=question)
    told = Decision(Verdict.ALLOW, "endpoint", "endpoint",
                    f"messages go to {endpoint.path[:200]} of the same origin", "")  # fmt: skip
    return Concluded(exchange.subject, Weighed(told))


def _message_endpoint(stream: Endpoint, data: str) -> tuple[Endpoint, str]:
    """Return the endpoint and the query that *data*, a URI reference, names.

    WireError ``foreign_endpoint`` where it is of another origin than the *stream*.
    """
    reference = data.strip()
    if not reference or len(reference) > _LONGEST or not reference.isprintable():
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
    return replace(found, path=found.path or "/"), parts.query
