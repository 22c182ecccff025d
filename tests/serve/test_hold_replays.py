"""Live traffic and replayed traffic agree on tickets, remembered answers and what was undone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from judging import KEY, call, make_judge, request, scanner, with_scan
from piping import Audit, until

from mitmgate.control.models import DecideRequest
from mitmgate.judge.inputs import Input
from mitmgate.judge.recording import Recording, Run, open_recording
from mitmgate.mitm.core import Ruling
from mitmgate.serve.pipeline import Pipeline
from mitmgate.serve.replaying import run_files

UNATTENDED = ("unattended: wait", "unattended: deny")


class Live:
    """A pipeline with a real capture."""

    def __init__(self, folder: Path) -> None:
        judge = make_judge(UNATTENDED, with_scan("{secrets: {arguments: log}}"))
        self.policy = judge.policy
        self.capture: Recording = open_recording(
            folder, scanner=scanner(), run=Run(judge.policy.hash, judge.mode), clock=time.time
        )
        self.audit = Audit()
        self.pipeline = Pipeline(judge, self.audit, capture=self.capture)
        self.made = 0

    async def judge(self, given: Input) -> Ruling:
        ruling = await self.pipeline.decide(given, connection="c")
        assert ruling is not None
        self.pipeline.end(given.exchange)
        return ruling

    def push(self, arguments: object, **rest: Any) -> Input:
        self.made += 1
        return call("push", arguments, exchange=f"e{self.made}", number=self.made, **rest)

    def say(self, entry: str, decision: str = "allow", **more: Any) -> None:
        asked = DecideRequest.model_validate({"decision": decision, **more})
        self.pipeline.holding.decide(entry, asked)

    async def codes(self, *given: Input) -> list[str]:
        return [(await self.judge(one)).outcome.code for one in given]

    def undo(self) -> None:
        self.pipeline.holding.ledger.undo(None, None, "api")

    def replayed(self) -> tuple[int, list[dict[str, Any]]]:
        """Return the exit code of a replay under the same policy, and the lines of the capture."""
        self.capture.close()
        assert self.capture.failure is None
        compared = run_files([self.capture.path], self.policy)
        lines = self.capture.path.read_text().splitlines()
        return compared.exit_code, [json.loads(line) for line in lines]


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    made = Live(tmp_path / "captures")
    yield made
    made.pipeline.close()


async def test_a_ticket(live: Live) -> None:
    arguments = {"text": f"with {KEY}", "n": 1}  # the capture holds something else in its place
    await live.judge(live.push(arguments))
    live.say("e1.0")
    later = [live.push(arguments), live.push(arguments)]
    assert await live.codes(*later) == ["ticket", "rule"]
    code, lines = live.replayed()
    assert code == 0
    assert [line["type"] for line in lines].count("grant") == 1
    assert KEY not in json.dumps(lines)


async def test_remembered_answers_and_undo(live: Live) -> None:
    with live.pipeline.hub.attached(operator=True):
        tasks = [asyncio.create_task(live.judge(live.push({"n": n, "s": "x"}))) for n in range(3)]
        await until(lambda: len(live.pipeline.pending) == 3)
        live.say("e2.0", lasting="time", seconds=60, on="values", names=["s"])
        rulings = await asyncio.gather(*tasks)
    assert sorted(r.outcome.code for r in rulings) == ["remembered", "remembered", "rule"]
    assert await live.codes(live.push({"n": 9, "s": "x"}), live.push({"s": "y"})) == [
        "remembered", "rule",
    ]  # fmt: skip
    live.undo()
    assert await live.codes(live.push({"n": 10, "s": "x"})) == ["rule"]
    code, lines = live.replayed()
    assert code == 0
    assert [line["type"] for line in lines].count("undo") == 1


async def test_a_denial_for_a_host_and_one_for_a_session(live: Live) -> None:
    def paste(exchange: str, body: bytes) -> Input:
        return request("POST", "paste.example", "/a/b", body, exchange=exchange)

    await live.judge(paste("p", b"one"))
    live.say("p.0", "deny", lasting="session", on="prefix")
    assert await live.codes(paste("q", b"two")) == ["remembered"]
    await live.judge(live.push({}))
    live.say("e1.0", "deny", lasting="session", on="tool")
    assert await live.codes(live.push({"n": 1})) == ["remembered"]
    assert live.replayed()[0] == 0


async def test_a_question_that_was_answered_late_and_taken_back(live: Live) -> None:
    def strange(exchange: str) -> Input:
        return call("get_x", host="other.example", exchange=exchange)

    await live.judge(strange("a"))
    live.say("a.0")
    assert await live.codes(strange("b")) == ["otherwise"]
    live.undo()
    assert await live.codes(strange("c")) == ["unknown_server"]
    assert live.replayed()[0] == 0


async def test_a_secret_in_what_is_remembered_is_not_captured(live: Live) -> None:
    await live.judge(live.push({KEY: 1}))
    live.say("e1.0", lasting="time", on="values", names=[KEY])
    live.undo()
    _, lines = live.replayed()
    assert KEY not in json.dumps(lines)
    assert KEY not in json.dumps(live.audit.records)
