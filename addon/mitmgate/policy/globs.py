"""Globs of policies: ``*`` and ``?`` over a whole name, case sensitive, without backtracking."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MAX_GLOB = 256


def check_glob(text: str) -> str:
    """Return *text* if it is a glob, or raise ValueError saying how to write one."""
    if not text:
        raise ValueError("a glob must not be empty")
    if len(text) > MAX_GLOB:
        raise ValueError(f"a glob has at most {MAX_GLOB} characters")
    if any(char in "[]{}\\" for char in text):
        raise ValueError("bad glob: only * and ? are special, brackets and \\ are not supported; "
                         "list the names instead")  # fmt: skip
    if "**" in text:
        raise ValueError("bad glob: write one * where you wrote several")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise ValueError("bad glob: spaces and control characters are not allowed")
    return text


@dataclass(frozen=True, slots=True)
class Glob:
    """A glob cut at its stars: the pieces must stand in the name in this order."""

    text: str
    pieces: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Glob:
        """Return the matcher of the glob *text*."""
        return cls(text, tuple(text.split("*")))

    def matches(self, name: str) -> bool:
        """Say whether the whole *name* matches.

        The leftmost place for each piece is always a right one, so nothing is tried twice:
        time is at most len(name) times len(glob), whatever an attacker calls a tool.
        """
        first, *rest = self.pieces
        if not rest:
            return len(name) == len(first) and _fits(first, name, 0)
        last = rest.pop()
        end = len(name) - len(last)
        if len(first) > end or not _fits(first, name, 0) or not _fits(last, name, end):
            return False
        at = len(first)
        for piece in rest:
            at = _find(piece, name, at, end)
            if at < 0:
                return False
        return True


def _fits(piece: str, name: str, at: int) -> bool:
    if "?" not in piece:
        return name.startswith(piece, at)
    part = name[at : at + len(piece)]
    return len(part) == len(piece) and all(
        want in ("?", got) for want, got in zip(piece, part, strict=True)
    )


def _find(piece: str, name: str, start: int, end: int) -> int:
    """Return where the leftmost *piece* inside ``name[start:end]`` ends, or -1."""
    if "?" not in piece:
        found = name.find(piece, start, end)
        return found if found < 0 else found + len(piece)
    for at in range(start, end - len(piece) + 1):
        if _fits(piece, name, at):
            return at + len(piece)
    return -1


@dataclass(frozen=True, slots=True)
class GlobSet:
    """Several globs as one test; plain names cost one look-up."""

    exact: frozenset[str]
    globs: tuple[Glob, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> GlobSet:
        """Return the matcher of all *texts*."""
        known = tuple(texts)
        plain = frozenset(text for text in known if not _is_wild(text))
        return cls(plain, tuple(Glob.of(text) for text in known if _is_wild(text)))

    @property
    def texts(self) -> tuple[str, ...]:
        """The globs as they were written, plain names first."""
        return (*sorted(self.exact), *(glob.text for glob in self.globs))

    def matches(self, name: str) -> bool:
        """Say whether any glob matches the whole *name*."""
        return name in self.exact or any(glob.matches(name) for glob in self.globs)


def _is_wild(text: str) -> bool:
    return "*" in text or "?" in text
