"""Feeds a capture with what the judge saw and said, in the order in which it concluded.

All encoding and redaction happens in the capture's own thread.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmgate import __version__
from mitmgate.hold.grants import Told
from mitmgate.judge.codec import encode_input, incomplete_input
from mitmgate.judge.inputs import (
    AnswerInput,
    EndInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
)
from mitmgate.judge.outcome import Outcome, Resolution
from mitmgate.judge.records import golden_lines
from mitmgate.policy.verdict import Verdict
from mitmgate.record.capture import CaptureWriter, Sink
from mitmgate.record.lines import encode_line
from mitmgate.record.redact import Redactor, Scans

_MOST_LATE = 1_000


@dataclass(frozen=True, slots=True)
class Run:
    """What a capture says of the run that made it: the hash of its policy, and its mode.

    ``shadow`` says that it enforces nothing, whatever the policy's own mode is.
    """

    policy: str
    mode: str
    shadow: bool = False


@dataclass(slots=True)
class _Exchange:
    """An exchange in the capture: its number, how many of its inputs stand there, which asked.

    ``asked`` holds the ordinals of inputs by the numbers of their outcomes.
    """

    ordinal: int
    inputs: int = 0
    asked: dict[int, int] = field(default_factory=dict)


class Recording:
    """One capture being written; every method but ``close`` returns at once.

    ``policy``, ``input``, ``outcome``, ``resolution``, ``grant``, ``undo`` and ``switch`` give
    False when the record will not be written: then the caller denies (code ``capture_full``). An
    outcome follows its input directly.
    """

    def __init__(
        self,
        writer: CaptureWriter,
        scanner: Scans,
        *,
        clock: Callable[[], float],
        started: float,
    ) -> None:
        self._writer = writer
        self._scanner = scanner
        self._redactor = Redactor(scanner, key=secrets.token_bytes(32))
        self._clock = clock
        self._started = started
        self._exchanges: dict[str, _Exchange] = {}
        self._late: OrderedDict[str, _Exchange] = OrderedDict()

    @property
    def path(self) -> Path:
        """The capture file."""
        return self._writer.path

    @property
    def failure(self) -> str | None:
        """Why nothing is written any more, or None."""
        return self._writer.failure

    @property
    def crowded(self) -> bool:
        """Whether more waits to be written than should."""
        return self._writer.crowded

    def policy(self, policy: str, mode: str, canaries: Sequence[str]) -> bool:
        """Take in what is in force from now on: a policy's hash, its mode, the canaries' rules."""
        told = {"policy": policy, "mode": mode, "canaries": list(canaries)}
        line = {"type": "policy", **told, "at": self._at()}

        def write(sink: Sink) -> None:
            if sink.ready:
                sink.capture(line)
            else:
                sink.header |= told

        return self._writer.offer(write)

    def input(self, given: Input, *, now: float) -> bool:
        """Take an input that is concluded at *now*, in the order in which inputs are."""
        at = now - self._started
        return self._writer.offer(
            lambda sink: self._write_input(sink, given, at), size=_size(given)
        )

    def outcome(self, outcome: Outcome) -> bool:
        """Take what was concluded on the last input of its exchange."""
        return self._writer.offer(lambda sink: self._write_outcome(sink, outcome), size=2000)

    def resolution(self, outcome: Outcome, resolution: Resolution) -> bool:
        """Take the answer to *outcome*, which asked."""
        at = self._at()
        return self._writer.offer(
            lambda sink: self._write_resolution(sink, outcome, resolution, at)
        )

    def grant(self, outcome: Outcome, told: Told) -> bool:
        """Take an answer to *outcome*, which asked, that counts for calls to come."""
        at = self._at()
        return self._writer.offer(lambda sink: self._write_grant(sink, outcome, told, at))

    def undo(self, kind: str, number: str) -> bool:
        """Take in that the answer with that *number*, counted by *kind*, was taken back."""
        line = {"type": "undo", "kind": kind, "number": number, "at": self._at()}
        return self._writer.offer(lambda sink: _write(sink, line))

    def switch(self, *, on: bool) -> bool:
        """Take in that the kill switch was turned."""
        line = {"type": "switch", "on": on, "at": self._at()}
        return self._writer.offer(lambda sink: _write(sink, line))

    def close(self) -> None:
        """Write everything that was taken, end the capture and wait for its thread."""
        self._writer.close()

    def _at(self) -> float:
        return self._clock() - self._started

    def _write_input(self, sink: Sink, given: Input, at: float) -> None:
        exchange = self._exchanges.get(given.exchange)
        named = {"id": given.exchange} if exchange is None else {}
        if exchange is None:
            if not sink.ready:
                sink.header["run"] = given.exchange.rpartition("-")[0]
            exchange = self._exchanges[given.exchange] = _Exchange(sink.exchange())
        place = {"exchange": exchange.ordinal, "message": exchange.inputs, "at": at, **named}
        exchange.inputs += 1
        sink.capture(self._line(given, place))
        if isinstance(given, EndInput):
            self._exchanges.pop(given.exchange, None)
            if exchange.asked:  # an answer can still come: for a retry
                self._late[given.exchange] = exchange
                while len(self._late) > _MOST_LATE:
                    self._late.popitem(last=False)

    def _write_outcome(self, sink: Sink, outcome: Outcome) -> None:
        exchange = self._exchanges.get(outcome.exchange)
        if exchange is None:
            return
        message = exchange.inputs - 1
        for line in golden_lines(
            outcome, exchange=exchange.ordinal, message=message, scanner=self._scanner
        ):
            sink.golden(line)
        if outcome.verdict is Verdict.ASK:
            exchange.asked[outcome.number] = message

    def _write_resolution(
        self, sink: Sink, outcome: Outcome, resolution: Resolution, at: float
    ) -> None:
        place = self._place(outcome, at)
        if place is not None:
            sink.capture({"type": "resolution", **place, "answer": resolution.answer})

    def _write_grant(self, sink: Sink, outcome: Outcome, told: Told, at: float) -> None:
        place = self._place(outcome, at)
        if place is None:
            return
        line = {"type": "grant", **place, "answer": told.answer, "seconds": told.seconds}
        if told.scope is not None:
            scope = {"on": told.scope.on, "names": list(told.scope.names)}
            line |= scope | {"prefix": told.scope.prefix}
        if told.scope is not None and not self._redactor.clean(encode_line(line).decode()):
            line |= {"names": [], "prefix": None}  # its place counts: others are known by number
        sink.capture(line)

    def _place(self, outcome: Outcome, at: float) -> dict[str, Any] | None:
        """Return where in the capture *outcome* asked, None where that is not (any more) known."""
        exchange = self._exchanges.get(outcome.exchange) or self._late.get(outcome.exchange)
        if exchange is None or outcome.number not in exchange.asked:
            return None
        asked = exchange.asked[outcome.number]
        return {"exchange": exchange.ordinal, "message": asked, "at": at}

    def _line(self, given: Input, place: dict[str, Any]) -> dict[str, Any]:
        try:
            record = {**encode_input(given, self._redactor), **place}
            if self._redactor.clean(encode_line(record).decode()):
                return record
        except Exception:  # noqa: BLE001, S110  one input that defeats us must not end the capture
            pass
        return {**incomplete_input(given), **place}


def open_recording(
    folder: Path,
    *,
    scanner: Scans,
    run: Run,
    clock: Callable[[], float],
) -> Recording:
    """Start a capture of *run* in *folder*; ConfigError when it cannot be written.

    *clock* gives seconds since the epoch.
    """
    started = clock()
    header = {
        "tool": f"mitmgate {__version__}", "policy": run.policy, "mode": run.mode,
        "shadow": run.shadow, "started": started, "run": "", "keep": [], "segment": 1,
        "canaries": [],
    }  # fmt: skip
    writer = CaptureWriter(folder, header=header)
    return Recording(writer, scanner, clock=clock, started=started)


def _write(sink: Sink, line: dict[str, Any]) -> None:
    sink.capture(line)


def _size(given: Input) -> int:
    match given:
        case RequestInput() | AnswerInput():
            return len(given.body) + 1000
        case EventInput() | MessageInput():
            return len(given.data) + 1000
        case _:
            return 500
