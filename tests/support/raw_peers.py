"""Peers that speak HTTP/1.1 and WebSocket byte by byte: what one sends, the other can compare."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from wsproto.connection import Connection, ConnectionType
from wsproto.events import Message, TextMessage

DEADLINE = 10  # seconds: what has not come by then was not let through
CASE = b"x-case"
"""The header by which the server knows what it has to answer."""

type Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a request or an answer and its headers, as they are on the wire."""

    first: bytes
    fields: Fields

    def get(self, name: bytes) -> bytes:
        """Return the first value of *name*, empty without one."""
        return next((value for key, value in self.fields if key.lower() == name), b"")

    def raw(self) -> bytes:
        return b"\r\n".join([self.first, *(b": ".join(pair) for pair in self.fields), b"", b""])


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))
        await self.writer.drain()

    async def head(self) -> Head:
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.removesuffix(b"\r\n\r\n").split(b"\r\n")
        pairs = (line.partition(b": ") for line in lines)
        return Head(first, tuple((name, value) for name, _, value in pairs))

    async def body(self, head: Head) -> bytes:
        """Return the whole body that *head* announces."""
        if head.get(b"transfer-encoding").lower() != b"chunked":
            return await self.reader.readexactly(int(head.get(b"content-length") or b"0"))
        return b"".join([chunk async for chunk in self.chunks()])

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the chunks of a body until its end."""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:size]
        await self.reader.readexactly(2)


def framed(body: bytes, sizes: Iterable[int]) -> bytes:
    """Return *body* in chunks of *sizes*, the last of which is all that is left."""
    pieces, done = [], 0
    for size in sizes:
        pieces.append(body[done : done + size])
        done += size
    pieces.append(body[done:])
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)


def chunked(body: bytes, sizes: Iterable[int]) -> bytes:
    """Return *body* as :func:`framed` does, and its end."""
    return framed(body, sizes) + b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Socket:
    """One end of a WebSocket whose opening is done (RFC 6455)."""

    peer: Peer
    frames: Connection

    @classmethod
    def of_client(cls, peer: Peer) -> Socket:
        return cls(peer, Connection(ConnectionType.CLIENT))

    @classmethod
    def of_server(cls, peer: Peer) -> Socket:
        return cls(peer, Connection(ConnectionType.SERVER))

    async def send(self, text: str, pieces: int = 1) -> None:
        """Send *text* as one message of so many frames."""
        size = len(text) // pieces
        cuts = [size * number for number in range(pieces)]
        for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True):
            event = Message(data=text[start:end], message_finished=end == len(text))
            await self.peer.send(self.frames.send(event))

    async def messages(self) -> AsyncIterator[str]:
        """Yield each whole message of text until the other end hangs up."""
        text = ""
        while data := await self.peer.reader.read(65536):
            self.frames.receive_data(data)
            for event in self.frames.events():
                if isinstance(event, TextMessage):
                    text += event.data
                    if event.message_finished:
                        yield text
                        text = ""


type Handler = Callable[[Peer, Head], Awaitable[None]]


@dataclass
class Upstream:
    """A server over TLS: what it got stands in ``got``, what it does in ``handlers``, by case."""

    got: dict[bytes, tuple[Head, bytes]] = field(default_factory=dict)
    handlers: dict[bytes, Handler] = field(default_factory=dict)

    def answer(self, case: bytes, *pieces: bytes) -> None:
        """Answer *case* with *pieces*."""

        async def handler(peer: Peer, _: Head) -> None:
            await peer.send(*pieces)

        self.handlers[case] = handler

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        try:
            while True:
                head = await peer.head()
                case = head.get(CASE)
                self.got[case] = head, await peer.body(head)
                await self.handlers[case](peer, head)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(listener: socket.socket, certificate: Path) -> AsyncIterator[Upstream]:
    """Serve on *listener*, which stays open afterwards."""
    upstream = Upstream()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(upstream.serve, sock=listener.dup(), ssl=context)
    try:
        yield upstream
    finally:
        server.close()
        server.close_clients()
        # A transport that is collected before it is closed is a warning in some later test.
        async with asyncio.timeout(DEADLINE):
            await server.wait_closed()


@asynccontextmanager
async def connected(proxy: int, authority: str, ca: str) -> AsyncIterator[Peer]:
    """Connect to *authority* with TLS through the proxy at port *proxy*, which *ca* vouches for."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
    peer = Peer(reader, writer)
    try:
        await peer.send(f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode())
        head = await peer.head()
        assert head.first.startswith(b"HTTP/1.1 200"), head
        context = ssl.create_default_context(cafile=ca)
        await writer.start_tls(context, server_hostname=authority.partition(":")[0])
        yield peer
    finally:
        writer.close()
        with suppress(OSError):
            async with asyncio.timeout(DEADLINE):
                await writer.wait_closed()
