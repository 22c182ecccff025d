"""A TLS server that says what a test wants, byte by byte."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable

from harness import Web

type Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

FINE = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"fine"}]}}'


def head(kind: str, *more: str, length: int | None = None) -> bytes:
    """Return the head of an answer, which ends with its connection where it has no length."""
    size = "connection: close" if length is None else f"content-length: {length}"
    lines = ["HTTP/1.1 200 OK", f"content-type: {kind}", size, *more, "", ""]
    return "\r\n".join(lines).encode()


def whole(body: bytes, *more: str) -> tuple[bytes, ...]:
    """Return an answer of JSON, its length told."""
    return head("application/json", *more, length=len(body)), body


def events(*more: str) -> bytes:
    """Return the head of an event stream."""
    return head("text/event-stream", *more)


def writes(pieces: Iterable[bytes]) -> Act:
    """Return what writes *pieces*, none before there is room for it."""

    async def act(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)  # drain() alone is no turn of the loop while there is room

    return act


class Peer(Web):
    """A server that answers each request by ``act``; ``left`` is set when the other side goes."""

    act: Act = staticmethod(writes(whole(FINE)))

    def __init__(self) -> None:
        super().__init__()
        self.left = threading.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in first.split(b"\r\n")
                           if line.lower().startswith(b"content-length:")), 0)  # fmt: skip
            with self.came:
                self.requests.append(first + await reader.readexactly(length))
                self.came.notify_all()
            await self.act(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            self.left.set()
        finally:
            writer.close()
