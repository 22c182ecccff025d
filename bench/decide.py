"""Time of one decision on a 2 KB ``tools/call``, with policies of 500 and of 5,000 rules.

Rounds interleaved in one run, medians, the ratio last: the microseconds are this machine's. The
rules are a mix, and the call matches one near the end. ``--profile`` shows where the time goes.
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import statistics
import sys
import time
from typing import Any

from mitmgate.policy.call import Call
from mitmgate.policy.compiled import Policy
from mitmgate.policy.decide import decide
from mitmgate.policy.load import load_policy

SIZES = (500, 5000)
ROUNDS, CALLS, WARM = 20, 500, 500
GOAL_MICROSECONDS, GOAL_RATIO = 50, 3
SERVERS = 20
GENERAL: list[dict[str, Any]] = [
    {"id": "night", "time": {"from": "22:00", "to": "06:00"}, "agent": "ci-*", "then": "deny"},
    {"id": "no-sampling", "method": "sampling/*", "then": "deny"},
    {"id": "no-old-transport", "transport": "sse", "then": "ask"},
    {"id": "no-shadow", "tool": "*", "where": {"/arguments/path": {"path_within": "/etc"}},
     "then": "deny"},
    {"id": "no-deletes", "tool": "*_delete", "then": "deny"},
]  # fmt: skip
CALL = Call(
    "10.0.0.7", "server-7", "tools/call", "write_note",
    {"name": "write_note",
     "arguments": {"path": "/home/me/notes/today", "text": "plain words about gardens " * 75}},
)  # fmt: skip


def rule(number: int) -> dict[str, Any]:
    """Return one of five kinds of rules: most are for other tools or servers than the call."""
    server, found = f"server-{number % SERVERS}", {"id": f"rule-{number}", "then": "ask"}
    match number % 5:
        case 0:
            return {**found, "tool": f"read_{number}"}
        case 1:
            return {**found, "tool": [f"get{number}_*", f"list{number}_*"]}
        case 2:
            return {**found, "server": server, "tool": f"tool_{number}"}
        case 3:
            where = {"/arguments/path": {"prefix": f"/srv/{number}"}}
            return {**found, "tool": f"write_{number}", "where": where}
        case _:
            return {**found, "agent": f"agent-{number}", "tool": f"run_{number}"}


def policy_of(size: int) -> Policy:
    """Return a policy of *size* rules, where the call matches the last one."""
    last = {"id": "notes", "server": "server-7", "tool": "write_*", "then": "allow"}
    close = [
        {"id": f"close-{number}", "server": "server-7", "tool": "write_note",
         "where": {"/arguments/path": {"prefix": f"/srv/{number}"}}, "then": "deny"}
        for number in range(3)
    ]  # fmt: skip
    filling = [rule(number) for number in range(size - len(GENERAL) - len(close) - 1)]
    servers = {f"server-{n}": {"url": f"https://s{n}.example/mcp"} for n in range(SERVERS)}
    rules = [*GENERAL, *filling, *close, last]
    return load_policy(
        json.dumps({"version": 1, "servers": servers, "mcp": {"rules": rules}}), file="bench"
    )


def measure(policies: dict[int, Policy]) -> dict[int, list[float]]:
    """Return the seconds of every decision, the rounds of all policies interleaved."""
    seconds: dict[int, list[float]] = {size: [] for size in policies}
    for policy in policies.values():
        assert decide(policy, CALL).rule == "notes"
        for _ in range(WARM):
            decide(policy, CALL)
    for _ in range(ROUNDS):
        for size, policy in policies.items():
            seconds[size] += [once(policy) for _ in range(CALLS)]
    return seconds


def once(policy: Policy) -> float:
    """Decide once; return the seconds."""
    started = time.perf_counter()
    decide(policy, CALL)
    return time.perf_counter() - started


def report(seconds: dict[int, list[float]]) -> None:
    """Print the medians, and how they grow."""
    print(f"{'rules':>8}   p50 us   p99 us    ({os.cpu_count()} cores, {sys.version.split()[0]})")
    for size, values in seconds.items():
        high = statistics.quantiles(values, n=100)[98]
        print(f"{size:8} {statistics.median(values) * 1e6:8.1f} {high * 1e6:8.1f}")
    small, large = (statistics.median(seconds[size]) for size in SIZES)
    goal = f"goal: under {GOAL_MICROSECONDS} us at {SIZES[0]}, ratio below {GOAL_RATIO}"
    print(f"   ratio {large / small:8.2f}    ({goal})")


def profile(policy: Policy) -> None:
    """Print where the time of decisions goes."""
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(5000):
        decide(policy, CALL)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(15)


def main() -> None:
    """Measure, and print the table."""
    policies = {size: policy_of(size) for size in SIZES}
    report(measure(policies))
    if "--profile" in sys.argv[1:]:
        profile(policies[SIZES[0]])


if __name__ == "__main__":
    main()
