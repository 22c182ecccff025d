"""Where the patterns of rules hit in framed bytes: only around their keywords.

A pattern is run on windows about the places where its rule's keywords stand, all windows in one
call. A match that touches the edge of its window may be a wrong one (a word that was cut, a
line that begins nowhere): that window is read again, wider.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence

from mitmgate.scan.budget import Budget
from mitmgate.scan.gate import CHUNK, Gate, Passed
from mitmgate.scan.patterns import frame
from mitmgate.scan.rule import Rule
from mitmgate.scan.shapes import LONGEST_RUN, RUNS, tokens
from mitmgate.scan.windows import Cut, Window, laid_out, merged, text_around, wider
from mitmgate.wire.surfaces import Surface


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
        self._tokens = _Tokens(data)
        self._all: frozenset[int] | None = None
        self._found: dict[int, list[Window]] = {}
        self._about: dict[tuple[int, int], list[Window]] = {}
        self._chunks: dict[frozenset[int], frozenset[int]] = {}
        self._cuts: dict[Rule, Cut | None] = {}

    def spans(self, rule: Rule) -> Collection[tuple[int, int]]:
        """Return the spans of the values that *rule* finds; OverBudget where that is too much."""
        first = self._gate.first_alike[rule]
        if first in self._cuts:
            cut = self._cuts[first]
        else:
            windows = self._windows(rule)
            cut = self._cuts[first] = laid_out(self._data, windows) if windows else None
        # A window that is read again gives what it gave before once more.
        return () if cut is None else set(self._matches(rule, cut))

    def _matches(self, rule: Rule, cut: Cut | None) -> Iterator[tuple[int, int]]:
        regex, data = rule.regex.compile(), self._data
        group, size = rule.regex.group, len(data)
        while cut is not None:
            self._budget.spend(len(cut.pieces))
            again: list[Window] = []
            for match in regex.finditer(cut.pieces):
                first, last = match.span()
                base, (start, end) = cut.window(first)
                early = first == base and start > 0
                late = last - base == end - start and end < size
                if early or late:
                    again.append(wider(data, (start, end), early=early, late=late))
                    continue
                if group:
                    inner = match.span(group)
                    if inner[0] >= 0:
                        first, last = inner
                shift = start - base
                if rule.accepts(data[first + shift : last + shift]):
                    yield first + shift, last + shift
            cut = laid_out(data, merged(again)) if again else None

    def _windows(self, rule: Rule) -> list[Window]:
        """Return where to look for *rule*, in order, with all that it wants beside a keyword."""
        words, chunks = self._passed.words.get(rule, ()), self._wanted(rule)
        if chunks is None:
            near = [window for word in words for window in self._around(word, rule.reach)]
            return merged(near) if len(near) > 1 else near
        if not chunks:
            return []
        close, where = _beside_them(chunks, rule.reach), self._passed.chunks
        near = [
            window
            for word in words
            if close is None or not close.isdisjoint(where[word])
            for window in self._around(word, rule.reach)
            if _touches(chunks, window)
        ]
        if rule.token:
            near = [window for window in near if self._tokens.touches(*window, rule.token)]
        if len(near) > 1:
            near = merged(near)
        also = self._gate.also[rule]
        return self._beside(near, also) if also and near else near

    def _wanted(self, rule: Rule) -> frozenset[int] | None:
        """Return the chunks in which what *rule* wants beside a keyword stands; None for all."""
        also = self._gate.also[rule]
        if rule.token:
            long = self._tokens.chunks(rule.token)
            # Where it wants both, the windows are asked for words one by one.
            return long if not also or self._with_any(also) else frozenset()
        return self._with_any(also) if also else None

    def _with_any(self, also: frozenset[int]) -> frozenset[int]:
        """Return the chunks in which a word of *also* stands."""
        known = self._chunks.get(also)
        if known is None:
            present = self._passed.present
            if self._all is None:
                self._all = frozenset[int]().union(*present)
            here = also & self._all
            chunks = (chunk for chunk, words in enumerate(present) if not here.isdisjoint(words))
            known = self._chunks[also] = frozenset(chunks if here else ())
        return known

    def _beside(self, windows: Sequence[Window], also: frozenset[int]) -> list[Window]:
        """Return those *windows* in which a word of *also* stands."""
        find, words, present = self._lowered.find, self._gate.words, self._passed.present
        kept: list[Window] = []
        for start, end in windows:
            here = frozenset[int]().union(*present[start // CHUNK : end // CHUNK + 1])
            if any(find(words[number], start, end) >= 0 for number in also & here):
                kept.append((start, end))
        return kept

    def _around(self, word: int, reach: int) -> list[Window]:
        """Return the windows of *reach* about all places of *word*, in order."""
        key = word, reach
        windows = self._about.get(key)
        if windows is None:
            places, data, size = self._places(word), self._data, len(self._data)
            if reach:
                windows = [
                    (start - reach if start > reach else 0, min(end + reach, size))
                    for start, end in places
                ]
            else:
                windows = [text_around(data, start, end) for start, end in places]
            self._about[key] = windows
        return windows

    def _places(self, number: int) -> list[Window]:
        """Return where the word of this *number* stands; a run has no length there."""
        known = self._found.get(number)
        if known is not None:
            return known
        word, lowered = self._gate.words[number], self._lowered
        size, run, find = len(word), RUNS.get(word), lowered.find
        places = self._found[number] = []
        for chunk in self._passed.chunks[number]:
            start = chunk * CHUNK
            if run is not None:
                piece = lowered[start : start + CHUNK + LONGEST_RUN]
                places += [(start + m.span()[0],) * 2 for m in run.finditer(piece)]
                continue
            last = start + CHUNK + size - 1
            at = find(word, start, last)
            while at >= 0:
                places.append((at, at + size))
                at = find(word, at + size, last)
        return places


class _Tokens:
    """Where in some data so many letters of credentials stand in a row; found when asked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._spans: list[Window] | None = None
        self._by_length: dict[int, tuple[list[int], list[int]]] = {}
        self._chunks: dict[int, frozenset[int]] = {}

    def touches(self, start: int, end: int, least: int) -> bool:
        """Tell whether one of *least* letters lies between *start* and *end*, or reaches in."""
        starts, ends = self._of(least)
        index = bisect_right(ends, start)
        return index < len(starts) and starts[index] < end

    def chunks(self, least: int) -> frozenset[int]:
        """Return the chunks that one of *least* letters lies in or reaches into."""
        known = self._chunks.get(least)
        if known is None:
            found: set[int] = set()
            for start, end in zip(*self._of(least), strict=True):
                found.update(range(start // CHUNK, (end - 1) // CHUNK + 1))
            known = self._chunks[least] = frozenset(found)
        return known

    def _of(self, least: int) -> tuple[list[int], list[int]]:
        known = self._by_length.get(least)
        if known is None:
            if self._spans is None:
                self._spans = list(tokens(self._data))
            long = [span for span in self._spans if span[1] - span[0] >= least]
            known = self._by_length[least] = [s[0] for s in long], [s[1] for s in long]
        return known


def _touches(chunks: frozenset[int], window: Window) -> bool:
    first, last = window[0] // CHUNK, window[1] // CHUNK
    return first in chunks or (last > first and not chunks.isdisjoint(range(first, last + 1)))


def _beside_them(chunks: frozenset[int], reach: int) -> frozenset[int] | None:
    """Return *chunks* and all that *reach* leads to from them; None for any."""
    if not reach:
        return None
    far = reach // CHUNK + 1
    return frozenset([near for chunk in chunks for near in range(chunk - far, chunk + far + 1)])


def spans_of(rule: Rule, gate: Gate, text: str) -> Collection[tuple[int, int]]:
    """Return the spans of the values of *rule*, known to *gate*, in the frame of *text* alone."""
    data = frame([text]).data
    lowered = data.lower()
    passed = gate.passed(lowered, Surface, (rule.detector,))
    return Search(data, lowered, gate, passed, Budget(len(data))).spans(rule)
