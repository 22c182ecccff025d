"""The waiting pane: calls that a person has to answer, oldest first, with the time left."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from mitmgate_tui.board import Entry
from mitmgate_tui.clock import Clock, minutes
from mitmgate_tui.signs import what, whom, why
from mitmgate_tui.text import clean, fit
from mitmgate_tui.widgets.rows import Part, RowList

BAR = 6
URGENT = 10.0
MAX_LINES = 10


class Waiting(RowList):
    """Always has a row under the cursor while anything waits."""

    def __init__(self, clock: Clock, *, id: str) -> None:
        super().__init__(clock, id=id, empty=" ⏸ nothing waits")
        self.border_title = "Waiting"
        self.add_class("empty")
        self.can_focus = False

    def show(self, entries: Sequence[Entry]) -> None:
        """Take over the waiting calls; fold to one line when there are none."""
        super().show(entries)
        self.set_class(not entries, "empty")
        self.can_focus = bool(entries)
        lines = min(len(entries), MAX_LINES)
        self.styles.height = lines + 2 if lines else 1

    def line(self, entry: Entry, width: int) -> list[Part]:
        """Draw time left as number and bar, where, what, rule and who; less where narrow."""
        left, share = time_left(entry, self.clock.wall())
        urgent = "urgent" if left <= URGENT else "hold"
        full = round(share * BAR)
        before: list[Part] = [
            (f"{minutes(left):>5} ", urgent),
            ("█" * full + "░" * (BAR - full) + " ", urgent),
            (fit(whom(entry.row), 9) + " ", "plain"),
        ]
        after: list[Part] = [
            (" ⚠" if entry.row.findings else "  ", "deny"),
            (" " + fit(why(entry), 14), "faint"),
        ]
        if width >= 70:
            after.append((" " + fit(clean(entry.row.agent), 12), "faint"))
        room = width - sum(cell_len(text) for text, _ in (*before, *after))
        return [*before, (fit(what(entry.row), max(room, 8)), "plain"), *after]

    def kept_selection(self, old_cursor: int | None) -> str | None:
        """Keep the row, or take the one that came to its place."""
        if not self.entries or self.cursor is not None:
            return self.selected if self.entries else None
        return self.entries[min(old_cursor or 0, len(self.entries) - 1)].id


def time_left(entry: Entry, now: float) -> tuple[float, float]:
    """Return the seconds left of a waiting call, and which share of its time that is."""
    if entry.pending is None:
        return 0.0, 0.0
    left = max(0.0, entry.pending.deadline - now)
    whole = entry.pending.deadline - entry.pending.since
    return left, min(1.0, left / whole) if whole > 0 else 0.0
