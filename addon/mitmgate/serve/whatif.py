"""What another policy would have done with the traffic of some time: audit file and captures.

Exchanges that a capture holds are judged again with their bodies, the others from their audit
records. Memory does not grow with the traffic.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.inputs import EndInput, RequestInput
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Verdict
from mitmgate.query.changes import Side, Tally, change_of, undecidable
from mitmgate.query.records import Record, read_records
from mitmgate.query.seeking import records_since
from mitmgate.query.whatif import BODIES, WhatIf, tally_records
from mitmgate.record.lines import timestamp
from mitmgate.replay.entries import CaptureLine, CutLine, InputLine
from mitmgate.replay.files import capture_files
from mitmgate.replay.golden import Golden
from mitmgate.replay.pairs import Sides, side_by_side
from mitmgate.serve.replaying import Pair, pairs, read_lines_for

_MOST_OPEN: Final = 10_000
_LAG: Final = 0.01
"""Seconds between a judgement and its record, at most."""
_MOST_NUMBER: Final = 20_000_000
_MOST_OTHER: Final = 100_000
_HEX: Final = frozenset("0123456789abcdef")
_SLICE: Final = 50
_PAUSE_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked about: an *audit* file, if there is one, *captures*, files or folders, and the
    time from ``since`` to ``now``, in seconds since the epoch.
    """

    audit: Path | None
    captures: tuple[Path, ...]
    since: float
    now: float


@dataclass(slots=True)
class Pace:
    """Looks for at most ``seconds``, None: to the end; ``gentle`` leaves time to other threads."""

    seconds: float | None = None
    gentle: bool = False
    clock: Callable[[], float] = time.monotonic
    over: bool = False
    _until: float | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)
    _never: Event = field(default_factory=Event, init=False)

    def of[T](self, items: Iterable[T]) -> Iterator[T]:
        """Yield *items* for as long as there is time."""
        if self.seconds is not None and self._until is None:
            self._until = self.clock() + self.seconds
        for item in items:
            if self._until is not None and self.clock() >= self._until:
                self.over = True
                return
            self._count += 1
            if self.gentle and self._count % _SLICE == 0:
                self._never.wait(_PAUSE_SECONDS)
            yield item


def whatif(
    before: Policy,
    after: Policy,
    traffic: Traffic,
    pace: Pace | None = None,
    *,
    seek: bool = False,
) -> Tally:
    """Return what *after* would have decided in another way than *before*.

    With *seek* the audit file is taken to be in the order of time. ConfigError for files that
    cannot be used.
    """
    pace = pace or Pace()
    tally = Tally(traffic.since, traffic.now)
    judged = _Judged()
    if before.hash != after.hash:
        for file in filter(_is_there, _files(traffic.captures)):
            try:
                _tally_capture(file, (before, after), traffic, tally, judged, pace)
            except ConfigError:
                if _is_there(file):
                    raise
    if traffic.audit is not None:
        since = timestamp(traffic.since)
        asked, read = WhatIf(before, after), read_records(traffic.audit)
        records = pace.of(records_since(traffic.audit, since) if seek else read)
        tally_records(asked, records, tally, since=since, known=judged.knows)
    tally.partial = pace.over
    return tally


def _is_there(file: Path) -> bool:
    """Tell whether *file* holds something: a ring removes its oldest, and begins with none."""
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _files(paths: Sequence[Path]) -> list[Path]:
    found = [file for path in paths for file in capture_files(path)]
    return list(dict.fromkeys(found))


def _tally_capture(  # noqa: PLR0913, PLR0917  the state of one pass
    file: Path,
    policies: tuple[Policy, Policy],
    traffic: Traffic,
    tally: Tally,
    judged: _Judged,
    pace: Pace,
) -> None:
    before, after = policies
    exchanges = _Exchanges(file)
    lines = exchanges.watched(read_lines_for(file, before))
    for pair in pace.of(pairs(lines, before, after)):
        example, question = exchanges.take(pair)
        judged.saw(example, pair.line, cut=pair.line.exchange in exchanges.cut)
        for sides in side_by_side(pair.before, pair.after):
            if not sides.sure:
                judged.doubted(sides.known.kind).add(example)
            # Without its body it was judged as something else: its record tells more, if any.
            if pair.line.at >= traffic.since and (sides.sure or traffic.audit is None):
                tally.saw(pair.line.at)
                tally.with_bodies += sides.sure
                _count(sides, tally, example, question)


def _count(sides: Sides, tally: Tally, example: str, question: object) -> None:
    before, after = _side(sides.before), _side(sides.after)
    change = change_of(before, after) if sides.sure else undecidable(BODIES)
    if change is None:
        return
    asks = change.rule == "unknown_servers"
    tally.add(change, example, str(question) if asks else None)


def _side(golden: Golden | None) -> Side:
    if golden is None:
        return Side(Verdict.ALLOW, "answer")
    edits = golden.edits if golden.enforced else ()
    return Side(golden.effective, golden.rule, tuple(edits), golden.verdict)


class _Exchanges:
    """The ids and questions of the open exchanges of one capture."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._open: OrderedDict[int, tuple[str, str]] = OrderedDict()
        self.cut = set[int]()
        """The exchanges of which the rest was not kept, until another one ends."""

    def watched(self, lines: Iterable[CaptureLine]) -> Iterator[CaptureLine]:
        """Yield *lines*, and note which exchanges are cut."""
        for line in lines:
            if isinstance(line, CutLine):
                self.cut.add(line.exchange)
            yield line
            if isinstance(line, InputLine) and isinstance(line.input, EndInput):
                self.cut.discard(line.exchange)

    def take(self, pair: Pair) -> tuple[str, str]:
        """Return the id of the exchange of *pair*, else its place, and what a person is asked."""
        line = pair.line
        known = self._open.get(line.exchange)
        if known is None:
            known = (line.id or f"{self._file.name}:{line.line}", str(line.exchange))
        if isinstance(line.input, RequestInput):
            head = line.input.head
            known = known[0], f"{line.input.agent} {head.scheme}://{head.authority}{head.path}"
        self._open[line.exchange] = known
        if isinstance(line.input, EndInput):
            del self._open[line.exchange]
        elif len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return known


class _Judged:
    """Which records need no second look: those of what stands in the captures."""

    def __init__(self) -> None:
        self._begun = _Exchanged()
        self._whole = _Exchanged()
        self._parts: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._requests = _Exchanged()
        self._answers = _Exchanged()

    def saw(self, exchange: str, line: InputLine, *, cut: bool) -> None:
        """Note that *line* of *exchange* was judged; *cut*: what comes between it and the end is
        not there.
        """
        if line.carried:
            return  # it is judged where it stood first, if that is still there
        if line.id is not None:
            self._begun.add(exchange)
        if isinstance(line.input, EndInput):
            if not cut and exchange in self._begun:
                self._whole.add(exchange)
                self._parts.pop(exchange, None)
            return
        first, _ = self._parts.get(exchange, (line.at, line.at))
        self._parts[exchange] = first, line.at
        if len(self._parts) > _MOST_OPEN:
            self._parts.popitem(last=False)  # those are judged from their records too

    def doubted(self, kind: str) -> _Exchanged:
        """Return the exchanges of which an outcome of this *kind* rests on what was not stored."""
        return self._requests if kind in _ASKED else self._answers

    def knows(self, record: Record) -> bool:
        """Tell whether the decision *record* was judged with all that it rests on."""
        exchange = str(record["exchange"])
        if exchange in self.doubted(str(record["kind"])):
            return False
        if exchange in self._whole:
            return True
        first, last = self._parts.get(exchange, (1.0, 0.0))
        return first <= last and timestamp(first) <= record["time"] <= timestamp(last + _LAG)


_ASKED: Final = frozenset({"connect", "request", "dial"})


class _Exchanged:
    """A set of exchanges; ids are ``RUN-HEX``, a bit for each."""

    def __init__(self) -> None:
        self._runs: dict[str, bytearray] = {}
        self._other: set[str] = set()

    def add(self, exchange: str) -> None:
        """Note *exchange*; ConfigError where there are too many that are not numbered."""
        run, number = _split(exchange)
        if number is None:
            if len(self._other) >= _MOST_OTHER:
                raise ConfigError(Problem("too many exchanges without a number",
                                          hint="name fewer captures"))  # fmt: skip
            self._other.add(exchange)
            return
        bits = self._runs.setdefault(run, bytearray())
        if len(bits) <= number // 8:
            bits.extend(bytes(number // 8 + 1 - len(bits)))
        bits[number // 8] |= 1 << number % 8

    def __contains__(self, exchange: str) -> bool:
        run, number = _split(exchange)
        if number is None:
            return exchange in self._other
        bits = self._runs.get(run, b"")
        return number // 8 < len(bits) and bool(bits[number // 8] >> number % 8 & 1)


def _split(exchange: str) -> tuple[str, int | None]:
    run, dash, digits = exchange.rpartition("-")
    plain = dash and 0 < len(digits) < 9 and _HEX.issuperset(digits)
    if not plain or (len(digits) > 1 and digits[0] == "0") or int(digits, 16) >= _MOST_NUMBER:
        return exchange, None
    return run, int(digits, 16)
