"""Feeds a capture with what the judge saw and said, in the order in which it concluded.

All encoding and redaction happens in the capture's own thread.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mitmgate import __version__
from mitmgate.hold.grants import Told
from mitmgate.judge.choosing import KEEP_ALL, Keep
from mitmgate.judge.codec import encode_input, incomplete_input
from mitmgate.judge.inputs import (
    ConnectInput,
    EndInput,
    Input,
)
from mitmgate.judge.outcome import Outcome, Resolution
from mitmgate.judge.records import golden_lines
from mitmgate.judge.undecided import Later, Recorded, is_stateful, size_of
from mitmgate.policy.verdict import Verdict
from mitmgate.record.capture import CaptureWriter, Sink
from mitmgate.record.left_out import Intake, Writes
from mitmgate.record.lines import encode_line
from mitmgate.record.redact import Paths, Redactor, Scans
from mitmgate.record.ring import Carrier

_MOST_LATE = 1_000
MOST_BYTES = 16 * 1024 * 1024  # of one exchange: an endless stream is cut there
_MOST_PENDING = 1024 * 1024
_MANY = 64  # exchanges at a time
_SPARE = 10  # percent of the queue, for the outcomes of inputs that are in it


@dataclass(frozen=True, slots=True)
class Run:
    """What a capture says of the run that made it: the hash of its policy, and its mode.

    ``shadow`` says that it enforces nothing, whatever the policy's own mode is.
    """

    policy: str
    mode: str
    shadow: bool = False


class Recording:
    """One capture being written; every method but ``close`` returns at once.

    ``policy``, ``input``, ``outcome``, ``resolution``, ``grant``, ``undo`` and ``switch`` give
    False when the record will not be written: then the caller denies (code ``capture_full``). An
    outcome follows its input directly. With a *ring* or a *choice* it never says False: what does
    not fit is left out, and the exchange is cut there.
    """

    def __init__(
        self,
        writer: CaptureWriter,
        scanner: Scans,
        *,
        clock: Callable[[], float],
        started: float,
        keep: Keep = KEEP_ALL,
    ) -> None:
        self._choice = keep.choice
        self._lenient = not keep.is_everything
        self._carrier = None if keep.ring is None else Carrier(keep.ring.most_carried)
        self._count = 0
        writes = Writes(self._write_input, self._write_cut, self._write_cut_end, self._cut_all)
        self._intake = Intake[Input](writer, writes, spare=_SPARE)
        writer.before_turn, writer.after_turn = self._before_turn, self._after_turn
        writer.may_turn = lambda: not self._awaits
        self._awaits = False
        self._writer = writer
        self.outage = writer.outage
        """When a ring cannot be written; its ``warn`` is told."""
        self._scanner = scanner
        self._redactor = Redactor(scanner, key=secrets.token_bytes(32))
        self._clock = clock
        self._started = started
        self._exchanges: dict[str, Recorded] = {}
        self._late: OrderedDict[str, Recorded] = OrderedDict()

    @property
    def path(self) -> Path:
        """The capture file."""
        return self._writer.path

    @property
    def failure(self) -> str | None:
        """Why nothing is written any more, or None."""
        return self._writer.failure

    @property
    def dropped(self) -> int:
        """The inputs that did not fit and were left out."""
        return self._intake.dropped

    @property
    def crowded(self) -> bool:
        """Whether more waits to be written than should."""
        return self._writer.crowded

    def policy(
        self, policy: str, mode: str, canaries: Sequence[str], paths: Paths | None = None
    ) -> bool:
        """Take in what is in force: a policy's hash, mode, canaries' rules, paths of servers."""
        told = {"policy": policy, "mode": mode, "canaries": list(canaries)}
        line = {"type": "policy", **told, "at": self._at()}

        def write(sink: Sink) -> None:
            self._redactor.adopt(paths or {})
            sink.told |= told
            if sink.ready:
                sink.capture(line)
            else:
                sink.header |= told

        return self._offer(write)

    def input(self, given: Input, *, now: float) -> bool:
        """Take an input that is concluded at *now*, in the order in which inputs are."""
        at, size = now - self._started, size_of(given)
        if not self._lenient:
            return self._writer.offer(lambda sink: self._write_input(sink, given, at), size=size)
        ends = isinstance(given, EndInput)
        self._intake.take(given, given.exchange, at, size=size, ends=ends)
        return True

    def outcome(self, outcome: Outcome) -> bool:
        """Take what was concluded on the last input of its exchange."""
        if outcome.exchange in self._intake:
            return True
        return self._offer(lambda sink: self._write_outcome(sink, outcome), size=2000)

    def _offer(self, job: Callable[[Sink], None], *, size: int = 0) -> bool:
        return self._writer.offer(job, size=size) or self._lenient

    def resolution(self, outcome: Outcome, resolution: Resolution) -> bool:
        """Take the answer to *outcome*, which asked."""
        at = self._at()
        return self._offer(lambda sink: self._write_resolution(sink, outcome, resolution, at))

    def grant(self, outcome: Outcome, told: Told) -> bool:
        """Take an answer to *outcome*, which asked, that counts for calls to come."""
        at = self._at()
        return self._offer(lambda sink: self._write_grant(sink, outcome, told, at))

    def undo(self, kind: str, number: str) -> bool:
        """Take in that the answer with that *number*, counted by *kind*, was taken back."""
        line = {"type": "undo", "kind": kind, "number": number, "at": self._at()}
        return self._offer(lambda sink: self._write_loose(sink, line))

    def switch(self, *, on: bool) -> bool:
        """Take in that the kill switch was turned."""
        line = {"type": "switch", "on": on, "at": self._at()}
        return self._offer(lambda sink: self._write_loose(sink, line))

    def close(self) -> None:
        """Write everything that was taken, end the capture and wait for its thread."""
        self._writer.close()

    def _at(self) -> float:
        return self._clock() - self._started

    def _write_input(self, sink: Sink, given: Input, at: float) -> None:
        exchange = self._exchanges.get(given.exchange)
        named = {"id": given.exchange} if exchange is None else {}
        if exchange is None:
            exchange = self._begin(sink, given)
        exchange.size += size_of(given)
        ends = isinstance(given, EndInput)
        self._awaits = not ends  # its outcome belongs into the same segment
        if exchange.size > MOST_BYTES and not ends and not exchange.ignored:
            self._cut(sink, exchange, at)
        if not exchange.ignored or (ends and exchange.segment == sink.segment):
            place = {"exchange": exchange.ordinal, "message": exchange.inputs, "at": at, **named}
            exchange.inputs += 1
            if exchange.pending is None:
                self._put(sink, exchange, self._line(given, place))
            else:
                self._hold(exchange, lambda: ((False, self._line(given, place)),))
        if ends:
            self._end(given.exchange, exchange)

    def _begin(self, sink: Sink, given: Input) -> Recorded:
        if not sink.ready:
            sink.header["run"] = given.exchange.rpartition("-")[0]
        self._count += 1
        exchange = self._exchanges[given.exchange] = Recorded(self._count)
        exchange.ignored = not self._choice.takes(given)
        if self._choice.by_outcome and not isinstance(given, ConnectInput):
            exchange.pending, exchange.stateful = [], is_stateful(given)
        return exchange

    def _end(self, name: str, exchange: Recorded) -> None:
        self._exchanges.pop(name, None)
        if exchange.pending is not None:  # nothing wants it any more
            exchange.pending, exchange.ignored = [], True
        if exchange.asked:  # an answer can still come: for a retry
            self._late[name] = exchange
            while len(self._late) > _MOST_LATE:
                self._late.popitem(last=False)

    def _write_outcome(self, sink: Sink, outcome: Outcome) -> None:
        self._awaits = False
        exchange = self._exchanges.get(outcome.exchange)
        if exchange is None or exchange.ignored:
            return
        if exchange.pending is not None and self._is_kept(exchange, outcome):
            self._keep(sink, exchange)
        message = exchange.inputs - 1
        golden = partial(
            golden_lines, outcome, exchange=exchange.ordinal, message=message, scanner=self._scanner
        )
        if exchange.pending is not None:
            self._hold(exchange, lambda: ((True, line) for line in golden()))
        else:
            for line in golden():
                self._put(sink, exchange, line, golden=True)
        if outcome.verdict is Verdict.ASK:
            exchange.asked[outcome.number] = message
            if self._carrier is not None:
                self._carrier.asked(exchange.ordinal, lasting=outcome.question is not None)

    def _is_kept(self, exchange: Recorded, outcome: Outcome) -> bool:
        """Tell whether an exchange is wanted: for itself, or for what later ones rest on it."""
        return exchange.stateful or outcome.question is not None or self._choice.wants(outcome)

    def _keep(self, sink: Sink, exchange: Recorded) -> None:
        pending, exchange.pending = exchange.pending or [], None
        for later in pending:
            for golden, line in later():
                self._put(sink, exchange, line, golden=golden)

    def _hold(self, exchange: Recorded, later: Later) -> None:
        """Keep what makes lines of *exchange* until it is known whether they are wanted."""
        if exchange.pending is None:
            return
        exchange.pending.append(later)
        few = len(self._exchanges) < _MANY
        if exchange.size > (_MOST_PENDING if few else _MOST_PENDING // _MANY):
            exchange.pending, exchange.ignored = [], True

    def _put(
        self, sink: Sink, exchange: Recorded, line: dict[str, Any], *, golden: bool = False
    ) -> None:
        """Write a line of *exchange*, or keep it until it is known whether it is wanted."""
        if exchange.pending is not None:
            self._hold(exchange, lambda: ((golden, line),))
            return
        if golden:
            sink.golden(line)
            return
        if exchange.segment != sink.segment:
            exchange.segment = sink.segment
            sink.exchange()
        before = sink.size
        sink.capture(line)
        if self._carrier is not None:
            self._carrier.note(line, sink.size - before)

    def _write_loose(self, sink: Sink, line: dict[str, Any]) -> None:
        sink.capture(line)
        if self._carrier is not None:
            self._carrier.note(line, 0)

    def _write_cut(self, sink: Sink, given: Input, at: float) -> None:
        exchange = self._exchanges.get(given.exchange)
        if exchange is not None and not exchange.ignored:
            self._cut(sink, exchange, at)

    def _write_cut_end(self, sink: Sink, given: Input, at: float) -> None:
        if given.exchange in self._exchanges:  # else its first input is missing: nothing is kept
            self._write_cut(sink, given, at)
            self._write_input(sink, given, at)

    def _cut_all(self, sink: Sink, _: Input, at: float) -> None:
        """Cut every exchange that is open, and forget it: nothing more of it comes."""
        for exchange in self._exchanges.values():
            if exchange.pending is None and not exchange.ignored:
                self._cut(sink, exchange, at)
            exchange.pending, exchange.ignored = None, True
            if self._carrier is not None:
                self._carrier.forget(exchange.ordinal)
        self._exchanges.clear()
        self._awaits = False

    def _cut(self, sink: Sink, exchange: Recorded, at: float) -> None:
        """Say that no more of *exchange* is kept."""
        place = {"exchange": exchange.ordinal, "message": exchange.inputs, "at": at}
        self._put(sink, exchange, {"type": "cut", **place, "bytes": exchange.size})
        exchange.ignored = True

    def _before_turn(self, sink: Sink) -> None:
        """Cut what is too large to be told again in the next segment."""
        if self._carrier is None:
            return
        for exchange in self._exchanges.values():
            if exchange.ordinal in self._carrier.dropped and not exchange.ignored:
                self._cut(sink, exchange, self._at())

    def _after_turn(self, sink: Sink) -> None:
        for line in () if self._carrier is None else self._carrier.carried():
            sink.capture(line)

    def _write_resolution(
        self, sink: Sink, outcome: Outcome, resolution: Resolution, at: float
    ) -> None:
        found = self._place(outcome, at)
        if found is None:
            return
        exchange, place = found
        kept = self._carrier is None or self._carrier.knows(exchange.ordinal)
        # In a segment that does not tell what was asked, an answer to it says nothing.
        if kept or exchange.segment == sink.segment:
            self._put(sink, exchange, {"type": "resolution", **place, "answer": resolution.answer})

    def _write_grant(self, sink: Sink, outcome: Outcome, told: Told, at: float) -> None:
        found = self._place(outcome, at)
        if found is None:
            return
        exchange, place = found
        line = {"type": "grant", **place, "answer": told.answer, "seconds": told.seconds}
        if told.scope is not None:
            scope = {"on": told.scope.on, "names": list(told.scope.names)}
            line |= scope | {"prefix": self._prefix(told.scope.prefix)}
        if told.scope is not None and not self._redactor.clean(encode_line(line).decode()):
            line |= {"names": [], "prefix": None}  # its place counts: others are known by number
        self._put(sink, exchange, line)

    def _prefix(self, prefix: str | None) -> str | None:
        """Return a folder as targets are written, None where it holds what replay puts back."""
        redacted = None if prefix is None else self._redactor.target(prefix)
        return None if redacted is None or redacted.redactions else redacted.text

    def _place(self, outcome: Outcome, at: float) -> tuple[Recorded, dict[str, Any]] | None:
        """Return where in the capture *outcome* asked, None where that is not (any more) known."""
        exchange = self._exchanges.get(outcome.exchange) or self._late.get(outcome.exchange)
        if exchange is None or exchange.ignored or outcome.number not in exchange.asked:
            return None
        asked = exchange.asked[outcome.number]
        return exchange, {"exchange": exchange.ordinal, "message": asked, "at": at}

    def _line(self, given: Input, place: dict[str, Any]) -> dict[str, Any]:
        try:
            record = {**encode_input(given, self._redactor), **place}
            # What was looked through string by string needs no second look.
            if self._redactor.vouched or self._redactor.clean(encode_line(record).decode()):
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
    keep: Keep = KEEP_ALL,
) -> Recording:
    """Start a capture of *run* in *folder*; ConfigError when it cannot be written.

    *clock* gives seconds since the epoch, *keep* says what is captured and for how long.
    """
    started = clock()
    header = {
        "tool": f"mitmgate {__version__}", "policy": run.policy, "mode": run.mode,
        "shadow": run.shadow, "started": started, "run": "", "keep": keep.words, "segment": 1,
        "canaries": [],
    }  # fmt: skip
    writer = CaptureWriter(folder, header=header, ring=keep.ring)
    return Recording(writer, scanner, clock=clock, started=started, keep=keep)
