"""Both ends of a line through a proxy: what one sends must be what the other gets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from harness import MCP_NAME, Gate
from raw_peers import (
    CASE,
    DEADLINE,
    Fields,
    Head,
    Peer,
    Socket,
    Upstream,
    chunked,
    connected,
    framed,
    serving,
)
from specification import odd_spelling, spellings

# Headers that agents and servers send; the proxy's own are taken out, everything else stays.
ASKED: Fields = (
    (b"User-Agent", b"agent/1.0"), (b"ACCEPT", b"application/json, text/event-stream"),
    (b"accept-Encoding", b"gzip, deflate, br, zstd"), (b"Authorization", b"Bearer of-somebody"),
    (b"Proxy-Authorization", b"Basic Og=="), (b"Proxy-Connection", b"keep-alive"),
    (b"X-Twice", b"a"), (b"X-Empty", b""), (b"x-twice", b"b;  c"), (b"Cookie", b"a=1; b=2"),
)  # fmt: skip
ANSWERED: Fields = (
    (b"Server", b"upstream/1.0"), (b"Date", b"Thu, 01 Jan 2026 00:00:00 GMT"),
    (b"X-Twice", b"a"), (b"Alt-Svc", b'h3=":443"'), (b"x-twice", b"b;  c"),
    (b"Set-Cookie", b"a=1; Path=/"), (b"Set-Cookie", b"b=2"), (b"X-Empty", b""),
)  # fmt: skip
_TAKEN_OUT = {b"proxy-authorization", b"proxy-connection", b"sec-websocket-extensions", b"alt-svc"}
ENDS = (b"\r\n", b"\n", b"\r")
SIZES = ((), (1, 2, 3), (7,) * 40, (1,) * 100, (64, 1, 64, 1))


def passed_on(head: Head) -> Head:
    """Return *head* as it leaves the proxy."""
    fields = tuple(
        (name, b"identity" if name.lower() == b"accept-encoding" else value)
        for name, value in head.fields
        if name.lower() not in _TAKEN_OUT
    )
    return Head(head.first, fields)


def spelled(message: Any, number: int) -> bytes:
    """Return *message* in one of the spellings that there are, the odd one every other time."""
    if number % 2 and isinstance(message, list):
        return b"[ " + b" ,\t".join(spelled(item, number) for item in message) + b"\r\n]\n"
    if number % 2:
        return odd_spelling(message).encode()
    ways = list(spellings(message))
    return ways[number // 2 % len(ways)].encode()


def events(messages: list[Any], number: int) -> bytes:
    """Return a stream of *messages* with all that may stand between them."""
    end = ENDS[number % 3]
    lines = [b": hello", b"", b"retry: 3000", b"id: 0", b"data:", b"", b":", b""]
    for index, message in enumerate(messages):
        text = spelled(message, number + index).replace(b"\r\n", b"\n")
        data = [(b"data: ", b"data:")[index % 2] + line for line in text.split(b"\n")]
        lines += [b"id: %d" % index, *data, b"event: message", b""]
    return b"\xef\xbb\xbf"[: 3 * (number % 2)] + b"".join(line + end for line in lines)


@dataclass
class Line:
    """A proxy between a client and a server of ours, and what did not come through it."""

    gate: Gate
    listener: socket.socket
    certificate: Path
    wrong: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def authority(self) -> str:
        return f"{MCP_NAME}:{self.listener.getsockname()[1]}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Upstream, Peer]]:
        """Give the server and a client of it."""
        async with serving(self.listener, self.certificate) as upstream, self.client() as peer:
            yield upstream, peer
        self.settle()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Peer]:
        async with connected(self.gate.port, self.authority, self.gate.ready["ca"]) as peer:
            yield peer

    def compare(self, what: str, got: bytes, sent: bytes) -> None:
        if got != sent:
            same = next((n for n, pair in enumerate(zip(got, sent, strict=False))
                         if pair[0] != pair[1]), min(len(got), len(sent)))  # fmt: skip
            self.wrong.append(f"{what}: {got[same : same + 200]!r} for {sent[same : same + 200]!r}")

    def request(self, first: str, *fields: tuple[str, str], body: bytes = b"") -> Head:
        """Return the head of a request of a case of its own."""
        named = tuple((name.title().encode(), value.encode()) for name, value in fields)
        length = ((b"Content-Length", b"%d" % len(body)),) if body else ()
        case = (CASE, b"%d" % next(self.numbers))
        host = (b"Host", self.authority.encode())
        return Head(f"{first} HTTP/1.1".encode(), (host, *ASKED, *named, *length, case))

    async def exchange(self, peer: Peer, upstream: Upstream, request: Head, body: bytes) -> bytes:
        """Send a request; check what the server got of it, and return what its answer holds."""
        case = request.get(CASE)
        await peer.send(request.raw(), body)
        head = await peer.head()
        got = await peer.body(head)
        if case not in upstream.got:
            self.wrong.append(f"{body[:300]!r} did not arrive: {got[:300]!r}")
            return b""
        arrived, content = upstream.got[case]
        self.compare("a request's head", arrived.raw(), passed_on(request).raw())
        self.compare("a request", content, body)
        return head.raw() + got

    async def carry(
        self, peer: Peer, upstream: Upstream, request: Head, body: bytes, answer: Head, told: bytes
    ) -> None:
        """Send *body* and have it answered with *told*; both arrive as they were sent."""
        sent, case = told, request.get(CASE)
        if answer.get(b"transfer-encoding"):
            sent = chunked(told, SIZES[int(case) % len(SIZES)])
        upstream.answer(case, answer.raw(), sent)
        async with self.in_time(f"the answer to {body[:300]!r}"):
            got = await self.exchange(peer, upstream, request, body)
            self.compare(f"the answer to {body[:80]!r}", got, passed_on(answer).raw() + told)

    @asynccontextmanager
    async def in_time(self, what: str) -> AsyncIterator[None]:
        """Give up the test where *what* does not come."""
        try:
            async with asyncio.timeout(DEADLINE):
                yield
        except (TimeoutError, asyncio.IncompleteReadError, StopAsyncIteration) as error:
            self.wrong.append(f"{what} never came: {error!r}")
            self.settle()

    def settle(self) -> None:
        """Say what went wrong; the audit agrees that nothing was stopped, nor found."""
        # The examples of the specification have e-mail addresses: those are only logged.
        stopped = [
            record
            for record in self.gate.decisions()
            if record["verdict"] != "allow"
            or any(finding["detector"] != "pii" for finding in record["findings"])
        ]
        wrong, self.wrong = self.wrong, []
        assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:20])
        assert not stopped


STREAM = Head(
    b"HTTP/1.1 200 OK",
    ((b"Content-Type", b"text/event-stream; charset=utf-8"), (b"Cache-Control", b"no-cache"),
     *ANSWERED, (b"Transfer-Encoding", b"chunked")),
)  # fmt: skip
UPGRADE = (
    ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-protocol", "mcp"),
    ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
)  # fmt: skip
SWITCHED = Head(
    b"HTTP/1.1 101 Switching Protocols",
    ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"),
     (b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),  # of that key, RFC 6455
     (b"Sec-WebSocket-Protocol", b"mcp"), *ANSWERED),
)  # fmt: skip


def answer_head(status: int, told: bytes, number: int) -> Head:
    """Return the head of an answer of JSON, framed in one way or the other, or of nothing."""
    length = (b"Content-Length", b"%d" % len(told))
    if not told:
        return Head(b"HTTP/1.1 202 Accepted", (*ANSWERED, length))
    framing = (b"Transfer-Encoding", b"chunked") if number % 3 == 0 else length
    kind = (b"Content-Type", (b"application/json", b"Application/JSON; charset=utf-8")[number % 2])
    return Head(b"HTTP/1.1 %d As It Is" % status, (kind, *ANSWERED, framing))


@dataclass
class Channel:
    """The stream of HTTP+SSE (2024-11-05): *server* writes, *client* reads."""

    line: Line
    server: Peer
    client: AsyncGenerator[bytes]

    @classmethod
    async def open(cls, line: Line, upstream: Upstream, peer: Peer, endpoint: str) -> Channel:
        """Have *peer* listen, and tell it to post to *endpoint*."""
        request = line.request("GET /sse")
        listening = asyncio.get_running_loop().create_future()

        async def handler(server: Peer, _: Head) -> None:
            listening.set_result(server)
            await server.reader.read(1)  # nothing more comes on it

        upstream.handlers[request.get(CASE)] = handler
        async with line.in_time("the stream"):
            await peer.send(request.raw())
            server = await listening
            await server.send(STREAM.raw())
            line.compare("the head of a stream", (await peer.head()).raw(), passed_on(STREAM).raw())
        arrived, _ = upstream.got[request.get(CASE)]
        line.compare("a request for a stream", arrived.raw(), passed_on(request).raw())
        channel = cls(line, server, peer.chunks())
        await channel.tell(f"event: endpoint\r\ndata: {endpoint}\r\n\r\n".encode())
        return channel

    async def tell(self, events: bytes, number: int = 0) -> None:
        """Send *events*, which have to arrive although the stream goes on."""
        await self.server.send(framed(events, SIZES[number % len(SIZES)]))
        got = b""
        async with self.line.in_time(f"on a stream, {events[:300]!r}"):
            while len(got) < len(events):
                got += await anext(self.client)
        self.line.compare("an event", got, events)


@dataclass
class Sockets:
    """Both ends of a WebSocket, and what each of them reads."""

    line: Line
    ends: tuple[Socket, Socket]
    heard: tuple[AsyncIterator[str], AsyncIterator[str]]

    @classmethod
    async def open(cls, line: Line, upstream: Upstream, peer: Peer) -> Sockets:
        """Have *peer* open a WebSocket."""
        request = line.request("GET /ws", *UPGRADE)
        opened = asyncio.get_running_loop().create_future()

        async def handler(server: Peer, _: Head) -> None:
            await server.send(SWITCHED.raw())
            opened.set_result(server)
            await asyncio.Event().wait()

        upstream.handlers[request.get(CASE)] = handler
        async with line.in_time("a WebSocket"):
            answer = await line.exchange(peer, upstream, request, b"")
            ends = Socket.of_client(peer), Socket.of_server(await opened)
        line.compare("the answer of a WebSocket", answer, passed_on(SWITCHED).raw())
        return cls(line, ends, (ends[0].messages(), ends[1].messages()))

    async def carry(self, text: str, *, from_client: bool, pieces: int) -> None:
        """Send *text* from one end; it arrives at the other."""
        sender, receiver = self.ends[not from_client], self.heard[from_client]
        await sender.send(text, pieces)
        async with self.line.in_time(f"on a WebSocket, {text[:300]!r}"):
            got = await anext(receiver)
            self.line.compare("a message of a WebSocket", got.encode(), text.encode())
