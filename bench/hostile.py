"""Hostile clients and servers: memory, and what an ordinary client feels of them.

Each attack runs in a process of its own, with the lowest priority: a stranger's machine is not
this one. The ordinary client calls before, during and after it.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from multiprocessing.connection import Connection
from typing import Any

import payloads
from client import Crowd, Http1, Sample, Shape, fetch
from legs import FULL, Leg, legs
from processes import forget_peak, memory, peak, settled

SHAPE = Shape("json", 2_000)
SECONDS = 5.0
SILENT, SLOW, DEAF = 5_000, 500, 20
EVENTS = 1_000_000
EVENTS_SECONDS = 90.0
DECLARED = 2_000_000_000
FILLING = 10.0  # seconds: what the kernel takes is judged first, and that is work like any other
PAUSE = threading.Event()
"""Nobody sets it: attacks end by being killed."""


class Attack:
    """What an attack knows: the way in, how hard it is, and whom it tells when it has begun."""

    def __init__(self, leg: Leg, told: Connection, share: float) -> None:
        self.leg = leg
        self.share = share
        self._told = told

    def begun(self, **facts: object) -> None:
        """Tell that the ordinary client may be looked at."""
        self._told.send(facts)

    def ended(self, **facts: object) -> None:
        """Tell how far it came."""
        self._told.send(facts)

    def many(self, count: int) -> int:
        """Return *count*, less in a quick run."""
        return max(10, int(count * self.share))


def slow_heads(attack: Attack) -> None:
    """Send heads of requests, a byte of each every second."""
    held = _opened(attack.leg, attack.many(SLOW), b"CONNECT mcp.bench.example:443 HTTP/1.1\r\nx: ")
    attack.begun(connections=len(held))
    while held:
        PAUSE.wait(1)
        for sock in list(held):
            try:
                sock.send(b"x")
            except OSError:
                held.remove(sock)
    attack.ended()


def silent(attack: Attack) -> None:
    """Open connections, and say nothing."""
    held = _opened(attack.leg, attack.many(SILENT), b"")
    attack.begun(connections=len(held))
    PAUSE.wait()


def declared(attack: Attack) -> None:
    """Declare bodies of 2 GB, and send them until refused, again and again."""
    attack.begun(declared=DECLARED)
    head = attack.leg.head("/mcp/json/200", DECLARED)
    piece = payloads.prose(262_144).encode()
    while True:
        with suppress(OSError), closing(attack.leg.connect()) as sock:
            sock.sendall(head)
            sock.settimeout(2)
            for _ in range(DECLARED // len(piece)):
                sock.sendall(piece)


def answered_bombs(attack: Attack) -> None:
    """Ask for answers that are 10 GB when they are decompressed."""
    body = payloads.call(200)
    attack.begun(statuses=[fetch(attack.leg, f"/mcp/bomb/{coding}", body)[0]
                           for coding in ("zstd", "gzip")])  # fmt: skip
    while True:
        for coding in ("zstd", "gzip"):
            fetch(attack.leg, f"/mcp/bomb/{coding}", body)


def sent_bombs(attack: Attack) -> None:
    """Send bodies that are 10 GB when they are decompressed."""
    bomb = payloads.zstd_bomb(10_000_000_000)
    head = attack.leg.head("/mcp/json/200", len(bomb))
    head = head[:-2] + b"content-encoding: zstd\r\n\r\n"
    attack.begun(statuses=[fetch(attack.leg, "", bomb, head=head)[0]])
    while True:
        fetch(attack.leg, "", bomb, head=head)


def tiny_events(attack: Attack) -> None:
    """Read a stream of tiny events to its end."""
    count = attack.many(EVENTS)
    body = payloads.call(200)
    attack.begun(events=count)
    begun = time.monotonic()
    received = 0
    with closing(attack.leg.connect()) as sock:
        sock.sendall(attack.leg.head(f"/mcp/tiny/{count}", len(body)) + body)
        tail = b""
        while not tail.endswith(b"0\r\n\r\n") and time.monotonic() - begun < EVENTS_SECONDS:
            piece = sock.recv(262_144)
            if not piece:
                break
            received += piece.count(b"notifications/x")
            tail = (tail + piece)[-5:]
    attack.ended(received=received, seconds=round(time.monotonic() - begun, 1))


def deaf(attack: Attack) -> None:
    """Ask for streams without an end, and never read them."""
    body = payloads.call(200)
    held = []
    for _ in range(attack.many(DEAF)):
        with suppress(OSError):
            sock = attack.leg.connect()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # else megabytes fit
            sock.sendall(attack.leg.head("/mcp/endless", len(body)) + body)
            held.append(sock)
    PAUSE.wait(FILLING * attack.share)
    attack.begun(connections=len(held))
    PAUSE.wait()


def _opened(leg: Leg, count: int, text: bytes) -> list[socket.socket]:
    held = []
    for _ in range(count):
        try:
            sock = leg.plain()
            sock.sendall(text)
        except OSError:
            break
        held.append(sock)
    return held


ATTACKS: dict[str, tuple[str, Callable[[Attack], None]]] = {
    "slow heads": ("500 requests whose heads come a byte a second", slow_heads),
    "silent": ("5,000 connections that say nothing", silent),
    "2 GB declared": ("a body of 2 GB, again and again", declared),
    "bomb answered": ("answers of 11 MB and less that unpack to 10 GB", answered_bombs),
    "bomb sent": ("calls of 0.3 MB that unpack to 10 GB", sent_bombs),
    "tiny events": ("a stream of 1,000,000 tiny events", tiny_events),
    "never reads": ("20 endless streams that nobody reads, once all buffers are full", deaf),
}
QUICK = ("silent", "bomb answered", "tiny events")


def measure(*, quick: bool) -> list[dict[str, Any]]:
    """Return a row for each attack."""
    rows = []
    share, seconds = (0.02, 0.8) if quick else (1.0, SECONDS)
    for name, (words, attack) in ATTACKS.items():
        if quick and name not in QUICK:
            continue
        with legs((FULL,)) as ways:  # what one attack leaves must not burden the next
            what = f"{words}, a fiftieth of it" if quick else words
            row = {"attack": name, "what": what, **_one(ways[FULL], attack, share, seconds)}
        print("hostile", row, file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def _one(
    leg: Leg, attack: Callable[[Attack], None], share: float, seconds: float
) -> dict[str, Any]:
    assert leg.pid is not None
    ours, theirs = multiprocessing.Pipe()
    with closing(Crowd(leg, Http1, 1)) as crowd:
        crowd.run(SHAPE, seconds / 4)
        before = crowd.run(SHAPE, seconds)
        settled(leg.pid)
        had = memory(leg.pid)
        forget_peak(leg.pid)
        process = multiprocessing.Process(target=_run, args=(attack, leg, theirs, share))
        process.start()
        facts = _told(ours, 120) or {"failed": True}
        during = crowd.run(SHAPE, seconds)
        if attack is tiny_events:
            facts |= _told(ours, EVENTS_SECONDS + 5) or {}
        more = peak(leg.pid) - had
        process.kill()
        process.join()
        settled(leg.pid, limit=10)
        after = crowd.run(SHAPE, seconds)
    left = memory(leg.pid) - had
    return {**_ratios(before, during, after), "peak": more, "left": left, "facts": facts}


def _run(attack: Callable[[Attack], None], leg: Leg, told: Connection, share: float) -> None:
    os.nice(19)
    attack(Attack(leg, told, share))


def _told(ours: Connection, seconds: float) -> dict[str, Any]:
    try:
        return dict(ours.recv()) if ours.poll(seconds) else {}
    except EOFError:
        return {}


def _ratios(before: Sample, during: Sample, after: Sample) -> dict[str, float]:
    without = Sample(before.seconds + after.seconds)
    return {
        "p99_ratio": round(during.quantile(0.99) / without.quantile(0.99), 2),
        "p50_ratio": round(during.median / without.median, 2),
        "p99_ms": round(during.quantile(0.99) * 1e3, 2),
        "p99_ms_without": round(without.quantile(0.99) * 1e3, 2),
    }
