"""Lines that scroll, in blocks that a cursor can stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.widgets import Static

from mitmgate_tui import keys
from mitmgate_tui.text import clean, isolated, middle

MAX_LINES = 2_000


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together.

    ``key`` names the block from one look to the next; the cursor passes by one without. ``more`` is
    shown while the cursor is on it. Enter goes to the waiting entry with the id ``leads_to``, or
    else copies ``copies``.
    """

    lines: tuple[Content, ...]
    key: str | None = None
    more: tuple[Content, ...] = ()
    leads_to: str | None = None
    copies: str | None = None


class Page(VerticalScroll, can_focus=True):
    """Draws blocks, so many lines at most; the cursor stays on its block while they change."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("detail")]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._blocks: Sequence[Block] = ()
        self._key: str | None = None

    def compose(self) -> ComposeResult:
        """Hold one block of text."""
        yield Static(markup=False)

    @property
    def chosen(self) -> Block | None:
        """The block under the cursor."""
        return next((block for block in self._stops if block.key == self._key), None)

    @property
    def _stops(self) -> list[Block]:
        return [block for block in self._blocks if block.key is not None]

    def show(self, blocks: Sequence[Block]) -> None:
        """Draw *blocks*."""
        self._blocks = blocks
        if self.chosen is None:
            stops = self._stops
            self._key = stops[0].key if stops else None
        self._draw()

    def action_scroll_down(self) -> None:
        """Go to the next block; without any, scroll."""
        self._move(1)

    def action_scroll_up(self) -> None:
        """Go to the block before; without any, scroll."""
        self._move(-1)

    def _move(self, step: int) -> None:
        stops = self._stops
        chosen = self.chosen
        if chosen is None:
            self.scroll_relative(y=step, animate=False)
            return
        at = stops.index(chosen) + step
        if 0 <= at < len(stops):
            self._key = stops[at].key
            first, count = self._draw()
            self.call_after_refresh(self._reveal, first, count)
        else:
            self.scroll_relative(y=step * 3, animate=False)

    def _reveal(self, first: int, count: int) -> None:
        self.scroll_to_region(Region(0, first, 1, count), animate=False, force=True)

    def _draw(self) -> tuple[int, int]:
        """Draw the lines; return the first of the chosen block, and how many it has."""
        lines: list[Content] = []
        place = (0, 0)
        for block in self._blocks:
            on_it = block.key is not None and block.key == self._key
            shown = (*block.lines, *(block.more if on_it else ()))
            if on_it:
                place = (len(lines), len(shown))
            lines += [Content("▌" if on_it else " ") + line for line in shown]
        if len(lines) > MAX_LINES:
            left = len(lines) - MAX_LINES
            lines = [*lines[:MAX_LINES], Content(f" {left} more lines are not shown")]
        self.query_one(Static).update(Content("\n").join(lines))
        return place


def line_of(text: str, width: int, style: str = "") -> Content:
    """Return a stranger's text as one line."""
    return Content.styled(isolated(middle(clean(text), width)), style)
