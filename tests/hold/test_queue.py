"""The hold: every held call leaves exactly once, nobody overstays, no ticket works twice."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mitmgate.hold.queue import Ask, Held, HoldLimits, HoldQueue, QueueFullError
from mitmgate.hold.tickets import Tickets

WAIT = 10.0
LIMITS = HoldLimits(
    total=8, per_session=3, per_agent=5, detached=6, detached_per_agent=4, detached_for=40.0
)
NUMBERS = st.integers(0, 40)


@dataclass
class Minted:
    """A ticket as it was minted, and whether it was used."""

    agent: str
    row: str
    until: float
    gone: bool = False


class Holding(RuleBasedStateMachine):
    """Drive a small queue and its tickets with everything that can happen to them."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = HoldQueue(LIMITS)
        self.tickets = Tickets(limit=5, good_for=20.0)
        self.now = 100.0
        self.waiting: dict[str, Held] = {}
        self.left: set[str] = set()
        self.detached: dict[str, Ask] = {}
        self.minted: dict[str, Minted] = {}
        self.made = 0

    def ask(self, agent: str, session: int, row: str | None, *, retriable: bool) -> Ask:
        key = f"call{self.made}"
        self.made += 1
        question = row if row == "q" else None
        shared = row if row is None else f"{agent} {row}"
        return Ask(key, agent, (agent, session), shared, question, retriable)

    @rule(
        agent=st.sampled_from("ab"),
        session=st.integers(0, 2),
        row=st.sampled_from([None, "r1", "r2", "q"]),
        retriable=st.booleans(),
    )
    def hold(self, agent: str, session: int, row: str | None, retriable: bool) -> None:
        ask = self.ask(agent, session, row, retriable=retriable)
        asks = [held.ask for held in self.waiting.values()]
        mine = [one for one in asks if one.agent == agent]
        same = [one for one in mine if one.session == ask.session]
        full = len(asks) >= 8 or len(mine) >= 5 or len(same) >= 3
        try:
            held = self.queue.hold(ask, now=self.now, wait=WAIT)
        except QueueFullError:
            assert full
            return
        assert not full
        for name in held.names[-1:]:  # it took the place of an equal detached entry
            assert self.detached.pop(name).row == ask.row
        self.waiting[ask.id] = held

    @rule(agent=st.sampled_from("ab"), row=st.sampled_from([None, "r1", "r2", "q"]))
    def detach(self, agent: str, row: str | None) -> None:
        ask = self.ask(agent, 0, row, retriable=True)
        held, gone = self.queue.detach(ask, now=self.now)
        for name in held.names[-1:]:
            assert self.detached.pop(name).row == ask.row
        self.detached[ask.id] = ask
        for one in gone:
            del self.detached[one.id]

    @rule(number=NUMBERS, whole_row=st.booleans())
    def answer(self, number: int, whole_row: bool) -> None:
        self.answered(f"call{number}", whole_row=whole_row)

    @precondition(lambda self: bool(self.detached))
    @rule(data=st.data())
    def approve_what_stayed(self, data: st.DataObject) -> None:
        self.answered(data.draw(st.sampled_from(sorted(self.detached))), whole_row=False)

    def answered(self, key: str, *, whole_row: bool) -> None:
        first = self.queue.get(key)
        released = self.queue.close(key) if whole_row else self.queue.answer(key)
        if first is None:
            assert released == ()
            return
        asked = first.ask
        every = [*(held.ask for held in self.waiting.values()), *self.detached.values()]
        alike = {
            one.id
            for one in every
            if one is asked
            or (asked.question is not None and one.question == asked.question)
            or (whole_row and asked.row is not None and one.row == asked.row)
        }
        assert {held.id for held in released} == alike
        assert len(released) == len(alike)
        if asked.question is None and not whole_row:
            assert len(released) == 1  # once is one, however many are alike
        for held in released:
            self.leave(held)
            if held.detached and not whole_row and held.ask.row is not None:
                self.mint(held.ask)

    def mint(self, ask: Ask) -> None:
        assert ask.row is not None
        ticket = self.tickets.mint(ask.agent, ask.row, now=self.now)
        assert ticket.id not in self.minted
        self.minted[ticket.id] = Minted(ask.agent, ask.row, self.now + 20.0)
        good = [m for m in self.minted.values() if not m.gone and m.until > self.now]
        if len(good) > 5:
            good[0].gone = True

    @precondition(lambda self: bool(self.minted))
    @rule(data=st.data(), agent=st.sampled_from([None, "a", "b"]))
    def use(self, data: st.DataObject, agent: str | None) -> None:
        one = self.minted[data.draw(st.sampled_from(sorted(self.minted)))]
        agent = agent or one.agent
        ticket = self.tickets.use(agent, one.row, now=self.now)
        good = [
            key
            for key, other in self.minted.items()
            if (other.agent, other.row) == (agent, one.row)
            and not other.gone
            and other.until > self.now
        ]
        assert (None if ticket is None else ticket.id) == next(iter(good), None)
        if ticket is not None:
            self.minted[ticket.id].gone = True

    @rule(number=st.integers(1, 12))
    def undo(self, number: int) -> None:
        key = f"t{number}"
        known = self.minted.get(key)
        revoked = self.tickets.revoke(key)
        if known is not None and known.until > self.now:
            assert (revoked is not None) == (not known.gone)
        if known is not None:
            known.gone = True

    @rule(number=NUMBERS)
    def drop(self, number: int) -> None:
        key = f"call{number}"
        held = self.queue.drop(key)
        assert (held is not None) == (key in self.waiting)
        if held is not None:
            self.leave(held)

    @rule(passed=st.floats(0, 50))
    def expire(self, passed: float) -> None:
        self.now += passed
        late, gone = self.queue.expire(now=self.now)
        expected = {key for key, held in self.waiting.items() if held.deadline <= self.now}
        assert {held.id for held in late} == expected
        for held in late:
            self.leave(held)
            if held.ask.retriable:
                self.detached[held.id] = held.ask
        for held in gone:
            assert held.detached
            del self.detached[held.id]

    def leave(self, held: Held) -> None:
        if held.detached:
            del self.detached[held.id]
            return
        assert held.id not in self.left
        self.left.add(held.id)
        del self.waiting[held.id]

    @invariant()
    def what_is_there_is_what_was_put_there(self) -> None:
        assert {held.id for held in self.queue} == set(self.waiting)
        assert {held.id for held in self.queue.detached} == set(self.detached)
        assert len(self.queue) == len(self.waiting)
        assert len(self.detached) <= 6
        entries = (*self.queue, *self.queue.detached)
        expected = min((held.deadline for held in entries), default=None)
        assert self.queue.next_deadline() == expected
        for held in entries:
            for name in (held.id, *held.names):
                assert self.queue.get(name) is held


TestHolding = Holding.TestCase


def ask(key: str, *, session: object = 1, row: str | None = "r", retriable: bool = True) -> Ask:
    return Ask(key, "agent", session, row, None, retriable)


def test_a_retry_takes_the_place_of_what_stayed_of_the_call_and_its_id_still_names_it() -> None:
    queue = HoldQueue()
    queue.hold(ask("a"), now=0.0, wait=1.0)
    queue.expire(now=1.0)
    assert [held.id for held in queue.detached] == ["a"]
    queue.hold(ask("b"), now=2.0, wait=1.0)
    assert queue.detached == ()
    [held] = queue.answer("a")
    assert (held.id, held.detached) == ("b", False)
    assert queue.get("a") is None


def test_an_agent_that_tries_again_and_again_leaves_one_entry() -> None:
    queue = HoldQueue()
    for number in range(100):
        queue.detach(ask(f"c{number}"), now=float(number))
    [held] = queue.detached
    assert held.id == "c99"
    assert len(held.names) == 8


def test_what_cannot_be_tried_again_leaves_nothing_behind() -> None:
    queue = HoldQueue()
    queue.hold(ask("a", retriable=False), now=0.0, wait=1.0)
    late, gone = queue.expire(now=5.0)
    assert ([held.id for held in late], gone, queue.detached) == (["a"], [], ())


def test_a_client_that_left_gets_no_second_chance() -> None:
    queue = HoldQueue()
    queue.hold(ask("a"), now=0.0, wait=1.0)
    assert queue.drop("a") is not None
    assert queue.expire(now=5.0) == ([], [])
    assert queue.get("a") is None


def test_a_detached_entry_leaves_after_an_hour() -> None:
    queue = HoldQueue()
    queue.detach(ask("a"), now=0.0)
    assert queue.expire(now=3599.0) == ([], [])
    late, gone = queue.expire(now=3600.0)
    assert (late, [held.id for held in gone]) == ([], ["a"])


def test_many_sessions_of_one_agent_leave_room_for_others() -> None:
    queue = HoldQueue()
    for number in range(100):
        queue.hold(ask(f"c{number}", session=number, row=None), now=0.0, wait=1.0)
    with pytest.raises(QueueFullError):
        queue.hold(ask("one-more", session="new", row=None), now=0.0, wait=1.0)
    queue.hold(Ask("other", "other agent", 1), now=0.0, wait=1.0)


def test_a_call_cannot_wait_twice() -> None:
    queue = HoldQueue()
    queue.hold(ask("a"), now=0.0, wait=1.0)
    with pytest.raises(ValueError, match="waits already"):
        queue.hold(ask("a"), now=0.0, wait=1.0)
