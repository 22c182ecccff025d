"""Names, places and values that peers choose, cut to a length that people can read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

LONGEST = 300
"""So many characters of a name or a place are shown."""
_CHARACTERS = 64 * 1024
_VALUES = 2_000
_LEAST = 40
_DEEPEST = 60
_LARGE = 10**_LEAST


def short(text: str, most: int = LONGEST) -> str:
    """Return *text*, cut to *most* characters; a sign says that it was."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cut(text: str, most: int = _CHARACTERS) -> str:
    """Return *text*, cut after *most* characters with how many there were in all."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text)} characters in all)"


def bounded(value: Any) -> Any:
    """Return the JSON *value* with what is long in it cut in place: about 64 Ki characters in all.

    Strings have equal shares of them, and the members of each object and list equal shares of 2,000
    values, so that nothing hides behind a long neighbour. Work is bounded too.
    """
    return _Bounding(max(_LEAST, _CHARACTERS // max(1, _count(value)))).of(value, _VALUES, 0)


def _count(value: Any) -> int:
    """Count the values and the names of members in *value*, up to a limit."""
    count, left = 0, [value]
    while left and count < _VALUES:
        one = left.pop()
        count += 1
        if isinstance(one, Mapping):
            count += min(len(one), _VALUES)
            left.extend(islice(one.values(), _VALUES))
        elif isinstance(one, list):
            left.extend(islice(one, _VALUES))
    return count


class _Bounding:
    """Copies a value; each string in it has at most *share* characters."""

    def __init__(self, share: int) -> None:
        self._share = share

    def of(self, value: Any, most: int, depth: int) -> Any:
        """Return *value* with at most *most* values in it."""
        if isinstance(value, str):
            return cut(value, self._share)
        if isinstance(value, int) and abs(value) >= _LARGE:
            return cut(str(value), self._share)
        if not isinstance(value, Mapping | list) or not value:
            return value
        if most <= 1 or depth > _DEEPEST:
            return f"({len(value)} members)"
        shown = min(len(value), most - 1)
        each = (most - 1) // shown
        if isinstance(value, list):
            items = [self.of(item, each, depth + 1) for item in value[:shown]]
            more = len(value) - shown
            return [*items, f"… ({more} items more)"] if more else items
        return self._object(value, shown, each, depth)

    def _object(self, value: Mapping[str, Any], shown: int, each: int, depth: int) -> Any:
        kept: dict[str, Any] = {}
        for name, item in islice(value.items(), shown):
            label, number = cut(name, self._share), 2
            while label in kept:
                label, number = f"{cut(name, self._share)} ({number})", number + 1
            kept[label] = self.of(item, each, depth + 1)
        more = len(value) - shown
        return kept | ({"…": f"({more} members more)"} if more else {})
