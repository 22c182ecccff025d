"""A YAML document as values with lines, and what is said about it when it is refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import ConfigError, Problem

MAX_PROBLEMS = 100

type KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document as plain values, and the line (from 1) where each path begins.

    ``problems`` are duplicate keys, where the reader was asked to go on after them.
    """

    value: Any
    lines: Mapping[KeyPath, int]
    file: str
    problems: tuple[Problem, ...] = ()

    def line(self, path: KeyPath) -> int | None:
        """Return the line of *path*, or of its nearest parent that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def problem(self, path: KeyPath, message: str, *, hint: str | None = None) -> Problem:
        """Return a Problem that points at *path*."""
        return Problem(message, self.file, self.line(path), dotted(path) or None, hint)


def dotted(path: KeyPath) -> str:
    """Return *path* as problems spell it: ``mcp.rules.0.then``."""
    return ".".join(str(part) for part in path)


def did_you_mean(key: str, known: Iterable[str]) -> str | None:
    """Return the one of *known* that *key* is probably a typo of, or None."""
    nearest = difflib.get_close_matches(key[:64], list(known), n=1, cutoff=0.6)
    return nearest[0] if nearest else None


def refuse(problems: Iterable[Problem]) -> ConfigError:
    """Return the ConfigError that carries *problems* in the order of their lines, capped."""
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    if len(ordered) > MAX_PROBLEMS:
        more = len(ordered) - MAX_PROBLEMS
        ordered[MAX_PROBLEMS:] = [Problem(f"and {more} more problems", ordered[0].file)]
    return ConfigError(*ordered)
