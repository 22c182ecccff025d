"""The box for how long an approval lasts."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from mitmgate_tui.board import Board
from mitmgate_tui.chosen import Seen
from mitmgate_tui.entry import Entry
from mitmgate_tui.screens.box import Box, told, wrapped
from mitmgate_tui.signs import shown, what

LENGTHS = {"1": 300, "2": 900, "3": 3600}
LEFT = "⚠ this call has left, or is another one by now"


class LengthScreen(Box[int]):
    """Dismisses with seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"lasts({seconds})", show=False) for key, seconds in LENGTHS.items()
    ]
    answers = frozenset(LENGTHS)
    line = "1 five minutes   2 fifteen minutes   3 an hour   escape no"

    def __init__(self, entry: Entry, seen: Seen) -> None:
        super().__init__()
        self._row = entry.row
        self._seen = seen
        self._still = True

    @property
    def subject(self) -> Hashable:
        """The box, and whether its call still waits."""
        return (super().subject, self._still)

    def look(self, board: Board) -> None:
        """Note whether the call still waits."""
        self._still = self._seen.still(board.waiting_entry(self._seen.row))

    def lines(self, width: int) -> list[Content]:
        """Say what would be approved."""
        lines = [
            told(f"Approve {what(self._row)} of {shown(self._row.agent)}, and for a time", width,
                 "bold"),
        ]  # fmt: skip
        if self._seen.scoped is not None:
            lines += wrapped(self._seen.scoped.words(self._row), width, most=6)
        return lines if self._still else [*lines, told(LEFT, width, "$sign-hold")]

    def action_lasts(self, seconds: int) -> None:
        """Approve for so long."""
        self.mean(seconds)
