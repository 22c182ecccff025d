"""What a view is, and how places in it lead back to the text that it was made of."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

type Origin = Callable[[int, int], tuple[int, int]]
type Edit = tuple[int, int, str]
"""A start and an end in code points, and what stands there in the view."""
type Edits = Callable[[str], Iterable[Edit]]


@dataclass(frozen=True, slots=True)
class View:
    """One reading of the text with this ``index``.

    ``name`` says how it was made, outermost step first (``base64/gzip``). ``origin`` gives, for
    a start and an end in ``text``, the start and end in the original text that they come from;
    all offsets are in code points. A place of joined texts that lies outside of this one comes
    from an empty span.
    """

    index: int
    name: str
    text: str
    origin: Origin


class Rewritten:
    """The origin of a text that was made by replacing spans of another.

    The edits are worked out when the first place is asked for: most views hold nothing that
    anybody asks about.
    """

    __slots__ = ("_edits", "_length", "_source", "_sources", "_views")

    def __init__(self, source: str, length: int, edits: Edits) -> None:
        """Map places of a text of *length* code points, which *edits* make of *source*."""
        self._source = source
        self._length = length
        self._edits = edits
        self._sources: list[int] = []
        self._views: list[int] = []

    def __call__(self, start: int, end: int) -> tuple[int, int]:
        """Return where *start* to *end* comes from; the whole source where edits do not fit."""
        if not self._views:
            self._lay_out()
        if not self._sources:
            return 0, len(self._source)
        first = self._place(start, last=False)
        return first, max(first, self._place(end, last=True))

    def _lay_out(self) -> None:
        sources, views = [0], [0]
        for start, end, text in self._edits(self._source):
            if start < sources[-1]:
                continue
            at = views[-1] + start - sources[-1]
            sources += (start, end)
            views += (at, at + len(text))
        sources.append(len(self._source))
        views.append(views[-1] + sources[-1] - sources[-2])
        self._views = views
        # Two ways to the same text that do not agree: better the whole than a wrong place.
        self._sources = sources if views[-1] == self._length else []

    def _place(self, offset: int, *, last: bool) -> int:
        views, sources = self._views, self._sources
        # The end of a value is the end of its last character, not the start of what follows.
        asked = offset - 1 if last and offset else offset
        index = min(bisect_right(views, asked), len(views) - 1) - 1
        size, width = views[index + 1] - views[index], sources[index + 1] - sources[index]
        inside = offset - views[index]
        if size and width % size == 0:
            return sources[index] + inside * (width // size)
        return sources[index + 1] if last else sources[index]


def replaced(source: str, edits: Sequence[Edit]) -> str:
    """Return *source* with each span of *edits*, in order of place, replaced."""
    pieces: list[str] = []
    at = 0
    for start, end, text in edits:
        if start < at:
            continue
        pieces += (source[at:start], text)
        at = end
    pieces.append(source[at:])
    return "".join(pieces)


def composed(outer: View, inner: View) -> View:
    """Return *inner*, a view of the text of *outer*, as a view of what *outer* is a view of."""

    def origin(start: int, end: int) -> tuple[int, int]:
        return outer.origin(*inner.origin(start, end))

    return View(outer.index, f"{outer.name}/{inner.name}", inner.text, origin)
