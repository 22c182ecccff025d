"""How much an agent has sent by a rule within the last hour."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from mitmgate.wire.http import RequestHead

_STEP = 300  # seconds
_STEPS = 13  # the one that is not full yet, and an hour
_HEAD_SIGNS = 4  # a colon, a space and the line's end


@dataclass(slots=True)
class _Hour:
    """Bytes by the step in which they went out, the oldest first, and their sum."""

    steps: deque[tuple[int, int]] = field(default_factory=deque)
    total: int = 0

    def forget(self, step: int) -> None:
        while self.steps and self.steps[0][0] <= step - _STEPS:
            self.total -= self.steps.popleft()[1]


class Spent:
    """Bytes by agent and rule, over the last hour in steps of five minutes.

    Of more than *limit* pairs the one that sent nothing for the longest time is forgotten.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hours: OrderedDict[tuple[str, str], _Hour] = OrderedDict()

    def add(self, agent: str, rule: str, size: int, *, now: float) -> None:
        """Count *size* bytes that *agent* sent by *rule*; *now* in seconds."""
        hour = self._hours.setdefault((agent, rule), _Hour())
        self._hours.move_to_end((agent, rule))
        step = int(now) // _STEP
        if hour.steps and hour.steps[-1][0] >= step:
            last, before = hour.steps.pop()
            hour.steps.append((last, before + size))
        else:
            hour.steps.append((step, size))
        hour.total += size
        hour.forget(step)
        if len(self._hours) > self._limit:
            self._hours.popitem(last=False)

    def within(self, agent: str, rule: str, *, now: float) -> int:
        """Return how many bytes *agent* sent by *rule* within the last hour."""
        hour = self._hours.get((agent, rule))
        if hour is None:
            return 0
        hour.forget(int(now) // _STEP)
        return hour.total


def size_of(head: RequestHead, body: int) -> int:
    """Return the bytes of a request: its URL, its headers and a *body* of so many bytes."""
    fields = sum(len(name) + len(value) + _HEAD_SIGNS for name, value in head.headers)
    return len(head.method) + len(head.url) + fields + body
