"""The detail as a screen of its own, where the terminal is narrow."""

from __future__ import annotations

from textual.app import ComposeResult

from mitmgate_tui.entry import Entry
from mitmgate_tui.screens.view import Look, View, can_decide, keys_for
from mitmgate_tui.widgets.detail import Detail
from mitmgate_tui.widgets.keyline import KeyLine
from mitmgate_tui.widgets.status import StatusLine


class DetailScreen(View):
    """Stays with the row it was opened on; the decision keys are about that one only."""

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry = entry

    def compose(self) -> ComposeResult:
        """Hold the status, the row, the keys."""
        yield StatusLine(id="status")
        yield Detail(id="detail")
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Let the arrow keys scroll."""
        self.query_one(Detail).focus()

    @property
    def target(self) -> str:
        """The row that this screen was opened on."""
        return self._entry.id

    def draw(self, look: Look) -> None:
        """Draw the row as it is now."""
        status = self.query_one("#status", StatusLine)
        status.show(look.board, look.clock, read_only=look.read_only)
        self.query_one(Detail).show(self._entry, look)
        self.draw_keys(look)

    def draw_keys(self, look: Look) -> None:
        """Draw the key line."""
        keys = self.query_one("#keys", KeyLine)
        shown = keys_for(look, self.target)
        keys.show(shown, armed=look.armed, target=can_decide(look, self.target))

    def back(self) -> None:
        """Close; nothing is decided."""
        self.dismiss()
