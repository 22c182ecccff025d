"""Latency of a 2 KB ``tools/call`` over TLS, keep-alive: direct, stock mitmdump, mitmgate.

One client, rounds interleaved in one run, medians, and the ratios first: the milliseconds are
this machine's. mitmgate runs with every check, audit included. Start it with ``make bench``.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time

from legs import Leg, legs, read_request

ROUNDS, CALLS, WARM = 8, 150, 150
CALL = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "read_note", "arguments": {"text": "plain words about gardens " * 75}},
}  # fmt: skip
ANSWER = json.dumps(
    {"jsonrpc": "2.0", "id": 1,
     "result": {"content": [{"type": "text", "text": "an ordinary answer " * 100}]}}
).encode()  # fmt: skip


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request with the same tool result as every other."""
    await read_request(reader)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    writer.write(head + str(len(ANSWER)).encode() + b"\r\n\r\n" + ANSWER)


class Connection:
    """One keep-alive connection of a leg."""

    def __init__(self, leg: Leg) -> None:
        self._socket = leg.connect()
        self._request = leg.request(CALL)

    def call(self) -> float:
        """Make one call; return its seconds."""
        started = time.perf_counter()
        self._socket.sendall(self._request)
        got = b""
        while not got.endswith(ANSWER):
            piece = self._socket.recv(65536)
            assert piece, got[:300]
            got += piece
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print the table."""
    with legs(answer) as ways:
        report(measure({name: Connection(leg) for name, leg in ways.items()}))


def measure(ways: dict[str, Connection]) -> dict[str, list[float]]:
    """Return the seconds of every call, the rounds of all ways interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for connection in ways.values():
        for _ in range(WARM):
            connection.call()
    for _ in range(ROUNDS):
        for name, connection in ways.items():
            seconds[name] += [connection.call() for _ in range(CALLS)]
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    """Print ratios and medians."""
    stock = statistics.median(seconds["stock mitmdump"])
    print(
        f"{'':16} of stock   p50 ms   p99 ms    ({os.cpu_count()} cores, {sys.version.split()[0]})"
    )
    for name, values in seconds.items():
        median = statistics.median(values)
        high = statistics.quantiles(values, n=100)[98]
        print(f"{name:16} {median / stock:8.2f} {median * 1e3:8.2f} {high * 1e3:8.2f}")


if __name__ == "__main__":
    main()
