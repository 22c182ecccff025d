"""Texts laid out for the search for views, and the windows of them that are rewritten."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

import re2

from mitmgate.scan.budget import Budget
from mitmgate.scan.patterns import WALL, quiet_options
from mitmgate.scan.views.view import Edit, Edits, Rewritten, View, replaced

_EDGE = 1
_WALLED = b"\xff"
_NEAR = 48
# What an edit and a view cost beside their bytes: some lines of Python each.
_EDIT = 512
CHEAP_EDIT = 80
_VIEW = 2048
_WINDOW = 1024
_SEARCH = 256
_LONGEST_STEP = 2048
_GATHERED = 1 << 13
APART = b"\n.\n"
"""What lies between two parts of a text that are searched as one."""


def pattern(text: str) -> re2.Pattern:
    """Compile *text*, a pattern over the UTF-8 of a page."""
    return re2.compile(f"(?m){text}", quiet_options())


class Page:
    """The texts of one level: as they came, and as one piece of bytes."""

    def __init__(self, texts: Sequence[str], data: bytes, budget: Budget) -> None:
        """Lay out *texts*, whose frame *data* is; all work on them is taken from *budget*."""
        self.texts = texts
        self.data = data
        self.budget = budget
        self._regions: list[tuple[int, int]] = [(0, len(data))]
        self._counted = self._index = 0

    def look_at(self, regions: list[tuple[int, int]]) -> None:
        """Search from now on in *regions* alone: spans of bytes in order of place, disjoint."""
        self._regions = regions

    def search(self, trigger: re2.Pattern, at: int) -> re2.Match | None:
        """Return the first match of *trigger* from the byte *at* on, in what is looked at."""
        regions = self._regions
        index = 0 if at <= regions[0][1] else bisect_right(regions, (at, at))
        if index and regions[index - 1][1] > at:
            index -= 1
        for low, high in regions[index:] if index else regions:
            match = trigger.search(self.data, max(at, low), high)
            if match is not None:
                return match
        return None

    def bounds(self, place: int) -> tuple[int, int, int]:
        """Return the index of the text at this byte, and the bytes where it starts and ends."""
        data = self.data
        if place >= self._counted:
            self._index += data.count(_WALLED, self._counted, place)
        elif self._counted - place < place:
            self._index -= data.count(_WALLED, place, self._counted)
        else:
            self._index = data.count(_WALLED, 0, place)
        self._counted = place
        low, high = data.rfind(_WALLED, 0, place), data.find(_WALLED, place)
        return self._index, low + 2, (high if high >= 0 else len(data)) - 1

    def windows(
        self, trigger: re2.Pattern, *, chunk: int = 512, pad: int = 256
    ) -> Iterator[Window]:
        """Yield what stands around the matches of *trigger*, within one text each.

        From a match on, *chunk* bytes are taken unseen, and more of them the more matches stand
        together, so that a text full of matches costs few searches. *pad* bytes stand around.
        """
        for start, end in self._stretches(trigger, chunk, pad):
            yield self.window(start, end)

    def gathered(self, trigger: re2.Pattern, *, chunk: int = 96, pad: int = 96) -> Iterator[Window]:
        """Yield the windows of each text, many as one: cheap where matches are ordinary."""
        return self._together(self._stretches(trigger, chunk, pad))

    def beside(self, sign: bytes, *, pad: int) -> Iterator[Window]:
        """Yield what stands around each *sign*, a byte, gathered."""
        return self._together(self._signs(sign, pad))

    def _signs(self, sign: bytes, pad: int) -> Iterator[tuple[int, int]]:
        for low, high in self._regions:
            first = last = at = -1
            for part in self.data[low:high].split(sign)[:-1]:
                at += len(part) + 1
                if at - pad > last:
                    if last >= 0:
                        yield from self._within(low + first, low + last)
                    first = at - pad
                last = at + pad
            if last >= 0:
                yield from self._within(low + first, low + last)

    def _within(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of *start* to *end* that stand in one text each."""
        start = max(start, _EDGE)
        at = self.data.find(WALL, start, end)
        while at >= 0:
            if at > start:
                yield start, at
            start = at + len(WALL)
            at = self.data.find(WALL, start, end)
        if end > start:
            yield start, end

    def _together(self, spans: Iterator[tuple[int, int]]) -> Iterator[Window]:
        group: list[tuple[int, int]] = []
        index = size = 0
        for first, last in spans:
            at, start, end = self._cut(first, last)
            if group and (at != index or size > _GATHERED):
                yield self._gather(index, group)
                group, size = [], 0
            if group and start <= group[-1][1]:
                start = group.pop()[0]
            index = at
            group.append((start, end))
            size += end - start
        if group:
            yield self._gather(index, group)

    def _gather(self, index: int, spans: list[tuple[int, int]]) -> Window:
        if len(spans) == 1:
            start, end = spans[0]
            raw = self.data[start:end]
        else:
            raw = APART.join([self.data[start:end] for start, end in spans])
        self.budget.spend(_WINDOW + len(raw))
        return Window(self, index, spans, raw)

    def _stretches(self, trigger: re2.Pattern, chunk: int, pad: int) -> Iterator[tuple[int, int]]:
        size, at, step = len(self.data), _EDGE, chunk
        first = last = -1
        while (match := self.search(trigger, at)) is not None:
            begin, stop = match.span()
            # A match may begin with the line break before its text.
            _, low, high = self.bounds(min(begin + 1, size - 1))
            begin = max(begin, low)
            start = max(low, begin - pad)
            near = first >= 0 and start <= last
            step = min(2 * step, _LONGEST_STEP) if near else chunk
            at = max(stop, begin + step)
            end = min(high, at + pad)
            self.budget.spend(_SEARCH)
            if not near:
                if first >= 0:
                    yield first, last
                first = start
            last = end
            at = min(at, high + len(WALL) - 1)
            if at >= size:
                break
        if first >= 0:
            yield first, last

    def window(self, start: int, end: int) -> Window:
        """Return the window from about *start* to *end*, cut between words or characters."""
        index, start, end = self._cut(start, end)
        raw = self.data[start:end]
        self.budget.spend(_WINDOW + len(raw))
        return Window(self, index, [(start, end)], raw)

    def _cut(self, start: int, end: int) -> tuple[int, int, int]:
        index, low, high = self.bounds(start)
        data = self.data
        start, end = max(low, start), min(high, end)
        if start > low:
            space = data.rfind(b" ", max(low, start - _NEAR), start)
            start = space + 1 if space >= 0 else start
            while start > low and data[start] & 0xC0 == 0x80:
                start -= 1
        if end < high:
            space = data.find(b" ", end, min(high, end + _NEAR))
            end = space if space >= 0 else end
            while end < high and data[end] & 0xC0 == 0x80:
                end += 1
        return index, start, end

    def before(self, place: int) -> int:
        """Return how many code points of its text stand before the byte *place*."""
        first = self.data.rfind(_WALLED, 0, place) + 2
        return len(self.data[first:place].decode("utf-8", "replace"))


class Window:
    """A part of one text of a page."""

    __slots__ = ("_bases", "_page", "_places", "_spans", "index", "raw", "start", "text")

    def __init__(self, page: Page, index: int, spans: list[tuple[int, int]], raw: bytes) -> None:
        """*raw* is what stands at *spans*, in bytes of the page, one behind another."""
        self._bases: list[int] = []
        self._places: list[int] = []
        self._page = page
        self._spans = spans
        self.index = index
        self.start = spans[0][0]
        self.raw = raw
        self.text = raw.decode("utf-8", "replace")

    def _lay_out(self) -> None:
        """Work out, in code points, where each part of this text begins, here and in its own."""
        place, data = 0, self._page.data
        for start, end in self._spans:
            self._places.append(place)
            self._bases.append(self._page.before(start))
            place += len(data[start:end].decode("utf-8", "replace")) + len(APART)

    def _based(self, first: int, last: int) -> tuple[int, int]:
        """Return where the code points *first* to *last* of this text stand in its own."""
        if not self._places:
            self._lay_out()
        low = max(bisect_right(self._places, first) - 1, 0)
        high = max(bisect_right(self._places, max(last - 1, first)) - 1, 0)
        start = first - self._places[low] + self._bases[low]
        size = len(self._page.texts[self.index])
        return min(start, size), min(
            max(start, last - self._places[high] + self._bases[high]), size
        )

    def points(self, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return *spans* of bytes, in order of place, as spans of code points."""
        raw = self.raw
        if len(raw) == len(self.text):
            return list(spans)
        found, place, point = [], 0, 0
        for start, end in spans:
            first = point + len(raw[place:start].decode("utf-8", "replace"))
            point, place = first + len(raw[start:end].decode("utf-8", "replace")), end
            found.append((first, point))
        return found

    def rewritten(self, name: str, text: str, edits: Edits) -> Iterator[View]:
        """Yield the view in which *edits* of this text made *text*, if that differs."""
        if text != self.text:
            self._page.budget.spend(_VIEW)
            origin = self._shifted(Rewritten(self.text, len(text), edits))
            yield View(self.index, name, text, origin)

    def found(self, trigger: re2.Pattern) -> list[tuple[int, int]]:
        """Return where *trigger* matches in ``raw``. Each match is taken from the budget."""
        spans = []
        for match in trigger.finditer(self.raw):
            self._page.budget.spend(_EDIT)
            spans.append(match.span())
        return spans

    def edited(self, name: str, edits: list[Edit], *, cost: int = 0) -> Iterator[View]:
        """Yield the view with *edits*, if there are any; each costs *cost* of the budget."""
        if edits:
            self._page.budget.spend(cost * len(edits))
            yield from self.rewritten(name, replaced(self.text, edits), lambda _: edits)

    def whole(self, name: str, text: str, span: tuple[int, int]) -> View:
        """Return the view *text* all of which comes from the bytes *span* of the window."""
        self._page.budget.spend(_VIEW + len(text))
        spans = [span]
        return View(self.index, name, text, self._shifted(lambda *_: self.points(spans)[0]))

    def swapped(self, name: str, text: str) -> Iterator[View]:
        """Yield the view in which every character of this text is another, if any is."""
        if text != self.text:
            self._page.budget.spend(_VIEW)
            yield View(self.index, name, text, self._shifted(lambda start, end: (start, end)))

    def turned(self, name: str) -> View:
        """Return this text from its end to its start."""
        self._page.budget.spend(_VIEW)
        size = len(self.text)
        origin = self._shifted(lambda start, end: (size - end, size - start))
        return View(self.index, name, self.text[::-1], origin)

    def _shifted(
        self, inner: Callable[[int, int], tuple[int, int]]
    ) -> Callable[[int, int], tuple[int, int]]:
        def origin(start: int, end: int) -> tuple[int, int]:
            return self._based(*inner(start, end))

        return origin
