"""Answers for ever that cannot be saved, recorded, or are another than was shown."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from judging import POLICY, call
from remembering import KEY, Gate, made, paste, push

from mitmgate.errors import ConfigError
from mitmgate.policy.remembered import Kept
from mitmgate.policy.source import PolicySource
from mitmgate.serve import remembered_file
from mitmgate.serve.ledger import RefusedError
from mitmgate.strictyaml import editing


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    one = made(tmp_path)
    yield one
    one.pipeline.close()


async def test_a_full_disk_grants_nothing_and_the_call_goes_on_waiting(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    entry, task = await gate.held(push("a"))
    shown = await gate.preview(entry)
    monkeypatch.setattr(editing.Editing, "_write", full)
    with pytest.raises(RefusedError) as refused:
        await gate.decide(entry, shown.hash)
    assert (refused.value.status, refused.value.code) == (507, "not_saved")
    assert not task.done()
    assert list(gate.pipeline.pending) == [entry]
    assert (gate.audit.of("grant"), await gate.pipeline.ever.listed()) == ([], ())
    assert not gate.file.exists()
    assert not list(gate.file.parent.glob(".remembered*"))
    monkeypatch.undo()
    await gate.say(entry)
    assert (await task).released


async def test_what_cannot_be_recorded_does_not_count(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    shown = await gate.preview(entry)
    gate.audit.broken = True
    with pytest.raises(RefusedError) as refused:
        await gate.decide(entry, shown.hash)
    gate.audit.broken = False
    assert (refused.value.status, refused.value.code) == (503, "not_recorded")
    assert not gate.file.exists()
    assert not task.done()
    gate.pipeline.waiting.close()
    assert not (await task).released


async def test_a_file_that_changed_since_the_preview_is_left_alone(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    second, other = await gate.held(paste("b"))
    first, shown = await gate.preview(entry), await gate.preview(second, on="host")
    await gate.decide(entry, first.hash)
    before = gate.file.read_text()
    with pytest.raises(RefusedError) as refused:
        await gate.decide(second, shown.hash, on="host")
    assert (refused.value.status, refused.value.code) == (409, "file_changed")
    assert gate.file.read_text() == before
    assert not other.done()
    await gate.say(second, on="host")
    assert (await task).released
    assert (await other).released


async def test_a_comment_that_came_since_the_preview_is_not_lost(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    entry, task = await gate.held(paste("b"))
    shown = await gate.preview(entry, on="host")
    gate.file.write_text(f"# mine\n{gate.file.read_text()}")
    with pytest.raises(RefusedError) as refused:
        await gate.decide(entry, shown.hash, on="host")
    assert refused.value.code == "file_changed"
    assert gate.file.read_text().startswith("# mine\n")
    gate.pipeline.waiting.close()
    assert not (await task).released


WRONG: dict[str, dict[str, Any]] = {
    "another scope": {"on": "server"},
    "the other answer": {"decision": "deny"},
    "no preview at all": {"preview": "sha256:0"},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
async def test_only_what_was_shown_is_saved(change: dict[str, Any], gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    shown = await gate.preview(entry)
    asked = {"preview": shown.hash, **change}
    with pytest.raises(RefusedError) as refused:
        await gate.decide(entry, **asked)
    assert refused.value.code == "file_changed"
    assert not gate.file.exists()
    gate.pipeline.waiting.close()
    await task


async def test_a_change_by_hand_that_waits_does_not_come_in_with_an_answer(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    text = gate.file.read_text()
    line = text.splitlines()[-1]
    gate.file.write_text(text + line.replace("ever-allow-push", "sneaky").replace("push", "drop")
                         + "\n")  # fmt: skip
    assert await gate.reloader.reload() == "waiting"
    assert gate.waits() == ("remembered rule sneaky is new and allows",)
    entry, task = await gate.held(paste("b"))
    shown = await gate.preview(entry, on="host")
    with pytest.raises(RefusedError) as refused:
        await gate.decide(entry, shown.hash, on="host")
    assert refused.value.code == "file_changed"
    assert not (await gate.ruled(call("drop", exchange="c"))).released
    gate.pipeline.waiting.close()
    await task


async def test_the_own_write_needs_no_confirmation_and_hides_no_other_change(gate: Gate) -> None:
    gate.policy.write_text(POLICY.replace("host: paste.example, then: ask",
                                          "host: paste.example, then: allow"))  # fmt: skip
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    assert (await task).released
    assert gate.waits() == ()
    assert gate.reloader._stamp() != gate.reloader.stamp  # the change of the policy is still seen
    assert await gate.reloader.reload() == "waiting"
    assert len(gate.waits()) == 1
    entry, task = await gate.held(call("push", exchange="b", agent="other"))
    await gate.say(entry)
    assert (await task).released
    assert len(gate.waits()) == 1  # and goes on waiting


async def test_after_an_own_write_there_is_nothing_to_reload(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    assert gate.reloader._stamp() == gate.reloader.stamp
    assert await gate.reloader.reload() == "unchanged"


async def test_the_same_rule_is_not_made_twice(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    second, other = await gate.held(push("b"))
    shown = await gate.preview(second)
    gate.pipeline.holding.deciding[second] = "another row"
    await gate.say(entry)
    with pytest.raises(RefusedError) as refused:
        await gate.preview(second)
    assert refused.value.code == "said_before"
    with pytest.raises(RefusedError) as refused:
        await gate.decide(second, shown.hash)
    assert refused.value.code == "file_changed"
    gate.pipeline.waiting.close()
    await asyncio.gather(task, other)


async def test_a_file_of_another_key_stops_the_start(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    with pytest.raises(ConfigError, match="another hash"):
        PolicySource(gate.policy, kept=Kept(gate.file, b"other")).read()


async def test_a_broken_file_keeps_what_is_in_force(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry, "deny")
    await task
    gate.file.write_text(gate.file.read_text().replace("then: deny", "then: ask"))
    assert await gate.reloader.reload() == "refused"
    assert not (await gate.ruled(push("b"))).released


async def test_a_server_that_is_gone_is_only_told_of(gate: Gate) -> None:
    entry, task = await gate.held(push("a"))
    await gate.say(entry)
    await task
    name = next(iter(gate.pipeline.judge.policy.server_urls))
    text = gate.file.read_text().replace(f"server: {name}", "server: gone")
    gate.file.write_text(text)
    await gate.reloader.reload()
    if gate.reloader.waiting is not None:
        assert gate.reloader.confirm(gate.reloader.waiting.policy.hash, "eva")
    assert any("is for server gone, which the policy does not name" in line for line in gate.log)


async def test_what_was_left_by_a_killed_proxy_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".remembered.yaml.edit").write_text("half")
    again = made(tmp_path)
    entry, task = await again.held(push("a"))
    await again.say(entry)
    assert (await task).released
    again.pipeline.close()


def test_nobody_else_can_read_the_file_while_it_is_made(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        edit = remembered_file.Edit(Kept(tmp_path / "r.yaml", KEY), None, "x", "version: 1\n")
        edit._created()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "r.yaml").stat().st_mode) == 0o600
