"""Captures that never grow beyond a size and an age: segments, of which the oldest go.

A new segment begins with what its traffic rests on: *carried* lines of exchanges that are still
open, of those that began sessions or listed tools, and of those that operators answered.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.meta import META_SUFFIX

SEGMENTS = 8
_LEAST_SIZE = 1024 * 1024
_LEAST_AGE = 60.0
_GOLDEN_SUFFIX = ".golden.jsonl"
_SIZES = {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_AGES = {"m": 60, "h": 3600, "d": 86_400}
_MOST_OPEN_BYTES = 256 * 1024  # of one exchange
_MOST_HELD_BYTES = 16 * 1024 * 1024
_MOST_LOOSE = 1_000
_MOST_RECENT = 20
STATEFUL = (
    "initialize", "notifications/initialized", "server/discover", "tools/list", "prompts/list",
    "resources/list", "resources/templates/list",
)  # fmt: skip
"""Methods after which later messages are judged otherwise."""

_INPUTS = frozenset({"connect", "request", "dial", "answer", "event", "message", "end"})
_BEGINNING = _INPUTS - {"end"}

type Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ring:
    """The bounds: ``size`` in bytes of all files, ``age`` in seconds; None: none."""

    size: int | None = None
    age: float | None = None

    @property
    def most_carried(self) -> int:
        """The bytes with which a segment may begin."""
        share = _MOST_HELD_BYTES if self.size is None else self.size // (2 * SEGMENTS)
        return min(_MOST_HELD_BYTES, share)

    @property
    def words(self) -> list[str]:
        """What headers say of it."""
        size = [] if self.size is None else [f"size:{self.size}"]
        return size + ([] if self.age is None else [f"age:{self.age:g}"])

    def is_full(self, size: int, age: float) -> bool:
        """Tell whether a segment of *size* bytes and *age* seconds is to end."""
        return (self.size is not None and size * SEGMENTS >= self.size) or (
            self.age is not None and age * SEGMENTS >= self.age
        )


def parse_ring(size: str | None, age: str | None) -> Ring | None:
    """Return the ring of two options such as ``256MB`` and ``7d``, None without; ConfigError."""
    if size is None and age is None:
        return None
    bytes_ = None if size is None else int(_number(size, _SIZES, "--capture-size", "256MB"))
    seconds = None if age is None else float(_number(age, _AGES, "--capture-age", "7d"))
    if bytes_ is not None and bytes_ < _LEAST_SIZE:
        raise ConfigError(Problem("too small", key="--capture-size", hint="at least 1MB"))
    if seconds is not None and seconds < _LEAST_AGE:
        raise ConfigError(Problem("too short", key="--capture-age", hint="at least 1m"))
    return Ring(bytes_, seconds)


def _number(text: str, units: Mapping[str, int], key: str, example: str) -> int:
    for unit, factor in units.items():
        number = text.removesuffix(unit)
        if number != text and number.isascii() and number.isdigit() and len(number) < 10:
            return int(number) * factor
    units_named = ", ".join(units)
    raise ConfigError(
        Problem(f"not a number with one of {units_named}: {text[:20]}", key=key,
                hint=f"for example {example}")
    )  # fmt: skip


def prune(folder: Path, ring: Ring, *, now: float, current: Path | None) -> int:
    """Remove the oldest segments in *folder* until the rest fits; return how many went.

    Only captures whose header says that a ring wrote them are looked at, never *current*.
    """
    segments = sorted(_segments(folder, current))
    total = sum(size for _, size, _ in segments) + (0 if current is None else _size(current))
    removed = 0
    for ended, size, path in segments:
        too_much = ring.size is not None and total > ring.size
        too_old = ring.age is not None and now - ended > ring.age
        if not too_much and not too_old:
            break
        for file in _beside(path):
            file.unlink(missing_ok=True)
        total -= size
        removed += 1
    return removed


def _segments(folder: Path, current: Path | None) -> Iterator[tuple[float, int, Path]]:
    for path in folder.glob("capture-*.jsonl"):
        if path == current or path.name.endswith(_GOLDEN_SUFFIX):
            continue
        with contextlib.suppress(OSError), path.open("rb") as file:
            header = file.readline(4096)
            if b'"size:' in header or b'"age:' in header:
                yield path.stat().st_mtime, _size(path), path


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _beside(path) if file.exists())


def _beside(path: Path) -> list[Path]:
    stem = path.name.removesuffix(".jsonl")
    names = (path.name, stem + _GOLDEN_SUFFIX, stem + META_SUFFIX)
    return [path.with_name(name) for name in names]


def holds_state(record: Record) -> bool:
    """Tell whether the request *record* is one whose answer later judgements rest on."""
    text = record["body"].get("text", "")
    return any(f'"{method}"' in text for method in STATEFUL)


@dataclass(slots=True)
class _Lines:
    """The lines of one exchange, each with its place among all."""

    lines: list[tuple[int, Record]] = field(default_factory=list)
    size: int = 0
    holds: bool = False
    ended: bool = False
    name: object = None


class Carrier:
    """Keeps the lines with which the next segment begins; its memory is bounded."""

    def __init__(self, most: int = _MOST_HELD_BYTES) -> None:
        self._most = most
        self._count = 0
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._exchanges: OrderedDict[int, _Lines] = OrderedDict()
        self._named: dict[object, int] = {}
        self._loose: OrderedDict[object, tuple[int, Record]] = OrderedDict()
        self._size = 0
        self.dropped: set[int] = set()
        """Open exchanges too large to be carried on: their rest says nothing in a new segment."""

    def note(self, record: Record, size: int) -> None:
        """Take in a line that was written, of *size* bytes."""
        self._count += 1
        kind = record["type"]
        if "exchange" not in record:
            key = kind if kind == "switch" else self._count
            if kind in ("switch", "undo"):
                self._add_loose(key, self._count, record)
            return
        number = record["exchange"]
        if number in self.dropped:
            self.dropped -= {number} if kind == "end" else set()
            return
        if number not in self._exchanges and kind not in _BEGINNING:
            self._note_late(record)
            return
        lines = self._exchanges.setdefault(number, _Lines())
        lines.lines.append((self._count, record))
        lines.size += size
        self._size += size
        if kind == "request":
            self._name(number, lines, record)
        if kind == "grant":
            lines.holds = True
            self._recent.pop(number, None)
        lines.ended = lines.ended or kind == "end"
        self._bound(number, lines)

    def knows(self, number: int) -> bool:
        """Tell whether the lines of an exchange are kept."""
        return number in self._exchanges

    def _note_late(self, record: Record) -> None:
        """Take in a line of an exchange that is not kept any more: a grant still counts."""
        if record["type"] == "grant":  # those to come are known by how many came before
            self._add_loose(self._count, self._count, record)

    def forget(self, number: int) -> None:
        """Carry on nothing of an exchange that was cut, but for the answers that still count."""
        self._drop(number)
        self.dropped.discard(number)

    def _add_loose(self, key: object, count: int, record: Record) -> None:
        self._loose[key] = count, record
        if len(self._loose) > _MOST_LOOSE:
            self._loose.popitem(last=False)

    def asked(self, number: int, *, lasting: bool) -> None:
        """Note that a person was asked in an exchange, about more than the exchange if *lasting*.

        Of others the newest are kept: an answer for calls to come can follow their end.
        """
        lines = self._exchanges.get(number)
        if lines is None or lines.holds:
            return
        lines.holds = True
        if lasting:
            return
        self._recent[number] = None
        if len(self._recent) > _MOST_RECENT:
            oldest, _ = self._recent.popitem(last=False)
            if oldest in self._exchanges:
                self._exchanges[oldest].holds = False
                self._bound(oldest, self._exchanges[oldest])

    def carried(self) -> Iterator[Record]:
        """Yield the lines for a new segment, in their order."""
        kept = [line for lines in self._exchanges.values() for line in lines.lines]
        for _, record in sorted([*kept, *self._loose.values()], key=lambda line: line[0]):
            yield record | {"carried": True} if record["type"] in _INPUTS else record

    def _name(self, number: int, lines: _Lines, record: Record) -> None:
        """Let a newer exchange of the same kind take the place of an older one."""
        if not holds_state(record):
            return
        head, text = record["head"], record["body"].get("text", "")
        method = next(method for method in STATEFUL if f'"{method}"' in text)
        lines.holds = True
        lines.name = (record["agent"], head["host"], head["port"], method)
        older = self._named.get(lines.name)
        self._named[lines.name] = number
        if older is not None and older != number and not self._answered(older):
            self._drop(older)

    def _answered(self, number: int) -> bool:
        lines = self._exchanges.get(number)
        return lines is not None and any(r["type"] == "grant" for _, r in lines.lines)

    def _bound(self, number: int, lines: _Lines) -> None:
        if lines.ended and not lines.holds:
            self._drop(number)
        elif lines.size > _MOST_OPEN_BYTES:
            self._drop(number)
            if not lines.ended:
                self.dropped.add(number)
        while self._size > self._most and self._exchanges:
            oldest = next(iter(self._recent or self._exchanges))
            if not self._exchanges[oldest].ended:
                self.dropped.add(oldest)
            self._drop(oldest)

    def _drop(self, number: int) -> None:
        lines = self._exchanges.pop(number, None)
        if lines is None:
            return
        for count, record in lines.lines:
            if record["type"] == "grant":
                self._add_loose(count, count, record)
        self._size -= lines.size
        self._recent.pop(number, None)
        if self._named.get(lines.name) == number:
            del self._named[lines.name]
