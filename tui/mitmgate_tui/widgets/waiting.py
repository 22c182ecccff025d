"""The waiting pane: calls that a person has to answer, oldest first, with the time left."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len

from mitmgate_tui.clock import Clock, minutes
from mitmgate_tui.columns import Part
from mitmgate_tui.entry import Entry
from mitmgate_tui.signs import sign_of, what, whom, why
from mitmgate_tui.text import clean, fit
from mitmgate_tui.views import Listed
from mitmgate_tui.widgets.rows import RowList

BAR = 6
URGENT = 10.0
MAX_LINES = 10
MAX_GHOSTS = 10


class Waiting(RowList):
    """Always has a row under the cursor while anything waits.

    A row that left stays on its line as a dim ghost until the selection moves, or nothing waits:
    the rows below it do not slide under the cursor of somebody who is about to press a key.
    """

    def __init__(self, clock: Clock, *, id: str) -> None:
        super().__init__(clock, id=id, empty=" ⏸ nothing waits")
        self.border_title = "Waiting"
        self.add_class("empty")
        self.can_focus = False
        self._waiting: tuple[Entry, ...] = ()
        self._waits: set[int] = set()
        self._lines: list[Entry] = []

    def show_waiting(self, waiting: Iterable[Entry]) -> None:
        """Take over the waiting calls; fold to one line when there are none."""
        self._waiting = tuple(waiting)
        self._waits = set(map(id, self._waiting))
        known = set(map(id, self._lines))
        self._lines += [entry for entry in self._waiting if id(entry) not in known]
        self._sweep(keep=MAX_GHOSTS if self._waiting else 0)
        super().show(Listed(self._lines))
        self.set_class(not self._lines, "empty")
        self.can_focus = bool(self._lines)
        lines = min(len(self._lines), MAX_LINES)
        self.styles.height = lines + 2 if lines else 1

    def select(self, entry: Entry | None) -> None:
        """Move the cursor; the ghosts go."""
        moved = entry is not self.chosen
        super().select(entry)
        if moved and any(self.is_ghost(other) for other in self._lines):
            self._sweep(keep=0)
            self.show_waiting(self._waiting)

    def next_selection(self) -> Entry | None:
        """Begin with the call that waits for longest."""
        return self._waiting[0] if self._waiting else None

    def action_move(self, step: int) -> None:
        """Select the call *step* further among those that wait."""
        at = self.cursor or 0
        if step > 0:
            ahead = [entry for entry in self._lines[at + 1 :] if not self.is_ghost(entry)]
        else:
            ahead = [entry for entry in self._lines[:at][::-1] if not self.is_ghost(entry)]
        if ahead:
            self._select_at(self._lines.index(ahead[min(abs(step), len(ahead)) - 1]))

    def action_edge(self, last: bool) -> None:
        """Select the first or the last call that waits."""
        if self._waiting:
            self._select_at(self._lines.index(self._waiting[-1 if last else 0]))

    def pass_on(self, row_id: str) -> None:
        """Select the next call after the one that the operator has just answered."""
        if self.selected == row_id:
            before = self.chosen
            self.action_move(1)
            if self.chosen is before:
                self.action_move(-1)

    def is_ghost(self, entry: Entry) -> bool:
        """Whether *entry* does not wait any more."""
        return id(entry) not in self._waits

    def _sweep(self, *, keep: int) -> None:
        chosen = self.chosen if self._waiting else None
        ghosts = [entry for entry in self._lines if self.is_ghost(entry) and entry is not chosen]
        go = set(map(id, ghosts[: max(0, len(ghosts) - keep)]))
        if go:
            self._lines = [entry for entry in self._lines if id(entry) not in go]

    def line(self, entry: Entry, width: int) -> list[Part]:
        """Draw time left as number and bar, where, what, rule and who; less where narrow."""
        if self.is_ghost(entry):
            return [(fit(f"  {_became(entry)}", width), "faint")]
        row = entry.row
        left, share = time_left(entry, self.clock.wall())
        urgent = "urgent" if left <= URGENT else "hold"
        full = round(share * BAR)
        before: list[Part] = [
            (f"{minutes(left):>5} ", urgent),
            ("█" * full + "░" * (BAR - full) + " ", urgent),
            (fit(whom(row), 9) + " ", "plain"),
        ]
        after: list[Part] = [
            (" ⚠" if row.findings else "  ", "deny"),
            (" " + fit(why(entry), 14), "faint"),
        ]
        if width >= 70:
            after.append((" " + fit(clean(row.agent), 12), "faint"))
        room = width - sum(cell_len(text) for text, _ in (*before, *after))
        return [*before, (fit(what(row), max(room, 8)), "plain"), *after]


def _became(entry: Entry) -> str:
    answer = entry.answer
    if answer is None:
        return f"no answer: {what(entry.row)}"
    by = clean(answer.operator or answer.via)
    return f"{sign_of(entry)} by {by}: {what(entry.row)}"


def time_left(entry: Entry, now: float) -> tuple[float, float]:
    """Return the seconds left of a waiting call, and which share of its time that is."""
    if entry.pending is None:
        return 0.0, 0.0
    left = max(0.0, entry.pending.deadline - now)
    whole = entry.pending.deadline - entry.pending.since
    return left, min(1.0, left / whole) if whole > 0 else 0.0
