"""Golden outcomes and replayed ones, input by input: neither is ever in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import EndInput
from mitmgate.replay.compare import (
    Comparison,
    Difference,
    NotCompared,
    difference,
    rests_on_body,
)
from mitmgate.replay.entries import CaptureLine, CloseLine, CutLine, InputLine
from mitmgate.replay.golden import Golden, Key, Place, twice
from mitmgate.replay.run import Judged

_AHEAD = 4_000

_BODY = "the body that it rests on was not stored"
_LOST = "what it rests on was not stored"
_LIST = "what its server said of itself and its tools was not stored"
_UNWRITTEN = "its golden line was not written before the proxy was killed"
_PREVENTED = "a denial before it prevents it, and what that rests on was not stored"

type Words = Callable[[Golden], bool]
"""Tells whether an outcome is to be compared."""
type Hear = Callable[[Path, int, Golden, Difference | NotCompared | None], None]
"""Takes an outcome: capture, line, the outcome as it was or is, and what came of comparing it.

None: it is the same.
"""


class Window:
    """The golden lines of one file, read some thousand lines ahead.

    They stand in the order of the inputs. One whose input does not come, or came before, is
    overdue once thousands after it were taken.
    """

    def __init__(self, path: Path, lines: Iterator[Golden]) -> None:
        self._path = path
        self._lines = lines
        self._ahead: dict[Place, dict[Key, Golden]] = {}
        self._arrived: dict[Place, int] = {}
        self._count = 0
        self._newest = 0
        self._ended = False

    @property
    def empty(self) -> bool:
        """Whether every line was taken."""
        self._fill()
        return self._ended and not self._ahead

    def take(self, place: Place) -> dict[Key, Golden]:
        """Return the lines of the input at *place*."""
        self._fill()
        if place not in self._ahead:
            return {}
        self._newest = self._arrived[place]
        return self._pop(place)

    def overdue(self) -> Iterator[Golden]:
        """Yield the lines whose input should have come long ago."""
        while self._arrived:
            place = next(iter(self._arrived))
            if self._newest - self._arrived[place] <= _AHEAD:
                return
            yield from self._pop(place).values()

    def rest(self) -> Iterator[Golden]:
        """Yield the lines that were not taken."""
        while not self.empty:
            yield from self._pop(next(iter(self._ahead))).values()

    def _pop(self, place: Place) -> dict[Key, Golden]:
        del self._arrived[place]
        return self._ahead.pop(place)

    def _fill(self) -> None:
        if self._ended or len(self._ahead) > _AHEAD:
            return
        read = list(islice(self._lines, _AHEAD))
        self._ended = len(read) < _AHEAD
        for golden in read:
            self._count += 1
            self._arrived.setdefault(golden.place, self._count)
            of_input = self._ahead.setdefault(golden.place, {})
            if golden.key in of_input:
                raise ConfigError(twice(self._path, golden))
            of_input[golden.key] = golden


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is done with compared outcomes beside counting them; each may be left out.

    ``only`` chooses those that are compared, ``hear`` takes each of them, and ``keep`` takes what
    shall stand in the golden file; with ``beyond`` also what a killed writer may have lost.
    """

    only: Words | None = None
    hear: Hear | None = None
    keep: Callable[[Golden], None] | None = None
    beyond: bool = False


MOST_BEYOND = 64
"""Inputs in a batch of the writer, whose golden lines come after them."""


class Merge:
    """Compares one capture with its golden lines; None: those are what is decided now.

    *closed* tells whether the capture was written to its end.
    """

    def __init__(
        self,
        file: Path,
        golden: Window | None,
        into: Comparison,
        *,
        closed: bool,
        chosen: Chosen = Chosen(),
    ) -> None:
        self._file = file
        self._golden = golden
        self._into = into
        self._closed = closed
        self._chosen = chosen
        self._open: set[int] = set()
        self.exchanges = 0
        self._beyond = self._within = 0

    @property
    def is_short(self) -> bool:
        """Whether more golden lines are missing at the end than a killed writer can lose."""
        return self._beyond > MOST_BEYOND or (self._beyond > 0 and self._within == 0)

    def take(self, line: CaptureLine, judged: Judged | None) -> None:
        """Take a line and what became of it."""
        if isinstance(line, CutLine):
            self._into.cut += 1
        if isinstance(line, CloseLine) or judged is None:
            return
        self._count(judged.line)
        place = judged.line.exchange, judged.line.message
        after = {outcome.key: outcome for outcome in judged.outcomes}
        before = after if self._golden is None else self._golden.take(place)
        if judged.line.carried:
            self._keep_all(before)
        elif before or after:
            if self._is_beyond(next(iter(before.values()), None)):
                self._beyond += 1
            else:
                self._within += 1
            self._compare(judged, before, after)
        if self._golden is not None:
            self._gone(self._golden.overdue())

    def finish(self) -> None:
        """Compare the golden lines for which nothing came, and count the capture."""
        if self._golden is not None:
            self._gone(self._golden.rest())
        self._into.captures += 1
        self._into.exchanges += self.exchanges
        self._into.unclosed += not self._closed

    def _count(self, line: InputLine) -> None:
        if isinstance(line.input, EndInput):
            self._open.discard(line.exchange)
        elif not line.carried and line.exchange not in self._open:
            self._open.add(line.exchange)
            self.exchanges += 1

    def _compare(self, judged: Judged, before: dict[Key, Golden], after: dict[Key, Golden]) -> None:
        if judged.superseded:
            if judged.uncertain:  # what was not stored may have made all the difference
                self._superseded(judged.line.line, before)
                return
            for golden in before.values():
                if not self._is_chosen(golden, None):
                    self._keep(golden)
            return
        whole = next(iter(judged.outcomes), None)
        for key in sorted({**before, **after}, key=_part):
            old, new = before.get(key), after.get(key)
            if not self._is_chosen(old, new):
                self._keep(old)
                continue
            self._into.outcomes += 1
            line, found = judged.line.line, None
            if old != new:
                found = difference(self._file, line, old, new, whole)
            if why := self._missing(judged, old, new, found):
                self._left_out(line, old or new, why)
                self._keep(new if self._chosen.beyond and self._is_beyond(old) else old)
                continue
            self._told(found, line, old or new)
            self._keep(new)

    def _superseded(self, line: int, before: dict[Key, Golden]) -> None:
        for golden in before.values():
            self._keep(golden)
            if self._is_chosen(golden, None):
                self._into.outcomes += 1
                self._left_out(line, golden, _PREVENTED)

    def _left_out(self, line: int, side: Golden | None, why: str) -> None:
        left = NotCompared(self._file, line, why)
        self._into.left_out(left)
        self._hear(line, side, left)

    def _gone(self, lines: Iterator[Golden]) -> None:
        for old in lines:
            if not self._is_chosen(old, None):
                self._keep(old)
                continue
            self._into.outcomes += 1
            self._told(difference(self._file, 0, old, None), 0, old)

    def _told(self, found: Difference | None, line: int, side: Golden | None) -> None:
        if found is None:
            self._into.same += 1
        else:
            self._into.found(found)
        self._hear(line, side, found)

    def _missing(
        self, judged: Judged, old: Golden | None, new: Golden | None, found: Difference | None
    ) -> str:
        """Return what was not stored and leaves open what came out; "": nothing does."""
        if judged.lost:
            return _LOST
        if self._is_beyond(old):
            return _UNWRITTEN
        if not rests_on_body(old, new):
            return ""
        if judged.uncertain:
            return _BODY
        # What lets more through is no matter of what was not stored, unless a list said it.
        if judged.blurred and found is not None and (not found.weaker or _of_list(old)):
            return _LIST
        return ""

    def _is_beyond(self, old: Golden | None) -> bool:
        """Tell whether a writer that was killed may have lost this golden line, the newest."""
        ended = self._golden is not None and self._golden.empty
        return old is None and not self._closed and ended

    def _is_chosen(self, old: Golden | None, new: Golden | None) -> bool:
        only = self._chosen.only
        return only is None or any(side is not None and only(side) for side in (old, new))

    def _hear(self, line: int, side: Golden | None, found: Difference | NotCompared | None) -> None:
        if self._chosen.hear is not None and side is not None:
            self._chosen.hear(self._file, line, side, found)

    def _keep(self, golden: Golden | None) -> None:
        if self._chosen.keep is not None and golden is not None:
            self._chosen.keep(golden)

    def _keep_all(self, lines: dict[Key, Golden]) -> None:
        for golden in lines.values():
            self._keep(golden)


def _part(key: Key) -> int:
    return int(key[1].partition(".")[2] or -1)


def _of_list(golden: Golden | None) -> bool:
    """Tell whether *golden* rests on what a server told of its tools before."""
    return golden is not None and (
        golden.rule == "scan.poisoning" or golden.code == "header_mismatch"
    )
