"""The errors that cross boundaries inside mitmgate; there is no tree of them.

``ConfigError`` is for whoever wrote a file or a command line, ``WireError`` for the
peer whose bytes cannot be read in exactly one way. Our own bugs stay builtin exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file or an option: what, where, and what to do next.

    ``line`` counts from 1. ``key`` is the dotted path of the offending key, if any.
    """

    message: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        parts = [part for part in (place, self.key, self.message) if part]
        text = ": ".join(parts)
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(Exception):
    """A file or an option was refused. Carries every problem, not the first."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class WireError(Exception):
    """Bytes of a peer that we refuse to read.

    ``code`` is a stable snake_case word for records and tests (``duplicate_key``),
    ``rpc_code`` the JSON-RPC 2.0 error code that answers it (section 5.1).
    The message never quotes the bytes: they may hold a secret.
    """

    def __init__(self, code: str, message: str, *, rpc_code: int = -32600) -> None:
        super().__init__(message)
        self.code = code
        self.rpc_code = rpc_code
