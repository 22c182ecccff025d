"""Waiting on the event loop: who lets a call go, and that each goes exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from mitmgate.hold.queue import Ask, Held, HoldLimits, HoldQueue, QueueFullError
from mitmgate.serve.waiting import Given, Visit, Waiting

ALLOW = Given("allow", "console", "me")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def start(
    waiting: Waiting,
    key: str,
    *,
    question: str | None = None,
    connection: str = "c",
    wait: float = 30.0,
) -> asyncio.Task[Given]:
    async def wait_for_it() -> Given:
        with waiting.visit(connection) as visit:
            waiting.begin(Ask(key, "a", 1, None, question), visit=visit, wait=wait)
            return await waiting.answered(key)

    return asyncio.create_task(wait_for_it())


def answer(waiting: Waiting, key: str, given: Given) -> bool:
    released = waiting.queue.answer(key)
    for held in released:
        waiting.release(held.id, given)
    return bool(released)


async def begun(waiting: Waiting, count: int) -> None:
    async with asyncio.timeout(10):
        while len(waiting.queue) < count:  # noqa: ASYNC110 - the queue knows no loop
            await asyncio.sleep(0)


async def test_an_answer_lets_one_go() -> None:
    waiting = Waiting(Clock())
    first, second = start(waiting, "1"), start(waiting, "2")
    await begun(waiting, 2)
    assert answer(waiting, "1", ALLOW)
    assert await first == ALLOW
    assert not second.done()
    waiting.close()
    assert await second == Given("deny", "shutdown")


async def test_an_answer_to_a_question_lets_all_go_that_ask_it() -> None:
    waiting = Waiting(Clock())
    alike = [start(waiting, key, question="q") for key in "12"]
    other = start(waiting, "3", question="other")
    await begun(waiting, 3)
    assert answer(waiting, "2", ALLOW)
    assert await asyncio.gather(*alike) == [ALLOW, ALLOW]
    assert not other.done()
    waiting.close()
    await other


async def test_a_second_answer_comes_too_late() -> None:
    waiting = Waiting(Clock())
    task = start(waiting, "1")
    await begun(waiting, 1)
    assert answer(waiting, "1", ALLOW)
    assert not answer(waiting, "1", Given("deny", "api"))
    assert (await task).answer == "allow"
    assert not answer(waiting, "unknown", ALLOW)


async def test_a_deadline_denies() -> None:
    clock = Clock()
    waiting = Waiting(clock)
    late = start(waiting, "1", wait=0.0)
    later = start(waiting, "2", wait=5.0)
    assert await late == Given("deny", "timeout")
    assert not later.done()
    clock.now = 10.0
    # The timer of "3" fires at once, and finds "2" late too.
    third = start(waiting, "3", wait=0.0)
    assert {await later, await third} == {Given("deny", "timeout")}


async def test_a_client_that_leaves_takes_its_calls_along() -> None:
    waiting = Waiting(Clock())
    mine, other = start(waiting, "1", connection="x"), start(waiting, "2", connection="y")
    await begun(waiting, 2)
    waiting.client_left("x")
    assert await mine == Given("deny", "client_left")
    assert not other.done()
    assert not answer(waiting, "1", ALLOW)
    waiting.close()
    await other


async def test_a_full_queue_refuses_and_keeps_nothing() -> None:
    waiting = Waiting(Clock(), HoldQueue(HoldLimits(total=1)))
    first = start(waiting, "1")
    await begun(waiting, 1)
    with pytest.raises(QueueFullError):
        await start(waiting, "2")
    assert [held.id for held in waiting.queue] == ["1"]
    waiting.close()
    await first


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    waiting = Waiting(Clock())
    task = start(waiting, "1")
    await begun(waiting, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(waiting.queue) == 0
    assert not answer(waiting, "1", ALLOW)
    again = start(waiting, "1")
    await begun(waiting, 1)
    waiting.close()
    await again


async def test_what_stays_of_a_call_leaves_in_its_time() -> None:
    clock, gone = Clock(), list[str]()

    def told(entries: Sequence[Held]) -> None:
        gone.extend(held.id for held in entries)

    waiting = Waiting(clock, HoldQueue(HoldLimits(detached_for=0.0)), told)
    ask = Ask("1", "a", 1, "row", None, retriable=True)
    waiting.begin(ask, visit=Visit("c"), wait=0.0)
    assert await waiting.answered("1") == Given("deny", "timeout")
    async with asyncio.timeout(10):
        while not gone:  # noqa: ASYNC110 - the queue knows no loop
            await asyncio.sleep(0)
    assert (gone, waiting.queue.detached) == (["1"], ())
    waiting.close()
