"""From captures to flow files of mitmproxy: what is shown has placeholders, never secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.imported import Timed
from mitmgate.judge.inputs import AnswerInput, EndInput, EventInput, MessageInput, RequestInput
from mitmgate.mitm.flow_inputs import flow_of
from mitmgate.mitm.flows import Lines, Numbered, write_flow
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import read_meta
from mitmgate.replay.capture import read_capture
from mitmgate.replay.entries import (
    CaptureLine,
    CutLine,
    GrantLine,
    HeaderLine,
    InputLine,
    ResolutionLine,
)
from mitmgate.replay.golden import golden_from
from mitmgate.replay.lines import DamagedLineError, parse_line, read_lines

_NOT_KEPT = "[not kept]"


@dataclass(slots=True)
class _Exchange:
    inputs: list[Timed] = field(default_factory=list)
    lines: list[Numbered] = field(default_factory=list)
    golden: list[Numbered] = field(default_factory=list)


def export_flows(capture: Path, out: Path) -> int:
    """Write the exchanges of *capture* to a new flow file *out*; return how many they are.

    ConfigError when the capture or its golden file cannot be used, or *out* cannot be written.
    """
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        try:
            with open(os.open(temporary, flags, 0o600), "wb") as file:  # noqa: PTH123
                count = _Export(capture, file).run()
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot be written: {error.strerror}", file=str(out),
                    hint="name another file with --out")
        ) from error  # fmt: skip
    return count


class _Export:
    """One export, line by line; an exchange is written when it ends."""

    def __init__(self, capture: Path, file: BinaryIO) -> None:
        self._capture = capture
        self._file = file
        self._golden = _golden(golden_path(capture))
        meta = read_meta(capture)
        self._notes = "" if meta is None else meta.notes
        self._next = next(self._golden, None)
        self._open: dict[int, _Exchange] = {}
        self._header: Numbered = (1, "")
        self._loose: list[Numbered] = []
        self._ready: _Exchange | None = None
        self._count = 0

    def run(self) -> int:
        """Write every exchange; return how many they are."""
        texts = (text.rstrip("\n") for _, text in read_lines(self._capture))
        for line, text in zip(read_capture(self._capture, _no_sample), texts, strict=True):
            self._take(line, text)
        for exchange in self._open.values():
            self._finish(exchange)
        if self._ready is not None:
            self._write(self._ready)
        if self._count == 0:
            raise ConfigError(Problem("nothing was recorded here", file=str(self._capture)))
        if self._next is not None:
            raise ConfigError(
                Problem("its golden file does not belong to it", file=str(self._capture),
                        hint="`mitmgate replay` says more")
            )  # fmt: skip
        return self._count

    def _take(self, line: CaptureLine, text: str) -> None:
        match line:
            case HeaderLine():
                self._header = (1, text)
            case InputLine():
                exchange = self._open.setdefault(line.exchange, _Exchange())
                exchange.lines.append((line.line, text))
                exchange.inputs.append(_shown(line))
                self._take_golden(line, exchange)
                if isinstance(line.input, EndInput):
                    self._finish(self._open.pop(line.exchange))
            case ResolutionLine() | GrantLine() | CutLine() if line.exchange in self._open:
                self._open[line.exchange].lines.append((line.line, text))
            case _:
                self._loose.append((line.line, text))

    def _take_golden(self, line: InputLine, exchange: _Exchange) -> None:
        while self._next is not None and self._next[0] == (line.exchange, line.message):
            exchange.golden.append((line.line, self._next[1]))
            self._next = next(self._golden, None)

    def _finish(self, exchange: _Exchange) -> None:
        # One flow is held back: what stands behind the last one needs a flow to go with.
        if self._ready is not None:
            self._write(self._ready)
        self._ready = exchange

    def _write(self, exchange: _Exchange) -> None:
        lines = sorted([self._header, *self._loose, *exchange.lines])
        self._loose = []
        flow = flow_of(exchange.inputs)
        told = Lines(tuple(lines), tuple(exchange.golden), self._notes)
        write_flow(self._file, flow, told)
        self._count += 1


def _shown(line: InputLine) -> Timed:
    """Return the input of *line* as it is shown: without what stands for a body not kept."""
    given = line.input
    if not line.incomplete:
        return Timed(line.at, given)
    match given:
        case RequestInput() | AnswerInput() if not given.body.strip(b"\xff"):
            return Timed(line.at, replace(given, body=b""), len(given.body))
        case EventInput() | MessageInput():
            return Timed(line.at, replace(given, data=_NOT_KEPT))
        case _:
            return Timed(line.at, given)


def _no_sample(rule: str, number: int) -> NoReturn:
    raise LookupError(rule, number)  # its placeholder stays


def _golden(path: Path) -> Iterator[tuple[tuple[int, int], str]]:
    try:
        for number, text in read_lines(path):
            try:
                place = golden_from(parse_line(text)).place
            except ValueError as error:
                raise ConfigError(Problem(str(error), file=str(path), line=number)) from None
            yield place, text.rstrip("\n")
    except FileNotFoundError:
        return
    except DamagedLineError as error:
        raise ConfigError(Problem(str(error), file=str(path), line=error.line)) from None
