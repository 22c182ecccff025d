"""Reading captures back, strictly: what cannot be replayed exactly is refused with its line."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from mitmgate.errors import ConfigError, Problem
from mitmgate.hold.grants import Scope, Told
from mitmgate.hold.target import On
from mitmgate.judge.codec import decode_input, is_incomplete, is_lost
from mitmgate.record.capture import CAPTURE_VERSION
from mitmgate.record.redact import Sample
from mitmgate.replay.entries import (
    CaptureLine,
    CloseLine,
    CutLine,
    GrantLine,
    HeaderLine,
    InputLine,
    PolicyLine,
    ResolutionLine,
    SwitchLine,
    UndoLine,
)
from mitmgate.replay.lines import DamagedLineError, parse_line, read_lines

_PLACE = {"type", "exchange", "message", "at"}
_KEYS = {
    "capture": {"v", "type", "tool", "policy", "mode", "shadow", "started", "run", "keep",
                "segment", "canaries"},
    "policy": {"type", "policy", "mode", "canaries", "at"},
    "connect": _PLACE | {"agent", "authority"},
    "request": _PLACE | {"agent", "head", "authority", "body", "tunnel"},
    "dial": _PLACE | {"agent", "host", "port", "addresses", "static", "own"},
    "answer": _PLACE | {"head", "body"},
    "event": _PLACE | {"number", "event", "data", "head"},
    "message": _PLACE | {"number", "from_client", "data"},
    "end": _PLACE,
    "cut": _PLACE | {"bytes"},
    "resolution": _PLACE | {"answer"},
    "grant": _PLACE | {"answer", "seconds"},
    "undo": {"type", "kind", "number", "at"},
    "switch": {"type", "on", "at"},
    "close": {"type", "lines"},
}  # fmt: skip
_INPUT = {"id", "carried"}
_END = b'{"type":"close",'
_LONGEST_END = 200
_OPTIONAL = {
    "connect": _INPUT | {"shown", "hello"},
    "request": _INPUT | {"shown", "unread"},
    "dial": _INPUT,
    "answer": _INPUT | {"unread"},
    "event": _INPUT | {"notes"},
    "message": _INPUT,
    "end": _INPUT,
    "grant": {"on", "names", "prefix"},
}


def read_header(path: Path) -> HeaderLine:
    """Return the header of the capture at *path*; ConfigError where it has none."""
    lines = read_capture(path, lambda rule, number: f"[{rule}:{number}]")
    header = next(lines)
    lines.close()
    if not isinstance(header, HeaderLine):
        raise TypeError("a capture begins with its header")
    return header


def is_closed(path: Path) -> bool:
    """Tell whether the capture at *path* was written to its end; ConfigError: cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LONGEST_END, 0))
            last = file.read().splitlines()[-1:]
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error
    return bool(last) and last[0].startswith(_END)


def read_capture(path: Path, sample: Sample) -> Generator[CaptureLine]:
    """Yield the lines of a capture, its header first; ConfigError where it is damaged.

    *sample* gives the values that stand for the secrets that were taken out.
    """
    reader = _Reader(sample)
    try:
        for number, text in read_lines(path):
            try:
                line = reader.line(number, parse_line(text), whole=_is_whole(text))
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
                raise DamagedLineError(number, _reason(error)) from None
            yield line
        if not reader.begun:
            raise DamagedLineError(1, "the file is empty")
    except DamagedLineError as error:
        hint = "remove that line; what came before it can be replayed" if error.torn else (
            "record a new capture, or restore this one from a copy"
        )  # fmt: skip
        problem = Problem(str(error), file=str(path), line=error.line, hint=hint)
        raise ConfigError(problem) from None
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error


class _Reader:
    """Makes lines of records; every method raises what :func:`read_capture` calls damage."""

    def __init__(self, sample: Sample) -> None:
        self.begun = False
        self._sample = sample
        self._started = 0.0
        self._closed = False
        self._whole = False
        self._inputs: dict[int, int] = {}

    def line(self, number: int, record: Mapping[str, Any], *, whole: bool) -> CaptureLine:
        """Return the line with that *number*, counted from 1; *whole*: nothing was left out."""
        self._whole = whole
        if self._closed:
            raise ValueError("there is a line after the end of the capture")
        if number == 1:
            header = _header(record)
            self.begun, self._started = True, header.started
            return header
        _check_keys(record)
        match record["type"]:
            case "close":
                return self._close(number, record)
            case "undo":
                kind, which = _str(record["kind"]), _str(record["number"])
                return UndoLine(number, self._at(record), kind, which)
            case "switch":
                return SwitchLine(number, self._at(record), _bool(record["on"]))
            case "policy":
                told = _str(record["policy"]), _str(record["mode"]), _strings(record["canaries"])
                return PolicyLine(number, self._at(record), *told)
            case _:
                return self._placed(number, record)

    def _close(self, number: int, record: Mapping[str, Any]) -> CloseLine:
        if record["lines"] != number - 1:
            raise ValueError(f"{record['lines']} lines were written and {number - 1} are here")
        self._closed = True
        return CloseLine(number)

    def _placed(self, number: int, record: Mapping[str, Any]) -> CaptureLine:
        place = _int(record, "exchange"), _int(record, "message")
        at = self._at(record)
        match record["type"]:
            case "resolution":
                return ResolutionLine(number, *place, _answer(record))
            case "grant":
                return GrantLine(number, *place, at, _told(record))
            case "cut":
                return CutLine(number, *place, _int(record, "bytes"))
            case _:
                return self._input(number, place, at, record)

    def _input(
        self, number: int, place: tuple[int, int], at: float, record: Mapping[str, Any]
    ) -> InputLine:
        exchange, message = place
        if message <= self._inputs.get(exchange, -1):
            raise ValueError(f"message {message} of exchange {exchange} is there already")
        self._inputs[exchange] = message
        if record["type"] == "end":
            del self._inputs[exchange]
        given = decode_input(record, str(exchange), self._sample)
        carried = _bool(record.get("carried", False))
        named = None if "id" not in record else _str(record["id"])
        incomplete, lost = not self._whole and is_incomplete(record), False
        if incomplete:
            lost = is_lost(record)
        return InputLine(number, exchange, message, at, given, incomplete, lost, named, carried)

    def _at(self, record: Mapping[str, Any]) -> float:
        return self._started + _seconds(record["at"])


def _is_whole(text: str) -> bool:
    """Tell whether *text* surely says of nothing that it was left out; no look inside."""
    return not ("incomplete" in text or "withheld" in text or "\\u" in text)


def _header(record: Mapping[str, Any]) -> HeaderLine:
    if record.get("type") != "capture":
        raise ValueError("the first line is not the header of a capture")
    if record.get("v") != CAPTURE_VERSION:
        raise ValueError(
            f"capture version {record.get('v')!r}; this mitmgate reads version {CAPTURE_VERSION}"
        )
    _check_keys(record)
    return HeaderLine(
        tool=_str(record["tool"]),
        policy=_str(record["policy"]),
        mode=_str(record["mode"]),
        shadow=_bool(record["shadow"]),
        started=_seconds(record["started"]),
        run=_str(record["run"]),
        keep=_strings(record["keep"]),
        segment=_int(record, "segment"),
        canaries=_strings(record["canaries"]),
    )


def _int(record: Mapping[str, Any], key: str) -> int:
    value = record[key]
    if type(value) is not int or value < 0:
        raise ValueError(f"{key} is not a whole number")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a time is not a number of seconds")
    return float(value)


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("a value is neither true nor false")
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return tuple(map(_str, value))


def _answer(record: Mapping[str, Any]) -> Literal["allow", "deny"]:
    answer = record["answer"]
    if answer not in ("allow", "deny"):
        raise ValueError("the answer is neither allow nor deny")
    return "allow" if answer == "allow" else "deny"


def _told(record: Mapping[str, Any]) -> Told:
    answer, on, seconds = _answer(record), record.get("on"), record["seconds"]
    if seconds is not None and type(seconds) is not int:
        raise ValueError("seconds is not a whole number")
    if on is None:
        return Told(answer, None, seconds)
    if on not in get_args(On.__value__):
        raise ValueError("an unknown scope of an answer")
    return Told(answer, Scope(on, _strings(record["names"]), record["prefix"]), seconds)


def _check_keys(record: Mapping[str, Any]) -> None:
    kind = record.get("type")
    known = _KEYS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise ValueError(f"unknown type {kind!r}")
    if record.keys() == known:
        return
    given = record.keys() - _OPTIONAL.get(str(kind), set())
    if given != known:
        odd = ", ".join(sorted(given ^ known))
        raise ValueError(f"unknown or missing keys: {odd}")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"key {error} is missing"
    return str(error) if isinstance(error, ValueError) else "a value has the wrong type"
