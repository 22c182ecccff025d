"""What waits: rows of equal calls, retries with a ticket, remembered answers, and their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from judging import (
    INJECTION,
    KEY,
    answer,
    call,
    make_judge,
    message,
    post,
    request,
    text_result,
    with_scan,
)
from piping import Capture, Rig, first_pending, make_rig, until
from pydantic import TypeAdapter

from mitmgate.control.models import DecideRequest, Event, HeldEvent, Pending, ResolvedEvent
from mitmgate.hold.queue import HoldLimits
from mitmgate.judge.inputs import Input
from mitmgate.mitm.core import Ruling
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.waiting import Given

UNATTENDED = ("unattended: wait", "unattended: deny")
SHORT = ("wait: 30s", "wait: 1s")
ASKED = {"force": False}


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = make_rig()
    yield made
    made.pipeline.close()


@pytest.fixture
def alone() -> Iterator[Rig]:
    """A pipeline that nobody watches."""
    made = make_rig(UNATTENDED)
    yield made
    made.pipeline.close()


async def ruled(rig: Rig, given: Input) -> Ruling:
    ruling = await rig.pipeline.decide(given, connection="c")
    assert ruling is not None
    return ruling


def start(rig: Rig, given: Input) -> asyncio.Task[Ruling]:
    return asyncio.create_task(ruled(rig, given))


def push(exchange: str, arguments: object = None, **rest: Any) -> Input:
    return call("push", arguments or ASKED, exchange=exchange, **rest)


def text_of(ruling: Ruling) -> str:
    assert ruling.reply is not None
    text: str = json.loads(ruling.reply.body)["result"]["content"][0]["text"]
    return text


def say(rig: Rig, entry: str, decision: str = "allow", **more: Any) -> Any:
    asked = DecideRequest.model_validate({"decision": decision, "operator": "eva", **more})
    return rig.pipeline.holding.decide(entry, asked)


def listed(rig: Rig) -> list[tuple[str, int, bool]]:
    """Return id, count and whether nobody waits of all entries."""
    entries = rig.pipeline.holding.listed()
    return [(entry.id, entry.count, entry.detached) for entry in entries]


def only(rig: Rig) -> Pending:
    [entry] = rig.pipeline.holding.listed()
    return entry


# Retries with a ticket.


async def test_what_nobody_approved_in_time_can_be_approved_for_one_retry() -> None:
    rig = make_rig(SHORT)
    late = await ruled(rig, push("a"))
    assert text_of(late) == (
        "Approval pending (a.0): retry with the same arguments once it is approved."
    )
    entry = only(rig)
    assert (entry.id, entry.detached, entry.left is not None) == ("a.0", True, True)
    decided = say(rig, "a.0")
    assert (decided.released, decided.ticket) == (0, "t1")
    retried = await ruled(rig, push("b", number=2))
    assert (retried.released, retried.outcome.code, retried.outcome.grant) == (True, "ticket", "t1")
    again = start(rig, push("c", number=3))
    assert await first_pending(rig.pipeline) == "c.0"  # a ticket is good for one retry
    rig.pipeline.waiting.close()
    await again
    decision = next(r for r in rig.audit.of("decision") if r["exchange"] == "b")
    assert (decision["verdict"], decision["code"], decision["grant"]) == ("allow", "ticket", "t1")
    events = [(record["event"], record["id"]) for record in rig.audit.of("grant")]
    assert events == [("made", "t1")]
    rig.pipeline.holding.ledger.tidy()
    assert rig.audit.of("grant")[-1]["event"] == "ended"
    rig.pipeline.close()


async def test_a_call_that_nobody_watched_can_be_approved_later(alone: Rig) -> None:
    assert not (await ruled(alone, push("a"))).released
    assert listed(alone) == [("a.0", 1, True)]
    say(alone, "a.0")
    assert (await ruled(alone, push("b"))).released
    assert not (await ruled(alone, push("c"))).released


NOT_THE_SAME = {
    "another argument": push("b", {"force": None}),
    "another agent": push("b", agent="other"),
    "another tool": call("push", ASKED, exchange="b", target="/mcp?tenant=b"),
}


@pytest.mark.parametrize("other", NOT_THE_SAME.values(), ids=NOT_THE_SAME)
async def test_a_ticket_is_for_the_same_call_of_the_same_agent(other: Input, alone: Rig) -> None:
    await ruled(alone, push("a"))
    say(alone, "a.0")
    assert not (await ruled(alone, other)).released
    assert (await ruled(alone, push("d"))).released


async def test_a_ticket_does_not_hold_against_a_policy_that_denies_by_now(alone: Rig) -> None:
    await ruled(alone, push("a"))
    say(alone, "a.0")
    before = alone.pipeline.judge.policy
    denying = make_judge(UNATTENDED, ("tool: push, then: ask", "tool: push, then: deny"))
    alone.pipeline.judge.policy = denying.policy
    refused = await ruled(alone, push("b"))
    assert (refused.released, refused.outcome.rule) == (False, "pushes")
    alone.pipeline.judge.policy = before
    assert (await ruled(alone, push("c"))).released  # it was not used up


async def test_a_ticket_that_was_taken_back_lets_nothing_pass(alone: Rig) -> None:
    await ruled(alone, push("a"))
    say(alone, "a.0")
    undone = alone.pipeline.holding.ledger.undo(None, "eva", "api")
    assert (undone.id, undone.kind) == ("t1", "ticket")
    assert not (await ruled(alone, push("b"))).released


async def test_a_denied_entry_is_closed_and_a_retry_asks_again(alone: Rig) -> None:
    await ruled(alone, push("a"))
    say(alone, "a.0", "deny")
    assert listed(alone) == []
    assert not (await ruled(alone, push("b"))).released
    assert [r["answer"] for r in alone.audit.of("resolution")] == ["deny", "deny", "deny"]


async def test_a_retry_takes_the_place_of_its_entry_whose_id_goes_on_naming_it(alone: Rig) -> None:
    await ruled(alone, push("a"))
    with alone.pipeline.hub.attached(operator=True):
        retry = start(alone, push("b"))
        await first_pending(alone.pipeline)
        assert listed(alone) == [("b.0", 1, False)]
        assert only(alone).names == ("a.0",)
        assert say(alone, "a.0").released == 1
        assert (await retry).released


async def test_a_withheld_result_has_run_and_gets_no_ticket() -> None:
    rig = make_rig(UNATTENDED)
    assert (await ruled(rig, call("get_x"))).released
    ruling = await ruled(rig, answer(text_result(INJECTION)))
    assert text_of(ruling).startswith("The tool has run; its result was withheld.")
    assert "retry with" not in text_of(ruling)
    assert listed(rig) == []
    with pytest.raises(RefusedError) as refused:
        say(rig, ruling.outcome.id)
    assert refused.value.code == "already_left"
    rig.pipeline.close()


async def test_a_download_can_be_tried_again_with_a_ticket(alone: Rig) -> None:
    def paste(exchange: str, body: bytes) -> Input:
        return request("POST", "paste.example", "/new", body, exchange=exchange)

    refused = await ruled(alone, paste("a", b"one"))
    assert refused.reply is not None
    assert b"Approval pending (a.0)" in refused.reply.body
    say(alone, "a.0")
    assert not (await ruled(alone, paste("b", b"two"))).released
    assert (await ruled(alone, paste("c", b"one"))).released


async def test_the_detached_entry_of_a_question_is_approved_for_good(alone: Rig) -> None:
    def strange(exchange: str) -> Input:
        return call("get_x", host="other.example", exchange=exchange)

    assert "Approval pending (a.0)" in text_of(await ruled(alone, strange("a")))
    say(alone, "a.0")
    assert (await ruled(alone, strange("b"))).outcome.rule == "otherwise"
    [grant] = alone.pipeline.holding.ledger.listed()
    assert (grant.kind, grant.lasting) == ("question", "run")
    alone.pipeline.holding.ledger.undo(grant.id, "eva", "api")
    assert (await ruled(alone, strange("c"))).outcome.rule == "unknown_servers"


# Rows of equal calls.


async def test_equal_calls_make_one_row_and_an_approval_for_once_releases_one(rig: Rig) -> None:
    tasks = [start(rig, push(f"e{n}", number=n)) for n in range(3)]
    other = start(rig, push("other", {"force": None}))
    await until(lambda: len(rig.pipeline.pending) == 4)
    assert [count for _, count, _ in listed(rig)] == [3, 3, 3, 1]
    assert say(rig, "e0.0").released == 1
    assert (await tasks[0]).released
    assert [count for _, count, _ in listed(rig)] == [2, 2, 1]
    assert say(rig, "e2.0", "deny").released == 2  # a denial closes the row
    assert not (await tasks[1]).released
    assert not (await tasks[2]).released
    assert not other.done()
    say(rig, "other.0")
    assert (await other).released


async def test_an_entry_that_moved_is_not_decided(rig: Rig) -> None:
    task = start(rig, push("a"))
    await first_pending(rig.pipeline)
    with pytest.raises(RefusedError) as refused:
        say(rig, "a.0", fingerprint="0" * 16)
    assert (refused.value.status, refused.value.code) == (409, "moved")
    assert not task.done()
    say(rig, "a.0", fingerprint=only(rig).fingerprint)
    assert (await task).released


async def test_who_comes_second_reads_who_was_first(rig: Rig) -> None:
    task = start(rig, push("a"))
    await first_pending(rig.pipeline)
    say(rig, "a.0", "deny", via="console")
    with pytest.raises(RefusedError) as refused:
        say(rig, "a.0", operator="tom")
    assert refused.value.detail == "Too late: eva denied it 0 s ago (console)."
    assert refused.value.more["by"] == "eva"
    assert not (await task).released
    with pytest.raises(RefusedError) as unknown:
        say(rig, "nobody.0")
    assert unknown.value.status == 404


async def test_sessions_of_one_agent_have_places_of_their_own() -> None:
    judge = make_judge()
    rig = make_rig(judge=judge)
    rig.pipeline.close()
    rig.pipeline = Pipeline(judge, rig.audit, limits=HoldLimits(per_session=1))

    def mine(exchange: str, session: str) -> Input:
        params = {"name": "push", "arguments": ASKED}
        headers = (("content-type", "application/json"), ("mcp-session-id", session))
        return post(message("tools/call", params), headers=headers, exchange=exchange)

    first, other = start(rig, mine("a", "one")), start(rig, mine("b", "two"))
    await until(lambda: len(rig.pipeline.pending) == 2)
    assert "Too many calls wait" in text_of(await ruled(rig, mine("c", "one")))
    rig.pipeline.waiting.close()
    await asyncio.gather(first, other)
    rig.pipeline.close()


# Remembered answers.


async def test_an_answer_for_a_tool_lets_go_of_all_that_it_covers(rig: Rig) -> None:
    tasks = [start(rig, push(f"e{n}", {"n": n}, number=n)) for n in range(3)]
    paste = start(rig, request("POST", "paste.example", "/", b"x", exchange="p"))
    await until(lambda: len(rig.pipeline.pending) == 4)
    decided = say(rig, "e1.0", lasting="time", seconds=60, on="tool", key="t")
    assert (decided.grant, decided.released) == ("g1", 3)
    rulings = await asyncio.gather(*tasks)
    assert all(ruling.released for ruling in rulings)
    assert [r.outcome.code for r in rulings] == ["remembered", "rule", "remembered"]
    assert not paste.done()
    later = await ruled(rig, push("later", {"n": 9}, number=9))
    assert (later.released, later.outcome.code, later.outcome.grant) == (True, "remembered", "g1")
    pressed = next(r for r in rig.audit.of("resolution") if r["id"] == "e1.0")
    assert (pressed["lasting"], pressed["on"], pressed["grant"], pressed["key"]) == (
        "time", "tool", "g1", "t",
    )  # fmt: skip
    [made] = rig.audit.of("grant")
    assert (made["event"], made["covers"], made["operator"]) == (
        "made", "every tools/call push on files", "eva",
    )  # fmt: skip
    say(rig, "p.0", "deny")
    await paste


async def test_an_answer_that_was_undone_counts_no_more(rig: Rig) -> None:
    task = start(rig, push("a"))
    await first_pending(rig.pipeline)
    say(rig, "a.0", lasting="session", on="server")
    await task
    assert (await ruled(rig, push("b"))).released
    undone = rig.pipeline.holding.ledger.undo(None, "eva", "console")
    assert (undone.id, undone.lasting) == ("g1", "session")
    assert [r["event"] for r in rig.audit.of("grant")] == ["made", "undone"]
    again = start(rig, push("c"))
    assert await first_pending(rig.pipeline) == "c.0"
    rig.pipeline.waiting.close()
    await again
    with pytest.raises(RefusedError, match="Nothing like that"):
        rig.pipeline.holding.ledger.undo("g1", "eva", "console")


async def test_a_remembered_denial_holds_with_its_reason(rig: Rig) -> None:
    tasks = [start(rig, push(f"e{n}", {"n": n}, number=n)) for n in range(2)]
    await until(lambda: len(rig.pipeline.pending) == 2)
    say(rig, "e0.0", "deny", lasting="time", on="tool", reason="not on a Friday")
    told = [text_of(await task) for task in tasks]
    assert told == ["The operator denied this: not on a Friday"] * 2
    later = await ruled(rig, push("later"))
    assert (later.released, later.outcome.code) == (False, "remembered")
    assert text_of(later) == "The operator denied this: not on a Friday"


async def test_a_remembered_approval_lets_no_secret_pass() -> None:
    rig = make_rig(with_scan("{secrets: {arguments: deny}}"))
    task = start(rig, push("a"))
    await first_pending(rig.pipeline)
    say(rig, "a.0", lasting="time", on="tool")
    assert (await task).released
    stopped = await ruled(rig, push("b", {"text": KEY}))
    assert (stopped.released, stopped.outcome.code, stopped.outcome.grant) == (
        False, "finding", None,
    )  # fmt: skip
    rig.pipeline.close()


async def test_what_waits_because_of_a_finding_is_answered_once_only() -> None:
    rig = make_rig(with_scan("{secrets: {arguments: ask}}"))
    task = start(rig, call("get_x", {"text": KEY}))
    await first_pending(rig.pipeline)
    assert only(rig).scopes == ()
    with pytest.raises(RefusedError) as refused:
        say(rig, "x.0", lasting="time", on="tool")
    assert (refused.value.status, refused.value.code) == (422, "no_such_scope")
    say(rig, "x.0")
    assert (await task).released
    rig.pipeline.close()


async def test_an_answer_that_cannot_be_recorded_is_not_remembered(rig: Rig) -> None:
    task = start(rig, push("a"))
    await first_pending(rig.pipeline)
    rig.audit.broken = True
    with pytest.raises(RefusedError) as refused:
        say(rig, "a.0", lasting="time", on="tool")
    assert (refused.value.status, refused.value.code) == (503, "not_recorded")
    assert not task.done()
    assert len(rig.pipeline.judge.memory.grants) == 0
    rig.audit.broken = False
    say(rig, "a.0")
    assert (await task).released


async def test_a_ticket_that_cannot_be_recorded_is_none(alone: Rig) -> None:
    await ruled(alone, push("a"))
    alone.audit.broken = True
    with pytest.raises(RefusedError, match="not be recorded"):
        say(alone, "a.0")
    alone.audit.broken = False
    assert listed(alone) == [("a.0", 1, True)]
    assert not (await ruled(alone, push("b"))).released


NO_SCOPE: dict[str, dict[str, Any]] = {
    "none named": {"lasting": "time"},
    "one of egress": {"lasting": "time", "on": "host"},
    "an argument that is not there": {"lasting": "time", "on": "values", "names": ["nope"]},
    "seconds for a session": {"lasting": "session", "on": "tool", "seconds": 5},
}


@pytest.mark.parametrize("asked", NO_SCOPE.values(), ids=NO_SCOPE)
async def test_a_scope_that_the_call_does_not_have(asked: dict[str, Any], rig: Rig) -> None:
    task = start(rig, push("a"))
    await first_pending(rig.pipeline)
    with pytest.raises(RefusedError) as refused:
        say(rig, "a.0", **asked)
    assert (refused.value.status, refused.value.code) == (422, "no_such_scope")
    assert not task.done()
    rig.pipeline.waiting.close()
    await task


async def test_what_can_be_remembered_is_told_narrowest_first(rig: Rig) -> None:
    tasks = [
        start(rig, push("a", {"repo": "r", "n": 1})),
        start(rig, request("POST", "paste.example", "/a/b/c?d", b"x", exchange="p")),
    ]
    await until(lambda: len(rig.pipeline.pending) == 2)
    mcp, web = rig.pipeline.holding.listed()
    assert [(one.on, one.names) for one in mcp.scopes] == [
        ("call", ()), ("values", ("n", "repo")), ("tool", ()), ("server", ()),
    ]  # fmt: skip
    assert [(one.on, one.prefixes) for one in web.scopes] == [
        ("call", ()), ("url", ()), ("prefix", ("/a/b", "/a")), ("host", ()),
    ]  # fmt: skip
    rig.pipeline.waiting.close()
    await asyncio.gather(*tasks)


async def test_readers_hear_of_what_stays_and_who_has_no_key_reads_no_names() -> None:
    rig = make_rig(SHORT)
    hub = rig.pipeline.hub
    with hub.attached(operator=True) as mine, hub.attached(operator=False) as public:
        await ruled(rig, push("a", {"repo": "r"}))
        say(rig, "a.0")
        for reader, names in ((mine, ("repo",)), (public, ())):
            heard: list[Any] = []
            while len(heard) < 4:
                lines = (await reader.next_batch(timeout=5)).splitlines()
                every = map(TypeAdapter(Event).validate_json, lines)
                heard += [one for one in every if isinstance(one, HeldEvent | ResolvedEvent)]
            first, late, stays, approved = heard
            assert (first.pending.detached, late.resolved.via) == (False, "timeout")
            assert (stays.pending.detached, approved.resolved.grant) == (True, "t1")
            [values] = [one for one in stays.pending.scopes if one.on == "values"]
            assert values.names == names
    rig.pipeline.close()


async def test_a_person_is_asked_again_where_the_answer_was_undone_meanwhile(rig: Rig) -> None:
    task = start(rig, push("a"))
    await first_pending(rig.pipeline)
    waiting = rig.pipeline.waiting
    for held in waiting.queue.answer("a.0"):
        waiting.release(held.id, Given("allow", "remembered", grant="g9"))
    await until(lambda: "a.1" in rig.pipeline.pending)
    say(rig, "a.1")
    assert (await task).released


async def test_what_a_remembered_answer_lets_go_is_no_answer_of_a_person() -> None:
    capture = Capture()
    rig = make_rig(capture=capture)
    tasks = [start(rig, push(f"e{n}", {"n": n}, number=n)) for n in range(2)]
    await until(lambda: len(rig.pipeline.pending) == 2)
    say(rig, "e0.0", lasting="time", on="tool")
    await asyncio.gather(*tasks)
    kept = [taken for taken in capture.taken if type(taken).__name__ == "Resolution"]
    assert [resolution.outcome for resolution in kept] == ["e0.0"]  # type: ignore[attr-defined]
    rig.pipeline.close()
