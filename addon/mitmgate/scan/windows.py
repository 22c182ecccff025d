"""Pieces of some data about the places of a rule's words, laid out for one search."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from mitmgate.scan.patterns import WALL

_WIDER = 1024

type Window = tuple[int, int]
"""A start and an end in the data."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Windows into some data, put together in ``pieces`` with walls between them.

    ``bases`` say where each begins in ``pieces``, ``starts`` and ``ends`` where it stands in the
    data.
    """

    pieces: bytes
    bases: list[int]
    starts: list[int]
    ends: list[int]

    def window(self, place: int) -> tuple[int, Window]:
        """Return where the window that *place* in the pieces is in begins there, and the window."""
        index = bisect_right(self.bases, place) - 1
        return self.bases[index], (self.starts[index], self.ends[index])


def laid_out(data: bytes, windows: Sequence[Window]) -> Cut:
    """Return *windows* into *data* as one text."""
    starts = [window[0] for window in windows]
    ends = [window[1] for window in windows]
    pieces = [data[start:end] for start, end in windows]
    bases: list[int] = []
    at = 0
    for piece in pieces:
        bases.append(at)
        at += len(piece) + len(WALL)
    return Cut(WALL.join(pieces), bases, starts, ends)


def merged(windows: list[Window]) -> list[Window]:
    """Return *windows* in order, those that touch put together."""
    windows.sort()
    found: list[Window] = []
    last = -1
    for start, end in windows:
        if start <= last:
            if end > last:
                found[-1] = (found[-1][0], end)
                last = end
        else:
            found.append((start, end))
            last = end
    return found


def wider(data: bytes, window: Window, *, early: bool, late: bool) -> Window:
    """Return *window* into *data*, wider at the ends that were touched, in its own text."""
    start, end = window
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


def text_around(data: bytes, start: int, end: int) -> Window:
    """Return the whole texts in the frame *data* that *start* to *end* reaches into."""
    low, high = data.rfind(WALL, 0, start + 1), data.find(WALL, max(end - 1, 0))
    return 0 if low < 0 else low + len(WALL) - 1, len(data) if high < 0 else high + 1
