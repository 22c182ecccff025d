"""The main screen: waiting calls and the live view, the detail beside them where there is room."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from mitmgate_tui.clock import Clock
from mitmgate_tui.columns import ColumnName, fitting
from mitmgate_tui.entry import Entry
from mitmgate_tui.messages import RowOpened, SelectionMoved
from mitmgate_tui.screens.columns import ColumnsScreen
from mitmgate_tui.screens.detail import DetailScreen
from mitmgate_tui.screens.view import WIDE, Look, View, can_decide, keys_for
from mitmgate_tui.text import isolated
from mitmgate_tui.widgets.brief import brief
from mitmgate_tui.widgets.detail import Detail
from mitmgate_tui.widgets.filterbar import FilterBar
from mitmgate_tui.widgets.keyline import KeyLine
from mitmgate_tui.widgets.live import Live
from mitmgate_tui.widgets.rows import RowList
from mitmgate_tui.widgets.status import StatusLine
from mitmgate_tui.widgets.waiting import Waiting

NO_CALLS = " no calls yet: point an agent at the proxy (`mitmgate env` says how)"


class MainScreen(View):
    """Waiting on top, live below, detail at the right or on its own screen."""

    AUTO_FOCUS = "#live"

    def __init__(self, clock: Clock, *, welcome: str = NO_CALLS) -> None:
        super().__init__()
        self.waiting = Waiting(clock, id="waiting")
        self.live = Live(clock, id="live", empty=welcome)
        self.detail = Detail(id="detail")
        self._list: RowList = self.live
        self._detailed: str | None = None
        self._look: Look | None = None

    def compose(self) -> ComposeResult:
        """Lay out the panes."""
        yield StatusLine(id="status")
        with Horizontal(id="body"):
            with Vertical(id="lists"):
                yield self.waiting
                yield self.live
            yield self.detail
        yield FilterBar(id="filter-bar")
        yield Static(id="brief", markup=False)
        yield KeyLine(id="keys")

    @property
    def target(self) -> str | None:
        """The row under the cursor; while the live view follows, the one in the waiting pane."""
        return None if self._entry is None else self._entry.id

    @property
    def _entry(self) -> Entry | None:
        if self._list is self.live and self.live.chosen is not None:
            return self.live.chosen
        return self.waiting.chosen

    def draw(self, look: Look) -> None:
        """Draw all panes, and move the focus only where nobody is reading."""
        self._look = look
        board = look.board
        had_waiting = self.waiting.can_focus
        self.waiting.show_waiting(board.waiting.values(), look.chosen)
        self.live.show_feed(board.feed)
        if board.waiting and not had_waiting and self._idle:
            self.waiting.focus()
        elif not board.waiting and self.focused is self.waiting:
            self.live.focus()
        self.draw_clock(look)

    @property
    def _idle(self) -> bool:
        """Whether nobody reads or types: the focus stands where it stood at the start."""
        return self.focused in (None, self.live) and self.live.selected is None and not self.typing

    def draw_clock(self, look: Look) -> None:
        """Draw what changes with the seconds: status, bars, the target's time left."""
        self._look = look
        status = self.query_one("#status", StatusLine)
        status.show(look.board, look.clock, read_only=look.read_only)
        self.waiting.refresh()
        self._draw_target(look)
        self.draw_keys(look)

    def draw_keys(self, look: Look) -> None:
        """Draw the key line."""
        keys = self.query_one("#keys", KeyLine)
        target = can_decide(look, self.target) and not self.typing
        keys.show(keys_for(look, self.target), armed=look.armed, target=target)

    def back(self) -> None:
        """Leave the detail pane; in a list, let the live view follow again."""
        if self.detail.has_focus:
            self._list.focus()
        else:
            self.live.let_go()

    def open_filter(self) -> None:
        """Type a filter."""
        self.query_one(FilterBar).open()

    def toggle_notable(self) -> None:
        """Hide or show plainly allowed rows."""
        self.live.only_notable = not self.live.only_notable
        self.live.pick()

    def toggle_pause(self) -> None:
        """Let the live view stand still, or go on."""
        self.live.toggle_pause()

    def next_sort(self) -> None:
        """Order the live view by the next column."""
        self.live.next_sort()

    def choose_columns(self) -> None:
        """Open the box with the columns of the live view."""
        shown = self.live.chosen_columns
        if shown is None:
            shown = [c.name for c in fitting(self.live.size.width, None)]
        self.app.push_screen(ColumnsScreen(shown), self._take_columns)

    def _take_columns(self, columns: tuple[ColumnName, ...] | None) -> None:
        self.live.chosen_columns = columns
        self.live.refresh()

    @property
    def typing(self) -> bool:
        """Whether a filter is being typed."""
        return self.query_one(FilterBar).typing

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        """Show what the filter wants, as it is typed."""
        event.stop()
        self.live.filter = event.filter
        self.live.pick()

    def on_filter_bar_closed(self, event: FilterBar.Closed) -> None:
        """Go back to the live view."""
        event.stop()
        self.live.focus()

    def answered(self, row_id: str, left: int) -> None:
        """Go on to the next call that waits."""
        self.waiting.pass_on(row_id, left)

    def go_to(self, pending: str) -> None:
        """Put the cursor on the waiting entry with that id, or on the row of its equals."""
        if self._look is None:
            return
        entry = self._look.board.waiting.get(pending)
        if entry is None or entry.pending is None:
            return
        rows = [self.waiting.rows.at(at) for at in range(len(self.waiting.rows))]
        alike = [
            row for row in rows
            if row is entry or (row.pending and row.pending.fingerprint
                                and row.pending.fingerprint == entry.pending.fingerprint)
        ]  # fmt: skip
        if alike:
            self.waiting.select(entry if entry in alike else alike[0])
            self.waiting.focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Remember which list the cursor is in."""
        if isinstance(event.widget, RowList):
            self._list = event.widget
            self._redraw_target()

    def on_selection_moved(self, event: SelectionMoved) -> None:
        """Show the row that is now under the cursor."""
        event.stop()
        self._redraw_target()

    def on_row_opened(self, event: RowOpened) -> None:
        """Show all of a row: in the pane beside, or on a screen of its own."""
        event.stop()
        if self.size.width >= WIDE:
            self.detail.focus()
        elif self._entry is not None:
            self.app.push_screen(DetailScreen(self._entry))

    def on_resize(self) -> None:
        """Fit the brief to the new width; the other lines do it themselves."""
        self._redraw_target()

    def _redraw_target(self) -> None:
        if self._look is not None:
            self._draw_target(self._look)

    def _draw_target(self, look: Look) -> None:
        entry = self._entry
        self.detail.show(entry, look)
        if self.target != self._detailed:
            self._detailed = self.target
            self.detail.scroll_home(animate=False)
        short = self.query_one("#brief", Static)
        width = max(0, self.size.width - 2)
        lines = ("", "") if entry is None else brief(entry, look.chosen, width)
        short.update("\n".join(isolated(line) for line in lines), layout=False)
