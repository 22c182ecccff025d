"""The live pane: every decision as a line, newest last."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from mitmgate_tui import columns
from mitmgate_tui.clock import Clock
from mitmgate_tui.columns import BY_NAME, SORTS, ColumnName, Part
from mitmgate_tui.entry import Entry
from mitmgate_tui.filters import Filter
from mitmgate_tui.text import clean, isolated, middle
from mitmgate_tui.views import Feed
from mitmgate_tui.widgets.rows import RowList


class Live(RowList):
    """Follows the newest row until a row is selected or the view is scrolled back or paused."""

    def __init__(self, clock: Clock, *, id: str, empty: str = "") -> None:
        super().__init__(clock, id=id, empty=empty)
        self._welcome = empty
        self.feed: Feed | None = None
        self.only_notable = False
        self.filter = Filter("")
        self.chosen_columns: Sequence[ColumnName] | None = None
        self._sort: ColumnName | None = None
        self._rising = False

    @property
    def following(self) -> bool:
        """Whether new rows scroll the view."""
        paused = self.feed is not None and self.feed.paused
        return self.chosen is None and not paused and self.scroll_y >= self.max_scroll_y

    def show_feed(self, feed: Feed) -> None:
        """Draw the rows of *feed*."""
        self.feed = feed
        if self._rising:
            self._anchor = None
        filtered = self.only_notable or self.filter.keep is not None
        self._empty = " no row matches" if filtered and not feed.busy else self._welcome
        super().show(feed)
        if self._rising:
            self.jump(0)
            self._rising = feed.busy
        self.retitle()

    def pick(self) -> None:
        """Show only what the two filters want; the newest rows at once."""
        if self.feed is None:
            return
        wanted = self.filter.keep
        if self.only_notable:
            keep = wanted
            wanted = lambda e: e.notable and (keep is None or keep(e))  # noqa: E731
        self.feed.pick(wanted)
        self.feed.step()
        self.show_feed(self.feed)

    def toggle_pause(self) -> None:
        """Stand still, or go on in the order of arrival."""
        if self.feed is None:
            return
        if self.feed.paused:
            self._go_on()
        else:
            self.feed.pause()
        self.show_feed(self.feed)

    def next_sort(self) -> None:
        """Order by the next column; after the last one go on in the order of arrival."""
        if self.feed is None:
            return
        at = SORTS.index(self._sort) + 1 if self._sort is not None else 0
        if at == len(SORTS):
            self._go_on()
        else:
            column = BY_NAME[SORTS[at]]
            self._sort = column.name
            self.feed.sort(column.key, reverse=column.down)
            self.feed.step()
            self._rising = self.chosen is None
        self.show_feed(self.feed)

    def select(self, entry: Entry | None) -> None:
        """Move the cursor; its row stays in the view even if a filter stops to want it."""
        super().select(entry)
        if self.feed is not None:
            self.feed.hold(entry)

    def action_edge(self, last: bool) -> None:
        """Select the first row, or let go and follow the newest."""
        super().action_edge(last)
        if last and not (self.feed is not None and self.feed.paused):
            self.let_go()

    def let_go(self) -> None:
        """Drop the selection and follow the newest row again."""
        self.select(None)
        if self.feed is not None and self.feed.paused:
            self._go_on()
            self.show_feed(self.feed)
        self.jump(self.max_scroll_y)
        self.retitle()

    def on_resize(self) -> None:
        """Stay at the newest row when the pane shrinks."""
        if self.chosen is None and not (self.feed is not None and self.feed.paused):
            self.call_after_refresh(self.let_go)

    def line(self, entry: Entry, width: int) -> list[Part]:
        """Draw the columns that fit."""
        fitting = columns.fitting(width, self.chosen_columns)
        return columns.line(entry, fitting, width, self.clock)

    def _go_on(self) -> None:
        self._sort, self._rising = None, False
        if self.feed is not None:
            self.feed.resume()
            self.feed.step()

    def retitle(self) -> None:
        """Say in the border what is shown, and how."""
        parts = ["Live"]
        if self.only_notable:
            parts.append("only not allowed")
        if self.filter.text.strip():
            parts.append(f"/ {isolated(middle(clean(self.filter.text), 30))}")
        if self.feed is not None and self.feed.busy:
            parts.append("looking")
        if self._sort is not None:
            parts.append(f"by {self._sort}{' ↓' if BY_NAME[self._sort].down else ' ↑'}")
        if self.feed is not None and self.feed.paused:
            parts.append(f"paused, {self.feed.arrived} new")
        elif self.following:
            parts.append("following")
        self.border_title = Content(" · ".join(parts))
