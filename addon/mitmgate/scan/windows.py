"""Pieces of some data about the places of a rule's words."""

from __future__ import annotations

from mitmgate.scan.patterns import WALL

_WIDER = 1024

type Window = tuple[int, int]
"""A start and an end in the data."""


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
