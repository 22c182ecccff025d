"""Tickets: the approval of a call that no longer waits, good for one retry. No clock, no I/O."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass

GOOD_FOR = 600.0
"""Seconds in which the retry has to come, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Lets *agent* make the one *call* (a hash of ``Target``) before ``until``, once."""

    id: str
    agent: str
    call: str
    until: float


class Tickets:
    """The unused tickets, *limit* in all; where that is too many the oldest is void.

    Times are seconds on any monotonic clock of the caller's.
    """

    def __init__(self, limit: int = 1_000, good_for: float = GOOD_FOR) -> None:
        self._limit = limit
        self._good_for = good_for
        self._tickets: OrderedDict[str, Ticket] = OrderedDict()
        self._by_call: dict[tuple[str, str], deque[str]] = {}
        self._made = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def unused(self, *, now: float) -> tuple[Ticket, ...]:
        """Return the tickets that are good at *now*, the oldest first."""
        self.expire(now=now)
        return tuple(self._tickets.values())

    def mint(self, agent: str, call: str, *, now: float, good_for: float | None = None) -> Ticket:
        """Return a new ticket for *agent* and *call*, good for so many seconds."""
        self.expire(now=now)
        self._made += 1
        ticket = Ticket(f"t{self._made}", agent, call, now + (good_for or self._good_for))
        self._tickets[ticket.id] = ticket
        self._by_call.setdefault((agent, call), deque()).append(ticket.id)
        if len(self._tickets) > self._limit:
            self.revoke(next(iter(self._tickets)))
        return ticket

    def use(self, agent: str, call: str, *, now: float) -> Ticket | None:
        """Return a ticket of *agent* for *call* and void it, or None: there is none (any more)."""
        self.expire(now=now)
        waiting = self._by_call.get((agent, call))
        return self.revoke(waiting[0]) if waiting else None

    def revoke(self, ticket_id: str) -> Ticket | None:
        """Void a ticket and return it, or None: it was used, or its time is over."""
        ticket = self._tickets.pop(ticket_id, None)
        if ticket is not None:
            key = ticket.agent, ticket.call
            self._by_call[key].remove(ticket_id)
            if not self._by_call[key]:
                del self._by_call[key]
        return ticket

    def expire(self, *, now: float) -> list[Ticket]:
        """Void the tickets whose time is over and return them."""
        late = [ticket for ticket in self._tickets.values() if ticket.until <= now]
        for ticket in late:
            self.revoke(ticket.id)
        return late
