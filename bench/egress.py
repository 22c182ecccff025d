"""Requests that are not MCP: GET of 2 KB over TLS, keep-alive, by direct, stock mitmdump, mitmgate.

One client and eight, HTTP/1.1 and HTTP/2, the rounds of all legs interleaved. The ratios come
first: the numbers are this machine's, and clients, server and proxy share it. mitmgate runs with
every check, audit included; stock runs without addons. The server speaks HTTP/1.1, so that the
direct leg has no HTTP/2. Start it with ``make bench``.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import count

import hpack
from legs import NAME, Leg, legs

ROUNDS, CALLS, WARM = 6, 120, 120
CLIENTS = (1, 8)
BODY = b"an ordinary page, about gardens " * 64
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2048\r\n\r\n" + BODY
STOCK = "stock mitmdump"
# Frames of HTTP/2 (RFC 9113): a 9-byte head of length, type, flags and stream, then the payload.
DATA, HEADERS, SETTINGS, WINDOW_UPDATE, PING = 0, 1, 4, 8, 6
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW = 2**31 - 1


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request without a body."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)


class Http1:
    """One keep-alive connection of HTTP/1.1."""

    def __init__(self, leg: Leg) -> None:
        self._socket = leg.connect()
        self._request = (
            f"GET /page HTTP/1.1\r\nhost: {NAME}:{leg.port}\r\naccept: */*\r\n\r\n".encode()
        )

    def get(self) -> None:
        """Fetch the page."""
        self._socket.sendall(self._request)
        got = b""
        while not got.endswith(BODY):
            piece = self._socket.recv(65536)
            assert piece, got[:300]
            got += piece
        assert got.startswith(b"HTTP/1.1 200 ")


class Http2:
    """One connection of HTTP/2, its frames made by hand: a library would cost more than a proxy."""

    def __init__(self, leg: Leg) -> None:
        self._socket = leg.connect("h2")
        assert self._socket.selected_alpn_protocol() == "h2"
        named = [(":method", "GET"), (":scheme", "https"), (":path", "/page"),
                 (":authority", f"{NAME}:{leg.port}"), ("accept", "*/*")]  # fmt: skip
        # Never indexed: the same bytes mean the same in every request.
        self._head = hpack.Encoder().encode([(name, value, True) for name, value in named])
        self._streams = count(1, 2)
        self._buffer = b""
        large = (4).to_bytes(2) + WINDOW.to_bytes(4)  # SETTINGS_INITIAL_WINDOW_SIZE
        more = (WINDOW - 65535).to_bytes(4)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, large)
                             + frame(WINDOW_UPDATE, 0, 0, more))  # fmt: skip

    def get(self) -> None:
        """Fetch the page."""
        stream, size = next(self._streams), 0
        self._socket.sendall(frame(HEADERS, END_STREAM | END_HEADERS, stream, self._head))
        while True:
            kind, flags, number, payload = self._frame()
            if kind in (SETTINGS, PING) and not flags & ACK:
                self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            elif number == stream:
                assert kind in (DATA, HEADERS, WINDOW_UPDATE), (kind, payload)
                size += len(payload) if kind == DATA else 0
                if kind != WINDOW_UPDATE and flags & END_STREAM:
                    assert size == len(BODY)
                    return

    def _frame(self) -> tuple[int, int, int, bytes]:
        head = self._take(9)
        payload = self._take(int.from_bytes(head[:3]))
        return head[3], head[4], int.from_bytes(head[5:]), payload

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            piece = self._socket.recv(65536)
            assert piece, "the connection ended"
            self._buffer += piece
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


@dataclass
class Way:
    """Clients that go one way, and what they measured."""

    clients: list[Http1] | list[Http2]
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def run(self, calls: int, *, measured: bool = True) -> None:
        """Let every client fetch so many pages, all at once."""
        threads = [threading.Thread(target=self._fetch, args=(one, calls, measured))
                   for one in self.clients]  # fmt: skip
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if measured:
            self.rates.append(len(threads) * calls / (time.perf_counter() - started))

    def _fetch(self, client: Http1 | Http2, calls: int, measured: bool) -> None:
        for _ in range(calls):
            started = time.perf_counter()
            client.get()
            if measured:
                self.seconds.append(time.perf_counter() - started)


def main() -> None:
    """Measure, and print the table."""
    print(f"{'':30} req/s of stock   p50 of stock    req/s   p50 ms    ({os.cpu_count()} cores, "
          f"{sys.version.split()[0]}, {ssl.OPENSSL_VERSION.split()[1]})")  # fmt: skip
    with legs(answer, "--http2") as found:
        for kind in (Http1, Http2):
            for number in CLIENTS:
                proxied = {name: leg for name, leg in found.items() if leg.proxy or kind is Http1}
                ways = {name: Way([kind(leg) for _ in range(number)])
                        for name, leg in proxied.items()}  # fmt: skip
                measure(ways)
                report(f"{kind.__name__.upper()}, {number} client{'s'[: number > 1]}", ways)


def measure(ways: dict[str, Way]) -> None:
    """Run the rounds of all *ways*, one after the other."""
    for way in ways.values():
        way.run(WARM, measured=False)
    for _ in range(ROUNDS):
        for way in ways.values():
            way.run(CALLS)


def report(case: str, ways: dict[str, Way]) -> None:
    """Print ratios, rates and medians."""
    rates = {name: statistics.median(way.rates) for name, way in ways.items()}
    middle = {name: statistics.median(way.seconds) for name, way in ways.items()}
    for name in ways:
        print(f"{case:17}{name:15}{rates[name] / rates[STOCK]:12.2f} "
              f"{middle[name] / middle[STOCK]:14.2f} {rates[name]:8.0f} "
              f"{middle[name] * 1e3:8.2f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
