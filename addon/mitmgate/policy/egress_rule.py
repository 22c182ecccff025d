"""A compiled rule for traffic that is not MCP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mitmgate.net.domains import DomainSet
from mitmgate.policy.rules import ALWAYS, Circumstances, Effects
from mitmgate.policy.verdict import Verdict

HTTPS = 443
WEB_PORTS = frozenset({80, HTTPS, 8080, 8443})

type Inspect = Literal["body", "headers", "none"]
"""What is read of what a rule lets through."""


@dataclass(frozen=True, slots=True)
class EgressRule:
    """A rule for traffic that is not MCP; of its conditions None means everything.

    ``ports`` None means every port where the rule asks or denies, and where it allows the usual
    ones: a rule that says nothing of ports opens none. ``paths`` are prefixes without a slash at
    the end, ``""`` is all. ``max_request`` and ``max_session`` are in bytes. ``websocket`` says
    which messages of WebSockets may pass, ``dns`` that DNS over HTTPS may. ``oauth`` says that the
    hosts issue tokens: a token request may carry assertions there. ``inspect`` says what is read:
    all, only the heads of what is too large to be kept, or not even that, since TLS stays closed.
    """

    id: str
    hosts: DomainSet
    methods: frozenset[str] | None
    oauth: bool
    effects: Effects
    circumstances: Circumstances = ALWAYS
    layer: str = ""
    ports: frozenset[int] | None = None
    paths: tuple[str, ...] | None = None
    protocols: frozenset[str] | None = None
    max_request: int | None = None
    max_session: int | None = None
    websocket: Literal["text", "any"] | None = None
    dns: bool = False
    inspect: Inspect = "body"

    @property
    def verdict(self) -> Verdict:
        """What it decides."""
        return self.effects.verdict

    @property
    def is_outright(self) -> bool:
        """Whether it says of a host and a port alone what it says of any request there."""
        return self.is_plain and self.circumstances == ALWAYS

    @property
    def is_plain(self) -> bool:
        """Whether it is for any request to its hosts and ports, of whom and when it is for."""
        return self.methods is None and self.paths is None and self.protocols is None

    def has_port(self, port: int, *, usual: bool) -> bool:
        """Say whether *port* is meant, which is *usual* at the host or not."""
        if self.ports is not None:
            return port in self.ports
        return usual or self.verdict is not Verdict.ALLOW
