"""Where the processor time of a call goes: on a connection that is kept, and on a new one each."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import payloads
from client import Crowd, Http1, Shape, fetch
from legs import Leg, profiled
from processes import settled

SECONDS = 8.0


def measure(*, quick: bool) -> dict[str, Any]:
    """Return the microseconds of each stage for one call, and their sum."""
    seconds = 2.0 if quick else SECONDS
    with tempfile.TemporaryDirectory() as folder, profiled(Path(folder, "stages.json")) as leg:
        assert leg.pid is not None
        settled(leg.pid)
        found = {}
        for name, calls in {"kept connection": _kept, "new connection": _new}.items():
            calls(leg, seconds / 4)
            found[name] = _measured(leg, Path(folder, "stages.json"), partial(calls, leg, seconds))
            print("stages", name, found[name], file=sys.stderr, flush=True)
    return found


def _kept(leg: Leg, seconds: float) -> int:
    with closing(Crowd(leg, Http1, 1)) as crowd:
        return len(crowd.run(Shape("json", 2_000), seconds).seconds)


def _new(leg: Leg, seconds: float) -> int:
    body = payloads.call(2_000)
    calls = 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        fetch(leg, "/mcp/json/2000", body)
        calls += 1
    return calls


def _measured(leg: Leg, file: Path, run: Callable[[], int]) -> dict[str, Any]:
    file.unlink(missing_ok=True)
    os.kill(leg.pid or 0, signal.SIGUSR2)
    calls = run()
    os.kill(leg.pid or 0, signal.SIGUSR2)
    ends = time.monotonic() + 20
    while not file.exists() and time.monotonic() < ends:
        time.sleep(0.05)  # noqa: TID251 - another process writes it
    told = json.loads(file.read_text())
    each = {name: round(spent / calls * 1e6, 1) for name, spent in told["seconds"].items()}
    return {"calls": calls, "looks": told["looks"], "total_us": round(sum(each.values()), 1),
            "process_us": round(told["total"] / calls * 1e6, 1), "stages_us": each}  # fmt: skip
