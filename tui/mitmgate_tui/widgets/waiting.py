"""The waiting pane: calls that a person has to answer, oldest first, with the time left."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from rich.cells import cell_len

from mitmgate_tui.chosen import Chosen, key_of
from mitmgate_tui.clock import Clock, minutes
from mitmgate_tui.columns import Part
from mitmgate_tui.entry import Entry
from mitmgate_tui.messages import SelectionMoved
from mitmgate_tui.signs import sign_of, what, whom, why
from mitmgate_tui.text import clean, fit
from mitmgate_tui.views import Listed
from mitmgate_tui.widgets.rows import RowList

BAR = 6
URGENT = 10.0
MAX_LINES = 10
MAX_GHOSTS = 10
_MOST_STOOD = 50


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
        self.chosen_by: Chosen | None = None
        self._waiting: tuple[Entry, ...] = ()
        self._firsts: dict[str, Entry] = {}
        self._counts: dict[str, int] = {}
        self._lines: list[Entry] = []
        self._keys: dict[int, str] = {}
        self._stood_for: deque[str] = deque(maxlen=_MOST_STOOD)

    def show_waiting(self, waiting: Iterable[Entry], chosen: Chosen | None = None) -> None:
        """Take over the waiting calls; fold to one line when there are none.

        Equal calls are one line, which stands for the oldest of them and stays where it is when
        that one leaves and others go on waiting.
        """
        if chosen is not None:
            self.chosen_by = chosen
        self._waiting = tuple(entry for entry in waiting if entry.pending is not None)
        groups: dict[str, list[Entry]] = {}
        for entry in self._waiting:
            groups.setdefault(_key(entry), []).append(entry)
        self._counts = {key: len(group) for key, group in groups.items()}
        self._firsts = self._kept(groups)
        self._sweep(keep=MAX_GHOSTS if self._waiting else 0)
        super().show(Listed(self._lines))
        self.set_class(not self._lines, "empty")
        self.can_focus = bool(self._lines)
        lines = min(len(self._lines), MAX_LINES)
        self.styles.height = lines + 2 if lines else 1

    def _kept(self, groups: dict[str, list[Entry]]) -> dict[str, Entry]:
        """Find the line of each group: that of before, or that of a member which left, or a new."""
        firsts: dict[str, Entry] = {}
        lines: dict[str, int] = {}
        for at, entry in enumerate(self._lines):
            key = self._keys.get(id(entry), "")
            group = groups.get(key, ())
            if any(entry is one for one in group):
                lines[key], firsts[key] = at, entry
            elif group:
                lines.setdefault(key, at)
        for key, group in groups.items():
            if key in firsts:
                continue
            firsts[key] = group[0]
            if key in lines:
                self._replace(lines[key], group[0])
            else:
                self._lines.append(group[0])
        self._keys = {id(entry): key for key, entry in firsts.items()} | {
            id(entry): key
            for entry in self._lines
            if (key := self._keys.get(id(entry), "")) and key not in firsts
        }
        return firsts

    def _replace(self, at: int, entry: Entry) -> None:
        left, self._lines[at] = self._lines[at], entry
        if self.chosen is left:
            self._stood_for.append(left.id)
            self.chosen = entry
            self.post_message(SelectionMoved())

    def select(self, entry: Entry | None) -> None:
        """Move the cursor; the ghosts go."""
        moved = entry is not self.chosen
        super().select(entry)
        if moved:
            self._stood_for.clear()
        if moved and any(self.is_ghost(other) for other in self._lines):
            self._sweep(keep=0)
            self.show_waiting(self._waiting)

    def next_selection(self) -> Entry | None:
        """Begin with the call that waits for longest."""
        return next((entry for entry in self._lines if not self.is_ghost(entry)), None)

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
        waiting = [at for at, entry in enumerate(self._lines) if not self.is_ghost(entry)]
        if waiting:
            self._select_at(waiting[-1 if last else 0])

    def pass_on(self, row_id: str, left: int = 1) -> None:
        """Select the next row after the one that the operator has just answered.

        *left* is how many calls the answer was for. A row in which others, equal to these, go on
        waiting keeps the cursor.
        """
        if row_id in self._stood_for:
            left -= 1  # that one left before its answer came, and another stands in its line
        elif self.selected == row_id:
            left = max(1, left)
        else:
            return
        if self.count(self.chosen) <= left:
            before = self.chosen
            self.action_move(1)
            if self.chosen is before:
                self.action_move(-1)

    def is_ghost(self, entry: Entry) -> bool:
        """Whether *entry* does not wait any more."""
        return self._firsts.get(self._keys.get(id(entry), "")) is not entry

    def count(self, entry: Entry | None) -> int:
        """How many equal calls the line of *entry* stands for."""
        return 0 if entry is None else self._counts.get(self._keys.get(id(entry), ""), 0)

    def _mark(self, entry: Entry) -> str:
        chosen, pending = self.chosen_by, entry.pending
        return "●" if chosen and pending and chosen.is_marked(pending) else ""

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
        left, share = time_left(entry, self.clock)
        detached = entry.pending is not None and entry.pending.detached
        style = "faint" if detached else "urgent" if left <= URGENT else "hold"
        full = round(share * BAR)
        bar = "retry " if detached else "█" * full + "░" * (BAR - full)
        count = self.count(entry)
        # One width for all lines: the names stay below each other.
        most = max((len(f"x{n}") for n in self._counts.values() if n > 1), default=0)
        before: list[Part] = [
            (f"{self._mark(entry) + minutes(left):>5} ", style),
            (f"{bar} ", style),
            (f"{f'x{count}' if count > 1 else '':<{most}} " if most else "", "plain"),
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


def _key(entry: Entry) -> str:
    return "" if entry.pending is None else key_of(entry.pending)


def _became(entry: Entry) -> str:
    answer = entry.answer
    if answer is None:
        return f"no answer: {what(entry.row)}"
    by = clean(answer.operator or answer.via)
    return f"{sign_of(entry)} by {by}: {what(entry.row)}"


def time_left(entry: Entry, clock: Clock) -> tuple[float, float]:
    """Return the seconds left of a waiting call, and which share of its time that is.

    Counted from what the proxy said was left: the clock of the wall may jump.
    """
    if entry.pending is None:
        return 0.0, 0.0
    ends, now = entry.until, clock.steady()
    if ends is None:
        ends, now = entry.pending.deadline, clock.wall()
    left = max(0.0, ends - now)
    whole = entry.pending.deadline - entry.pending.since
    return left, min(1.0, left / whole) if whole > 0 else 0.0
