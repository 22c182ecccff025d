"""How fast recorded calls are judged again, with every detector, and how memory grows.

A call of the first row carries as much text as most calls of tools do, one of the second 2 KB;
it is prose, as are answers.

The capture and its golden lines are made first, in a folder for temporary files: a million calls of
300 characters are 3 GB.
``--exchanges 100000 500000 1000000`` measures those numbers, each in a process of its
own; ``--profile`` shows where the time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import multiprocessing
import os
import pstats
import resource
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from mitmgate.policy.load import load_policy
from mitmgate.replay.capture import read_capture
from mitmgate.replay.compare import Comparison
from mitmgate.replay.golden import iter_golden
from mitmgate.replay.merge import Merge, Window
from mitmgate.serve.foretelling import foretelling
from mitmgate.serve.replaying import compare_lines, scanner_for

GOAL_RATE = 3_000
SIZES = (300, 2_000)
PROSE = "\n".join(topics.values())[5_000:]
MARK = 987_654_321
POLICY = """\
version: 1
servers: {files: {url: "https://files.example/mcp"}}
mcp:
  rules:
    - {id: no-force, tool: push, where: {/arguments/force: {equals: true}}, then: deny}
    - {id: reads, tool: [get_*, read_*], then: allow}
  otherwise: ask
"""
HEADER = {
    "v": 2, "type": "capture", "tool": "bench", "policy": "bench", "mode": "enforce",
    "shadow": False, "started": 0.0, "run": "bench", "keep": [], "segment": 1, "canaries": [],
}  # fmt: skip
HEADERS = [
    ["host", "files.example"], ["content-type", "application/json"], ["content-length", "0"],
    ["accept", "application/json, text/event-stream"], ["user-agent", "bench"],
    ["mcp-protocol-version", "2025-11-25"], ["mcp-session-id", "[opaque:1]"],
    ["authorization", "[opaque:2]"],
]  # fmt: skip
HEAD = {
    "method": "POST", "scheme": "https", "host": "files.example", "port": 443, "target": "/mcp",
    "headers": HEADERS,
}  # fmt: skip
ANSWER = {"status": 200, "headers": [["content-type", "application/json"]]}
OUTCOME: dict[str, Any] = {
    "kind": "request", "channel": "mcp", "method": "tools/call", "server": "files",
    "tool": "read_note", "verdict": "allow", "rule": "reads", "code": "rule", "findings": [],
    "effects": [],
}  # fmt: skip


def templates(size: int) -> tuple[list[str], list[str]]:
    """Return the lines of capture and golden file of one call with so much text.

    MARK stands for its number.
    """
    place = {"exchange": MARK, "at": MARK}
    arguments = {"path": f"/notes/{MARK}", "text": PROSE[:size]}
    call = {"jsonrpc": "2.0", "id": MARK, "method": "tools/call",
            "params": {"name": "read_note", "arguments": arguments}}  # fmt: skip
    content = [{"type": "text", "text": f"note {MARK}: {PROSE[-400:]}"}]
    result = {"jsonrpc": "2.0", "id": MARK, "result": {"content": content}}
    request = {"type": "request", "agent": "10.0.0.7", "head": HEAD, "message": 0, "tunnel": None,
               "authority": "files.example", "body": {"text": json.dumps(call)}}  # fmt: skip
    answer = {"type": "answer", "head": ANSWER, "message": 1, "body": {"text": json.dumps(result)}}
    inputs = [one | place for one in (request, answer, {"type": "end", "message": 2})]
    asked = {"v": 2, "exchange": MARK, "message": "0"} | OUTCOME
    answered = asked | {"message": "1", "kind": "answer", "rule": "answer", "code": "answer"}
    return [*map(_line, inputs)], [*map(_line, (asked, answered))]


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"


def fed(path: Path, first: str, lines: list[str], exchanges: int, last: str) -> None:
    """Write the calls into the file at *path*."""
    parts = "".join(lines).split(str(MARK))
    with path.open("w") as file:
        file.write(first)
        for number in range(1, exchanges + 1):
            file.write(str(number).join(parts))
        file.write(last)


def replayed(exchanges: int, size: int, *, profiled: bool = False) -> None:
    """Replay so many calls of so many characters, and print the row of the table."""
    policy = load_policy(POLICY, file="bench")
    scanner = scanner_for(policy)
    scanner.warm()
    inputs, outcomes = templates(size)
    close = _line({"type": "close", "lines": len(inputs) * exchanges + 1})
    with tempfile.TemporaryDirectory() as name:
        capture, golden = Path(name) / "capture", Path(name) / "golden"
        fed(capture, _line(HEADER), inputs, exchanges, close)
        fed(golden, "", outcomes, exchanges, "")
        compared = Comparison()
        merge = Merge(capture, Window(golden, iter_golden(golden)), compared, closed=True)
        lines = read_capture(capture, scanner.sample_for)
        profiler = cProfile.Profile()
        if profiled:
            profiler.enable()
        wall, cpu = time.perf_counter(), time.process_time()
        with foretelling(capture, scanner, scanner.sample_for):
            compare_lines(lines, policy, scanner, merge)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        profiler.disable()
    assert (compared.same, compared.exchanges) == (2 * exchanges, exchanges), compared
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{size:6} {exchanges:10} {exchanges / wall:10.0f} {exchanges / cpu:12.0f} {memory:8.0f}",
        flush=True,
    )
    if profiled:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exchanges", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    cores = f"{os.cpu_count()} cores, {sys.version.split()[0]}"
    print(f"  text  exchanges  a second  a CPU second  MiB RSS    ({cores})", flush=True)
    for size, number in product(SIZES, options.exchanges):
        process = multiprocessing.Process(
            target=replayed, args=(number, size), kwargs={"profiled": options.profile}
        )
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(1)
    print(f"   goal: at least {GOAL_RATE} a second, and the same memory for all of them")


if __name__ == "__main__":
    main()
