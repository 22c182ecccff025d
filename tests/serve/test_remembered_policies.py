"""Another policy while calls wait, and how long they wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from judging import KEY as SECRET
from judging import POLICY, call
from piping import first_pending
from remembering import Gate, made, paste, push

from mitmgate.control.models import DecideRequest
from mitmgate.judge.inputs import Input


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    one = made(tmp_path)
    yield one
    one.pipeline.close()


async def test_what_a_new_policy_denies_does_not_wait_any_longer(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    _, other = await gate.held(paste("b"))
    assert await gate.change(("tool: push, then: ask", "tool: push, then: deny, reason: Not now")
                             ) == "applied"  # fmt: skip
    denied = await task
    assert not denied.released
    assert denied.detail == "Not now"
    resolution = next(r for r in gate.audit.of("resolution") if r["id"] == entry)
    assert (resolution["answer"], resolution["via"]) == ("deny", "policy")
    assert not other.done()
    gate.pipeline.waiting.close()
    await other


async def test_what_a_new_policy_allows_is_let_go_by_its_own_rule(gate: Gate) -> None:
    _, task = await gate.held(paste("a"))
    await gate.change(("host: paste.example, then: ask", "host: paste.example, then: allow"))
    assert not task.done()  # it waits for its confirmation
    assert gate.reloader.waiting is not None
    gate.reloader.confirm(gate.reloader.waiting.policy.hash, "eva")
    ruling = await task
    assert (ruling.released, ruling.outcome.rule, ruling.outcome.verdict.word) == (
        True, "paste", "allow")  # fmt: skip
    assert ruling.outcome.policy == gate.pipeline.judge.policy.hash


async def test_a_policy_that_says_the_same_leaves_what_waits_alone(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.change(("otherwise: deny\nhold", "otherwise: deny\ncontact: me\nhold"))
    await asyncio.sleep(0)
    assert list(gate.pipeline.pending) == [entry]
    gate.pipeline.waiting.close()
    await task


async def test_what_waits_because_of_a_finding_is_not_let_go_by_a_policy(tmp_path: Path) -> None:
    text = POLICY.replace("hold:", "scan: {secrets: {arguments: ask}}\nhold:")
    gate = made(tmp_path, text)
    entry, task = await gate.held(call("get_x", {"a": SECRET}, exchange="a"))
    await gate.change(("\nhold:", "\ncontact: me\nhold:"))
    await asyncio.sleep(0)
    assert list(gate.pipeline.pending) == [entry]
    gate.pipeline.waiting.close()
    gate.pipeline.close()
    assert not (await task).released


# How long a call waits.

EVENTS = (("content-type", "application/json"), ("accept", "application/json, text/event-stream"))
PLAIN = (("content-type", "application/json"), ("accept", "application/json"))
WAITS = {
    "a client that takes an event stream": (push("a", headers=EVENTS), 600.0),
    "a client that does not": (push("a", headers=PLAIN), 30.0),
    "what is not MCP": (paste("a"), 120.0),
}


@pytest.mark.parametrize(("given", "seconds"), WAITS.values(), ids=WAITS)
async def test_a_rule_says_how_long_its_calls_wait(
    given: Input, seconds: float, tmp_path: Path
) -> None:
    gate = made(tmp_path, POLICY.replace("tool: push, then: ask", "tool: push, then: ask, "
        "hold: {wait: 10m}").replace("host: paste.example, then: ask",
        "host: paste.example, then: ask, hold: {wait: 2m}"))  # fmt: skip
    task = gate.start(given)
    entry = await first_pending(gate.pipeline)
    left = gate.pipeline.holding.listed()[0].left
    assert left is not None
    assert seconds - 5 < left <= seconds
    assert gate.pipeline.pending[entry].row.rule in ("pushes", "paste")
    gate.pipeline.waiting.close()
    gate.pipeline.close()
    await task


async def test_lengths_are_those_of_the_policy(tmp_path: Path) -> None:
    gate = made(tmp_path, POLICY.replace(
        "wait: 30s", "wait: 30s, ticket: 30m, allow_for: 2h, deny_for: 5m"))  # fmt: skip
    holding = gate.pipeline.holding
    for answer, seconds in (("allow", 7200.0), ("deny", 300.0)):
        entry, task = await gate.held(paste(answer, f"/{answer}"))
        said = DecideRequest.model_validate({"decision": answer, "lasting": "time", "on": "call"})
        holding.decide(entry, said)
        await task
        left = holding.ledger.listed()[-1].left
        assert left is not None
        assert seconds - 5 < left <= seconds
    gate.pipeline.close()
