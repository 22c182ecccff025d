"""The hold queue: every held call leaves exactly once, and nobody overstays."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mitmgate.hold.queue import HoldQueue, QueueFullError

WAIT = 10.0


class Holding(RuleBasedStateMachine):
    """Drive a small queue with everything that can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = HoldQueue(limit=6, per_agent=3)
        self.now = 0.0
        self.waiting: dict[str, tuple[str, str | None, float]] = {}
        self.left: list[str] = []
        self.made = 0

    @rule(agent=st.sampled_from("ab"), question=st.sampled_from([None, "q1", "q2"]))
    def hold(self, agent: str, question: str | None) -> None:
        key = f"call{self.made}"
        self.made += 1
        mine = sum(1 for who, _, _ in self.waiting.values() if who == agent)
        try:
            self.queue.hold(key, agent=agent, question=question, now=self.now, wait=WAIT)
        except QueueFullError:
            assert len(self.waiting) == 6 or mine == 3
        else:
            assert len(self.waiting) < 6
            assert mine < 3
            self.waiting[key] = (agent, question, self.now + WAIT)

    @rule(number=st.integers(0, 30))
    def answer(self, number: int) -> None:
        key = f"call{number}"
        released = [held.id for held in self.queue.answer(key)]
        if key not in self.waiting:
            assert released == []
            return
        question = self.waiting[key][1]
        alike = [k for k, (_, q, _) in self.waiting.items() if q is not None and q == question]
        assert sorted(released) == sorted({key, *alike})
        self.leave(released)

    @rule(number=st.integers(0, 30))
    def drop(self, number: int) -> None:
        key = f"call{number}"
        held = self.queue.drop(key)
        assert (held is not None) == (key in self.waiting)
        if held is not None:
            self.leave([key])

    @rule(passed=st.floats(0, 15))
    def expire(self, passed: float) -> None:
        self.now += passed
        released = [held.id for held in self.queue.expire(now=self.now)]
        late = [k for k, (_, _, deadline) in self.waiting.items() if deadline <= self.now]
        assert sorted(released) == sorted(late)
        self.leave(released)

    def leave(self, keys: list[str]) -> None:
        for key in keys:
            assert key not in self.left
            self.left.append(key)
            del self.waiting[key]

    @invariant()
    def the_next_deadline_is_the_earliest(self) -> None:
        expected = min((d for _, _, d in self.waiting.values()), default=None)
        assert self.queue.next_deadline() == expected
        assert {held.id for held in self.queue} == set(self.waiting)
        assert len(self.queue) == len(self.waiting)


TestHolding = Holding.TestCase
