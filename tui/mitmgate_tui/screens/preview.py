"""The box that shows which rule would be written, before it is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from mitmgate.control.decisions import Preview
from mitmgate_tui.board import Board
from mitmgate_tui.chosen import Seen
from mitmgate_tui.entry import Entry
from mitmgate_tui.screens.box import Box, told, wrapped
from mitmgate_tui.screens.length import LEFT
from mitmgate_tui.signs import shown, what
from mitmgate_tui.widgets.difference import diff_lines


class PreviewScreen(Box[bool]):
    """Dismisses with True where the rule is to be written."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "save", show=False)]
    line = "y write it and approve   escape no   ↑ ↓ scroll"

    def __init__(self, entry: Entry, seen: Seen, preview: Preview) -> None:
        super().__init__()
        self._row = entry.row
        self._seen = seen
        self._preview = preview
        self._still = True

    @property
    def subject(self) -> Hashable:
        """The text that would be written, and whether the call still waits."""
        return (super().subject, self._preview.hash, self._still)

    def look(self, board: Board) -> None:
        """Note whether the call still waits."""
        self._still = self._seen.still(board.waiting_entry(self._seen.row))

    def lines(self, width: int) -> list[Content]:
        """Show the difference, what else it settles, and what to think of."""
        title = f"Approve {what(self._row)} of {shown(self._row.agent)} for ever"
        lines = [told(title, width, "bold")]
        # First what has to be known, whatever the length of the difference.
        if not self._still:
            lines.append(told(LEFT, width, "$sign-hold"))
        if self._seen.scoped is not None:
            lines += wrapped(f"It covers {self._seen.scoped.words(self._row)}.", width, most=6)
        for warning in self._preview.warnings:
            lines += wrapped(f"⚠ {warning}", width, "$sign-hold")
        if self._preview.covers:
            calls = "call" if self._preview.covers == 1 else "calls"
            text = f"It also settles {self._preview.covers} other waiting {calls}."
            lines.append(told(text, width))
        if (history := self._preview.history) is not None:
            lines += wrapped(f"{history[:1].upper()}{history[1:]}.", width)
        lines.append(told("This is written to remembered.yaml:", width))
        return [*lines, Content(), *diff_lines(self._preview.diff, width)]

    def action_save(self) -> None:
        """Write the rule."""
        self.mean(True)
