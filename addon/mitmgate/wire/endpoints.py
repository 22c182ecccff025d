"""Which endpoints have proved to speak MCP: a bounded memory, looked up and never guessed."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple


class Endpoint(NamedTuple):
    """A place that messages go to: no query, host normalised. ``http`` is not ``https``."""

    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """What an endpoint told about itself; ``server_name`` is unverified."""

    protocol_version: str | None = None
    server_name: str | None = None


class EndpointTable:
    """The last *limit* endpoints that spoke MCP; the longest unused is forgotten first."""

    def __init__(self, limit: int = 10_000) -> None:
        if limit < 1:
            raise ValueError("an endpoint table holds at least one endpoint")
        self._limit = limit
        self._facts: OrderedDict[Endpoint, EndpointFacts] = OrderedDict()

    def __len__(self) -> int:
        return len(self._facts)

    def learn(
        self,
        endpoint: Endpoint,
        *,
        protocol_version: str | None = None,
        server_name: str | None = None,
    ) -> None:
        """Remember that *endpoint* speaks MCP; what is None here stays as it was known."""
        old = self._facts.pop(endpoint, EndpointFacts())
        self._facts[endpoint] = EndpointFacts(
            old.protocol_version if protocol_version is None else protocol_version,
            old.server_name if server_name is None else server_name,
        )
        if len(self._facts) > self._limit:
            self._facts.popitem(last=False)

    def known(self, endpoint: Endpoint) -> bool:
        """Say whether *endpoint* has spoken MCP."""
        return self.facts(endpoint) is not None

    def facts(self, endpoint: Endpoint) -> EndpointFacts | None:
        """Return what is known of *endpoint*, or None where it never spoke MCP."""
        facts = self._facts.get(endpoint)
        if facts is not None:
            self._facts.move_to_end(endpoint)
        return facts
