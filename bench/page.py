"""The page docs/performance.md, made from the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from goals import Results, goals
from legs import FULL, LEGS, STOCK

from mitmgate.mitm.fast import PARTS, VARIABLE

INTRODUCTION = """\
# Performance

`make bench` makes this page; do not edit it. What mitmgate costs is told as a ratio to stock
mitmproxy and to no proxy at all, measured in turns in one run: the milliseconds are one machine's.

- *direct*: the clients speak with the server.
- *stock mitmdump*: mitmproxy with its own addons, and a script that sends a name to loopback and
  lets events through.
- *mitmgate, no checks*: our proxy, with a policy that allows everything, no scanner and no audit
  file. The strict reading of every message stays: it has no switch.
- *mitmgate*: all detectors, the audit file, and the capture of whatever has a finding.

Every call is a `tools/call` on a connection that is kept, over TLS. Its result has the size that
is named, the call itself 2 KB at most; for *arguments* it is the other way. *sse* is a result that
comes as a stream of events, *event* the delay of one paced event, *page* a GET that is not MCP.
The text is ordinary prose, in up to 16 variants.
"""
HOW = """\
## On your own machine

```sh
make bench                              # all of it, 25 minutes on two cores; writes this page
make bench BENCH="--only calls"         # a part: calls, stages, memory, hostile
make bench BENCH=--quick                # three minutes, rough, writes no page
```

It wants Linux, two free cores and nothing else running. Each run leaves a file in `bench/results/`,
with the facts of the machine. Compare ratios between two files, not milliseconds; differences
under a tenth are noise. To compare two versions, run it in both working trees, one after the
other. To see what one part of the fast path gives, leave it out as told below, and run
`make bench BENCH="--quick --only calls"`.

Other programs in `bench/` measure one thing each: `scan.py` the scanner, `decide.py` a policy of
5,000 rules, `replay.py` recorded calls, `console.py` the console beside a busy proxy.
"""


def page(results: Results) -> str:
    """Return the page; empty *results* give one without numbers."""
    parts = [INTRODUCTION, *_numbers(results), HOW, *_switches()]
    return "\n".join(parts)


def _numbers(results: Results) -> Iterator[str]:
    if not results:
        yield "No results yet: run `make bench`.\n"
        return
    if results["quick"]:
        yield "**A quick run: rough numbers.**\n"
    yield _machine(results)
    yield "## Goals\n"
    yield _table(
        ("goal", "asked", "measured", ""),
        [(goal.name, goal.asked, goal.shown, goal.answer) for goal in goals(results)],
    )
    if results.get("calls"):
        yield from _calls(results["calls"])
    if results.get("stages"):
        yield from _stages(results["stages"])
    if results.get("memory"):
        yield from _memory(results["memory"])
    if results.get("hostile"):
        yield from _hostile(results["hostile"])


def _machine(results: Results) -> str:
    facts = results["machine"]
    return (
        f"Measured on {results['when'][:10]}: {facts['cpu']}, {facts['cores']} cores, Python "
        f"{facts['python']}, mitmproxy {facts['mitmproxy']}, OpenSSL {facts['openssl']}, commit "
        f"{facts['commit']}.\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _calls(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Calls\n"
    yield "p50 and calls per second as ratios to stock, then p50 and p99 in milliseconds.\n"
    for http in dict.fromkeys(row["http"] for row in rows):
        yield f"### {http}\n"
        head = ("kind", "size", "clients", "p50 of stock", "rate of stock",
                *(f"{leg}, p50 / p99 ms" for leg in LEGS), "calls/s of each")  # fmt: skip
        yield _table(head, [_row(row) for row in rows if row["http"] == http])


def _row(row: dict[str, Any]) -> list[str]:
    legs = row["legs"]
    has_rate = "per_second" in legs[FULL]
    rate = f"{legs[FULL]['per_second'] / legs[STOCK]['per_second']:.2f}" if has_rate else ""
    rates = " / ".join(f"{legs[name]['per_second']:.0f}" for name in LEGS) if has_rate else ""
    times = [f"{legs[name]['p50_ms']:.2f} / {legs[name]['p99_ms']:.2f}" for name in LEGS]
    ratio = f"{legs[FULL]['p50_ms'] / legs[STOCK]['p50_ms']:.2f}"
    return [row["kind"], row["size"], str(row["clients"]), ratio, rate, *times, rates]


def _stages(stages: dict[str, Any]) -> Iterator[str]:
    yield "## Where the time goes\n"
    yield (
        "Processor time of one call of 2 KB, all checks on, in microseconds. After each "
        "millisecond of it the process looks which file it is in; the looks share out what the "
        "clock of the main thread says, the other threads count by their own clocks. So the "
        "stages are all there is.\n"
    )
    first = next(iter(stages.values()))
    rows = [
        [stage, *(f"{of['stages_us'][stage]:.0f} ({of['stages_us'][stage] / of['total_us']:.0%})"
                  for of in stages.values())]
        for stage in first["stages_us"]
    ]  # fmt: skip
    rows.append(["**all**", *(f"{of['total_us']:.0f}" for of in stages.values())])
    yield _table(("stage", *stages), rows)


def _memory(memory: dict[str, Any]) -> Iterator[str]:
    yield "## Memory\n"
    idle = ", ".join(f"{leg} {size / 1e6:.0f} MB" for leg, size in memory["idle"].items())
    calls = memory["calls"]
    yield (
        f"Idle: {idle}. After {calls['calls'] // 10:,} calls {calls['after'][0] / 1e6:.0f} MB, "
        f"after {calls['calls']:,} {calls['after'][-1] / 1e6:.0f} MB.\n"
    )
    yield _table(
        ("idle TLS connections", "leg", "KB each"),
        [
            (f"{row['opened']:,}" + (", after a call each" if row["used"] else "")
             + (f" (refused from there: {row['refused']})" if row["refused"] else ""),
             row["leg"], f"{row['bytes_each'] / 1e3:.0f}")
            for row in memory["connections"]
        ],
    )  # fmt: skip
    yield _table(
        ("body", "MB", "answer", "memory at most, in bodies"),
        [(row["what"], f"{row['bytes'] / 1e6:g}", str(row["status"]), f"{row['bodies']:.2f}")
         for row in memory["bodies"]],
    )  # fmt: skip


def _hostile(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Hostile clients and servers\n"
    yield (
        "Beside each, one ordinary client calls with 2 KB; its p99 and p50 as ratios to those "
        "without. The hostile ones run with the lowest priority.\n"
    )
    yield _table(
        ("what", "p99", "p50", "memory at most", "left after it", "how far it came"),
        [(row["what"], f"{row['p99_ratio']:.2f}", f"{row['p50_ratio']:.2f}",
          f"{row['peak'] / 1e6:.0f} MB", f"{row['left'] / 1e6:.0f} MB",
          ", ".join(f"{name} {value}" for name, value in row["facts"].items())) for row in rows],
    )  # fmt: skip


def _switches() -> Iterator[str]:
    yield "## The fast path, part by part\n"
    yield (
        f"What makes mitmgate's proxy cheaper than stock. `{VARIABLE}=NAME,NAME` in the "
        "environment leaves parts out. A part that takes the place of something inside mitmproxy "
        "is left out by itself, with a warning, where that is not what it was made for.\n"
    )
    yield _table(("part", "why"), [(f"`{part.name}`", part.reason) for part in PARTS])
