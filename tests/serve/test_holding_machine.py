"""Whatever comes in whatever order: each held call leaves exactly once, and none overstays."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from judging import call
from piping import Rig, make_rig

from mitmgate.control.models import DecideRequest
from mitmgate.mitm.core import Ruling
from mitmgate.serve.ledger import RefusedError

WAIT = 30.0
STRANGE = ("  otherwise: deny\negress", "  otherwise: ask\negress")
HOSTS = ("files.example", "strange.example")  # the second one is asked about first

STEP = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.just("once"), st.integers(0, 5), st.sampled_from(["allow", "deny"])),
    st.tuples(st.just("tool"), st.integers(0, 5), st.sampled_from(["allow", "deny"])),
    st.tuples(st.just("undo"), st.just(0), st.just(0)),
    st.tuples(st.just("leave"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("time"), st.integers(1, 40), st.just(0)),
)


class Machine:
    """Runs calls through a pipeline whose clock stands until it is moved."""

    def __init__(self) -> None:
        self.rig: Rig = make_rig(STRANGE)
        self.now = 0.0
        self.began: dict[str, float] = {}
        self.tasks: dict[str, asyncio.Task[Ruling | None]] = {}
        holding = self.rig.pipeline.holding
        holding._clock = holding.waiting._clock = lambda: self.now

    async def settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)

    async def step(self, what: str, one: int, two: Any) -> None:
        pipeline = self.rig.pipeline
        entries = [entry.id for entry in pipeline.holding.listed()]
        match what:
            case "call":
                key = f"e{len(self.tasks)}"
                asked = call("push", {"v": one}, host=HOSTS[two], exchange=key)
                self.began[key] = self.now
                self.tasks[key] = asyncio.create_task(
                    pipeline.decide(asked, connection=f"c{len(self.tasks) % 3}")
                )
            case "once" | "tool" if entries:
                more = {} if what == "once" else {"lasting": "time", "on": "tool"}
                said = {"decision": two, "operator": "eva", **more}
                with suppress(RefusedError):
                    entry = entries[one % len(entries)]
                    pipeline.holding.decide(entry, DecideRequest.model_validate(said))
            case "undo":
                with suppress(RefusedError):
                    pipeline.holding.ledger.undo(None, "eva", "api")
            case "leave":
                pipeline.client_left(f"c{one}")
            case "time":
                self.now += one
                pipeline.waiting._expire()
            case _:
                pass  # there is nothing to answer
        await self.settle()
        self.check()

    def check(self) -> None:
        pipeline = self.rig.pipeline
        open_now = {key for key, task in self.tasks.items() if not task.done()}
        waiting = {held.id.partition(".")[0] for held in pipeline.waiting.queue}
        assert waiting == open_now, "who waits has an entry, and who left has none"
        assert set(pipeline.pending) == {held.id for held in pipeline.waiting.queue}
        for key in open_now:
            over = self.now - self.began[key] - WAIT
            assert over < 1.0, "nobody overstays, but for the second that a second question has"
        assert set(pipeline.waiting._futures) == set(pipeline.pending)
        told = Counter(record["id"] for record in self.rig.audit.of("resolution"))
        detached = set(pipeline.holding.detached)
        assert all(count <= 2 for count in told.values())
        assert all(told[key] == 1 for key in detached)

    async def close(self) -> None:
        self.rig.pipeline.waiting.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*self.tasks.values())
        assert len(self.rig.pipeline.waiting.queue) == 0
        assert self.rig.pipeline.waiting._visits == {}
        self.rig.pipeline.close()


@example([("call", 0, 1), ("time", 20, 0), ("once", 0, "allow"), ("time", 20, 0)])
@given(st.lists(STEP, min_size=4, max_size=25))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_call_leaves_exactly_once_and_none_overstays(
    steps: list[tuple[str, int, Any]],
) -> None:
    async def run() -> None:
        machine = Machine()
        for what, one, two in steps:
            await machine.step(what, one, two)
        await machine.close()

    asyncio.run(run())
