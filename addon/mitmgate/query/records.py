"""Reading the audit file line by line; a damaged line is reported and left out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.audit import TORN_NOTE

_LONGEST = 1024 * 1024
_TYPES = frozenset(
    {"start", "policy", "decision", "resolution", "grant", "switch", "completion", "note"}
)
_NEEDED = ("id", "exchange", "kind", "channel", "agent", "host", "endpoint", "method", "verdict",
           "rule", "code", "reason")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that is no record, counted from 1; ``noted`` when the next record tells of it."""

    line: int
    message: str
    noted: bool = False


type Record = Mapping[str, Any]


def read_records(path: Path) -> Iterator[Record | Damage]:
    """Yield what *path* holds. A last line without its end is being written: it is left out."""
    with _open(path) as file:
        yield from records_in(file)


def records_in(file: IO[bytes]) -> Iterator[Record | Damage]:
    """Yield what *file* holds from where it stands; lines are counted from there."""
    damage: Damage | None = None
    for item in _lines(file):
        if damage is not None:
            noted = not isinstance(item, Damage) and item.get("note") == TORN_NOTE
            yield replace(damage, noted=noted)
        damage = item if isinstance(item, Damage) else None
        if not isinstance(item, Damage):
            yield item
    if damage is not None:
        yield damage


def _lines(file: IO[bytes]) -> Iterator[Record | Damage]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if line.endswith(b"\n"):
            yield parse_record(line, number)
        elif len(line) == _LONGEST:
            yield Damage(number, "the line is too long")
            _skip_line(file)


def follow_records(
    path: Path, wait: Callable[[], bool], *, skip: int = 0
) -> Iterator[Record | Damage]:
    """Yield records for ever as they are written, from byte *skip* on.

    *wait* is called when nothing is new; it pauses and returns False to stop. A file that was
    replaced or cut is read again from its start.
    """
    file = _open(path)
    try:
        file.seek(skip)
        number, part = 0, b""
        while True:
            line = file.readline(_LONGEST)
            part += line
            if part.endswith(b"\n"):
                number += 1
                yield parse_record(part, number)
                part = b""
            elif len(part) > _LONGEST:
                number += 1
                yield Damage(number, "the line is too long")
                _skip_line(file)
                part = b""
            elif not line:
                if not wait():
                    return
                if _replaced(file, path):
                    file.close()
                    file, number, part = _open(path), 0, b""
    finally:
        file.close()


def parse_record(line: bytes, number: int) -> Record | Damage:
    """Return the record that *line* spells, or what is wrong with it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return Damage(number, "the line is not JSON")
    if not isinstance(record, dict):
        return Damage(number, "the line is not a JSON object")
    if record.get("v") != 1 or record.get("type") not in _TYPES:
        return Damage(number, "an unknown version or type of record")
    if not isinstance(record.get("time"), str):
        return Damage(number, "a record without its time")
    if record["type"] == "decision" and not all(isinstance(record.get(k), str) for k in _NEEDED):
        return Damage(number, "a decision without its fields")
    return record


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise ConfigError(
            Problem("there is no audit file yet", file=str(path),
                    hint="`mitmgate run` writes one; --state-dir names another state folder")
        ) from None  # fmt: skip
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot read the audit file: {error.strerror}", file=str(path),
                    hint="run this as the user that runs the proxy")
        ) from error  # fmt: skip


def _skip_line(file: IO[bytes]) -> None:
    while (line := file.readline(_LONGEST)) and not line.endswith(b"\n"):
        pass


def _replaced(file: IO[bytes], path: Path) -> bool:
    try:
        now = path.stat()
    except OSError:
        return False
    return not _same_file(file, now.st_ino, now.st_dev) or now.st_size < file.tell()


def _same_file(file: IO[bytes], inode: int, device: int) -> bool:
    mine = os.fstat(file.fileno())
    return (mine.st_ino, mine.st_dev) == (inode, device)
