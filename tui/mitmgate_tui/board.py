"""What the console knows: the proxy's events folded into rows, waiting calls and a state.

No Textual here, and no clock: the same events give the same board.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mitmgate.control.models import (
    Completed,
    CompletedEvent,
    Event,
    HeldEvent,
    Pending,
    Resolved,
    ResolvedEvent,
    Row,
    RowEvent,
    Snapshot,
    State,
    StateEvent,
)

MAX_ROWS = 10_000
# Arguments may be a megabyte each: they are kept for what waits and the last few answered.
MAX_ARGUMENTS = 50


@dataclass(slots=True)
class Entry:
    """A row and everything that joined it since."""

    row: Row
    pending: Pending | None = None
    answer: Resolved | None = None
    done: Completed | None = None

    @property
    def id(self) -> str:
        """The row's id: what a selection holds on to."""
        return self.row.id

    @property
    def waits(self) -> bool:
        """Whether a person can still answer it."""
        return self.pending is not None and self.answer is None

    @property
    def notable(self) -> bool:
        """Whether it is more than a plain allow."""
        row = self.row
        return row.verdict != "allow" or not row.enforced or row.edits > 0


@dataclass(slots=True)
class Board:
    """The state of the screen; ``version`` counts its changes."""

    max_rows: int = MAX_ROWS
    state: State | None = None
    operator: bool = False
    dropped: int = 0
    gone: str | None = "connecting"
    version: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)
    waiting: dict[str, Entry] = field(default_factory=dict)
    _exchanges: dict[str, list[Entry]] = field(default_factory=dict)
    _answered: deque[Entry] = field(default_factory=deque)

    def apply(self, event: Event) -> None:
        """Fold one event in. Total: an event about something unknown changes nothing."""
        self.version += 1
        match event:
            case Snapshot():
                self._restart(event)
            case RowEvent():
                self._add(event.row)
            case HeldEvent():
                self._hold(event.pending)
            case ResolvedEvent():
                self._resolve(event.resolved)
            case CompletedEvent():
                for entry in self._exchanges.get(event.completed.exchange, ()):
                    entry.done = event.completed
            case StateEvent():
                self.state = event.state
                self.dropped = event.dropped

    def lose(self, why: str) -> None:
        """Note that the proxy is out of reach; what waited there cannot be answered here."""
        self.version += 1
        self.gone = why
        self.waiting.clear()

    def waiting_entry(self, row_id: str) -> Entry | None:
        """Return the entry of that row if it still waits and can be answered now."""
        return next((entry for entry in self.waiting.values() if entry.id == row_id), None)

    def find(self, row_id: str) -> Entry | None:
        """Return the entry of that row, waiting or past."""
        return self.waiting_entry(row_id) or self.entries.get(row_id)

    def _restart(self, event: Snapshot) -> None:
        self.state, self.operator = event.state, event.operator
        self.gone, self.dropped = None, 0
        for store in (self.entries, self.waiting, self._exchanges, self._answered):
            store.clear()
        for row in event.rows:
            self._add(row)
        for pending in event.pending:
            self._hold(pending)

    def _add(self, row: Row) -> Entry:
        known = self.entries.get(row.id)
        if known is not None:
            known.row = row
            return known
        entry = self.entries[row.id] = Entry(row)
        self._exchanges.setdefault(_exchange(row.id), []).append(entry)
        while len(self.entries) > self.max_rows:
            self._forget(next(iter(self.entries)))
        return entry

    def _forget(self, row_id: str) -> None:
        entry = self.entries.pop(row_id)
        exchange = _exchange(row_id)
        rest = [other for other in self._exchanges.get(exchange, ()) if other is not entry]
        if rest:
            self._exchanges[exchange] = rest
        else:
            self._exchanges.pop(exchange, None)

    def _hold(self, pending: Pending) -> None:
        entry = self._add(pending.row)
        entry.pending = pending
        self.waiting[pending.id] = entry

    def _resolve(self, resolved: Resolved) -> None:
        # What was denied without ever waiting (nobody attached) is resolved by its row's id.
        entry = self.waiting.pop(resolved.id, None) or self.entries.get(resolved.id)
        if entry is None:
            return
        entry.answer = resolved
        self._answered.append(entry)
        if len(self._answered) > MAX_ARGUMENTS:
            self._answered.popleft().pending = None


def _exchange(row_id: str) -> str:
    return row_id.partition(".")[0]
