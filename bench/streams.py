"""Delay of one server-sent event over TLS: direct, stock mitmdump streaming, mitmgate judging.

The upstream writes its clock into each event, the client of the same machine reads it back. The
events are paced, so that none waits behind another; the rounds of all legs are interleaved, and
the ratios come first: the milliseconds are this machine's. mitmgate runs with every check.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from typing import Any

from legs import Leg, legs, read_request

ROUNDS, WARM, PAIRS, PACE = 40, 4, 20, 0.002
CALL = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "read_note", "arguments": {"text": "plain words about gardens"},
               "_meta": {"progressToken": "t1"}},
}  # fmt: skip
PROGRESS = {
    "jsonrpc": "2.0", "method": "notifications/progress",
    "params": {"progressToken": "t1", "progress": 3, "total": 20, "message": "reading a note"},
}  # fmt: skip
LOG = {
    "jsonrpc": "2.0", "method": "notifications/message",
    "params": {"level": "info", "logger": "notes", "data": "plain words about gardens " * 7},
}  # fmt: skip
RESULT = {
    "jsonrpc": "2.0", "id": 1,
    "result": {"content": [{"type": "text", "text": "an ordinary answer " * 100}]},
}  # fmt: skip
SCRIPT = [("progress", PROGRESS), ("log message", LOG)] * PAIRS + [("result of 2 KB", RESULT)]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with the events of the script, each at its own time."""
    await read_request(reader)
    writer.write(HEAD)
    for _, message in SCRIPT:
        await asyncio.sleep(PACE)
        event = event_of(message)
        writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
    await asyncio.sleep(PACE)
    writer.write(b"0\r\n\r\n")


def event_of(message: dict[str, Any]) -> bytes:
    """Return *message* as an event that tells when it was made."""
    part = "result" if "result" in message else "params"
    told = {**message, part: {**message[part], "_meta": {"bench/sent": time.perf_counter_ns()}}}
    return f"event: message\ndata: {json.dumps(told)}\n\n".encode()


class Connection:
    """One keep-alive connection of a leg."""

    def __init__(self, leg: Leg) -> None:
        self._socket = leg.connect()
        self._request = leg.request(CALL)

    def listen(self) -> list[float]:
        """Make one call; return the seconds that each of its events took."""
        self._socket.sendall(self._request)
        delays: list[float] = []
        got = b""
        while not got.endswith(b"0\r\n\r\n"):
            piece = self._socket.recv(65536)
            now = time.perf_counter_ns()
            assert piece, got[:300]
            *events, got = (got + piece).split(b"\n\n")
            delays += [(now - _sent(event)) / 1e9 for event in events]
        assert len(delays) == len(SCRIPT), "an event was lost"
        return delays


def _sent(event: bytes) -> int:
    message = json.loads(event.partition(b"data: ")[2])
    sent: int = message.get("params", message.get("result"))["_meta"]["bench/sent"]
    return sent


type Delays = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, and print the table."""
    with legs(answer) as ways:
        report(measure({name: Connection(leg) for name, leg in ways.items()}))


def measure(ways: dict[str, Connection]) -> Delays:
    """Return leg -> kind of event -> delays, the rounds of all legs interleaved."""
    delays: Delays = {name: defaultdict(list) for name in ways}
    for connection in ways.values():
        for _ in range(WARM):
            connection.listen()
    for _ in range(ROUNDS):
        for name, connection in ways.items():
            for (kind, _), delay in zip(SCRIPT, connection.listen(), strict=True):
                delays[name][kind].append(delay)
                delays[name]["all events"].append(delay)
    return delays


def report(delays: Delays) -> None:
    """Print ratios and delays."""
    print(f"{'':31} of stock   p50 ms   p95 ms    ({os.cpu_count()} cores, "
          f"{sys.version.split()[0]})")  # fmt: skip
    for kind in ("all events", *dict(SCRIPT)):
        stock = statistics.median(delays["stock mitmdump"][kind])
        for name, kinds in delays.items():
            median = statistics.median(kinds[kind])
            high = statistics.quantiles(kinds[kind], n=20)[18]
            row = f"{median / stock:8.2f} {median * 1e3:8.3f} {high * 1e3:8.3f}"
            print(f"{kind:14} {name:16} {row}")


if __name__ == "__main__":
    main()
