"""From an input to what is done about it: nothing passes that was not recorded."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from judging import (
    INJECTION,
    JSON,
    KEY,
    answer,
    call,
    event,
    make_judge,
    message,
    post,
    request,
    text_result,
    with_scan,
)
from piping import Capture, Rig, first_pending, make_rig, until
from pydantic import TypeAdapter

from mitmgate.control.models import Event, HeldEvent, ResolvedEvent, RowEvent
from mitmgate.judge.inputs import DialInput, EndInput, Input, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Completion, Resolution
from mitmgate.mitm.core import INLINE_BYTES, Ruling
from mitmgate.serve.waiting import Given

ASKED = call("push", {"force": False})
STRANGE = call("get_x", host="other.example")
UNATTENDED = ("unattended: wait", "unattended: deny")


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = make_rig()
    yield made
    made.pipeline.close()


async def ruled(rig: Rig, given: Input) -> Ruling:
    ruling = await rig.pipeline.decide(given, connection="c")
    assert ruling is not None
    return ruling


async def answered(rig: Rig, given: Input, reply: Given) -> Ruling:
    """Judge *given*, give *reply* to what it asks, and return what comes of it."""
    task = asyncio.create_task(ruled(rig, given))
    key = await first_pending(rig.pipeline)
    assert rig.pipeline.answer(key, reply)
    return await task


def text_of(ruling: Ruling) -> str:
    assert ruling.reply is not None
    text: str = json.loads(ruling.reply.body)["result"]["content"][0]["text"]
    return text


async def test_an_allowed_call_is_recorded_and_released(rig: Rig) -> None:
    ruling = await ruled(rig, call("get_x"))
    assert (ruling.released, ruling.reply, ruling.text) == (True, None, None)
    [record] = rig.audit.records
    assert (record["type"], record["verdict"], record["rule"]) == ("decision", "allow", "reads")
    assert [row.rule for row in rig.pipeline.hub.rows] == ["reads"]
    assert rig.pipeline.decisions == 1


async def test_a_denied_call_gets_its_reason(rig: Rig) -> None:
    ruling = await ruled(rig, call("push", {"force": True}))
    assert not ruling.released
    assert text_of(ruling) == "Force pushes need a person."
    assert rig.pipeline.denied == 1


@pytest.mark.parametrize("given", [call("get_x"), request("GET", "docs.example"), ASKED])
async def test_what_cannot_be_recorded_is_denied_until_it_can(given: Input, rig: Rig) -> None:
    rig.audit.broken = True
    ruling = await ruled(rig, given)
    assert (ruling.released, ruling.outcome.code) == (False, "record_failed")
    assert rig.pipeline.trouble is not None
    assert "No space left on device" in rig.pipeline.trouble
    assert any(line.startswith("trouble") for line in rig.log)
    rig.audit.broken = False
    assert (await ruled(rig, call("get_x", exchange="y"))).released
    assert rig.pipeline.trouble is None


async def test_a_plain_answer_is_denied_too_while_nothing_can_be_recorded(rig: Rig) -> None:
    await ruled(rig, call("get_x"))
    rig.audit.broken = True
    await ruled(rig, call("get_x", exchange="y", number=2))
    ruling = await ruled(rig, answer(text_result("fine")))
    assert (ruling.released, ruling.outcome.code) == (False, "record_failed")
    rig.audit.broken = False
    await ruled(rig, call("get_x", exchange="z", number=3))
    assert (await ruled(rig, answer(text_result("fine", 3), exchange="z"))).released


async def test_shadow_does_not_pass_what_cannot_be_recorded() -> None:
    rig = make_rig(judge=make_judge(shadow=True))
    rig.audit.broken = True
    ruling = await ruled(rig, call("rm"))
    assert (ruling.released, ruling.outcome.code) == (False, "record_failed")
    rig.pipeline.close()


@pytest.mark.parametrize("refuses", ["input", "outcome"])
async def test_what_cannot_be_captured_is_denied(refuses: str) -> None:
    rig = make_rig(capture=Capture(frozenset({refuses})))
    ruling = await ruled(rig, call("get_x"))
    assert (ruling.released, ruling.outcome.code) == (False, "capture_full")
    assert [record["code"] for record in rig.audit.records] == ["rule", "capture_full"]
    rig.pipeline.close()


async def test_an_approval_that_cannot_be_recorded_is_none(rig: Rig) -> None:
    task = asyncio.create_task(ruled(rig, ASKED))
    key = await first_pending(rig.pipeline)
    rig.audit.broken = True
    assert rig.pipeline.answer(key, Given("allow", "console"))
    assert not (await task).released


async def test_an_approval_that_cannot_be_captured_is_none() -> None:
    rig = make_rig(capture=Capture(frozenset({"resolution"})))
    assert not (await answered(rig, ASKED, Given("allow", "console"))).released
    rig.pipeline.close()


async def test_an_approved_call_is_released_with_its_edits() -> None:
    rig = make_rig(with_scan("{secrets: {arguments: redact}}"))
    ruling = await answered(rig, call("push", {"q": KEY}), Given("allow", "shell", "me"))
    assert ruling.released
    assert ruling.text is not None
    assert KEY not in ruling.text
    [record] = rig.audit.of("resolution")
    assert (record["answer"], record["via"], record["operator"]) == ("allow", "shell", "me")
    rig.pipeline.close()


NOT_APPROVED: dict[str, tuple[Given, str]] = {
    "with a reason": (
        Given("deny", "console", "me", "not on a Friday"),
        "The operator denied this: not on a Friday"),
    "without a reason": (Given("deny", "console"), "The operator denied this."),
}  # fmt: skip


@pytest.mark.parametrize(("given", "text"), NOT_APPROVED.values(), ids=NOT_APPROVED)
async def test_a_call_that_a_person_denied(given: Given, text: str, rig: Rig) -> None:
    ruling = await answered(rig, ASKED, given)
    assert not ruling.released
    assert text_of(ruling) == text


async def test_nobody_is_there_to_ask() -> None:
    rig = make_rig(UNATTENDED)
    ruling = await ruled(rig, ASKED)
    assert not ruling.released
    assert text_of(ruling) == (
        "Approval pending (x.0): retry with the same arguments once it is approved."
    )
    assert rig.audit.of("resolution")[0]["via"] == "unattended"
    with rig.pipeline.hub.attached(operator=False):
        assert not (await ruled(rig, call("push", exchange="y"))).released
    with rig.pipeline.hub.attached(operator=True):
        task = asyncio.create_task(ruled(rig, call("push", exchange="z")))
        assert rig.pipeline.answer(await first_pending(rig.pipeline), Given("allow", "console"))
        assert (await task).released
    rig.pipeline.close()


async def test_nobody_answers_in_time() -> None:
    rig = make_rig(("wait: 30s", "wait: 1s"))
    task = asyncio.create_task(ruled(rig, ASKED))
    await first_pending(rig.pipeline)
    ruling = await task
    assert text_of(ruling) == (
        "Approval pending (x.0): retry with the same arguments once it is approved."
    )
    assert rig.audit.of("resolution")[0]["via"] == "timeout"
    assert rig.pipeline.pending == {}
    rig.pipeline.close()


async def test_the_client_leaves(rig: Rig) -> None:
    task = asyncio.create_task(ruled(rig, ASKED))
    await first_pending(rig.pipeline)
    rig.pipeline.client_left("another")
    assert rig.pipeline.pending
    rig.pipeline.client_left("c")
    assert not (await task).released
    assert rig.audit.of("resolution")[0]["via"] == "client_left"


async def test_no_place_to_wait(rig: Rig) -> None:
    tasks = [
        asyncio.create_task(ruled(rig, call("push", exchange=f"e{n}", number=n))) for n in range(21)
    ]
    ruling = await tasks[20]
    assert "Too many calls wait" in text_of(ruling)
    assert len(rig.pipeline.pending) == 20
    rig.pipeline.waiting.close()
    assert not any(ruling.released for ruling in await asyncio.gather(*tasks))


async def test_an_approved_question_is_followed_by_the_judgement_of_the_call(rig: Rig) -> None:
    ruling = await answered(rig, STRANGE, Given("allow", "console"))
    assert (ruling.released, ruling.outcome.rule, ruling.outcome.number) == (False, "otherwise", 1)
    assert [record["rule"] for record in rig.audit.of("decision")] == [
        "unknown_servers", "otherwise",
    ]  # fmt: skip
    again = await ruled(rig, call("get_x", host="other.example", exchange="y"))
    assert again.outcome.rule == "otherwise"


async def test_a_question_that_a_person_denied_is_not_asked_again(rig: Rig) -> None:
    assert not (await answered(rig, STRANGE, Given("deny", "api"))).released
    again = await ruled(rig, call("get_x", host="other.example", exchange="y"))
    assert (again.outcome.rule, again.outcome.verdict.word) == ("unknown_servers", "deny")


async def test_a_question_that_nobody_answered_is_asked_again() -> None:
    capture = Capture()
    rig = make_rig(UNATTENDED, capture=capture)
    assert not (await ruled(rig, STRANGE)).released
    with rig.pipeline.hub.attached(operator=True):
        later = call("get_x", host="other.example", exchange="y")
        ruling = await answered(rig, later, Given("allow", "console"))
    assert ruling.outcome.rule == "otherwise"
    # A capture holds what a person said: replayed, a "no" would count for the whole run.
    kept = [taken for taken in capture.taken if isinstance(taken, Resolution)]
    assert [resolution.via for resolution in kept] == ["console"]
    rig.pipeline.close()


async def test_one_answer_settles_all_that_ask_the_same(rig: Rig) -> None:
    tasks = [
        asyncio.create_task(ruled(rig, call("get_x", host="other.example", exchange=f"e{n}")))
        for n in range(3)
    ]
    await until(lambda: len(rig.pipeline.pending) == 3)
    assert rig.pipeline.answer(await first_pending(rig.pipeline), Given("allow", "console"))
    assert {(await task).outcome.rule for task in tasks} == {"otherwise"}


async def test_an_answer_waits_for_a_person_and_its_denial_says_that_the_tool_ran(
    rig: Rig,
) -> None:
    await ruled(rig, call("get_x"))
    ruling = await answered(rig, answer(text_result(INJECTION)), Given("deny", "console"))
    assert not ruling.released
    assert text_of(ruling).startswith("The tool has run; its result was withheld.")
    assert INJECTION not in text_of(ruling)


async def test_an_approved_answer_is_released(rig: Rig) -> None:
    await ruled(rig, call("get_x"))
    ruling = await answered(rig, answer(text_result(INJECTION)), Given("allow", "console"))
    assert (ruling.released, ruling.text) == (True, None)


async def test_an_event_is_judged_without_waiting(rig: Rig) -> None:
    await ruled(rig, call("get_x"))
    judged = rig.pipeline.judge_now(event(text_result(INJECTION)))
    assert judged is not None
    assert rig.pipeline.must_wait(judged)
    ruling = rig.pipeline.rule_now(judged)  # where nothing can wait, ask is deny
    assert not ruling.released


async def test_a_passed_dial_is_nothing_to_tell_of(rig: Rig) -> None:
    given = DialInput("x", "agent", "a.example", 443, ("1.1.1.1",))
    assert await rig.pipeline.decide(given, connection="c") is None
    assert rig.audit.records == []


async def test_a_plain_answer_is_told_by_its_completion_only(rig: Rig) -> None:
    await ruled(rig, call("get_x"))
    assert (await ruled(rig, answer(text_result("fine")))).released
    rig.pipeline.complete(Completion("x", 200, 1, 2, 0.5, "answered"))
    assert [record["type"] for record in rig.audit.records] == ["decision", "completion"]
    assert len(rig.pipeline.hub.rows) == 1


async def test_a_completion_that_cannot_be_recorded_is_trouble(rig: Rig) -> None:
    rig.audit.broken = True
    rig.pipeline.complete(Completion("x", 200, 1, 2, 0.5, "answered"))
    assert rig.pipeline.trouble is not None


async def test_a_failure_is_recorded_and_denied(rig: Rig) -> None:
    await ruled(rig, call("get_x"))
    ruling = rig.pipeline.fail("x", "dial", "upstream_failed", "it broke")
    assert not ruling.released
    assert rig.audit.records[-1]["code"] == "upstream_failed"
    rig.audit.broken = True
    assert not rig.pipeline.fail("x", "dial", "upstream_failed", "it broke").released


async def test_an_exchange_that_ended_is_forgotten(rig: Rig) -> None:
    await ruled(rig, call("get_x"))
    rig.pipeline.end("x")
    assert (await ruled(rig, answer(text_result("x")))).outcome.code == "unmatched_answer"


def test_exchange_ids_are_short_and_differ(rig: Rig) -> None:
    ids = [rig.pipeline.next_exchange() for _ in range(100)]
    assert len(set(ids)) == 100
    assert max(map(len, ids)) < 12


class Threads(Judge):
    """A judge that notes in which thread it prepares."""

    seen: list[bool]

    def plan(self, given: Input) -> Any:
        plan = super().plan(given)

        def noted() -> Any:
            self.seen.append(threading.current_thread() is threading.main_thread())
            return plan()

        return noted


SMALL, LARGE = b"x", b"x" * (INLINE_BYTES + 1)
ENCODED = (*JSON, ("content-encoding", "gzip"))
PLACES: dict[str, tuple[RequestInput, bool]] = {
    "a small body": (request("POST", "docs.example", body=SMALL), True),
    "a large body": (request("POST", "docs.example", body=LARGE), False),
    "a small body that may be large once decoded": (
        request("POST", "docs.example", body=gzip.compress(SMALL), headers=ENCODED), False),
    "no body with a coding": (request("GET", "docs.example", headers=ENCODED), True),
}  # fmt: skip


@pytest.mark.parametrize(("given", "on_the_loop"), PLACES.values(), ids=PLACES)
async def test_where_a_body_is_read(given: RequestInput, on_the_loop: bool) -> None:
    plain = make_judge()
    judge = Threads(plain.policy, plain.scanner)
    judge.seen = []
    rig = make_rig(judge=judge)
    await ruled(rig, given)
    assert judge.seen == [on_the_loop]
    rig.pipeline.close()


_EVENT: TypeAdapter[Any] = TypeAdapter(Event)


async def test_readers_are_told_and_only_operators_see_arguments(rig: Rig) -> None:
    hub = rig.pipeline.hub
    with hub.attached(operator=True) as boss, hub.attached(operator=False) as guest:
        await answered(rig, ASKED, Given("deny", "console"))
        for reader in (boss, guest):
            lines = (await reader.next_batch(timeout=1)).splitlines()
            row, held, resolved = map(_EVENT.validate_json, lines)
            assert isinstance(row, RowEvent)
            assert isinstance(held, HeldEvent)
            assert isinstance(resolved, ResolvedEvent)
            shown = held.pending.arguments
            assert shown == (
                {"name": "push", "arguments": {"force": False}} if reader is boss else None
            )


# Places where a peer can put a credential; none of them may reach the log or the live view.
HIDING: dict[str, Input] = {
    "the name of an argument": call("get_x", {KEY: 1}),
    "below the name of an argument": call("get_x", {KEY: {"a": KEY}}),
    "a tool": call(KEY),
    "a method": post(message(KEY)),
    "a method of HTTP": request(KEY, "docs.example"),
    "a path of a malformed request": request(
        "GET", "docs.example", f"/{KEY}", headers=(("a", "b\rc"),)),
    "a host": request("GET", f"{KEY.lower()}.example", headers=(("a", f"{KEY}\rc"),)),
    "a path of a stream": request("GET", "files.example", f"/mcp?x={KEY}",
                                  headers=(("accept", "text/event-stream"),)),
}  # fmt: skip


@pytest.mark.parametrize("given", HIDING.values(), ids=HIDING)
async def test_a_credential_reaches_no_output(given: Input, rig: Rig) -> None:
    ruling = await ruled(rig, given)
    rows = "".join(row.model_dump_json() for row in rig.pipeline.hub.rows)
    everything = [*rig.log, rows, json.dumps(rig.audit.records)]
    if ruling.reply is not None:
        everything.append(ruling.reply.body.decode())
    assert rig.log
    assert not [text for text in everything if KEY in text]


async def test_a_name_of_a_server_that_holds_a_credential_reaches_no_output(rig: Rig) -> None:
    await ruled(rig, call("get_x"))
    for given in (answer(text_result("x", 9)), event(message("x/y", {"name": KEY}, number=2)),
                  event(message(KEY, number=2))):  # fmt: skip
        judged = rig.pipeline.judge_now(given)
        assert judged is not None
    rows = "".join(row.model_dump_json() for row in rig.pipeline.hub.rows)
    assert not [text for text in [*rig.log, rows, json.dumps(rig.audit.records)] if KEY in text]


async def test_an_operator_name_cannot_forge_a_log_line(rig: Rig) -> None:
    await answered(rig, ASKED, Given("deny", "api", "me\nallow    forged"))
    assert not [line for line in rig.log if "\n" in line]


async def test_the_end_of_an_exchange_is_captured() -> None:
    capture = Capture()
    rig = make_rig(capture=capture)
    await ruled(rig, call("get_x"))
    rig.pipeline.end("x")
    assert capture.taken[-1] == EndInput("x")
    rig.pipeline.close()


async def test_closing_denies_what_waits(rig: Rig) -> None:
    task = asyncio.create_task(ruled(rig, ASKED))
    await first_pending(rig.pipeline)
    rig.pipeline.waiting.close()
    assert "shutting down" in text_of(await task)
