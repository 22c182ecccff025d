"""Clients that keep a connection and call again and again, many in one loop, bytes made before."""

from __future__ import annotations

import contextlib
import json
import select
import ssl
import statistics
import time
from dataclasses import dataclass, field
from itertools import cycle
from math import inf

import hpack
import payloads
from legs import Leg
from line import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    READ,
    RESET,
    SETTINGS,
    WRITE,
    Frames,
    Line,
    frame,
    framed,
    more,
    opening,
)


class RefusedError(Exception):
    """An answer was not the server's."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is called: *kind* is ``json``, ``sse``, ``arguments`` or ``page``; *size* is in bytes.

    The result has that size, and the call 2 KB at most; with ``arguments`` it is the other way.
    """

    kind: str
    size: int

    @property
    def path(self) -> str:
        """The path that is asked for."""
        match self.kind:
            case "page":
                return f"/page/{self.size}"
            case "arguments":
                return "/mcp/json/2000"
            case _:
                return f"/mcp/{self.kind}/{self.size}"

    @property
    def answered(self) -> int:
        """The size of the answer."""
        return 2_000 if self.kind == "arguments" else self.size

    def bodies(self) -> list[bytes]:
        """Return the bodies to send, in turn."""
        if self.kind == "page":
            return [b""]
        size = self.size if self.kind == "arguments" else min(self.size, 2_000)
        return [payloads.call(size, seed) for seed in range(payloads.variants(size))]


@dataclass
class Sample:
    """What one round measured: seconds of each call, and of the whole."""

    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def rate(self) -> float:
        """Calls per second."""
        return len(self.seconds) / self.elapsed

    def quantile(self, share: float) -> float:
        """Return the seconds that this *share* of the calls needed at most."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def median(self) -> float:
        """The seconds of the call in the middle."""
        return statistics.median(self.seconds)


class Client(Line):
    """One connection. :meth:`begin` sends a call, :meth:`readable` tells when it is answered."""

    def __init__(self, leg: Leg, poll: select.epoll, alpn: str) -> None:
        sock = leg.connect(alpn)
        sock.setblocking(False)
        super().__init__(sock, poll)
        self._leg = leg
        self.started = 0.0

    def shape(self, shape: Shape) -> None:
        """Call *shape* from now on."""
        raise NotImplementedError

    def begin(self) -> None:
        """Send the next call."""
        raise NotImplementedError

    def readable(self) -> bool:
        """Take what has come; tell whether the answer is whole. RefusedError where it is none."""
        raise NotImplementedError


class Http1(Client):
    """Speaks HTTP/1.1."""

    def __init__(self, leg: Leg, poll: select.epoll) -> None:
        super().__init__(leg, poll, "http/1.1")
        self._got = bytearray()
        self._left = -1
        self._tail = b""

    def shape(self, shape: Shape) -> None:
        """Call *shape* from now on."""
        self._shape = shape
        bodies = shape.bodies()
        self._requests = cycle([self._leg.head(shape.path, len(body)) + body for body in bodies])

    def begin(self) -> None:
        """Send the next call."""
        self.started = time.perf_counter()
        self.write(next(self._requests))

    def readable(self) -> bool:
        """Take what has come; tell whether the answer is whole."""
        done = False
        for data in self.read():
            done = self._take(data)
        return done

    def _take(self, data: memoryview) -> bool:
        if self._left >= 0:
            self._left -= len(data)
        elif self._tail:
            self._tail = (self._tail + bytes(data[-5:]))[-5:]
        else:
            self._got += data
            end = self._got.find(b"\r\n\r\n")
            if end < 0 or len(self._got) < end + 64:
                return False
            self._open(self._got[:end].lower(), end)
        if self._left == 0 or self._tail == b"0\r\n\r\n":
            self._left, self._tail = -1, b""
            return True
        return False

    def _open(self, head: bytearray, end: int) -> None:
        begun = bytes(self._got[: end + 400])
        if not begun.startswith(b"HTTP/1.1 200 ") or b'"isError"' in begun or b'"error"' in begun:
            raise RefusedError(begun.decode("utf-8", "replace"))
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            size = int(head[at + 17 :].partition(b"\r")[0])
            if size != self._shape.answered:
                raise RefusedError(f"{size} bytes instead of {self._shape.answered}")
            self._left = size - (len(self._got) - end - 4)
        else:
            self._tail = bytes(self._got[-5:])
        self._got.clear()


class Http2(Client):
    """Speaks HTTP/2, one stream at a time."""

    def __init__(self, leg: Leg, poll: select.epoll) -> None:
        super().__init__(leg, poll, "h2")
        if self.sock.selected_alpn_protocol() != "h2":
            raise RefusedError("no HTTP/2")
        self._frames = Frames()
        self._stream = -1
        self._size = self._received = 0
        self.write(PREFACE + opening())

    def shape(self, shape: Shape) -> None:
        """Call *shape* from now on."""
        self._shape = shape
        self._heads = {
            body: hpack.Encoder().encode([(*f, True) for f in self._fields(shape, body)])
            for body in shape.bodies()
        }
        self._bodies = cycle(self._heads)

    def _fields(self, shape: Shape, body: bytes) -> list[tuple[str, str]]:
        named = [(":method", "POST" if body else "GET"), (":scheme", "https"),
                 (":path", shape.path), (":authority", self._leg.authority)]  # fmt: skip
        if not body:
            return [*named, ("accept", "*/*")]
        return [*named, ("content-type", "application/json"),
                ("accept", "application/json, text/event-stream"),
                ("content-length", str(len(body)))]  # fmt: skip

    def begin(self) -> None:
        """Send the next call."""
        self.started = time.perf_counter()
        self._stream += 2
        self._size = 0
        body = next(self._bodies)
        flags = END_HEADERS if body else END_HEADERS | END_STREAM
        head = frame(HEADERS, flags, self._stream, self._heads[body])
        self.write(head + framed(self._stream, body, last=True) if body else head)

    def readable(self) -> bool:
        """Take what has come; tell whether the answer is whole."""
        done = False
        for data in self.read():
            self._received += len(data)
            for kind, flags, stream, payload in self._frames.feed(data):
                done = self._take(kind, flags, stream, payload) or done
        if self._received > 10**9:
            self.write(more(self._received))
            self._received = 0
        return done

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind in (RESET, GOAWAY):
            raise RefusedError(f"frame {kind}: {payload!r}")
        if stream != self._stream or kind not in (DATA, HEADERS):
            return False
        if kind == DATA:
            if not self._size and b'"isError"' in payload:
                raise RefusedError(payload[:400].decode("utf-8", "replace"))
            self._size += len(payload)
        if flags & END_STREAM and self._size < self._shape.answered:
            raise RefusedError(f"{self._size} bytes instead of {self._shape.answered}")
        return bool(flags & END_STREAM)


class Crowd:
    """Clients of one leg and one HTTP, connected until :meth:`close`."""

    def __init__(self, leg: Leg, kind: type[Http1] | type[Http2], number: int) -> None:
        self._poll = select.epoll()
        self._clients = {one.fd: one for one in (kind(leg, self._poll) for _ in range(number))}

    def run(self, shape: Shape, seconds: float = inf, *, calls: float = inf) -> Sample:
        """Call *shape* until so many *seconds* or *calls* are over; every client at least once."""
        sample = Sample()
        begun = time.perf_counter()
        for client in self._clients.values():
            client.shape(shape)
            client.begin()
        open_calls = sent = len(self._clients)
        while open_calls:
            ready = self._poll.poll(60)
            if not ready:
                raise RefusedError("no answer within a minute")
            for fd, event in ready:
                client = self._clients[fd]
                if event & WRITE:
                    client.push()
                if not event & READ or not client.readable():
                    continue
                now = time.perf_counter()
                sample.seconds.append(now - client.started)
                if now - begun < seconds and sent < calls:
                    sent += 1
                    client.begin()
                else:
                    open_calls -= 1
        sample.elapsed = time.perf_counter() - begun
        return sample

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            client.close()
        self._poll.close()


def delays(leg: Leg, count: int) -> list[float]:
    """Return the seconds from the making to the arrival of each of *count* paced events."""
    sock = leg.connect()
    body = payloads.call(200)
    sock.sendall(leg.head(f"/mcp/paced/{count}", len(body)) + body)
    found: list[float] = []
    rest = b""
    while not rest.endswith(b"0\r\n\r\n"):
        piece = sock.recv(65_536)
        now = time.perf_counter_ns()
        if not piece:
            raise RefusedError(rest.decode("utf-8", "replace"))
        *whole, rest = (rest + piece).split(b"\n\n")
        for event in whole:
            message = json.loads(event.partition(b"data: ")[2])
            if "at" in message.get("params", {}):
                found.append((now - message["params"]["at"]) / 1e9)
    sock.close()
    if len(found) != count:
        raise RefusedError(f"{len(found)} events instead of {count}")
    return found


def fetch(
    leg: Leg, path: str, body: bytes = b"", *, on: ssl.SSLSocket | None = None, head: bytes = b""
) -> tuple[int, int]:
    """Make one call and return its status (0: none came) and the bytes that came, head included.

    *on* is the connection to use; *head* stands for the usual one.
    """
    sock = on or leg.connect()
    head = head or leg.head(path, len(body))
    try:
        with contextlib.suppress(OSError):  # refused in the middle: the answer says why
            sock.sendall(head + body)
        begun, received, ends = b"", 0, -1
        with contextlib.suppress(OSError):
            while received != ends and (piece := sock.recv(262_144)):
                received += len(piece)
                begun = begun if len(begun) > 4_096 else begun + piece
                if ends < 0 and b"\r\n\r\n" in begun:
                    ends = _end(begun)
    finally:
        if on is None:
            sock.close()
    return int(begun[9:12] or b"0"), received


def _end(begun: bytes) -> int:
    """Return how long the answer is that begins with *begun*; -1 where only its end tells."""
    head, _, _ = begun.lower().partition(b"\r\n\r\n")
    at = head.find(b"\r\ncontent-length:")
    return len(head) + 4 + int(head[at + 17 :].partition(b"\r")[0]) if at >= 0 else -1
