"""Thousands of requests of every kind over 200 hosts: none is lost, and nothing of them stays.

`make test` runs 2,000 of them, `make soak` 10,000.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import Gate, ended
from hypothesis import settings
from volume import NAMES, Ask, Crowd, Sites, Visit, policy, serving, visits
from warm import WarmPopen

from mitmgate.demo.pki import make_pki
from mitmgate.mitm.gate import Gate as GateAddon

DEEP = settings.get_current_profile_name() == "deep"
COUNT = 10_000 if DEEP else 1_200
PARTS = 5  # of the whole, after each of which memory is looked at
GROWTH = 1.05 if DEEP else 1.15  # of the last two parts; in 2,000 some caches still fill
PROBES = 200
THREADS = 12  # of all its pools
COMPILED = Path(__file__).parents[1] / "peers" / "mitmgate_compiled.py"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_pki(tmp_path_factory.mktemp("sites"), *NAMES)


def status(gate: Gate, name: str) -> int:
    text = Path(f"/proc/{gate.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name)))


def descriptors(gate: Gate) -> int:
    return len(os.listdir(f"/proc/{gate.process.pid}/fd"))  # noqa: PTH208 - names are no paths


async def settled(crowd: Crowd, sites: Sites, is_so: Callable[[], bool]) -> bool:
    """Tell whether *is_so* comes true; each look is a request later than the last one."""
    for number in range(PROBES):
        if is_so():
            return True
        ask = Ask(10_000_000 + number, "get", NAMES[-30])
        await crowd.come([Visit(ask.host, (ask,), http2=False)])
    return sites.open == 0 and is_so()


@pytest.fixture
def start(pki: tuple[Path, Path], tmp_path: Path) -> Iterator[Callable[[str], Gate]]:
    """Start a proxy that has all its patterns: compiled in the background they look like a leak."""
    with ExitStack() as stack:

        def begin(text: str) -> Gate:
            file, state = tmp_path / "policy.yaml", tmp_path / "state"
            file.write_text(text)
            process = WarmPopen(
                [sys.executable, str(COMPILED), "run", "--listen", "127.0.0.1:0", "--http2",
                 "--policy", str(file), "--state-dir", str(state), "--capture",
                 str(tmp_path / "captures"), "--upstream-ca", str(pki[0])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True,
            )  # fmt: skip
            stack.callback(ended, process)
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            return Gate(process, ready, state, tmp_path / "captures", file)

        yield begin


async def test_no_request_is_lost_and_no_memory_kept(
    pki: tuple[Path, Path], start: Callable[[str], Gate]
) -> None:
    made = [list(visits(COUNT // PARTS, first=part * (COUNT // PARTS))) for part in range(PARTS)]
    asks = [ask for part in made for visit in part for ask in visit.asks]
    memory = []
    async with serving(pki[1]) as sites:
        gate = await asyncio.to_thread(start, policy(sites.port))
        crowd = Crowd(gate.port, gate.ready["ca"], sites.port)
        await crowd.come(visits(50, first=1_000_000))  # what is loaded once
        crowd.answered.clear()
        crowd.spoken.clear()
        before = descriptors(gate) - sites.open  # some connections wait for the next client
        for part in made:
            await crowd.come(part)
            memory.append(status(gate, "VmRSS"))
        assert crowd.wrong == []
        assert crowd.answered == Counter(ask.kind for ask in asks)
        assert min(crowd.spoken.values()) > COUNT // 5
        assert await settled(crowd, sites, lambda: descriptors(gate) - sites.open == before)
        assert status(gate, "Threads") < THREADS
    assert len(asks) == COUNT
    check_arrived(sites, asks)
    check_audit(gate, asks)
    assert memory[-1] < memory[-3] * GROWTH, memory


def check_arrived(sites: Sites, asks: list[Ask]) -> None:
    """Each host got what the gate let through, once, and nothing that it denied."""
    wanted = Counter(key(ask) for ask in asks if not ask.denied)
    arrived = Counter({name: count for name, count in sites.arrived.items()
                       if 0 <= int(name.replace("_", "/").rpartition("/")[2]) < COUNT})  # fmt: skip
    assert arrived == wanted


def key(ask: Ask) -> str:
    return ask.tool if ask.path == "/mcp" else ask.path


def check_audit(gate: Gate, asks: list[Ask]) -> None:
    """Each request has one decision and one end, both as its client saw them."""
    records = gate.audit()
    ends = Counter(one["exchange"] for one in records if one["type"] == "completion")
    assert set(ends.values()) == {1}
    decided: dict[str, list[dict[str, Any]]] = {}
    for one in records:
        if one["type"] == "decision" and one["kind"] == "request":
            name = one["tool"] or f"/{one['endpoint'].split('/', 3)[3]}"
            decided.setdefault(name, []).append(one)
    for ask in asks:
        [one] = decided[key(ask)]
        assert (one["verdict"] == "deny") is ask.denied, ask
        assert one["host"] == ask.host
        assert ends[one["exchange"]] == 1
    spoken = Counter(one["exchange"] for one in records if one.get("kind") == "message")
    sockets = [ask for ask in asks if ask.kind == "websocket"]
    assert [spoken[decided[key(ask)][0]["exchange"]] for ask in sockets] == [2] * len(sockets)


class Tables:
    """What a gate in this process keeps for those who are connected."""

    def __init__(self) -> None:
        self.gates: list[GateAddon] = []
        self.loop: asyncio.AbstractEventLoop | None = None

    def make(self, *given: Any) -> GateAddon:
        self.loop = asyncio.get_running_loop()
        self.gates.append(GateAddon(*given))
        return self.gates[-1]

    def tasks(self) -> int:
        assert self.loop is not None
        return len(asyncio.all_tasks(self.loop))

    def kept(self) -> list[object]:
        [gate] = self.gates
        tables = (gate._tracks, gate._tunnels._open, gate._dialling._dials,
                  gate._dialling._attempts, gate._dialling._refused)  # fmt: skip
        return [table for table in tables if table]


@pytest.fixture
def tables() -> Tables:
    return Tables()


async def test_no_task_and_no_entry_is_left(
    pki: tuple[Path, Path], run_proxy: Callable[..., Any], tables: Tables
) -> None:
    async with serving(pki[1]) as sites:
        proxy = await asyncio.to_thread(
            lambda: run_proxy(tables.make, policy=policy(sites.port), http2=True)
        )
        running = proxy.running
        port = int(running.listen.rpartition(":")[2])
        crowd = Crowd(port, str(running.authority.cert_path), sites.port)
        before = await asyncio.to_thread(tables.tasks)
        await crowd.come(visits(400))
        assert crowd.wrong == []
        assert await settled(crowd, sites, lambda: not tables.kept() and tables.tasks() == before)
        pipeline = running.pipeline
        assert (pipeline.pending, pipeline.judge._memory._open) == ({}, {})
