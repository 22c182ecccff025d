"""How a rule's pattern is compiled, and how strings are laid out to be searched.

Strings of one message are searched in one piece of bytes (``frame``): each stands on lines of
its own, and between two of them lies the byte 0xFF, which is no UTF-8, so that no pattern can
reach across. ``^`` and ``$`` mean the start and the end of a line in every pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import re2

_EDGE = b"\n"
WALL = b"\n\xff\n"
"""What lies between two strings in a frame."""
_PATTERN_MEMORY = 16 << 20
# \A and \z would see the whole frame, not the string; \C could eat the wall between strings.
_REFUSED_ESCAPES = {"A": "^", "z": "$", "C": "."}
SECRET_GROUP = "secret"
_ANYWHERE = re2._Anchor.UNANCHORED

type Span = tuple[int, int]
_NOTHING: list[Span] = [(-1, -1)]


@dataclass(frozen=True, slots=True)
class Frame:
    """Strings laid out for one search. ``parts`` are their bytes, ``starts`` where each begins."""

    data: bytes
    parts: tuple[bytes, ...]
    starts: tuple[int, ...]


def encode(text: str) -> bytes:
    """Return *text* as UTF-8; a lone surrogate becomes ``?`` and stays one code point."""
    return text.encode("utf-8", "replace")


def joined(texts: Sequence[str]) -> bytes:
    """Return the bytes of the frame of *texts* alone: most have nothing to be found in."""
    return _EDGE + WALL.join([text.encode("utf-8", "replace") for text in texts]) + _EDGE


def frame(texts: Sequence[str]) -> Frame:
    """Lay *texts* out so that one search covers them all and no match crosses two."""
    parts = tuple([text.encode("utf-8", "replace") for text in texts])
    starts, at = [], len(_EDGE)
    for part in parts:
        starts.append(at)
        at += len(part) + len(WALL)
    return Frame(_EDGE + WALL.join(parts) + _EDGE, parts, tuple(starts))


def quiet_options(max_mem: int = _PATTERN_MEMORY) -> re2.Options:
    """Return options with a memory bound that never print a pattern to standard error."""
    options = re2.Options()
    options.max_mem = max_mem
    options.log_errors = False
    return options


def compile_pattern(pattern: str) -> re2.Pattern:
    """Compile *pattern* as rules mean it; ValueError says what is wrong with it."""
    refused = _refused_escape(pattern)
    if refused is not None:
        raise ValueError(f"\\{refused} is not allowed; use {_REFUSED_ESCAPES[refused]} instead")
    try:
        compiled = re2.compile(f"(?m){pattern}", quiet_options())
    except re2.error as error:
        raise ValueError(f"RE2 refuses it: {_words(error)}") from None
    if compiled.search(b"") is not None:
        raise ValueError("it matches the empty text, so it would match everywhere")
    return compiled


class Pattern:
    """A pattern of a rule, compiled when it is first needed: most never are."""

    __slots__ = ("_compiled", "_match", "group", "text")

    def __init__(self, text: str) -> None:
        """Keep *text*; whether it compiles, :meth:`compile` says."""
        self.text = text
        self.group = 0
        """The group that holds the value, 0 for all that the pattern matches; set by compiling."""
        self._compiled: re2.Pattern | None = None
        self._match: Callable[[object, bytes, int, int], list[Span]] | None = None

    @property
    def compiled(self) -> bool:
        """Whether that was done."""
        return self._compiled is not None

    def compile(self) -> re2.Pattern:
        """Return the compiled pattern; ValueError says what is wrong with it."""
        compiled = self._compiled
        if compiled is None:
            compiled = compile_pattern(self.text)
            self.group = compiled.groupindex.get(SECRET_GROUP, 0)
            self._compiled = compiled
            self._match = compiled._regexp.Match
        return compiled

    def find(self, data: bytes, start: int) -> list[Span]:
        """Return the spans of the first match in *data* from *start* on, and of its groups.

        None there is where the first is (-1, -1). It is what ``search`` asks itself, without the
        objects around it that cost as much as the search of a short piece.
        """
        match = self._match
        if match is None:
            self.compile()
            return self.find(data, start)
        return match(_ANYWHERE, data, start, len(data)) if start <= len(data) else _NOTHING


def _words(error: re2.error) -> str:
    reason = error.args[0] if error.args else "unknown reason"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _refused_escape(pattern: str) -> str | None:
    escaped = False
    for character in pattern:
        if escaped and character in _REFUSED_ESCAPES:
            return character
        escaped = character == "\\" and not escaped
    return None
