"""Where the patterns of rules hit in framed bytes: only around their keywords.

A pattern is run on windows about the places where its rule's keywords stand. A match that
touches the edge of its window may be a part of one: that window is read again, wider.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from mitmgate.scan.budget import Budget
from mitmgate.scan.gate import Gate, Passed
from mitmgate.scan.patterns import WALL, frame
from mitmgate.scan.rule import Rule
from mitmgate.scan.shapes import Tokens, starts_word
from mitmgate.scan.windows import Window, merged, text_around, wider
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
        self._about: dict[tuple[int, int, bool], list[Window]] = {}
        self._known: dict[Rule, tuple[list[Window], bytes]] = {}

    def spans(self, rule: Rule) -> Collection[tuple[int, int]]:
        """Return the spans of the values that *rule* finds; OverBudget where that is too much."""
        first = self._gate.first_alike[rule]
        known = self._known.get(first)
        if known is None:
            windows = self._windows(rule)
            known = self._known[first] = windows, _side_by_side(self._data, windows)
        windows, together = known
        if not windows:
            return ()
        if rule.regex.find(together, 0)[0][0] < 0:
            self._budget.spend(len(together))
            return ()
        # A window that is read again gives what it gave before once more.
        return set(self._matches(rule, windows))

    def _matches(self, rule: Rule, windows: Sequence[Window]) -> Iterator[tuple[int, int]]:
        data, size = self._data, len(self._data)
        find, group = rule.regex.find, rule.regex.group
        while windows:
            again: list[Window] = []
            for start, end in windows:
                self._budget.spend(end - start)
                piece, before = _side_by_side(data, ((start, end),)), start - 1
                spans = find(piece, 0)
                while (first := spans[0][0]) >= 0:
                    last = spans[0][1]
                    early = first + before <= start and start > 0
                    late = last + before >= end and end < size
                    if early or late:
                        again.append(wider(data, (start, end), early=early, late=late))
                    else:
                        value = spans[group] if spans[group][0] >= 0 else spans[0]
                        yield from self._accepted(rule, value[0] + before, value[1] + before)
                    spans = find(piece, max(last, first + 1))
            windows = merged(again)

    def _accepted(self, rule: Rule, first: int, last: int) -> Iterator[tuple[int, int]]:
        first, last = max(first, 0), min(last, len(self._data))
        if rule.accepts(self._data[first:last]):
            yield first, last

    def _windows(self, rule: Rule) -> list[Window]:
        """Return where to look for *rule*, in order, with all that it wants beside a keyword."""
        near = [w for word in self._passed.words.get(rule, ()) for w in self._around(word, rule)]
        if rule.token and near:
            touches = self._passed.tokens.touches
            near = [window for window in near if touches(*window, rule.token)]
        if len(near) > 1:
            near = merged(near)
        also = self._gate.also.get(rule)
        if also is not None and near:
            search, lowered = also.search, self._lowered
            if len(near) > 1 and search(_side_by_side(lowered, near)) is None:
                return []
            near = [window for window in near if search(lowered, *window) is not None]
        return near

    def _around(self, word: int, rule: Rule) -> list[Window]:
        """Return the windows for *rule* about all places of *word*, in order."""
        reach, starts = rule.reach, self._gate.words[word] in rule.starts
        key = word, reach, starts
        windows = self._about.get(key)
        if windows is None:
            places, data, size = self._passed.places[word], self._data, len(self._data)
            if starts:
                places = [place for place in places if starts_word(self._lowered, place[0])]
            if reach:
                windows = [
                    (start - reach if start > reach else 0, min(end + reach, size))
                    for start, end in places
                ]
            else:
                windows = [text_around(data, start, end) for start, end in places]
            self._about[key] = windows
        return windows


def _side_by_side(data: bytes, windows: Sequence[Window]) -> bytes:
    """Return *windows* into *data* with walls between them.

    Each has lines of its own: what a window cuts off must match, to be seen and read again.
    """
    if len(windows) == 1:
        start, end = windows[0]
        return b"\n%b\n" % data[start:end]
    return b"\n%b\n" % WALL.join([data[start:end] for start, end in windows])


def spans_of(rule: Rule, gate: Gate, text: str) -> Collection[tuple[int, int]]:
    """Return the spans of the values of *rule*, known to *gate*, in the frame of *text* alone."""
    data = frame([text]).data
    lowered = data.lower()
    passed = gate.passed(lowered, Tokens(data), Surface, (rule.detector,))
    return Search(data, lowered, gate, passed, Budget(len(data))).spans(rule)
