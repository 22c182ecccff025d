"""The main screen: waiting calls and the live view, the detail beside them where there is room."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from mitmgate_tui.clock import Clock
from mitmgate_tui.messages import RowOpened, SelectionMoved
from mitmgate_tui.screens.detail import DetailScreen
from mitmgate_tui.screens.view import Look, View, can_decide
from mitmgate_tui.signs import what
from mitmgate_tui.text import middle
from mitmgate_tui.widgets.detail import Detail, brief
from mitmgate_tui.widgets.keyline import KeyLine
from mitmgate_tui.widgets.live import Live
from mitmgate_tui.widgets.rows import RowList
from mitmgate_tui.widgets.status import StatusLine
from mitmgate_tui.widgets.waiting import Waiting

WIDE = 100
NO_CALLS = " no calls yet: point an agent at the proxy (`mitmgate env` says how)"


class MainScreen(View):
    """Waiting on top, live below, detail at the right or on its own screen."""

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
        yield Static(id="brief", markup=False)
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Begin in the live view."""
        self.live.focus()

    @property
    def target(self) -> str | None:
        """The row under the cursor; while the live view follows, the one in the waiting pane."""
        if self._list is self.live and self.live.selected is not None:
            return self.live.selected
        return self.waiting.selected

    def draw(self, look: Look) -> None:
        """Draw all panes, and move the focus only where nobody is reading."""
        self._look = look
        board = look.board
        had_waiting = bool(self.waiting.entries)
        self.waiting.show(tuple(board.waiting.values()))
        self.live.show(tuple(board.entries.values()))
        if board.waiting and not had_waiting and self.live.selected is None:
            self.waiting.focus()
        elif not board.waiting and self.waiting.has_focus:
            self.live.focus()
        self.draw_clock(look)

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
        keys.show(armed=look.armed, target=can_decide(look, self.target))

    def back(self) -> None:
        """Leave the detail pane; in a list, let the live view follow again."""
        if self.detail.has_focus:
            self._list.focus()
        else:
            self.live.let_go()

    def toggle_filter(self) -> None:
        """Hide or show plainly allowed rows."""
        self.live.only_notable = not self.live.only_notable
        if self._look is not None:
            self.live.show(tuple(self._look.board.entries.values()))

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
        elif self.target is not None:
            self.app.push_screen(DetailScreen(self.target))

    def on_resize(self) -> None:
        """Fit the lines to the new width."""
        if self._look is not None:
            self.draw_clock(self._look)

    def _redraw_target(self) -> None:
        if self._look is not None:
            self._draw_target(self._look)

    def _draw_target(self, look: Look) -> None:
        entry = look.board.find(self.target) if self.target is not None else None
        self.detail.show(entry, look.clock)
        if self.target != self._detailed:
            self._detailed = self.target
            self.detail.scroll_home(animate=False)
        short = self.query_one("#brief", Static)
        width = max(0, self.size.width - 2)
        lines = ("", "") if entry is None else (what(entry.row), brief(entry))
        short.update("\n".join(middle(line, width) for line in lines), layout=False)
