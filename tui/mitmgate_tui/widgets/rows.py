"""A list of rows that draws only the lines in view, and whose cursor holds on to a row's id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mitmgate_tui import keys
from mitmgate_tui.board import Entry
from mitmgate_tui.clock import Clock
from mitmgate_tui.messages import RowOpened, SelectionMoved
from mitmgate_tui.text import fit

type Part = tuple[str, str]
"""A piece of a line, already clean and of its final width, and the name of its style."""


class RowList(ScrollView, can_focus=True):
    """Rows by id. New ones come last; the cursor stays on its row whatever happens around it."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("rows")]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"rows--{name}"
        for name in (
            "plain", "faint", "allow", "deny", "hold", "edit", "shadow", "urgent",
            "selected", "selected-blurred",
        )
    }  # fmt: skip

    def __init__(self, clock: Clock, *, id: str, empty: str = "") -> None:
        super().__init__(id=id)
        self._empty = empty
        self.clock = clock
        self.entries: list[Entry] = []
        self.selected: str | None = None

    @property
    def cursor(self) -> int | None:
        """Where the selected row is now."""
        return self._index(self.selected)

    def show(self, entries: Sequence[Entry]) -> None:
        """Take over a new list of rows, keeping the row under the cursor where it is."""
        following = self.following
        top = round(self.scroll_y)
        anchor_at = self.cursor if self.selected is not None else top
        anchor = self._id_at(anchor_at)
        old_cursor = self.cursor
        self.entries = list(entries)
        self.virtual_size = Size(0, len(self.entries))
        self.select(self.kept_selection(old_cursor))
        new_at = self._index(anchor)
        if following:
            self.jump(self.max_scroll_y)
        elif anchor_at is not None and new_at is not None and new_at != anchor_at:
            self.jump(top + new_at - anchor_at)
        self.refresh()

    @property
    def following(self) -> bool:
        """Whether the view sticks to the newest row."""
        return False

    def select(self, row_id: str | None) -> None:
        """Move the cursor, and say so when that changed anything."""
        if row_id != self.selected:
            self.selected = row_id
            self.refresh()
            self.post_message(SelectionMoved())

    def jump(self, y: int) -> None:
        """Scroll so that line *y* is the first in view."""
        # Forced: before the first refresh with enough rows there is no scrollbar to allow it.
        self.scroll_to(y=y, animate=False, force=True, immediate=True)

    def action_move(self, step: int) -> None:
        """Select the row *step* further; with no selection, the newest one."""
        at = self.cursor
        self._select_at(len(self.entries) - 1 if at is None else at + step)

    def action_page(self, direction: int) -> None:
        """Move by the rows in view."""
        self.action_move(direction * max(1, self.scrollable_content_region.height - 1))

    def action_edge(self, last: bool) -> None:
        """Select the first or the last row."""
        self._select_at(len(self.entries) - 1 if last else 0)

    def action_open(self) -> None:
        """Ask for the detail of the selected row."""
        if self.selected is not None:
            self.post_message(RowOpened())

    def on_click(self, event: events.Click) -> None:
        """Select the row under the mouse; a click never decides."""
        offset = event.get_content_offset(self)
        if offset is not None:
            at = offset.y + round(self.scroll_y)
            if at < len(self.entries):
                self._select_at(at)

    def render_line(self, y: int) -> Strip:
        """Draw one line in view."""
        width = self.scrollable_content_region.width
        at = y + round(self.scroll_y)
        base = self.rich_style
        if at >= len(self.entries):
            lines = _folded(self._empty, width) if not self.entries else []
            text = lines[y] if y < len(lines) else ""
            style = base + self._style("faint")
            return Strip([Segment(fit(text, width), style)], width)
        entry = self.entries[at]
        chosen = entry.id == self.selected
        if chosen:
            base += self._style("selected" if self.has_focus else "selected-blurred")
        parts = [("▌" if chosen else " ", "plain"), *self.line(entry, width - 1)]
        segments = [Segment(text, base + self._style(name)) for text, name in parts]
        return Strip(segments).adjust_cell_length(width, base)

    def line(self, entry: Entry, width: int) -> list[Part]:
        """Return the pieces of one row."""
        raise NotImplementedError

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"rows--{name}", partial=True)

    def _index(self, row_id: str | None) -> int | None:
        if row_id is None:
            return None
        # The newest rows are the likely ones.
        last = len(self.entries) - 1
        return next(
            (last - i for i, e in enumerate(reversed(self.entries)) if e.id == row_id), None
        )

    def kept_selection(self, old_cursor: int | None) -> str | None:
        """Return what is selected after the rows changed; *old_cursor* is where it was."""
        del old_cursor  # a list that may have no selection lets go of a row that left
        return None if self.cursor is None else self.selected

    def _id_at(self, at: int | None) -> str | None:
        return self.entries[at].id if at is not None and 0 <= at < len(self.entries) else None

    def _select_at(self, at: int) -> None:
        if not self.entries:
            return
        at = max(0, min(at, len(self.entries) - 1))
        self.select(self.entries[at].id)
        height = max(1, self.scrollable_content_region.height)
        top = round(self.scroll_y)
        if at < top:
            self.jump(at)
        elif at >= top + height:
            self.jump(at - height + 1)


def _folded(text: str, width: int) -> list[str]:
    """Return the lines of *text*, each cut at *width*; whole, because people copy them."""
    return [
        line[start : start + width]
        for line in text.split("\n")
        for start in range(0, max(len(line), 1), max(width, 1))
    ]
