"""Tells whether content that had to be kept back came through: whole, in part, or edited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mitmgate.errors import WireError
from mitmgate.wire.strictjson import parse_json

BLOCK = 12
"""Characters of a piece: every part of 23 characters that came through holds a whole one."""
MOST_PIECES = 500_000
"""Pieces that are kept of one exchange, about 60 MB; beyond them nothing is taken on trust."""

_METHOD = "method"
_ENVELOPE = frozenset(
    {"jsonrpc", "id", _METHOD, "type", "resultType", "progressToken", "level", "role", "mimeType"}
)
"""Members whose short values every message of MCP may share."""

type Short = tuple[str, str]
"""The place of a short value of JSON, and how it is written."""


class Withheld:
    """What of one exchange must not come through.

    A part of it counts from 23 characters on, a whole value of JSON however short it is, in its
    place. What was meant to come as well counts for nothing.
    """

    def __init__(self) -> None:
        self._blocks: set[str] = set()
        self._short: set[Short] = set()
        self._full = False

    def add(self, text: str, *, meant: str = "") -> None:
        """Keep back what *text* holds and *meant*, which goes on in its place, does not."""
        if self._full:
            return
        values, short = _read(text)
        others, theirs = _read(meant)
        windows = {window for value in others for window in _windows(value)}
        self._blocks |= {block for value in values for block in _blocks(value)} - windows
        self._short |= short - theirs
        self._full = len(self._blocks) + len(self._short) > MOST_PIECES

    def came_in(self, text: str) -> bool:
        """Tell whether *text* holds any of it; True where there was too much to keep."""
        if self._full:
            return True
        if not self._blocks and not self._short:
            return False
        values, short = _read(text)
        if not short.isdisjoint(self._short):
            return True
        return any(window in self._blocks for value in values for window in _windows(value))


def _windows(value: str) -> Iterator[str]:
    return (value[start : start + BLOCK] for start in range(len(value) - BLOCK + 1))


def _blocks(value: str) -> Iterator[str]:
    """Yield the pieces of *value* side by side, and its last one."""
    if len(value) >= BLOCK:
        last = len(value) - BLOCK
        yield from (value[start : start + BLOCK] for start in range(0, last, BLOCK))
        yield value[last:]


def _read(text: str) -> tuple[list[str], set[Short]]:
    """Return the strings in *text* and its short values; what is no JSON is one string."""
    document = _document(text)
    if document is None:
        return [text], {("", text)} if text and len(text) < BLOCK else set()
    values: list[str] = []
    short: set[Short] = set()
    for name, place, value in _leaves(document):
        values += [value] if isinstance(value, str) and name != _METHOD else []
        written = str(value)
        is_said = isinstance(value, str | int | float) and not isinstance(value, bool)
        if is_said and 0 < len(written) < BLOCK and name not in _ENVELOPE:
            short.add((place, written))
    return values, short


def _document(text: str) -> Any:
    """Return the object or array of *text*, None where it is something else."""
    try:
        return parse_json(text) if text.lstrip()[:1] in ("{", "[") else None
    except WireError:
        return None


def _leaves(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the values at the ends of *document*: name, place, value; long names are values too."""
    left: list[tuple[str, str, Any]] = [("", "", document)]
    while left:
        name, place, value = left.pop()
        if isinstance(value, dict):
            left += [(key, f"{place}/{key}", below) for key, below in value.items()]
            left += [("", place, key) for key in value if len(key) >= BLOCK]
        elif isinstance(value, list):
            left += [(name, f"{place}/{index}", below) for index, below in enumerate(value)]
        else:
            yield name, place, value
