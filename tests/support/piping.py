"""A pipeline with an audit file and a capture that can be made to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from judging import make_judge

from mitmgate.hold.grants import Told
from mitmgate.judge.inputs import Input
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome, Resolution
from mitmgate.serve.pipeline import Pipeline


@dataclass
class Audit:
    """Keeps records; raises like a full disk while it is broken."""

    records: list[dict[str, Any]] = field(default_factory=list)
    broken: bool = False

    def append(self, record: Mapping[str, Any]) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")
        self.records.append(dict(record))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == kind]


@dataclass
class Capture:
    """Keeps what it is given; refuses everything, or only what *refuses* names."""

    refuses: frozenset[str] = frozenset()
    taken: list[object] = field(default_factory=list)
    in_force: list[tuple[str, ...]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def _take(self, kind: str, value: object) -> bool:
        if kind in self.refuses:
            return False
        self.taken.append(value)
        return True

    def policy(self, policy: str, mode: str, canaries: Sequence[str], paths: object) -> bool:
        del paths
        self.in_force.append((policy, mode, *canaries))
        return "policy" not in self.refuses

    def input(self, given: Input, *, now: float) -> bool:
        self.times.append(now)
        return self._take("input", given)

    def outcome(self, outcome: Outcome) -> bool:
        return self._take("outcome", outcome)

    def resolution(self, _outcome: Outcome, resolution: Resolution) -> bool:
        return self._take("resolution", resolution)

    def grant(self, _outcome: Outcome, told: Told) -> bool:
        return self._take("grant", told)

    def undo(self, kind: str, number: str) -> bool:
        return self._take("undo", (kind, number))

    def switch(self, *, on: bool) -> bool:
        return self._take("switch", ("switch", on))

    @property
    def crowded(self) -> bool:
        return False


@dataclass
class Rig:
    """A pipeline, and everything that it writes to."""

    pipeline: Pipeline
    audit: Audit
    log: list[str]


def make_rig(
    *changes: tuple[str, str], capture: Capture | None = None, judge: Judge | None = None
) -> Rig:
    audit, log = Audit(), list[str]()
    chosen = judge or make_judge(*changes)
    return Rig(Pipeline(chosen, audit, capture=capture, log=log.append), audit, log)


async def first_pending(pipeline: Pipeline) -> str:
    """Return the id of the first call that waits, as soon as one does."""
    await until(lambda: bool(pipeline.pending))
    return next(iter(pipeline.pending))


async def until(holds: Callable[[], bool]) -> None:
    """Let everything else run until *holds* does; TimeoutError after ten seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for belongs to the code under test
            await asyncio.sleep(0)
