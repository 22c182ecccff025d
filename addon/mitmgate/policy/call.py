"""What a policy is asked about: an MCP message with its circumstances, or an HTTP request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_authority


@dataclass(frozen=True, slots=True)
class Call:
    """An MCP message of an agent. ``server`` is None where no server names the endpoint.

    ``tool`` is the tool, prompt or resource that is meant; ``housekeeping`` says that the
    method does nothing but keep the session going. ``groups`` are those of the agent,
    ``revision`` and ``transport`` as the wire names them, ``annotations`` what the server said
    of the tool (None: it was in no list). ``now`` is in seconds since the epoch.
    """

    agent: str
    server: str | None
    method: str
    tool: str | None = None
    params: Mapping[str, Any] | None = None
    housekeeping: bool = False
    groups: frozenset[str] = frozenset()
    revision: str | None = None
    transport: str = "streamable_http"
    annotations: Mapping[str, bool] | None = None
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class EgressCall:
    """An HTTP request that is not MCP; ``host`` is normalised.

    ``protocol`` is what it speaks (``http``, ``websocket``, ``a2a``), ``size`` the bytes of its
    body.
    """

    agent: str
    host: str
    port: int
    method: str
    path: str
    groups: frozenset[str] = frozenset()
    now: float = 0.0
    protocol: str = "http"
    size: int = 0


_DEFAULT_PORTS = {"https": 443, "http": 80, "wss": 443, "ws": 80}


def request_call(url: str, method: str, agent: str) -> EgressCall:
    """Return the request of *agent* for *url*.

    Raises WireError ``bad_url`` for what is no URL, ``bad_authority`` for a host that is none.
    """
    scheme, separator, rest = url.partition("://")
    default = _DEFAULT_PORTS.get(scheme)
    if not separator or default is None:
        raise WireError("bad_url", "a URL begins with https:// or http://")
    plain = rest.partition("#")[0].partition("?")[0]
    authority, slash, path = plain.partition("/")
    where = normalise_authority(authority)
    port = default if where.port is None else where.port
    return EgressCall(agent, where.host, port, method, slash + path or "/")
