"""How long things took lately, how often each rule decided, how the capture is: no history."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mitmgate.control.health import StageTimes
from mitmgate.judge.outcome import Outcome

KEPT = 1_000
_RECENT = 10.0  # seconds that the rate of calls is taken over
_MOST_RULES = 10_000
STAGES: Final = ("prepare", "conclude", "record", "hold", "whole")


class Ring:
    """The last numbers that came."""

    __slots__ = ("_at", "_size", "_values", "count")

    def __init__(self, size: int = KEPT) -> None:
        self._values = array("d", bytes(8 * size))
        self._size = size
        self._at = 0
        self.count = 0

    def add(self, value: float) -> None:
        """Take in *value*; the oldest one leaves."""
        self._values[self._at] = value
        self._at = (self._at + 1) % self._size
        self.count += 1

    def values(self) -> list[float]:
        """Return what is kept, in no order."""
        return list(self._values[: min(self.count, self._size)])


class Times:
    """How long each stage of a call took, in seconds, and when the last calls came."""

    __slots__ = ("_calls", "conclude", "hold", "prepare", "record", "whole")

    def __init__(self) -> None:
        self.prepare, self.conclude, self.record = Ring(), Ring(), Ring()
        self.hold, self.whole = Ring(), Ring()
        self._calls = Ring()

    def called(self, started: float, ended: float) -> None:
        """Take in a request, from its start to its first decision, both by ``perf_counter``."""
        self._calls.add(ended)
        self.whole.add(ended - started)

    def rate(self, now: float) -> float:
        """Return how many calls came a second lately; *now* is ``perf_counter``."""
        recent = [one for one in self._calls.values() if now - one < _RECENT]
        if not recent:
            return 0.0
        full = self._calls.count > len(recent) >= KEPT
        return round(len(recent) / (max(now - min(recent), 0.001) if full else _RECENT), 1)

    def stages(self) -> dict[str, StageTimes]:
        """Return the times of each stage that any call went through."""
        return {name: _spread(ring) for name, ring in self._rings() if ring.count}

    def _rings(self) -> Iterator[tuple[str, Ring]]:
        for name in STAGES:
            yield name, getattr(self, name)


def _spread(ring: Ring) -> StageTimes:
    values = sorted(ring.values())
    last = len(values) - 1
    return StageTimes(
        p50=round(values[last // 2], 9), p95=round(values[min(last, int(0.95 * len(values)))], 9)
    )


class Hits:
    """How often each rule decided since the proxy started, and when it last did.

    Rules are known by channel and id: both channels have one called ``otherwise``.
    """

    def __init__(self) -> None:
        self._hits: dict[tuple[str, str], tuple[int, float]] = {}

    def count(self, outcome: Outcome, now: float) -> None:
        """Count the rule that decided *outcome*, each one of a batch; *now* since the epoch."""
        for one in outcome.parts or (outcome,):
            key = one.subject.channel, one.rule
            known = self._hits.get(key)
            if known is None and len(self._hits) >= _MOST_RULES:
                return
            self._hits[key] = (1 if known is None else known[0] + 1), now

    def of(self, channel: str, rule: str) -> tuple[int, float | None]:
        """Return how often *rule* of *channel* decided, and when last."""
        return self._hits.get((channel, rule), (0, None))


@dataclass(frozen=True, slots=True)
class Captured:
    """How a capture is: ``failure`` says why nothing is written now, None: all is well.

    ``dropped`` counts inputs that were left out because the queue was full, ``lost`` lines that the
    disk did not take.
    """

    failure: str | None
    dropped: int
    lost: int

    @property
    def trouble(self) -> str | None:
        """What an operator should know, in words, None where nothing is missing."""
        missing = [
            f"{count} {what}"
            for count, what in (
                (self.dropped, "inputs did not fit and were left out"),
                (self.lost, "lines could not be written"),
            )
            if count
        ]
        told = [*([] if self.failure is None else [self.failure]), *missing]
        return "; ".join(told) or None


def captured_by(capture: object) -> Captured | None:
    """Return how *capture*, the one of a pipeline, is; None where nothing is captured."""
    if capture is None:
        return None
    failure, dropped = getattr(capture, "failure", None), getattr(capture, "dropped", 0)
    outage = getattr(capture, "outage", None)
    return Captured(failure, dropped, 0 if outage is None else outage.lost)
