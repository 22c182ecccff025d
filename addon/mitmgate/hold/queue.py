"""Calls that wait for a person: a state machine without clock, loop or I/O.

Every held call leaves exactly once: by an answer, by its deadline, or because its client
left. Times are seconds on any monotonic clock of the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


class QueueFullError(Exception):
    """No place to wait: the caller denies (a full queue never lets a call by)."""


@dataclass(frozen=True, slots=True)
class Held:
    """A waiting call. ``question`` groups calls that one answer settles; None: only itself."""

    id: str
    agent: str
    question: str | None
    since: float
    deadline: float


class HoldQueue:
    """The waiting calls, oldest first; ``limit`` in all and ``per_agent`` for each agent."""

    def __init__(self, *, limit: int = 200, per_agent: int = 20) -> None:
        self._limit = limit
        self._per_agent = per_agent
        self._held: dict[str, Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(tuple(self._held.values()))

    def get(self, key: str) -> Held | None:
        """Return the waiting call *key*, or None when it already left."""
        return self._held.get(key)

    def hold(self, key: str, *, agent: str, question: str | None, now: float, wait: float) -> Held:
        """Let call *key* wait for *wait* seconds, or raise :class:`QueueFullError`."""
        if key in self._held:
            raise ValueError(f"{key} waits already")
        mine = sum(1 for held in self._held.values() if held.agent == agent)
        if len(self._held) >= self._limit or mine >= self._per_agent:
            raise QueueFullError
        held = Held(key, agent, question, now, now + wait)
        self._held[key] = held
        return held

    def answer(self, key: str) -> tuple[Held, ...]:
        """Release call *key* and all that ask the same question; empty when it already left."""
        first = self._held.pop(key, None)
        if first is None:
            return ()
        if first.question is None:
            return (first,)
        alike = [held for held in self._held.values() if held.question == first.question]
        for held in alike:
            del self._held[held.id]
        return (first, *alike)

    def drop(self, key: str) -> Held | None:
        """Take out call *key* because its client left; None when it already left."""
        return self._held.pop(key, None)

    def expire(self, *, now: float) -> list[Held]:
        """Release every call whose deadline is not after *now*."""
        late = [held for held in self._held.values() if held.deadline <= now]
        for held in late:
            del self._held[held.id]
        return late

    def next_deadline(self) -> float | None:
        """Return when :meth:`expire` has work next, or None while nothing waits."""
        return min((held.deadline for held in self._held.values()), default=None)
