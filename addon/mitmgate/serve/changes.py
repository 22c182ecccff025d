"""What differs from the last approved call of a tool."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mitmgate.control.models import Change, Pending, Row

_MOST_TOOLS = 300
_MOST_CHANGES = 50
_MOST_VALUES = 2_000
_LONGEST = 300
_NOISE = frozenset({"_meta"})  # a progress token is another one in each call

type _Key = tuple[str, str, str, str | None]


class Approved:
    """The arguments of the last approved call of each tool, known secrets replaced."""

    def __init__(self) -> None:
        self._last: OrderedDict[_Key, Any] = OrderedDict()

    def note(self, row: Row, arguments: Any) -> None:
        """Keep *arguments*, as they were shown; none that are too many to compare."""
        if arguments is None or isinstance(arguments, str) or _too_many(arguments):
            return
        key = _key(row)
        self._last[key] = arguments
        self._last.move_to_end(key)
        while len(self._last) > _MOST_TOOLS:
            self._last.popitem(last=False)

    def compared(self, entry: Pending) -> Pending:
        """Return *entry* with how it differs from the last approved call of its tool."""
        before, after = self._last.get(_key(entry.row)), entry.arguments
        if before is None or after is None or _too_many(after):
            return entry
        changes = tuple(_few(_changes("", _plain(before), _plain(after))))
        return entry.model_copy(update={"changed": changes})


def _key(row: Row) -> _Key:
    return row.agent, row.server or row.endpoint, row.method, row.tool


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if name not in _NOISE}
    return value


def _few(changes: Iterator[Change]) -> Iterator[Change]:
    for number, change in enumerate(changes):
        if number >= _MOST_CHANGES:
            return
        yield change


def _changes(pointer: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in (*before, *(name for name in after if name not in before)):
            yield from _changes(
                f"{pointer}/{_escaped(name)}", before.get(name, _GONE), after.get(name, _GONE)
            )
    elif isinstance(before, list) and isinstance(after, list):
        for number in range(max(len(before), len(after))):
            yield from _changes(f"{pointer}/{number}", _at(before, number), _at(after, number))
    elif type(before) is not type(after) or before != after:
        yield Change(pointer=pointer, before=_short(before), after=_short(after))


_GONE = object()


def _at(items: Sequence[Any], number: int) -> Any:
    return items[number] if number < len(items) else _GONE


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")  # RFC 6901, section 3


def _short(value: Any) -> Any:
    if value is _GONE:
        return None
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]} … ({len(value)} characters in all)"
    if isinstance(value, Mapping | list) and _count(value, limit=30) >= 30:
        return f"({len(value)} members)"
    return value


def _too_many(value: Any) -> bool:
    return _count(value, limit=_MOST_VALUES) >= _MOST_VALUES


def _count(value: Any, *, limit: int) -> int:
    """Count the values in *value*, up to *limit*."""
    count, left = 0, [value]
    while left and count < limit:
        one = left.pop()
        count += 1
        if isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
    return count
