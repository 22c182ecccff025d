"""The table: time and rate of calls, by size, clients, HTTP and kind, the legs interleaved."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from statistics import median
from typing import Any

from client import Crowd, Http1, Http2, Sample, Shape, delays
from legs import LEGS, Leg, legs
from payloads import SIZES
from processes import settled

HTTP = {"HTTP/1.1": Http1, "HTTP/2": Http2}
CLIENTS = (1, 8, 64)
ROUNDS, SECONDS, WARM = 5, 0.3, 0.1
BUDGET = 12.0  # seconds for one cell; slow ones get fewer rounds
ARGUMENTS = ("10 KB", "100 KB", "1 MB")
EVENTS, EVENT_ROUNDS = 40, 10

type Row = dict[str, Any]


def measure(*, quick: bool) -> list[Row]:
    """Return a row for each cell of the table."""
    rows: list[Row] = []
    with legs(LEGS, "--http2") as found:
        for leg in found.values():
            if leg.pid is not None:
                settled(leg.pid)
        for http in HTTP:
            for clients in (1, 8) if quick else CLIENTS:
                rows += _group(found, http, clients, quick=quick)
        rows.append(_events(found, 2 if quick else EVENT_ROUNDS))
    return rows


def _group(found: dict[str, Leg], http: str, clients: int, *, quick: bool) -> Iterator[Row]:
    with ExitStack() as stack:
        crowds = {
            name: stack.enter_context(closing(Crowd(leg, HTTP[http], clients)))
            for name, leg in found.items()
        }
        for kind, label in _cells(http, clients, quick=quick):
            samples = _interleaved(crowds, Shape(kind, SIZES[label]), quick=quick)
            row = {"http": http, "clients": clients, "kind": kind, "size": label,
                   "legs": {name: _facts(of) for name, of in samples.items()}}  # fmt: skip
            _tell(row)
            yield row


def _cells(http: str, clients: int, *, quick: bool) -> Iterator[tuple[str, str]]:
    sizes = ("2 KB", "100 KB") if quick else tuple(SIZES)
    for kind in ("json", "sse"):
        for label in sizes:
            yield kind, label
    if http == "HTTP/1.1" and clients == 1:
        for label in ("100 KB",) if quick else ARGUMENTS:
            yield "arguments", label
    if clients < 64:
        yield "page", "2 KB"


def _interleaved(crowds: dict[str, Crowd], shape: Shape, *, quick: bool) -> dict[str, list[Sample]]:
    warm = {name: crowd.run(shape, WARM) for name, crowd in crowds.items()}
    cost = sum(max(sample.elapsed, SECONDS) for sample in warm.values())
    if cost > BUDGET / 2:  # so many large calls at once warm themselves
        return {name: [sample] for name, sample in warm.items()}
    samples: dict[str, list[Sample]] = {name: [] for name in crowds}
    for _ in range(2 if quick else min(ROUNDS, int(BUDGET / cost))):
        for name, crowd in crowds.items():
            samples[name].append(crowd.run(shape, SECONDS))
    return samples


def _facts(samples: list[Sample]) -> dict[str, float]:
    """Return milliseconds and calls per second of *samples*."""
    whole = Sample([seconds for sample in samples for seconds in sample.seconds])
    return {
        "p50_ms": round(median([sample.median for sample in samples]) * 1e3, 4),
        "p99_ms": round(whole.quantile(0.99) * 1e3, 4),
        "per_second": round(median([sample.rate for sample in samples]), 1),
        "calls": len(whole.seconds),
        "rounds": len(samples),
    }


def _events(found: dict[str, Leg], rounds: int) -> Row:
    """Return how late events come that are paced, so that none waits behind another."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, leg in found.items():
            seconds[name].append(delays(leg, EVENTS))
    row = {"http": "HTTP/1.1", "clients": 1, "kind": "event", "size": "0.2 KB", "legs": {}}
    for name, of in seconds.items():
        whole = Sample([one for part in of for one in part])
        row["legs"][name] = {
            "p50_ms": round(median([median(part) for part in of]) * 1e3, 4),
            "p99_ms": round(whole.quantile(0.99) * 1e3, 4),
        }
    _tell(row)
    return row


def _tell(row: Row) -> None:
    shown = "  ".join(
        f"{name} {of['p50_ms']:.2f} ms" + (f" {of['per_second']:.0f}/s" if "calls" in of else "")
        for name, of in row["legs"].items()
    )
    cell = f"{row['http']} {row['kind']} {row['size']} x{row['clients']}"
    print(f"{cell:32} {shown}", file=sys.stderr, flush=True)
