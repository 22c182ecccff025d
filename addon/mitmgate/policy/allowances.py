"""Findings that the policy lets be: what each entry of ``scan.allow`` covers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mitmgate.net.domains import DomainSet
from mitmgate.policy.globs import GlobSet


class Found(Protocol):
    """What a detector reported, as far as an allowance looks at it."""

    @property
    def rule(self) -> str:
        """The id of the scanner's rule."""

    @property
    def surface(self) -> str:
        """Where the text stands."""

    @property
    def pointer(self) -> str:
        """The place of the text in its message."""

    @property
    def value_hash(self) -> str:
        """The keyed hash of the value."""


class Place(Protocol):
    """The message in which something was found."""

    @property
    def server(self) -> str | None:
        """The name of the MCP server, if it has one."""

    @property
    def tool(self) -> str | None:
        """What the call is for."""

    @property
    def host(self) -> str:
        """The host, normalised."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """One entry of ``scan.allow``; None is for anything. ``words`` say what it covers."""

    words: str
    value: str | None
    rules: GlobSet | None
    surfaces: frozenset[str] | None
    pointers: GlobSet | None
    servers: frozenset[str] | None
    tools: GlobSet | None
    hosts: DomainSet | None

    def covers(self, found: Found, place: Place) -> bool:
        """Say whether *found* in *place* is let be."""
        return (
            (self.value is None or self.value == found.value_hash)
            and (self.rules is None or self.rules.matches(found.rule))
            and (self.surfaces is None or found.surface in self.surfaces)
            and (self.pointers is None or self.pointers.matches(found.pointer))
            and (self.servers is None or place.server in self.servers)
            and (self.tools is None or (place.tool is not None and self.tools.matches(place.tool)))
            and (self.hosts is None or self.hosts.matches(place.host))
        )
