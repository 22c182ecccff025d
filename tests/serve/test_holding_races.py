"""What comes between: another operator, a client that leaves, a clock that jumps, a policy."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from judging import JSON, answer, call, message, post, request
from piping import Rig, make_rig, until
from remembering import Gate, made

from mitmgate.control.models import DecideRequest
from mitmgate.judge import fingerprint
from mitmgate.judge.inputs import Input
from mitmgate.mitm.core import INLINE_BYTES, Ruling
from mitmgate.serve import cards, clocks
from mitmgate.serve.ledger import Facts, RefusedError
from mitmgate.serve.peers import Peer
from mitmgate.serve.waiting import Visit

STRANGE = ("  otherwise: deny\negress", "  otherwise: ask\negress")


@pytest.fixture
def rig() -> Iterator[Rig]:
    one = make_rig()
    yield one
    one.pipeline.close()


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    one = made(tmp_path)
    yield one
    one.pipeline.close()


def start(rig: Rig, given: Input, connection: str = "c") -> asyncio.Task[Ruling | None]:
    return asyncio.create_task(rig.pipeline.decide(given, connection=connection))


async def held(rig: Rig, given: Input, connection: str = "c") -> asyncio.Task[Ruling | None]:
    before = len(rig.pipeline.pending)
    task = start(rig, given, connection)
    await until(lambda: len(rig.pipeline.pending) > before)
    return task


def say(rig: Rig, entry: str, decision: str = "allow", **more: Any) -> Any:
    asked = DecideRequest.model_validate({"decision": decision, "operator": "eva", **more})
    return rig.pipeline.holding.decide(entry, asked, Peer(0, 7))


def push(exchange: str, value: int = 0, **rest: Any) -> Input:
    return call("push", {"v": value}, exchange=exchange, **rest)


# Two answers to one thing.


async def test_an_answer_that_could_not_be_recorded_replaces_none(rig: Rig) -> None:
    tasks = [await held(rig, push(f"e{n}", n)) for n in range(2)]
    holding, grants = rig.pipeline.holding, rig.pipeline.judge.memory.grants
    card = holding.card("e1.0")
    assert card is not None
    assert card.target is not None
    say(rig, "e0.0", "deny", lasting="session", on="tool")
    [denied] = grants.good(now=0.0)
    rig.audit.broken = True
    facts = Facts("allow", "x", card.outcome, "tom", "api")
    with pytest.raises(RefusedError) as refused:
        holding.ledger.remember(card.target, denied.scope, facts, seconds=900, told=None)
    assert (refused.value.code, grants.good(now=0.0)) == ("not_recorded", (denied,))
    rig.audit.broken = False
    assert not any(ruling is None or ruling.released for ruling in await asyncio.gather(*tasks))


async def test_while_a_rule_is_saved_nobody_else_answers_its_row(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    equal, other = await gate.held(push("b"))
    shown = await gate.preview(entry)
    saving = asyncio.create_task(gate.decide(entry, shown.hash))
    await asyncio.sleep(0)
    for one in (entry, equal):
        with pytest.raises(RefusedError) as refused:
            say(gate, one, "deny", operator="bob")
        assert (refused.value.status, refused.value.code) == (409, "being_decided")
        assert refused.value.more["by"] == "eva"
    assert (await saving).released == 2
    for ruling in (await task, await other):
        assert ruling is not None
        assert ruling.released


async def test_no_rule_is_saved_for_a_call_that_left_meanwhile(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    shown = await gate.preview(entry)
    saving = asyncio.create_task(gate.decide(entry, shown.hash))
    await asyncio.sleep(0)
    gate.pipeline.client_left("c")
    with pytest.raises(RefusedError) as refused:
        await saving
    assert (refused.value.status, refused.value.code) == (409, "already_left")
    assert gate.pipeline.ever.rules is not None
    assert gate.pipeline.ever.rules.listed == ()
    assert not gate.file.exists()
    assert gate.audit.of("grant") == []
    await task


async def test_the_last_answer_is_taken_back_whatever_the_clock_says(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry, on="call")
    await task
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 7_200)
    entry, task = await gate.held(push("b", 1))
    decided = say(gate, entry, lasting="time", on="tool", seconds=900)
    await task
    first = await gate.pipeline.ever.undo(None, "eva", "console", Peer(5, 6))
    then = await gate.pipeline.ever.undo(None, "eva", "console")
    assert (first.id, then.kind) == (decided.grant, "rule")
    peers = [record["peer"] for record in gate.audit.of("grant")]
    assert peers == [None, {"uid": 0, "pid": 7}, {"uid": 5, "pid": 6}, None]


# Clients that leave, and calls that wait more than once.


async def test_a_client_that_left_while_its_call_was_read_leaves_no_entry(rig: Rig) -> None:
    large = call("push", {"v": "x" * (2 * INLINE_BYTES)}, exchange="a")
    task = start(rig, large)
    await asyncio.sleep(0)  # it is read in a thread now
    rig.pipeline.client_left("c")
    ruling = await task
    assert ruling is not None
    assert not ruling.released
    assert (rig.pipeline.pending, rig.pipeline.holding.listed()) == ({}, ())
    assert [r["via"] for r in rig.audit.of("resolution")] == ["client_left"]
    again = await held(rig, push("b"))  # another client, on a connection of the same name
    say(rig, "b.0")
    assert await again is not None


async def test_a_client_that_left_before_its_second_question_leaves_no_entry() -> None:
    rig = make_rig(STRANGE)
    task = await held(rig, push("q", host="strange.example"))
    say(rig, "q.0")
    rig.pipeline.client_left("c")
    await task
    assert rig.pipeline.pending == {}
    rig.pipeline.close()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("waited", "left"), [(10.0, 20.0), (29.9, 1.0)])
async def test_a_second_wait_has_what_is_left_of_the_first(waited: float, left: float) -> None:
    rig, clock = make_rig(STRANGE), Clock()
    rig.pipeline.holding._clock = clock
    task = await held(rig, push("q", host="strange.example"))
    clock.now = waited
    say(rig, "q.0")
    await until(lambda: "q.1" in rig.pipeline.pending)
    entry = rig.pipeline.pending["q.1"]
    assert round(entry.deadline - entry.since, 3) == left
    say(rig, "q.1")
    await task
    rig.pipeline.close()


@pytest.mark.parametrize(
    ("waits", "left"),
    [((45.0,), [45.0]), ((45.0, 45.0), [45.0, 35.0]), ((45.0, 600.0, 45.0), [45.0, 590.0, 580.0])],
)
def test_no_call_waits_longer_than_the_longest_it_may(
    waits: tuple[float, ...], left: list[float]
) -> None:
    visit, given = Visit("c"), []
    for wait in waits:
        given.append(visit.left(wait))
        visit.waited += 10.0
    assert given == left


# What a policy or a session that ends costs and takes along.


async def test_no_body_is_read_again_when_the_policy_changes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [start(rig, push(f"e{n}", n)) for n in range(5)]
    tasks.append(start(rig, request("POST", "paste.example", "/", b"x", exchange="w")))
    await until(lambda: len(rig.pipeline.pending) == 6)
    pipeline, read = rig.pipeline, list[object]()
    say(rig, "e0.0", lasting="session", on="call")
    for module in (fingerprint, cards):
        monkeypatch.setattr(module, "digest_of", read.append)
    pipeline.judge.policy = dataclasses.replace(pipeline.judge.policy, hash="sha256:other")
    pipeline.holding.policy_changed()
    assert (pipeline.holding.settled, read) == (0, [])
    monkeypatch.undo()
    pipeline.waiting.close()
    await asyncio.gather(*tasks)


def of_session(exchange: str, session: str, value: int = 0) -> Input:
    params = {"name": "push", "arguments": {"v": value}}
    headers = (*JSON, ("mcp-session-id", session))
    return post(message("tools/call", params), headers=headers, exchange=exchange)


async def test_answers_for_a_session_end_with_it(rig: Rig) -> None:
    for number in range(3):
        session = f"s{number}"
        task = await held(rig, of_session(f"e{number}", session))
        say(rig, f"e{number}.0", lasting="session", on="tool")
        await task
        ended = request("DELETE", "files.example", "/mcp", b"", (("mcp-session-id", session),),
                        exchange=f"d{number}")  # fmt: skip
        rig.pipeline.judge_now(ended)
        rig.pipeline.judge_now(answer(b"", status=200, exchange=f"d{number}"))
        assert len(rig.pipeline.judge.memory.grants) == 0
    assert rig.pipeline.holding.ledger.listed() == ()
    again = await held(rig, of_session("again", "s0"))
    say(rig, "again.0")
    await again


async def test_a_session_that_was_forgotten_takes_its_answers_along(rig: Rig) -> None:
    rig.pipeline.judge.memory.sessions._limit = 2
    task = await held(rig, of_session("a", "s0"))
    other = await held(rig, of_session("late", "s0", 1))
    say(rig, "a.0", lasting="session", on="call")
    await task
    for number in range(1, 4):
        rig.pipeline.judge_now(call("get_x", exchange=f"e{number}", headers=(
            *JSON, ("mcp-session-id", f"s{number}"))))  # fmt: skip
    assert len(rig.pipeline.judge.memory.grants) == 0
    with pytest.raises(RefusedError, match="over already"):
        say(rig, "late.0", lasting="session", on="tool")
    say(rig, "late.0")
    await other


# Clocks.


async def test_what_lasts_a_time_ends_while_the_machine_sleeps() -> None:
    steady, clock = Clock(), Clock()
    rig = make_rig(("unattended: wait", "unattended: deny"))
    holding = rig.pipeline.holding
    holding._steady = holding.ledger._steady = steady
    ruling = await rig.pipeline.decide(push("a"), connection="c")
    assert ruling is not None
    assert say(rig, "a.0").ticket == "t1"
    steady.now = 601.0
    assert (clock.now, holding.ledger.listed()) == (0.0, ())
    rig.pipeline.close()


async def test_a_jump_of_the_wall_clock_changes_no_wait(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await held(rig, push("a"))
    other = await held(rig, push("b", 1))
    say(rig, "b.0", lasting="time", on="call", seconds=900)
    await other
    real = time.time
    for jump in (86_400.0, -86_400.0):
        monkeypatch.setattr(time, "time", lambda jump=jump: real() + jump)
        [entry] = rig.pipeline.holding.listed()
        assert entry.left is not None
        assert 0.0 < entry.left <= 30.0
        assert len(rig.pipeline.holding.ledger.listed()) == 1
    say(rig, "a.0")
    await task


def test_what_lasts_is_counted_by_a_clock_that_counts_sleep() -> None:
    known = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC", "win32": "CLOCK_BOOTTIME"}
    for platform, name in known.items():
        assert clocks._clock(platform) == getattr(time, name, None)
    before = clocks.lasting()
    assert clocks.lasting() >= before


# What is kept and told.


async def test_nothing_that_still_counts_is_left_out_of_the_list(rig: Rig) -> None:
    task = await held(rig, push("a"))
    card = rig.pipeline.holding.card("a.0")
    assert card is not None
    ledger, memory = rig.pipeline.holding.ledger, rig.pipeline.judge.memory
    facts = Facts("allow", "x", card.outcome, "tom", "api")
    say(rig, "a.0", lasting="session", on="call")
    monkey = ledger.tidy
    ledger.tidy = lambda: None  # type: ignore[method-assign]
    for number in range(2_100):
        memory.remember(f"q{number}", "allow")
        ledger.question(f"q{number}", facts)
    ledger.tidy = monkey  # type: ignore[method-assign]
    assert (len(ledger.listed()), ledger.listed()[0].id) == (2_101, "g1")
    await task


async def test_the_last_answers_are_kept_for_those_who_come_back(rig: Rig) -> None:
    task = await held(rig, push("a"))
    say(rig, "a.0", "deny")
    await task
    [kept] = rig.pipeline.holding.recent
    assert (kept.id, kept.answer, kept.operator) == ("a.0", "deny", "eva")
