"""What a policy is asked about: an MCP message with its circumstances, or an HTTP request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    """An HTTP request that is not MCP; ``host`` is normalised."""

    agent: str
    host: str
    port: int
    method: str
    path: str
    groups: frozenset[str] = frozenset()
    now: float = 0.0
