"""Domain patterns of policies: an exact host, or ``*.`` and a name for everything below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_host


@dataclass(frozen=True, slots=True)
class DomainPattern:
    """An exact host (``wildcard`` False), or all names with one or more labels below ``base``."""

    base: str
    wildcard: bool

    def __str__(self) -> str:
        return f"*.{self.base}" if self.wildcard else self.base

    def matches(self, host: str) -> bool:
        """Say whether the normalised *host* is meant; the apex of ``*.x`` is not."""
        return host.endswith("." + self.base) if self.wildcard else host == self.base


def parse_domain_pattern(text: str) -> DomainPattern:
    """Return the pattern that *text* spells, or raise ValueError saying how to write it."""
    if text in ("*", "*.", "**"):
        raise ValueError("a host pattern that matches every host is not allowed")
    if "://" in text or "/" in text:
        raise ValueError("a host pattern is a host name, without scheme or path")
    wildcard = text.startswith("*.")
    name = text[2:] if wildcard else text
    if "*" in name or "?" in name:
        raise ValueError("a * is allowed only as the whole first label, as in *.example.com")
    try:
        base = normalise_host(name)
    except WireError as error:
        if name.count(":") == 1:
            raise ValueError("a host pattern has no port") from None
        raise ValueError(str(error)) from None
    if wildcard and (":" in base or base.rpartition(".")[2].isdigit()):
        raise ValueError("an IP address cannot have a wildcard")
    return DomainPattern(base, wildcard)


@dataclass(frozen=True, slots=True)
class DomainSet:
    """Several patterns as one fast test."""

    exact: frozenset[str]
    suffixes: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Iterable[DomainPattern]) -> DomainSet:
        """Return the set of *patterns*."""
        known = tuple(patterns)
        return cls(
            frozenset(pattern.base for pattern in known if not pattern.wildcard),
            tuple("." + pattern.base for pattern in known if pattern.wildcard),
        )

    def matches(self, host: str) -> bool:
        """Say whether any pattern matches the normalised *host*."""
        return host in self.exact or host.endswith(self.suffixes)
