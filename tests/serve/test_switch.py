"""The kill switch: what turns it on, what does not turn it off, and what it does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judging import call, make_judge, request
from piping import Capture, Rig, first_pending, make_rig, until

from mitmgate.control.models import SwitchRequest
from mitmgate.judge.halt import DENIED
from mitmgate.judge.inputs import ConnectInput, DialInput, Input
from mitmgate.judge.outcome import Completion
from mitmgate.policy.verdict import Verdict
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.peers import Peer
from mitmgate.serve.switch import KillSwitch
from mitmgate.serve.waiting import Given

OFF = SwitchRequest(on=False)


def a_switch(rig: Rig, folder: Path) -> KillSwitch:
    return KillSwitch(rig.pipeline, folder, lambda: 0)


INPUTS: dict[str, Callable[[], Input]] = {
    "a call that a rule allows": lambda: call("get_file", {"path": "a"}),
    "a call that asks": lambda: call("push", {"a": 1}),
    "a request to a host that a rule allows": lambda: request("GET", "docs.example", "/"),
    "a CONNECT": lambda: ConnectInput("c-1", "127.0.0.1", "docs.example:443"),
    "an address to dial": lambda: DialInput(
        "c-2", "127.0.0.1", "docs.example", 443, ("93.184.215.14",)
    ),
}


@pytest.mark.parametrize("shadow", [False, True], ids=["enforcing", "in shadow mode"])
@pytest.mark.parametrize("make", INPUTS.values(), ids=INPUTS)
async def test_while_it_is_on_everything_is_denied(
    make: Callable[[], Input], shadow: bool, tmp_path: Path
) -> None:
    rig = make_rig(judge=make_judge(shadow=shadow))
    switch = a_switch(rig, tmp_path)
    switch.engage("tom")
    ruling = await rig.pipeline.decide(make(), connection="c")
    assert ruling is not None
    assert (ruling.released, ruling.outcome.code) == (False, "kill_switch")
    assert ruling.outcome.enforced
    assert ruling.instead is None
    switch.lift(OFF, "tom", None)
    after = rig.pipeline.judge_now(make())
    assert after is None or after.outcome.code != "kill_switch"
    rig.pipeline.close()


async def test_calls_that_wait_are_denied_and_the_agent_reads_why(tmp_path: Path) -> None:
    rig = make_rig()
    waiting = rig.pipeline.decide(call("push", {"a": 1}), connection="c")
    task = asyncio.create_task(waiting)
    held = await first_pending(rig.pipeline)
    a_switch(rig, tmp_path).engage("tom", reason="it deletes things", via="console")
    ruling = await task
    assert ruling is not None
    assert (ruling.released, ruling.detail) == (False, DENIED.agent_reason)
    [resolution] = rig.audit.of("resolution")
    assert (resolution["id"], resolution["answer"], resolution["via"]) == (
        held, "deny", "kill_switch",
    )  # fmt: skip
    rig.pipeline.close()


async def test_an_approval_on_its_way_is_too_late(tmp_path: Path) -> None:
    rig = make_rig()
    task = asyncio.create_task(rig.pipeline.decide(call("push", {"a": 1}), connection="c"))
    held = await first_pending(rig.pipeline)
    assert rig.pipeline.answer(held, Given("allow", "console", "ann"))
    a_switch(rig, tmp_path).engage("tom")
    ruling = await task
    assert ruling is not None
    assert (ruling.released, ruling.outcome.code) == (False, "kill_switch")
    rig.pipeline.close()


async def test_it_is_recorded_logged_captured_and_a_row(tmp_path: Path) -> None:
    capture = Capture()
    rig = make_rig(capture=capture)
    switch = a_switch(rig, tmp_path)
    switch.engage("tom", reason="stop", via="api", peer=Peer(1000, 7))
    switch.engage("ann")  # it is on already
    switch.lift(SwitchRequest(on=False, reason="fine again", via="shell"), "tom", None)
    switch.lift(OFF, "ann", None)
    on, off = rig.audit.of("switch")
    assert (on["on"], on["by"], on["reason"], on["via"], on["peer"]) == (
        True, "tom", "stop", "api", {"uid": 1000, "pid": 7},
    )  # fmt: skip
    assert (off["on"], off["by"], off["reason"], off["via"]) == (
        False, "tom", "fine again", "shell",
    )  # fmt: skip
    assert capture.taken == [("switch", True), ("switch", False)]
    rows = [(row.kind, row.verdict, row.code) for row in rig.pipeline.hub.rows]
    assert rows == [("switch", "deny", "kill_switch"), ("switch", "allow", "kill_switch")]
    assert [line.split()[0] for line in rig.log] == ["deny", "allow"]
    rig.pipeline.close()


async def test_the_file_turns_it_on_and_its_end_does_not_turn_it_off(tmp_path: Path) -> None:
    rig, file = make_rig(), tmp_path / "halt"
    file.touch()
    judge = rig.pipeline.judge
    async with a_switch(rig, tmp_path).watching():
        assert judge.halt is not None, "there before the proxy listens"
        assert judge.halt.by == "file"
        file.unlink()
        await until(file.exists)
        assert judge.halt is not None
    rig.pipeline.close()


async def test_a_file_that_comes_later_turns_it_on(tmp_path: Path) -> None:
    rig = make_rig()
    judge = rig.pipeline.judge
    async with a_switch(rig, tmp_path).watching():
        assert judge.halt is None
        (tmp_path / "halt").touch()
        await until(lambda: judge.halt is not None)
    rig.pipeline.close()


async def test_it_stays_on_over_a_restart(tmp_path: Path) -> None:
    first = make_rig()
    a_switch(first, tmp_path).engage("signal")
    first.pipeline.close()
    second = make_rig()
    switch = a_switch(second, tmp_path)
    async with switch.watching():
        states = [switch.view.on]
        switch.lift(OFF, "tom", None)
        states.append(switch.view.on)
        assert states == [True, False]
        assert not (tmp_path / "halt").exists()
    second.pipeline.close()


def _in_the_way(file: Path) -> None:
    file.unlink()
    file.mkdir()


NOT_LIFTED: dict[str, tuple[str, Callable[[Rig, Path], Any]]] = {
    "the audit file cannot be written": (
        "not_recorded", lambda rig, _: setattr(rig.audit, "broken", True)),
    "the file cannot be removed": (
        "not_lifted", lambda _, folder: _in_the_way(folder / "halt")),
}  # fmt: skip


@pytest.mark.parametrize(("code", "breaking"), NOT_LIFTED.values(), ids=NOT_LIFTED)
async def test_it_stays_on_where(
    code: str, breaking: Callable[[Rig, Path], Any], tmp_path: Path
) -> None:
    rig = make_rig()
    switch = a_switch(rig, tmp_path)
    switch.engage("tom")
    breaking(rig, tmp_path)
    with pytest.raises(RefusedError) as refused:
        switch.lift(OFF, "tom", None)
    assert (refused.value.status, refused.value.code) == (503, code)
    assert switch.view.on
    assert (tmp_path / "halt").exists()
    rig.pipeline.close()


async def test_a_disk_that_is_full_does_not_keep_it_off(tmp_path: Path) -> None:
    rig = make_rig()
    rig.audit.broken = True
    switch = KillSwitch(rig.pipeline, tmp_path / "gone", lambda: 0)
    switch.engage("tom")
    ruling = await rig.pipeline.decide(call("get_file", {"path": "a"}), connection="c")
    assert ruling is not None
    assert (ruling.released, ruling.outcome.verdict) == (False, Verdict.DENY)
    assert any("halt cannot be written" in line for line in rig.log)
    rig.pipeline.close()


async def test_what_is_open_to_servers_is_cut(tmp_path: Path) -> None:
    rig, cut = make_rig(), list[bool]()

    def cutting() -> int:
        cut.append(rig.pipeline.judge.halt is not None)
        return 3

    switch = KillSwitch(rig.pipeline, tmp_path, cutting)
    switch.engage("signal")
    assert cut == [True], "after the halt, or a new one could be opened meanwhile"
    assert rig.audit.of("switch")[0]["cut"] == 3
    rig.pipeline.complete(Completion("x", None, 0, 0, 0.0, "aborted"))
    rig.pipeline.close()


async def test_a_look_from_before_the_lift_does_not_turn_it_on_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    switch = a_switch(rig, tmp_path)
    looked, lifted, looks = asyncio.Event(), asyncio.Event(), list[bool]()

    async def slow(look: Callable[..., bool], *args: Any) -> bool:
        looks.append(look(*args))
        if looks[-1] and len(looks) > 1:
            looked.set()
            await lifted.wait()
        return looks[-1]

    monkeypatch.setattr("mitmgate.serve.switch.asyncio.to_thread", slow)
    monkeypatch.setattr("mitmgate.serve.switch.POLL_SECONDS", 0.0)
    switch.engage("tom")
    async with switch.watching():
        await looked.wait()
        switch.lift(OFF, "tom", None)
        lifted.set()
        before = len(looks)
        await until(lambda: len(looks) > before)
        assert not switch.view.on
    rig.pipeline.close()
