"""Calls that wait for a person: a state machine without clock, loop or I/O.

Every held call leaves exactly once: by an answer, by its deadline, or because its client left.
What its client may try again stays behind as a *detached* entry: nobody waits there any more, and
approving it is good for one retry. Times are seconds on any monotonic clock of the caller's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace

_MOST_NAMES = 8


class QueueFullError(Exception):
    """No place to wait: the caller denies (a full queue never lets a call by)."""


@dataclass(frozen=True, slots=True)
class HoldLimits:
    """How many calls wait: ``total``, of one session, of one agent; the same for detached ones.

    ``detached_for`` is how many seconds a detached entry stays.
    """

    total: int = 200
    per_session: int = 20
    per_agent: int = 100
    detached: int = 200
    detached_per_agent: int = 50
    detached_for: float = 3600.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that wants an answer. ``session`` is any value that tells conversations apart.

    ``row`` is the fingerprint that equal calls have in common, None: it is alone in its row.
    ``question`` groups calls that one answer settles; None: only itself. ``retriable`` says that
    its client may try again, so that it stays as a detached entry when its time is over.
    """

    id: str
    agent: str
    session: Hashable
    row: str | None = None
    question: str | None = None
    retriable: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """An entry: a waiting call, or what stayed of one. ``names`` are ids it had before."""

    ask: Ask
    since: float
    deadline: float
    detached: bool = False
    names: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The id of the call."""
        return self.ask.id


class HoldQueue:
    """The waiting calls and the detached entries, each the oldest first."""

    def __init__(self, limits: HoldLimits | None = None) -> None:
        self.limits = limits or HoldLimits()
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._detached: OrderedDict[str, Held] = OrderedDict()
        self._names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(tuple(self._held.values()))

    @property
    def detached(self) -> tuple[Held, ...]:
        """The entries that nobody waits behind."""
        return tuple(self._detached.values())

    def get(self, key: str) -> Held | None:
        """Return the entry *key*, waiting or detached, or None when it already left.

        The id of a detached entry goes on naming the retry that took its place.
        """
        key = self._names.get(key, key)
        return self._held.get(key) or self._detached.get(key)

    def row(self, row: str | None) -> tuple[Held, ...]:
        """Return the entries of *row*, the waiting ones first."""
        if row is None:
            return ()
        every = (*self._held.values(), *self._detached.values())
        return tuple(held for held in every if held.ask.row == row)

    def hold(self, ask: Ask, *, now: float, wait: float) -> Held:
        """Let *ask* wait for *wait* seconds, or raise :class:`QueueFullError`.

        It takes the place of a detached entry of its row: the client tries again.
        """
        self._refuse_twice(ask)
        self._refuse_full(ask)
        held = Held(ask, now, now + wait, names=self._replaced(ask))
        self._held[ask.id] = held
        self._name(held)
        return held

    def detach(self, ask: Ask, *, now: float) -> tuple[Held, list[Held]]:
        """Keep *ask*, behind which nobody waits; return it, and what had to leave for it."""
        self._refuse_twice(ask)
        held = Held(ask, now, now + self.limits.detached_for, True, self._replaced(ask))
        return held, self._keep(held)

    def answer(self, key: str) -> tuple[Held, ...]:
        """Release entry *key* alone, or all that ask its question; empty when it already left."""
        first = self.get(key)
        if first is None:
            return ()
        if first.ask.question is None:
            return (self._gone(first),)
        every = (*self._held.values(), *self._detached.values())
        alike = [h for h in every if h.ask.question == first.ask.question and h is not first]
        return tuple(self._gone(held) for held in (first, *alike))

    def close(self, key: str) -> tuple[Held, ...]:
        """Release entry *key* with its whole row, and all that ask its question."""
        first = self.get(key)
        if first is None:
            return ()
        rest = [held for held in self.row(first.ask.row) if held is not first]
        row = tuple(self._gone(held) for held in rest)
        return (*self.answer(first.id), *row)

    def drop(self, key: str) -> Held | None:
        """Take out the waiting call *key* because its client left; None when it already left."""
        held = self._held.get(key)
        return None if held is None else self._gone(held)

    def expire(self, *, now: float) -> tuple[list[Held], list[Held]]:
        """Release what is late: the calls that waited, and the detached entries.

        A call that waited and may be tried again stays, detached.
        """
        late = [held for held in self._held.values() if held.deadline <= now]
        gone = [held for held in self._detached.values() if held.deadline <= now]
        for held in (*late, *gone):
            self._gone(held)
        for held in late:
            if held.ask.retriable:
                until = now + self.limits.detached_for
                gone += self._keep(replace(held, detached=True, deadline=until))
        return late, gone

    def next_deadline(self) -> float | None:
        """Return when :meth:`expire` has work next, or None while there is nothing."""
        every = (*self._held.values(), *self._detached.values())
        return min((held.deadline for held in every), default=None)

    def _refuse_twice(self, ask: Ask) -> None:
        if ask.id in self._held or ask.id in self._detached:
            raise ValueError(f"{ask.id} waits already")

    def _refuse_full(self, ask: Ask) -> None:
        asks = [held.ask for held in self._held.values()]
        mine = [one for one in asks if one.agent == ask.agent]
        same = sum(1 for one in mine if one.session == ask.session)
        limits = self.limits
        if len(asks) >= limits.total or len(mine) >= limits.per_agent or same >= limits.per_session:
            raise QueueFullError

    def _replaced(self, ask: Ask) -> tuple[str, ...]:
        alike = (h for h in self._detached.values() if ask.row is not None and h.ask.row == ask.row)
        earlier = next(alike, None)
        if earlier is None:
            return ()
        self._gone(earlier)
        return (*earlier.names, earlier.id)[-_MOST_NAMES:]

    def _keep(self, held: Held) -> list[Held]:
        self._detached[held.id] = held
        self._name(held)
        agent, left = held.ask.agent, list[Held]()
        mine = [h for h in self._detached.values() if h.ask.agent == agent]
        if len(mine) > self.limits.detached_per_agent:
            left.append(self._gone(mine[0]))
        if len(self._detached) > self.limits.detached:
            left.append(self._gone(next(iter(self._detached.values()))))
        return left

    def _name(self, held: Held) -> None:
        for name in held.names:
            self._names[name] = held.id

    def _gone(self, held: Held) -> Held:
        self._held.pop(held.id, None)
        self._detached.pop(held.id, None)
        for name in held.names:
            self._names.pop(name, None)
        return held
