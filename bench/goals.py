"""What is to be reached, and whether the results reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from legs import DIRECT, FULL, STOCK

type Results = dict[str, Any]
MB = 1_000_000

# Why a goal may be missed, and what comes next; shown beside those that are. By the goal's key.
SCAN = "The scan grows with the text; next: fewer passes over it."
REASONS = {
    "p50": "{largest}",
    "p99": "Garbage collection and threads that scan hold the event loop up; next: fewer objects "
    "for each call.",
    "rate": "One core runs the event loop, so the processor time of a call bounds it. {largest}",
    "10 KB": SCAN,
    "100 KB": SCAN,
    "1 MB": SCAN,
    "drift": "Books of exchanges and texts fill up to their bounds after the first tenth of the "
    "calls; next: smaller entries.",
    "connections": "mitmproxy's layers and two OpenSSL objects stand for each connection; next: "
    "free the buffers of a TLS connection that idles.",
    "bodies": "A body is kept in pieces, then joined, then decoded; next: hand on the pieces.",
    "http2": "The h2 library works in Python, frame by frame; `--http2` stays off by default.",
    "hostile": "One event loop serves all: what it does for the hostile one, others wait for; "
    "next: give way more often.",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """*value* is measured, in *unit*; *most* (or *least*) is asked for. None: not measured."""

    key: str
    name: str
    value: float | None
    limit: float
    unit: str
    at_least: bool = False
    reason: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def asked(self) -> str:
        """The limit in words."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"

    @property
    def shown(self) -> str:
        """The value in words."""
        return "not measured" if self.value is None else f"{self.value:.2f}{self.unit}"

    @property
    def answer(self) -> str:
        """Met, or not and why."""
        match self.met:
            case None:
                return "not measured"
            case True:
                return "met"
            case False:
                return f"**not met.** {self.reason}"


def cell(
    results: Results, size: str, clients: int, http: str = "HTTP/1.1", kind: str = "json"
) -> dict[str, Any] | None:
    """Return the legs of one cell of the table."""
    wanted = {"http": http, "clients": clients, "kind": kind, "size": size}
    for row in results.get("calls", ()):
        if all(row[name] == value for name, value in wanted.items()):
            legs: dict[str, Any] = row["legs"]
            return legs
    return None


def goals(results: Results) -> list[Goal]:
    """Return every goal with what *results* say of it."""
    largest = _largest(results)
    return [
        replace(goal, reason=REASONS[goal.key].format(largest=largest))
        for goal in (*_speed(results), *_memory(results), *_hostile(results))
    ]


NEXT = {
    "judge": "smaller tables, since in a loop (`bench/replay.py`) the same judgement takes about a "
    "third: between two calls its automata leave the caches of the processor",
}
"""What to do about a stage that is the largest."""


def _largest(results: Results) -> str:
    """Return a sentence about the stage that takes most of a call."""
    kept = results.get("stages", {}).get("kept connection")
    if not kept:
        return ""
    name, spent = max(kept["stages_us"].items(), key=itemgetter(1))
    share = f"The largest stage is {name}, {spent / kept['total_us']:.0%} of a call"
    return f"{share}; next: {NEXT.get(name, 'that one')}."


FURTHER = "the same, the further goal"


def _speed(results: Results) -> Iterator[Goal]:
    one, eight = cell(results, "2 KB", 1), cell(results, "2 KB", 8)
    two = cell(results, "2 KB", 1, "HTTP/2")
    half = _of(one, lambda legs: legs[FULL]["p50_ms"] / legs[STOCK]["p50_ms"])
    yield Goal("p50", "p50 of 2 KB, one client, of stock's", half, 0.5, "")
    yield Goal("p50", FURTHER, half, 0.45, "")
    high = _of(one, lambda legs: legs[FULL]["p99_ms"] / legs[FULL]["p50_ms"])
    yield Goal("p99", "p99 of 2 KB, one client, of our own p50", high, 2, "")
    rate = _of(eight, lambda legs: legs[FULL]["per_second"] / legs[STOCK]["per_second"])
    yield Goal("rate", "calls/s of 2 KB, 8 clients, of stock's", rate, 2.0, "", at_least=True)
    yield Goal("rate", FURTHER, rate, 2.3, "", at_least=True)
    for size, limits in (("10 KB", (1.5,)), ("100 KB", (8, 6)), ("1 MB", (75, 50))):
        value = _over_direct(results, size)
        yield Goal(size, f"p50 of {size} over direct, call or result", value, limits[0], " ms")
        for limit in limits[1:]:
            yield Goal(size, FURTHER, value, limit, " ms")
    both = two[FULL]["p50_ms"] / one[FULL]["p50_ms"] if one and two else None
    yield Goal("http2", "HTTP/2 of HTTP/1.1, p50 of 2 KB, one client", both, 1.5, "")


def _of(legs: dict[str, Any] | None, ratio: Callable[[dict[str, Any]], float]) -> float | None:
    return None if legs is None else ratio(legs)


def _over_direct(results: Results, size: str) -> float | None:
    cells = [cell(results, size, 1, kind=kind) for kind in ("json", "arguments")]
    found = [legs[FULL]["p50_ms"] - legs[DIRECT]["p50_ms"] for legs in cells if legs]
    return max(found, default=None)


def _memory(results: Results) -> Iterator[Goal]:
    memory = results.get("memory", {})
    drift = memory["calls"]["drift"] / MB if memory else None
    calls = memory["calls"]["calls"] if memory else 100_000
    yield Goal("drift", f"memory that {calls:,} calls add, after the first tenth", drift, 5, " MB")
    for row in memory.get("connections", ()):
        if row["leg"] == FULL:
            name = f"each of {row['opened']:,} idle TLS connections" + \
                (", after a call" if row["used"] else "")  # fmt: skip
            yield Goal("connections", name, row["bytes_each"] / 1e3, 100, " KB")
    for row in memory.get("bodies", ()):
        name = f"memory for {row['what']} of {row['bytes'] / MB:g} MB, in bodies"
        yield Goal("bodies", name, row["bodies"], 3, "")


def _hostile(results: Results) -> Iterator[Goal]:
    for row in results.get("hostile", ()):
        yield Goal("hostile", f"p99 of others beside: {row['what']}", row["p99_ratio"], 2, "")
        yield Goal("hostile", "memory for it", row["peak"] / MB, 256, " MB")
