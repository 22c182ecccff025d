"""A list of rows that draws only the lines in view, and whose cursor holds on to a row."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mitmgate_tui import keys
from mitmgate_tui.clock import Clock
from mitmgate_tui.columns import Part
from mitmgate_tui.entry import Entry
from mitmgate_tui.messages import RowOpened, SelectionMoved
from mitmgate_tui.text import fit
from mitmgate_tui.views import Listed, Rows

STYLES = (
    "plain", "faint", "allow", "deny", "hold", "edit", "shadow", "urgent", "selected",
    "selected-blurred",
)  # fmt: skip


class RowList(ScrollView, can_focus=True):
    """Rows of any number. New ones come last; the cursor stays on its row whatever happens."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("rows")]
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"rows--{name}" for name in STYLES}

    def __init__(self, clock: Clock, *, id: str, empty: str = "") -> None:
        super().__init__(id=id)
        self._empty = empty
        self.clock = clock
        self.rows: Rows = Listed([])
        self.chosen: Entry | None = None
        self._anchor: tuple[Entry, int] | None = None  # what stays where it is, and its line

    @property
    def selected(self) -> str | None:
        """The id of the row under the cursor."""
        return None if self.chosen is None else self.chosen.id

    @property
    def cursor(self) -> int | None:
        """Where the selected row is now."""
        return None if self.chosen is None else self.rows.index(self.chosen)

    def show(self, rows: Rows) -> None:
        """Draw *rows*, which may be the same ones after a change; the cursor's row stays put."""
        following, top = self.following, round(self.scroll_y)
        self.rows = rows
        if self.virtual_size.height != len(rows):
            self.virtual_size = Size(0, len(rows))
        if self.cursor is None:
            self.select(self.next_selection())
        if following:
            self.jump(self.max_scroll_y)
        elif self._anchor is not None:
            anchor, line = self._anchor
            at = rows.index(anchor)
            if at is not None and at != line:
                self.jump(top + at - line)
        self._remember()
        self.refresh()

    @property
    def following(self) -> bool:
        """Whether the view sticks to the newest row."""
        return False

    def select(self, entry: Entry | None) -> None:
        """Move the cursor, and say so when that changed anything."""
        if entry is not self.chosen:
            self.chosen = entry
            self._remember()
            self.refresh()
            self.post_message(SelectionMoved())

    def next_selection(self) -> Entry | None:
        """Return what is selected after the selected row left."""
        return None

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Note which row is the first in view now."""
        super().watch_scroll_y(old_value, new_value)
        self._remember()

    def _remember(self) -> None:
        top = round(self.scroll_y)
        at = self.cursor
        if self.chosen is not None and at is not None:
            self._anchor = (self.chosen, at)
        else:
            self._anchor = (self.rows.at(top), top) if top < len(self.rows) else None

    def jump(self, y: int) -> None:
        """Scroll so that line *y* is the first in view."""
        # Forced: before the first refresh with enough rows there is no scrollbar to allow it.
        self.scroll_to(y=y, animate=False, force=True, immediate=True)

    def action_move(self, step: int) -> None:
        """Select the row *step* further; with no selection, the newest one."""
        at = self.cursor
        self._select_at(len(self.rows) - 1 if at is None else at + step)

    def action_page(self, direction: int) -> None:
        """Move by the rows in view."""
        self.action_move(direction * max(1, self.scrollable_content_region.height - 1))

    def action_edge(self, last: bool) -> None:
        """Select the first or the last row."""
        self._select_at(len(self.rows) - 1 if last else 0)

    def action_open(self) -> None:
        """Ask for the detail of the selected row."""
        if self.chosen is not None:
            self.post_message(RowOpened())

    def on_click(self, event: events.Click) -> None:
        """Select the row under the mouse; a click never decides."""
        offset = event.get_content_offset(self)
        if offset is not None:
            at = offset.y + round(self.scroll_y)
            if at < len(self.rows):
                self._select_at(at)

    def render_line(self, y: int) -> Strip:
        """Draw one line in view."""
        width = self.scrollable_content_region.width
        at = y + round(self.scroll_y)
        base = self.rich_style
        if at >= len(self.rows):
            lines = _folded(self._empty, width) if not len(self.rows) else []
            text = lines[y] if y < len(lines) else ""
            style = base + self._style("faint")
            return Strip([Segment(fit(text, width), style)], width)
        entry = self.rows.at(at)
        chosen = entry is self.chosen
        if chosen:
            base += self._style("selected" if self.has_focus else "selected-blurred")
        # Without colours too the pane that keys move in is told from the other.
        mark = ("▌" if self.has_focus else "▏") if chosen else " "
        parts = [(mark, "plain"), *self.line(entry, width - 1)]
        segments = [Segment(text, base + self._style(name)) for text, name in parts]
        return Strip(segments).adjust_cell_length(width, base)

    def line(self, entry: Entry, width: int) -> list[Part]:
        """Return the pieces of one row."""
        raise NotImplementedError

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"rows--{name}", partial=True)

    def _select_at(self, at: int) -> None:
        if not len(self.rows):
            return
        at = max(0, min(at, len(self.rows) - 1))
        self.select(self.rows.at(at))
        at = self.cursor or 0
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
