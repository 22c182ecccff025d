"""One exchange out of captures, as a capture of its own: a row of the console becomes a fixture.

What its judgement rests on comes with it as *carried* lines: what was said before between the same
agent and host to begin a session or to list tools, and what operators answered there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem, WireError
from mitmgate.record.capture import GOLDEN_SUFFIX, golden_path
from mitmgate.record.lines import encode_line, timestamp
from mitmgate.record.meta import (
    META_VERSION,
    Meta,
    Profile,
    meta_path,
    replace_file,
    seal,
    write_meta,
)
from mitmgate.record.ring import holds_state
from mitmgate.wire.strictjson import parse_json

_LONGEST = 16 * 1024 * 1024
_MOST_CARRIED = 200  # exchanges
_INPUTS = frozenset({"connect", "request", "dial", "answer", "event", "message", "end"})
_ANSWERS = frozenset({"resolution", "grant"})

type Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The lines of a capture of one exchange, without its last line, and the golden ones.

    ``complete``: the exchange ends in it. Else its last line is a *cut*: the end is in another
    segment, or still to come, and what depends on it is not compared.
    """

    lines: tuple[Record, ...]
    golden: tuple[Record, ...]
    complete: bool = True


@dataclass(slots=True)
class _Found:
    """The exchange looked for: its number in *file*, and who spoke with whom."""

    file: Path
    exchange: int
    between: tuple[object, ...]


@dataclass(slots=True)
class _Earlier:
    """The exchanges before it between the same two, and which of them hold state."""

    numbers: dict[int, None] = field(default_factory=dict)
    holding: dict[int, None] = field(default_factory=dict)


def captures_in(folder: Path) -> list[Path]:
    """Return the captures in *folder*, the newest first; OSError where it cannot be read."""
    files = [path for path in folder.glob("*.jsonl") if not path.name.endswith(GOLDEN_SUFFIX)]
    return sorted(files, key=lambda path: (path.stat().st_mtime, path.name), reverse=True)


def find_excerpt(captures: Iterable[Path], audit_id: str) -> Excerpt | None:
    """Return the exchange with the id that *audit_id* begins with, out of the first that has it.

    *audit_id* is of an exchange (``a1b2c3-1f``), or of a decision in it (``a1b2c3-1f.0``). None
    where no capture has it. ConfigError: a capture is damaged before it.
    """
    wanted = audit_id.partition(".")[0]
    for path in captures:
        found = _find(path, wanted)
        if found is not None:
            return _excerpt(found)
    return None


def _excerpt(found: _Found) -> Excerpt:
    lines, closed = _lines(found)
    golden = tuple(_golden(found))
    own = [line for line in lines if line.get("exchange") == found.exchange]
    inputs = [line for line in own if line["type"] in _INPUTS]
    if inputs and inputs[-1]["type"] == "end":
        return Excerpt(tuple(lines), golden)
    # While both files grow, the golden lines of the last inputs may not be there yet.
    told = max(map(_message, golden), default=-1)
    rest = len(inputs) if closed else sum(line["message"] <= told for line in inputs)
    late = {id(line) for line in inputs[rest:]}
    kept = [line for line in lines if id(line) not in late]
    place = {"exchange": found.exchange, "message": rest, "at": own[-1]["at"]}
    cut = {"type": "cut", **place, "bytes": 0}
    return Excerpt((*kept, cut), tuple(one for one in golden if _message(one) < rest), False)


def _message(golden: Record) -> int:
    number = str(golden.get("message", "")).partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() else -1


def write_excerpt(excerpt: Excerpt, out: Path, *, notes: str = "") -> None:
    """Write *excerpt* as the capture *out*, with its golden and meta file.

    ConfigError where a file is there already, or cannot be written.
    """
    beside = (out, golden_path(out), meta_path(out))
    taken = [Problem("is there already", file=str(path), hint="name another file")
             for path in beside if path.exists()]  # fmt: skip
    if taken:
        raise ConfigError(*taken)
    header = excerpt.lines[0]
    close = {"type": "close", "lines": len(excerpt.lines)}
    profile = Profile(policy=header["policy"], mode=header["mode"], shadow=header["shadow"])
    meta = Meta(
        version=META_VERSION, tool=header["tool"], date=timestamp(header["started"]),
        profile=profile, flows=1, complete=excerpt.complete, notes=notes,
    )  # fmt: skip
    try:
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(golden_path(out), map(encode_line, excerpt.golden))
        replace_file(out, map(encode_line, [*excerpt.lines, close]))
        write_meta(out, meta)
        seal(out, golden_path(out))
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot be written: {error.strerror}", file=str(out), hint="name another file")
        ) from error


def _find(path: Path, wanted: str) -> _Found | None:
    needle = f'"id":{encode_line({"": wanted}).decode()[4:-2]}'
    for number, text in _texts(path):
        if needle not in text:
            continue
        record = _parsed(path, number, text)
        if record.get("id") == wanted and "exchange" in record and not record.get("carried"):
            return _Found(path, record["exchange"], _between(record))
    return None


def _lines(found: _Found) -> tuple[list[Record], bool]:
    """Return the lines of the exchange and those that it rests on, and if the file has its end."""
    lines = list(_wanted(found))
    closed = bool(lines) and lines[-1].get("type") == "close"
    return (lines[:-1] if closed else lines), closed


def _wanted(found: _Found) -> Iterator[Record]:
    carried = _carried(found)
    for number, text in _texts(found.file):
        record = _parsed(found.file, number, text)
        exchange, kind = record.get("exchange"), record.get("type")
        if exchange is None or exchange == found.exchange:
            yield record
        elif exchange in carried:
            yield record | {"carried": True} if kind in _INPUTS else record


def _carried(found: _Found) -> set[int]:
    earlier = _Earlier()
    for number, text in _texts(found.file):
        record = _parsed(found.file, number, text)
        exchange, kind = record.get("exchange"), record.get("type")
        if exchange == found.exchange:
            if kind in _INPUTS:
                break
        elif exchange is not None:
            _note(earlier, exchange, record, found.between)
    return set(list(earlier.holding)[-_MOST_CARRIED:])


def _note(earlier: _Earlier, exchange: int, record: Record, between: Sequence[object]) -> None:
    kind = record["type"]
    if kind == "end":
        earlier.numbers.pop(exchange, None)
    elif kind == "grant":  # others are counted from it
        earlier.holding[exchange] = None
    elif kind == "request" and _between(record) == between:
        earlier.numbers[exchange] = None
        if holds_state(record):
            earlier.holding[exchange] = None
    elif kind in _ANSWERS and exchange in earlier.numbers:
        earlier.holding[exchange] = None


def _between(record: Mapping[str, Any]) -> tuple[object, ...]:
    head = record.get("head") or {}
    return record.get("agent"), head.get("host"), head.get("port")


def _golden(found: _Found) -> Iterator[Record]:
    path = golden_path(found.file)
    if not path.exists():
        return
    start = f'{{"v":2,"exchange":{found.exchange},'
    for number, text in _texts(path):
        if text.startswith(start):
            yield _parsed(path, number, text)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the whole lines of *path*; one that is still being written is no line yet."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), start=1):
                if not line.endswith(b"\n"):
                    return
                yield number, line.decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error


def _parsed(path: Path, line: int, text: str) -> Record:
    try:
        value = parse_json(text)
    except WireError as error:
        raise ConfigError(Problem(str(error), file=str(path), line=line)) from None
    if not isinstance(value, dict) or not isinstance(value.get("type", ""), str):
        raise ConfigError(Problem("not a line of a capture", file=str(path), line=line))
    return value
