"""Memory: idle, by idle connection, after many calls, with large bodies."""

from __future__ import annotations

import ssl
import sys
from contextlib import closing
from typing import Any

import payloads
from client import Crowd, Http1, Shape, fetch
from legs import FULL, STOCK, Leg, legs
from processes import forget_peak, memory, peak, settled

MB = 1_000_000
BODY = 50 * MB
CALLS, CALLS_SECONDS = 100_000, 240.0


def measure(*, quick: bool) -> dict[str, Any]:
    """Return bytes, with what they are bytes of."""
    counts = (100, 200) if quick else (1_000, 5_000)
    found: dict[str, Any] = {"idle": {}, "connections": [], "bodies": []}
    with legs((STOCK, FULL)) as ways:
        for name in (STOCK, FULL):
            leg = ways[name]
            settled(_pid(leg))
            found["idle"][name] = memory(_pid(leg))
            for used in (False,) if name == STOCK else (False, True):
                for count in counts[: 1 if name == STOCK or used else 2]:
                    found["connections"].append(_connections(leg, count, used=used))
                    _tell(found["connections"][-1])
    with legs((FULL,)) as ways:
        found["calls"] = _calls(ways[FULL], CALLS // 50 if quick else CALLS)
        _tell(found["calls"])
    with legs((FULL,)) as ways:
        for case in _bodies(quick=quick):
            found["bodies"].append(_body(ways[FULL], *case))
            _tell(found["bodies"][-1])
    return found


def _pid(leg: Leg) -> int:
    assert leg.pid is not None
    return leg.pid


def _connections(leg: Leg, count: int, *, used: bool) -> dict[str, Any]:
    """Open *count* connections with TLS, each for one call if *used*; measure while they idle."""
    pid = _pid(leg)
    settled(pid)
    before = memory(pid)
    held: list[ssl.SSLSocket] = []
    refused = ""
    body = payloads.call(200)
    for _ in range(count):
        try:
            held.append(leg.connect())
            if used:
                fetch(leg, "/mcp/json/200", body, on=held[-1])
        except OSError as error:
            refused = str(error)
            break
    settled(pid)
    each = (memory(pid) - before) / max(1, len(held))
    for sock in held:
        sock.close()
    settled(pid)
    return {"leg": leg.name, "count": count, "used": used, "opened": len(held), "refused": refused,
            "bytes_each": round(each), "kept_after": memory(pid) - before}  # fmt: skip


def _calls(leg: Leg, count: int) -> dict[str, Any]:
    """Make *count* calls, fewer where they take too long; the first tenth fills the caches."""
    pid = _pid(leg)
    idle = memory(pid)
    after, made = [], 0
    with closing(Crowd(leg, Http1, 8)) as crowd:
        for _ in range(10):
            sample = crowd.run(Shape("json", 2_000), CALLS_SECONDS / 10, calls=count // 10)
            made += len(sample.seconds)
            settled(pid, limit=3)
            after.append(memory(pid))
    return {"calls": made, "idle": idle, "after": after, "drift": after[-1] - after[0]}


def _bodies(*, quick: bool) -> list[tuple[str, str, bytes, int]]:
    """Return what is sent, its path and body, and the size that counts."""
    judged = 3 * MB if quick else 30 * MB
    small = payloads.call(200)
    return [
        ("a download", f"/blob/{BODY}", b"", BODY),
        ("an upload", "/page/200", b"\x00\x9c\xff\x01" * (BODY // 4), BODY),
        ("a call", "/mcp/json/200", payloads.call(BODY), BODY),
        ("a result", f"/mcp/json/{BODY}", small, BODY),
        ("a call that is judged", "/mcp/json/200", payloads.call(judged), judged),
        ("a result that is judged", f"/mcp/json/{judged}", small, judged),
    ]


def _body(leg: Leg, name: str, path: str, body: bytes, size: int) -> dict[str, Any]:
    pid = _pid(leg)
    settled(pid)
    before = memory(pid)
    forget_peak(pid)
    status, received = fetch(leg, path, body)
    more = peak(pid) - before
    return {"what": name, "bytes": size, "status": status, "received": received,
            "peak": more, "bodies": round(more / size, 2)}  # fmt: skip


def _tell(facts: dict[str, Any]) -> None:
    print("memory", facts, file=sys.stderr, flush=True)
