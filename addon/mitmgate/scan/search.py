"""Where the patterns of rules hit in framed bytes: only around their keywords.

A pattern is run on windows about the places where its rule's keywords stand, all windows in one
call. A match that touches the edge of its window may be a wrong one (a word that was cut, a
line that begins nowhere): that window is read again, wider.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mitmgate.scan.budget import Budget
from mitmgate.scan.gate import CHUNK, Gate, Passed
from mitmgate.scan.patterns import WALL, frame
from mitmgate.scan.rule import Rule
from mitmgate.scan.shapes import TOKENS
from mitmgate.wire.surfaces import Surface

_WIDER = 1024


@dataclass(frozen=True, slots=True)
class _Cut:
    """Windows into some data, laid out for one search.

    ``bases`` say where each begins in ``pieces``, ``starts`` and ``ends`` where it stands in the
    data.
    """

    pieces: bytes
    bases: list[int]
    starts: list[int]
    ends: list[int]


class Search:
    """One pass of rules over framed *data*, where *gate* let them through."""

    def __init__(
        self, data: bytes, lowered: bytes, gate: Gate, passed: Passed, budget: Budget
    ) -> None:
        """Search *data*; *lowered* is the same in lower case, byte for byte."""
        self._data = data
        self._lowered = lowered
        self._gate = gate
        self._passed = passed
        self._budget = budget
        self._places: dict[tuple[int, int], list[int]] = {}
        self._around: dict[int, frozenset[int]] = {}
        self._tokens = _Tokens(data)
        self._cuts: dict[Rule, _Cut | None] = {}

    def spans(self, rule: Rule) -> Collection[tuple[int, int]]:
        """Return the spans of the values that *rule* finds; OverBudget where that is too much."""
        first = self._gate.first_alike[rule]
        if first in self._cuts:
            cut = self._cuts[first]
        else:
            windows = self._windows(rule)
            cut = self._cuts[first] = self._laid_out(windows) if windows else None
        # A window that is read again gives what it gave before once more.
        return () if cut is None else set(self._matches(rule, cut))

    def _matches(self, rule: Rule, cut: _Cut | None) -> Iterator[tuple[int, int]]:
        regex, data = rule.regex.compile(), self._data
        group, size = rule.regex.group, len(data)
        while cut is not None:
            self._budget.spend(len(cut.pieces))
            again: dict[int, tuple[bool, bool]] = {}
            for match in regex.finditer(cut.pieces):
                first, last = match.span()
                index = bisect_right(cut.bases, first) - 1
                base, start, end = cut.bases[index], cut.starts[index], cut.ends[index]
                early = first == base and start > 0
                late = last - base == end - start and end < size
                if early or late:
                    known = again.get(index, (False, False))
                    again[index] = known[0] or early, known[1] or late
                    continue
                if group:
                    inner = match.span(group)
                    if inner[0] >= 0:
                        first, last = inner
                shift = start - base
                if rule.accepts(data[first + shift : last + shift]):
                    yield first + shift, last + shift
            windows = [
                self._wider(cut.starts[index], cut.ends[index], *sides)
                for index, sides in again.items()
            ]
            cut = self._laid_out(_merged(windows)) if windows else None

    def _wider(self, start: int, end: int, early: bool, late: bool) -> tuple[int, int]:
        """Return the window of *start* to *end*, wider where it was touched, in its own text."""
        data = self._data
        more = max(_WIDER, end - start)
        if early:
            low = data.rfind(WALL, max(0, start - more), start)
            edge = max(0, start - more) if low < 0 else low + len(WALL) - 1
            # At the edge of the text itself: what stands beyond belongs to another.
            start = edge if edge < start else start - 1
        if late:
            high = data.find(WALL, end, end + more)
            edge = min(len(data), end + more) if high < 0 else high + 1
            end = edge if edge > end else end + 1
        return start, end

    def _windows(self, rule: Rule) -> list[tuple[int, int]]:
        """Return where to look for *rule*, in order, with all that it wants beside a keyword."""
        also = self._gate.also[rule]
        near: list[tuple[int, int]] = []
        for chunk, word in self._passed.marks.get(rule, ()):
            beside: tuple[bytes, ...] = ()
            if also:
                beside = self._beside(also, chunk)
                if not beside:
                    continue
            if rule.token and not self._tokens.touches(
                (chunk - 1) * CHUNK, (chunk + 2) * CHUNK, rule.token
            ):
                continue
            windows = self._about(chunk, word, rule.reach)
            near += self._with(windows, beside) if beside else windows
        if rule.token:
            near = [window for window in near if self._tokens.touches(*window, rule.token)]
        return _merged(near) if len(near) > 1 else near

    def _beside(self, also: frozenset[int], chunk: int) -> tuple[bytes, ...]:
        """Return the words of *also* that stand in *chunk* or next to it."""
        around = self._around.get(chunk)
        if around is None:
            around = self._around[chunk] = _around(self._passed.present, chunk)
        words = self._gate.words
        return tuple([words[number] for number in also & around])

    def _with(
        self, windows: Iterable[tuple[int, int]], words: Sequence[bytes]
    ) -> Iterator[tuple[int, int]]:
        """Yield those *windows* in which one of *words* stands."""
        find = self._lowered.find
        for start, end in windows:
            for word in words:
                if find(word, start, end) >= 0:
                    yield start, end
                    break

    def _about(self, chunk: int, word: int, reach: int) -> list[tuple[int, int]]:
        """Return the windows of *reach* about the places of *word* in *chunk*."""
        places = self._places.get((word, chunk))
        if places is None:
            places = self._gate.places(word, self._lowered, chunk)
            self._places[word, chunk] = places
        if not reach:
            return [self._text_around(place) for place in places]
        after, size = len(self._gate.words[word]) + reach, len(self._data)
        return [
            (place - reach if place > reach else 0, min(place + after, size)) for place in places
        ]

    def _laid_out(self, windows: Sequence[tuple[int, int]]) -> _Cut:
        data = self._data
        starts = [window[0] for window in windows]
        ends = [window[1] for window in windows]
        if len(windows) == 1:
            return _Cut(data[starts[0] : ends[0]], [0], starts, ends)
        pieces = [data[start:end] for start, end in windows]
        bases: list[int] = []
        at = 0
        for piece in pieces:
            bases.append(at)
            at += len(piece) + len(WALL)
        return _Cut(WALL.join(pieces), bases, starts, ends)

    def _text_around(self, place: int) -> tuple[int, int]:
        low, high = self._data.rfind(WALL, 0, place), self._data.find(WALL, place)
        return (
            0 if low < 0 else low + len(WALL) - 1,
            len(self._data) if high < 0 else high + 1,
        )


class _Tokens:
    """Where in some data so many letters of credentials stand in a row; found when asked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._spans: list[tuple[int, int]] | None = None
        self._by_length: dict[int, tuple[list[int], list[int]]] = {}

    def touches(self, start: int, end: int, least: int) -> bool:
        """Tell whether one of *least* letters lies between *start* and *end*, or reaches in."""
        known = self._by_length.get(least)
        if known is None:
            if self._spans is None:
                self._spans = [match.span() for match in TOKENS.finditer(self._data)]
            long = [span for span in self._spans if span[1] - span[0] >= least]
            known = self._by_length[least] = [s[0] for s in long], [s[1] for s in long]
        starts, ends = known
        index = bisect_right(ends, start)
        return index < len(starts) and starts[index] < end


def _around(present: Sequence[Collection[int]], chunk: int) -> frozenset[int]:
    return frozenset().union(*present[max(0, chunk - 1) : chunk + 2])


def _merged(windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return *windows* in order, those that touch put together."""
    windows.sort()
    merged: list[tuple[int, int]] = []
    last = -1
    for start, end in windows:
        if start <= last:
            if end > last:
                merged[-1] = (merged[-1][0], end)
                last = end
        else:
            merged.append((start, end))
            last = end
    return merged


def spans_of(rule: Rule, gate: Gate, text: str) -> Collection[tuple[int, int]]:
    """Return the spans of the values of *rule*, known to *gate*, in the frame of *text* alone."""
    data = frame([text]).data
    lowered = data.lower()
    passed = gate.passed(lowered, Surface, (rule.detector,))
    return Search(data, lowered, gate, passed, Budget(len(data))).spans(rule)
