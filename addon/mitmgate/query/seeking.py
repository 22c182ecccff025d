"""Finding the place in an audit file where a time begins, without reading all before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from mitmgate.query.records import Damage, Record, parse_record, records_in

_LONGEST: Final = 1024 * 1024
_SLACK: Final = 1024 * 1024
"""Bytes that are read before the place: clocks are set back now and then."""


def records_since(path: Path, since: str) -> Iterator[Record | Damage]:
    """Yield the records of *path* from a little before the time *since* on; OSError.

    *since* is spelt as records spell it. Lines are counted from where reading begins; a last line
    without its end is being written and left out.
    """
    with path.open("rb") as file:
        file.seek(max(0, _place(file, since) - _SLACK))
        if file.tell():
            while (line := file.readline(_LONGEST)) and not line.endswith(b"\n"):
                pass
        yield from records_in(file)


def _place(file: IO[bytes], since: str) -> int:
    """Return a place before which every record is older than *since*, if they are in order."""
    low, high = 0, file.seek(0, 2)
    while high - low > _SLACK:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline(_LONGEST)
        time = _next_time(file)
        if time is None or time >= since:
            high = middle
        else:
            low = middle
    return low


def _next_time(file: IO[bytes]) -> str | None:
    """Return the time of the next record that is one; None where there is none near."""
    for _ in range(10):
        line = file.readline(_LONGEST)
        if not line.endswith(b"\n"):
            return None
        record = parse_record(line, 0)
        if not isinstance(record, Damage):
            return str(record["time"])
    return None
