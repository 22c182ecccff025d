"""The lines of a capture that were exported in flows, put together again."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.imported import Lines, Timed
from mitmgate.mitm.flows import flow_at, lines_of
from mitmgate.record.lines import encode_line
from mitmgate.record.numbering import Numbering
from mitmgate.replay.lines import parse_line

type Place = tuple[int, int]
"""The number of the first line of a flow, and its offset in the file."""


@dataclass(slots=True)
class Kept:
    """What the lines of unchanged flows say: their header, their exchanges."""

    header: dict[str, Any] = field(default_factory=dict)
    exchanges: set[int] = field(default_factory=set)


def kept_in(source: Path, places: Iterable[Place], numbering: Numbering) -> Kept:
    """Look through the lines of the flows at *places*; *numbering* gives none of their numbers.

    ConfigError where a line is damaged.
    """
    kept = Kept()
    with source.open("rb") as file:
        for number, text, _ in _lines(file, places):
            record = _parsed(source, text)
            numbering.reserve_in(text)
            if number == 1:
                kept.header = record
            elif isinstance(record.get("exchange"), int):
                kept.exchanges.add(record["exchange"])
    return kept


def restored(source: Path, places: Iterable[Place], golden: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of the capture once each; write those of its golden file to *golden*."""
    with source.open("rb") as file:
        for count, line in enumerate(_parted(_lines(file, places), golden)):
            yield encode_line({"type": "close", "lines": count}) if _is_end(line) else line


def woven(
    source: Path, places: Iterable[Place], header: dict[str, Any], more: Iterable[bytes]
) -> Iterator[bytes]:
    """Yield a capture with *header*, the lines of the flows at *places*, and *more* lines.

    Both are in the order of their times.
    """
    count = 1
    yield encode_line(header)
    with source.open("rb") as file:
        for line in _by_time(_kept_lines(source, file, places), iter(more)):
            yield line
            count += 1
    yield encode_line({"type": "close", "lines": count})


def made(timed: Iterable[Timed], lines: Lines) -> Iterator[bytes]:
    """Yield the lines of inputs that something else recorded."""
    for one in timed:
        yield encode_line(lines.line(one))


def merged[T](
    parts: Iterable[tuple[float, Callable[[], list[tuple[float, T]]]]],
) -> Iterator[T]:
    """Yield the items of *parts* by their keys; a part begins at its key, in that order.

    Only parts that are not over yet are held.
    """
    heap: list[tuple[float, int, T]] = []
    order = 0
    for key, load in parts:
        while heap and heap[0][0] < key:
            yield heapq.heappop(heap)[2]
        for at, item in load():
            heapq.heappush(heap, (at, order, item))
            order += 1
    while heap:
        yield heapq.heappop(heap)[2]


def _lines(file: BinaryIO, places: Iterable[Place]) -> Iterator[tuple[int, str, bool]]:
    """Yield the lines of flows with their numbers, in order; True: of the golden file."""
    return merged((first, partial(_numbered, file, offset)) for first, offset in places)


def _numbered(file: BinaryIO, offset: int) -> list[tuple[float, tuple[int, str, bool]]]:
    lines = lines_of(flow_at(file, offset))
    if lines is None:
        raise ConfigError(Problem("the file has changed"))
    told = [(float(n), (n, text, False)) for n, text in lines.capture]
    return told + [(float(n), (n, text, True)) for n, text in lines.golden]


def _parted(lines: Iterable[tuple[int, str, bool]], golden: BinaryIO) -> Iterator[bytes]:
    written, place, told = 0, 0, set[str]()
    for number, text, is_golden in lines:
        data = text.encode("utf-8", "replace") + b"\n"
        if not is_golden and number > written:
            written = number
            yield data
        elif is_golden:
            place, told = (place, told) if number == place else (number, set())
            if text not in told:
                golden.write(data)
            told.add(text)


def _is_end(line: bytes) -> bool:
    return line.startswith(b'{"type":"close"')


def _kept_lines(
    source: Path, file: BinaryIO, places: Iterable[Place]
) -> Iterator[tuple[float, bytes]]:
    """Yield the lines after the header with their times, which never run backwards."""
    last, written = 0.0, 1
    for number, text, is_golden in _lines(file, places):
        if is_golden or number <= written:
            continue
        written = number
        data = text.encode("utf-8", "replace") + b"\n"
        if not _is_end(data):
            last = max(last, _time(_parsed(source, text)))
            yield last, data


def _by_time(kept: Iterator[tuple[float, bytes]], more: Iterator[bytes]) -> Iterator[bytes]:
    waiting = next(kept, None)
    for line in more:
        at = _time(parse_line(line.decode()))
        while waiting is not None and waiting[0] <= at:
            yield waiting[1]
            waiting = next(kept, None)
        yield line
    while waiting is not None:
        yield waiting[1]
        waiting = next(kept, None)


def _time(record: Any) -> float:
    at = record.get("at", 0.0)
    return float(at) if isinstance(at, int | float) else 0.0


def _parsed(source: Path, text: str) -> dict[str, Any]:
    try:
        return dict(parse_line(text))
    except ValueError:
        raise ConfigError(
            Problem("what it says of its capture is damaged", file=str(source),
                    hint="export the capture again")
        ) from None  # fmt: skip
