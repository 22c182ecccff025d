"""What a pipeline gives to its capture: the time it judged at, and what it judged by."""

from __future__ import annotations

import time
from copy import replace

from judging import call
from piping import Capture, make_rig

from mitmgate.judge.inputs import Input


async def _decide(capture: Capture, *given: Input) -> list[str]:
    rig = make_rig(capture=capture)
    codes = []
    for number, one in enumerate(given):
        if number == len(given) - 1:
            rig.pipeline.judge.policy = replace(rig.pipeline.judge.policy)
        ruling = await rig.pipeline.decide(one, connection="c")
        assert ruling is not None
        codes.append(ruling.outcome.code)
    rig.pipeline.close()
    return codes


async def test_what_is_in_force_is_told_before_the_first_input_and_when_it_changes() -> None:
    capture = Capture()
    await _decide(capture, *(call("get_x", exchange=f"e{number}") for number in range(3)))
    assert len(capture.in_force) == 2
    assert capture.in_force[0][1] == "enforce"


async def test_an_input_has_the_time_at_which_it_was_judged() -> None:
    capture, before = Capture(), time.time()
    await _decide(capture, call("get_x"))
    assert before <= capture.times[0] <= time.time()


async def test_a_call_is_denied_when_what_is_in_force_cannot_be_captured() -> None:
    capture = Capture(frozenset({"policy"}))
    assert await _decide(capture, call("get_x")) == ["capture_full"]
    assert capture.taken == []
