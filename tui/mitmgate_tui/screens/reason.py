"""The box for a denial's reason."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from mitmgate_tui.board import Board
from mitmgate_tui.chosen import Seen
from mitmgate_tui.entry import Entry
from mitmgate_tui.screens.length import LEFT
from mitmgate_tui.signs import shown, what
from mitmgate_tui.text import isolated, middle

MAX_REASON = 500


KEYS = "enter sends the denial   escape keeps the call waiting"


class ReasonScreen(ModalScreen[str | None]):
    """Dismisses with a reason that was typed and sent, or with None: nothing is decided."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, entry: Entry, seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        self._left = False
        self._title = isolated(
            f"Deny {middle(what(entry.row), 38)} of {middle(shown(entry.row.agent), 18)}"
        )

    def compose(self) -> ComposeResult:
        """Show which call it is about, and the line to type in."""
        with Vertical(id="reason-box"):
            yield Static(self._title, id="reason-title", markup=False)
            yield Input(placeholder="why not? the agent reads this", max_length=MAX_REASON)
            yield Static(KEYS, id="reason-keys", markup=False)

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def look(self, board: Board) -> None:
        """Say so once the call does not wait any more."""
        if not self._left and not self._seen.still(board.waiting_entry(self._seen.row)):
            self._left = True
            for line in self.query("#reason-keys").results(Static):
                line.update(f"{LEFT}   escape", layout=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Send what was typed; an empty line sends nothing."""
        event.stop()
        if event.value.strip():
            self.dismiss(event.value.strip())

    def action_cancel(self) -> None:
        """Leave the call as it is."""
        self.dismiss(None)
