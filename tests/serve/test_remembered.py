"""Answers for ever: previewed, saved, tried, and taken back."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from judging import KEY as SECRET
from judging import POLICY, call
from remembering import KEY, Gate, made, paste, push

from mitmgate.control.models import DecideRequest
from mitmgate.judge.inputs import Input
from mitmgate.policy.remembered import Kept
from mitmgate.policy.source import PolicySource
from mitmgate.serve.ledger import RefusedError


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    one = made(tmp_path)
    yield one
    one.pipeline.close()


async def test_a_preview_shows_the_rule_and_changes_nothing(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    _, other = await gate.held(push("b", force=False))
    shown = await gate.preview(entry)
    assert "tool: push" in shown.rule
    assert shown.diff.startswith("--- /dev/null\n+++ b/remembered.yaml\n")
    assert f"+  - {shown.rule}" in shown.diff
    assert shown.covers == 1
    assert not gate.file.exists()
    assert set(gate.pipeline.pending) == {"a.0", "b.0"}
    gate.pipeline.waiting.close()
    await asyncio.gather(task, other)


async def test_an_approval_for_ever_holds_for_what_waits_and_what_comes(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    _, other = await gate.held(push("b", force=False))
    decided = await gate.say(entry)
    assert (decided.released, decided.grant) == (2, "ever-allow-push")
    assert (await task).released
    assert (await other).released
    later = await gate.ruled(push("c"))
    assert (later.released, later.outcome.code) == (True, "remembered")
    assert (later.outcome.rule, later.outcome.grant) == ("ever-allow-push", "ever-allow-push")
    assert stat.S_IMODE(gate.file.stat().st_mode) == 0o600
    resolution = next(r for r in gate.audit.of("resolution") if r["id"] == entry)
    told = (resolution["lasting"], resolution["on"], resolution["grant"], resolution["via"])
    assert told == ("ever", "tool", "ever-allow-push", "api")
    [record] = gate.audit.of("grant")
    assert (record["event"], record["kind"], record["operator"]) == ("made", "rule", "eva")


async def test_a_rule_outlives_the_proxy(gate: Gate, tmp_path: Path) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    again = made(tmp_path)
    assert again.pipeline.judge.policy.hash == gate.pipeline.judge.policy.hash
    assert (await again.ruled(push("b"))).released
    [view] = await again.pipeline.ever.listed()
    assert (view.kind, view.answer, view.lasting, view.on) == ("rule", "allow", "ever", "tool")
    assert (view.operator, view.outcome, view.made > 1e9) == ("eva", "a.0", True)
    again.pipeline.close()


async def test_it_is_for_the_agent_that_asked(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    _, other = await gate.held(push("b", agent="other"))
    gate.pipeline.waiting.close()
    assert not (await other).released


async def test_a_denial_for_ever_holds_where_the_policy_allows(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry, "deny", reason="use the form")
    assert not (await task).released
    assert await gate.change(("id: pushes, tool: push, then: ask", "id: pushes, tool: push, then: "
                              "allow")) == "waiting"  # fmt: skip
    assert gate.reloader.waiting is not None
    assert gate.reloader.confirm(gate.reloader.waiting.policy.hash, "eva")
    denied = await gate.ruled(push("b"))
    assert (denied.released, denied.outcome.code) == (False, "remembered")
    assert denied.outcome.agent_reason == "The operator denied this: use the form"


async def test_what_a_rule_denies_stays_denied(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    denied = await gate.ruled(push("b", force=True))
    assert (denied.released, denied.outcome.rule) == (False, "no-force")


async def test_a_locked_ask_is_asked_each_time(tmp_path: Path) -> None:
    gate = made(tmp_path)
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    locked = tmp_path / "locked.yaml"
    locked.write_text("version: 1\nmcp: {rules: [{id: four-eyes, tool: push, then: ask}]}\n")
    floor = PolicySource(gate.policy, locked, Kept(gate.file, KEY))
    gate.pipeline.judge.policy = floor.read()[0].policy
    entry, task = await gate.held(push("b"))
    with pytest.raises(RefusedError) as refused:
        await gate.preview(entry)
    assert refused.value.code == "no_such_scope"
    gate.pipeline.close()
    assert not (await task).released


async def test_comments_and_other_rules_stay(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    text = gate.file.read_text().replace("  - {id", "  # agreed with ops\n  - {id")
    gate.file.write_text(text)
    assert await gate.reloader.reload() == "applied"
    entry, task = await gate.held(paste("b"))
    shown = await gate.preview(entry, on="host")
    await gate.decide(entry, shown.hash, on="host")
    assert (await task).released
    assert gate.file.read_text() == f"{text}  - {shown.rule}\n"


NAMES = [
    "*",
    "run_?",
    "a b",
    "[x]",
    "x{y}",
    "\u00e4\u6f22",
    "c\\d",
    "q\"u'o",
    "- x",
    "null",
    "x: y",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_tool_is_meant_by_its_exact_name(name: str, tmp_path: Path) -> None:
    gate = made(tmp_path, POLICY.replace("  otherwise: deny\negress", "  otherwise: ask\negress"))
    entry, task = await gate.held(call(name, exchange="a"))
    await gate.say(entry)
    assert (await task).released
    assert (await gate.ruled(call(name, exchange="b"))).released
    _, other = await gate.held(call("run_x", exchange="c"))
    gate.pipeline.waiting.close()
    gate.pipeline.close()
    assert not (await other).released


ODD = {"an escape": "c\x1b[31m", "text from right to left": "ab\u202ecd", "a line break": "a\nb"}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
async def test_a_name_that_cannot_be_shown_is_no_rule(name: str, tmp_path: Path) -> None:
    gate = made(tmp_path, POLICY.replace("  otherwise: deny\negress", "  otherwise: ask\negress"))
    entry, task = await gate.held(call(name, exchange="a"))
    with pytest.raises(RefusedError) as refused:
        await gate.preview(entry)
    assert refused.value.code == "no_such_rule"
    gate.pipeline.waiting.close()
    gate.pipeline.close()
    await task


async def test_a_name_of_ten_thousand_characters_is_no_rule(tmp_path: Path) -> None:
    gate = made(tmp_path, POLICY.replace("  otherwise: deny\negress", "  otherwise: ask\negress"))
    entry, task = await gate.held(call("x" * 10_000, exchange="a"))
    with pytest.raises(RefusedError) as refused:
        await gate.preview(entry)
    assert refused.value.code == "no_such_rule"
    gate.pipeline.waiting.close()
    gate.pipeline.close()
    await task


@pytest.mark.parametrize("on", ["call", "values"])
async def test_values_stand_in_the_file_as_keyed_hashes(on: str, gate: Gate) -> None:
    names = ["branch"] if on == "values" else []
    entry, task = await gate.held(push("a", force="4711-private"))
    shown = await gate.preview(entry, on=on, names=names)
    await gate.decide(entry, shown.hash, on=on, names=names)
    assert (await task).released
    assert "4711" not in gate.file.read_text() + json.dumps(gate.audit.records)
    assert "main" not in gate.file.read_text()
    assert (await gate.ruled(push("b", force="4711-private"))).released
    entry, task = await gate.held(call("push", {"force": 1, "branch": "dev"}, exchange="c"))
    gate.pipeline.waiting.close()
    assert not (await task).released


async def test_a_rule_with_a_credential_in_it_is_refused(tmp_path: Path) -> None:
    # Findings are only logged there, so the call waits because of its rule.
    text = POLICY.replace("hold:", "scan: {secrets: {egress_request: log}}\nhold:")
    gate = made(tmp_path, text)
    entry, task = await gate.held(paste("a", f"/{SECRET}/x"))
    with pytest.raises(RefusedError) as refused:
        await gate.preview(entry, on="prefix")
    assert refused.value.code == "holds_secret"
    gate.pipeline.waiting.close()
    gate.pipeline.close()
    await task


EGRESS = {
    "exactly this": ("call", paste("b"), paste("c", "/a/b?q=2")),
    "this URL": ("url", paste("b"), paste("c", "/a/c?q=1")),
    "below a folder": ("prefix", paste("b", "/a/x/y"), paste("c", "/b")),
    "the host": ("host", paste("b", "/any"), None),
}  # fmt: skip


@pytest.mark.parametrize(("on", "inside", "outside"), EGRESS.values(), ids=EGRESS)
async def test_scopes_of_egress(on: str, inside: Input, outside: Input | None, gate: Gate) -> None:
    entry, task = await gate.held(paste("a"))
    await gate.say(entry, on=on)
    assert (await task).released
    assert (await gate.ruled(inside)).outcome.code == "remembered"
    if outside is not None:
        _, other = await gate.held(outside)
        gate.pipeline.waiting.close()
        assert not (await other).released


# Undo.


async def test_undo_takes_the_rule_out_and_leaves_comments(gate: Gate) -> None:
    for number, agent in enumerate(("one", "two")):
        entry, task = await gate.held(push(f"a{number}", agent=agent))
        await gate.say(entry)
        await task
    text = gate.file.read_text()
    mine = text.replace("  - {id: ever-allow-push-2", "  # mine\n  - {id: ever-allow-push-2")
    gate.file.write_text(mine)
    await gate.reloader.reload()
    undone = await gate.pipeline.ever.undo("ever-allow-push", "tom", "shell")
    assert (undone.id, undone.kind) == ("ever-allow-push", "rule")
    kept = [line for line in mine.splitlines(keepends=True) if "id: ever-allow-push," not in line]
    assert gate.file.read_text() == "".join(kept)
    assert gate.audit.of("grant")[-1]["event"] == "undone"
    _, task = await gate.held(push("b", agent="one"))
    gate.pipeline.waiting.close()
    assert not (await task).released
    assert (await gate.ruled(push("c", agent="two"))).released


async def test_undo_without_an_id_takes_back_the_last_answer_of_this_run(
    gate: Gate, tmp_path: Path
) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    entry, task = await gate.held(paste("b"))
    said = DecideRequest(decision="allow", operator="eva", lasting="time", on="host")
    gate.pipeline.holding.decide(entry, said)
    await task
    undone = [(await gate.pipeline.ever.undo(None, "eva", "api")).kind for _ in range(2)]
    assert undone == ["grant", "rule"]
    with pytest.raises(RefusedError, match="Nothing like that"):
        await gate.pipeline.ever.undo(None, "eva", "api")
    assert gate.file.read_text().endswith("rules:\n")
    entry, task = await gate.held(push("c"))
    await gate.say(entry)
    await task
    again = made(tmp_path)
    with pytest.raises(RefusedError):
        await again.pipeline.ever.undo(None, "eva", "api")
    again.pipeline.close()
