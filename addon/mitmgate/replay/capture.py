"""Reading captures back, strictly: what cannot be replayed exactly is refused with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mitmgate.errors import ConfigError, Problem
from mitmgate.hold.grants import Scope, Told
from mitmgate.hold.target import On
from mitmgate.judge.codec import decode_input, is_incomplete, is_lost
from mitmgate.judge.inputs import Input
from mitmgate.record.capture import CAPTURE_VERSION, GOLDEN_SUFFIX
from mitmgate.record.redact import Sample
from mitmgate.replay.lines import DamagedLineError, parse_line, read_lines

_KEYS = {
    "capture": {"v", "type", "tool", "policy", "mode"},
    "connect": {"type", "agent", "authority", "exchange", "at"},
    "request": {"type", "agent", "head", "authority", "body", "tunnel", "exchange", "at"},
    "dial": {"type", "agent", "host", "port", "addresses", "static", "own", "exchange", "at"},
    "answer": {"type", "head", "body", "exchange", "at"},
    "event": {"type", "number", "event", "data", "head", "exchange", "at"},
    "message": {"type", "number", "from_client", "data", "exchange", "at"},
    "end": {"type", "exchange", "at"},
    "resolution": {"type", "exchange", "at", "input", "number", "answer"},
    "grant": {"type", "exchange", "at", "input", "number", "answer", "seconds"},
    "undo": {"type", "kind", "number", "at"},
    "switch": {"type", "on", "at"},
    "close": {"type", "lines"},
}
_OPTIONAL = {
    "capture": {"started", "shadow"},
    "connect": {"shown", "hello"},
    "request": {"shown", "unread"},
    "answer": {"unread"},
    "event": {"notes"},
    "grant": {"on", "names", "prefix"},
}


@dataclass(frozen=True, slots=True)
class HeaderLine:
    """What a capture says of its run; ``shadow``: it enforced nothing, whatever the policy said.

    ``started`` is in seconds since the epoch; 0 in captures that do not tell.
    """

    started: float = 0.0
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class InputLine:
    """A recorded input; ``incomplete`` when its body was not stored, ``lost`` when more is gone.

    ``at`` is in seconds since the epoch.
    """

    line: int
    exchange: int
    at: float
    input: Input
    incomplete: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class ResolutionLine:
    """An answer that an operator gave to the outcome of the input on line ``asked``."""

    line: int
    exchange: int
    asked: int
    answer: Literal["allow", "deny"]


@dataclass(frozen=True, slots=True)
class GrantLine:
    """What an operator said to the outcome of the input on line ``asked``, for calls to come."""

    line: int
    exchange: int
    at: float
    asked: int
    told: Told


@dataclass(frozen=True, slots=True)
class UndoLine:
    """An answer was taken back: the one with that ``number`` (``g3``), counted by its ``kind``."""

    line: int
    at: float
    kind: str
    number: str


@dataclass(frozen=True, slots=True)
class SwitchLine:
    """The kill switch was turned on or off, at seconds since the epoch."""

    line: int
    at: float
    on: bool


@dataclass(frozen=True, slots=True)
class CloseLine:
    """The last line of a capture whose writer ended in good order."""

    line: int


type CaptureLine = (
    HeaderLine | InputLine | ResolutionLine | GrantLine | UndoLine | SwitchLine | CloseLine
)


def capture_files(path: Path) -> list[Path]:
    """Return the captures that *path* names, a file or a folder; ConfigError if there are none."""
    if path.name.endswith(GOLDEN_SUFFIX):
        name = path.name.removesuffix(GOLDEN_SUFFIX) + ".jsonl"
        raise ConfigError(
            Problem("this is a golden file", file=str(path), hint=f"replay the capture {name}")
        )
    if path.is_dir():
        files = [p for p in sorted(path.glob("*.jsonl")) if not p.name.endswith(GOLDEN_SUFFIX)]
        if not files:
            raise ConfigError(
                Problem("no captures in this folder", file=str(path),
                        hint="record one with `mitmgate run --capture DIR`")
            )  # fmt: skip
        return files
    if not path.exists():
        raise ConfigError(
            Problem("no such file or folder", file=str(path),
                    hint="name a capture, or the folder given to `mitmgate run --capture`")
        )  # fmt: skip
    return [path]


def read_capture(path: Path, sample: Sample) -> Iterator[CaptureLine]:
    """Yield the lines of a capture, its header first; ConfigError where it is damaged.

    *sample* gives the values that stand for the secrets that were taken out.
    """
    try:
        closed = False
        number, started = 0, 0.0
        for number, text in read_lines(path):
            if closed:
                raise DamagedLineError(number, "there is a line after the end of the capture")
            try:
                record = parse_line(text)
                line: CaptureLine
                if number == 1:
                    line = _header(record)
                    started = line.started
                else:
                    line = _line(number, record, sample, started)
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
                raise DamagedLineError(number, _reason(error)) from None
            closed = isinstance(line, CloseLine)
            yield line
        if number == 0:
            raise DamagedLineError(1, "the file is empty")
    except DamagedLineError as error:
        hint = "remove that line; what came before it can be replayed" if error.torn else (
            "record a new capture, or restore this one from a copy"
        )  # fmt: skip
        problem = Problem(str(error), file=str(path), line=error.line, hint=hint)
        raise ConfigError(problem) from None
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error


def _header(record: Mapping[str, Any]) -> HeaderLine:
    if record.get("type") != "capture":
        raise ValueError("the first line is not the header of a capture")
    if record.get("v") != CAPTURE_VERSION:
        raise ValueError(f"capture version {record.get('v')!r}; this mitmgate reads version 1")
    _check_keys(record)
    return HeaderLine(float(record.get("started", 0.0)), record.get("shadow", False) is True)


def _line(number: int, record: Mapping[str, Any], sample: Sample, started: float) -> CaptureLine:
    _check_keys(record)
    if record["type"] == "close":
        if record["lines"] != number - 1:
            raise ValueError(f"{record['lines']} lines were written and {number - 1} are here")
        return CloseLine(number)
    if record["type"] == "undo":
        at = started + float(record["at"])
        return UndoLine(number, at, str(record["kind"]), str(record["number"]))
    if record["type"] == "switch":
        if type(record["on"]) is not bool:
            raise ValueError("on is neither true nor false")
        return SwitchLine(number, started + float(record["at"]), record["on"])
    exchange = record["exchange"]
    if type(exchange) is not int:
        raise ValueError("exchange is not a whole number")
    if record["type"] == "resolution":
        if record["answer"] not in ("allow", "deny"):
            raise ValueError("the answer is neither allow nor deny")
        return ResolutionLine(number, exchange, int(record["input"]), record["answer"])
    if record["type"] == "grant":
        at = started + float(record["at"])
        return GrantLine(number, exchange, at, int(record["input"]), _told(record))
    given = decode_input(record, str(exchange), sample)
    at = started + float(record["at"])
    return InputLine(number, exchange, at, given, is_incomplete(record), is_lost(record))


def _told(record: Mapping[str, Any]) -> Told:
    answer, on, seconds = record["answer"], record.get("on"), record["seconds"]
    if answer not in ("allow", "deny"):
        raise ValueError("the answer is neither allow nor deny")
    if seconds is not None and type(seconds) is not int:
        raise ValueError("seconds is not a whole number")
    if on is None:
        return Told(answer, None, seconds)
    if on not in get_args(On.__value__):
        raise ValueError("an unknown scope of an answer")
    return Told(answer, Scope(on, tuple(record["names"]), record["prefix"]), seconds)


def _check_keys(record: Mapping[str, Any]) -> None:
    kind = record.get("type")
    known = _KEYS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise ValueError(f"unknown type {kind!r}")
    if record.keys() - _OPTIONAL.get(str(kind), set()) != known:
        odd = ", ".join(sorted(record.keys() ^ known))
        raise ValueError(f"unknown or missing keys: {odd}")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"key {error} is missing"
    return str(error) if isinstance(error, ValueError) else "a value has the wrong type"
