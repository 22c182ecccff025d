"""What the console knows: the proxy's events folded into rows, waiting calls and a state.

No Textual here, and no clock: the same events give the same board.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

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
from mitmgate_tui.entry import Entry
from mitmgate_tui.ring import Ring
from mitmgate_tui.views import Feed

MAX_ROWS = 100_000
# Arguments may be a megabyte each: they are kept for what waits and the last few answered.
MAX_ARGUMENTS = 50
MAX_LATENCIES = 1_000
MAX_RULES = 1_000


@dataclass(slots=True)
class RuleSeen:
    """What this console saw of a rule: how often it decided, and when last (epoch seconds)."""

    allowed: int = 0
    asked: int = 0
    denied: int = 0
    last: float = 0.0

    @property
    def hits(self) -> int:
        """How often it decided."""
        return self.allowed + self.asked + self.denied


class Board:
    """The state of the screen; ``version`` counts its changes.

    ``latencies`` are those of the last requests that ended, in seconds. ``rate`` is decisions a
    second, as the last two state lines tell; None before the second one.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.entries = Ring(max_rows)
        self.feed = Feed(self.entries)
        self.waiting: dict[str, Entry] = {}
        self.rules: dict[str, RuleSeen] = {}
        self.latencies: deque[float] = deque(maxlen=MAX_LATENCIES)
        self.state: State | None = None
        self.operator = False
        self.dropped = 0
        self.rate: int | None = None
        self.gone: str | None = "connecting"
        self.version = 0
        self.now: float | None = None
        """The steady clock's time at which the next event came, as far as somebody says it."""
        self._open: dict[str, deque[Entry]] = {}
        self._answered: deque[Entry] = deque()

    def apply(self, event: Event) -> None:
        """Fold one event in. Total: an event about something unknown changes nothing."""
        self.version += 1
        match event:
            case RowEvent():
                self._add(event.row)
            case CompletedEvent():
                self._complete(event.completed)
            case HeldEvent():
                self._hold(event.pending)
            case ResolvedEvent():
                self._resolve(event.resolved)
            case StateEvent():
                if self.state is not None:
                    self.rate = max(0, event.state.decisions - self.state.decisions)
                self.state = event.state
                self.dropped = event.dropped
            case Snapshot():
                self._restart(event)

    def lose(self, why: str) -> None:
        """Note that the proxy is out of reach; what waited there cannot be answered here."""
        self.version += 1
        self.gone, self.rate = why, None
        self._forget_waiting()

    def waiting_entry(self, row_id: str) -> Entry | None:
        """Return the entry of that row if it still waits and can be answered now."""
        return next((entry for entry in self.waiting.values() if entry.id == row_id), None)

    def find(self, row_id: str) -> Entry | None:
        """Return the entry of that row, waiting or past."""
        return self.waiting_entry(row_id) or self.entries.get(row_id)

    def _restart(self, event: Snapshot) -> None:
        # Rows of before stay: ids name the proxy's run, so none of another run is taken for ours.
        self.state, self.operator = event.state, event.operator
        self.gone, self.dropped, self.rate = None, 0, None
        self._forget_waiting()
        for row in event.rows:
            self._add(row)
        # What was answered while the stream was broken, as far as the proxy says it.
        recent: tuple[Resolved, ...] = getattr(event, "recent", ())
        for resolved in recent:
            self._resolve(resolved)
        for pending in event.pending:
            self._hold(pending)

    def _forget_waiting(self) -> None:
        for entry in self.waiting.values():
            entry.pending = None
            entry.lost = True
            self.feed.changed(entry)
        self.waiting.clear()

    def _add(self, row: Row) -> Entry:
        known = self.entries.get(row.id)
        if known is not None:
            known.row = row
            self.feed.changed(known)
            return known
        entry = Entry(row)
        left = self.entries.append(entry)
        if left is not None:
            self._leave(left)
        self._open.setdefault(_exchange(row.id), deque()).append(entry)
        self._count(row)
        self.feed.added(entry)
        return entry

    def _leave(self, entry: Entry) -> None:
        exchange = _exchange(entry.id)
        siblings = self._open.get(exchange)
        if siblings and siblings[0] is entry:  # rows of one exchange leave as they came
            siblings.popleft()
            if not siblings:
                del self._open[exchange]
        self.feed.left(entry)

    def _count(self, row: Row) -> None:
        seen = self.rules.pop(row.rule, None) or RuleSeen()
        self.rules[row.rule] = seen  # behind all others: the one not seen for longest is first
        if len(self.rules) > MAX_RULES:
            del self.rules[next(iter(self.rules))]
        seen.last = row.time
        seen.allowed += row.verdict == "allow"
        seen.asked += row.verdict == "ask"
        seen.denied += row.verdict == "deny"

    def _complete(self, completed: Completed) -> None:
        entries = self._open.pop(completed.exchange, ())
        for entry in entries:
            entry.done = completed
            self.feed.changed(entry)
        if entries:
            self.latencies.append(completed.latency)

    def _hold(self, pending: Pending) -> None:
        entry = self._add(pending.row)
        entry.pending, entry.lost = pending, False
        known = self.now is not None and pending.left is not None
        entry.until = self.now + pending.left if known else None  # type: ignore[operator]
        self.waiting[pending.id] = entry
        self.feed.changed(entry)

    def _resolve(self, resolved: Resolved) -> None:
        # What was denied without ever waiting (nobody attached) is resolved by its row's id.
        entry = self.waiting.pop(resolved.id, None) or self.entries.get(resolved.id)
        if entry is None:
            return
        entry.answer, entry.lost = resolved, False
        pending = entry.pending
        entry.ticket = resolved.answer == "allow" and pending is not None and pending.detached
        self.feed.changed(entry)
        self._answered.append(entry)
        if len(self._answered) > MAX_ARGUMENTS:
            self._let_go(self._answered.popleft())

    def _let_go(self, entry: Entry) -> None:
        """Drop the arguments of *entry*, unless it waits again, detached."""
        pending = entry.pending
        if pending is not None and self.waiting.get(pending.id) is not entry:
            entry.pending = None


def _exchange(row_id: str) -> str:
    return row_id.partition(".")[0]
