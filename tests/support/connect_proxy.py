"""A small proxy for CONNECT that remembers what it was asked, and leads wherever a test wants."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness import LoopThread, closed

SILENT = 0
"""A status that is no answer at all."""


@dataclass
class ConnectProxy:
    """Leads every tunnel to *port* of this machine. ``status`` other than 200 refuses.

    ``login`` is the user:password that it wants; ``behind`` is sent right behind its answer.
    """

    leads_to: int
    login: str | None = None
    status: int = 200
    behind: bytes = b""
    port: int = 0
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)

    @property
    def targets(self) -> list[str]:
        """What it was asked for, in order."""
        return [head.split(b" ")[1].decode() for head in self.heads]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            await self._answer(head, reader, writer)
        writer.close()

    async def _answer(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        status = self.status
        if self.login is not None:
            wanted = b"Proxy-Authorization: Basic " + b64encode(self.login.encode())
            status = status if wanted in head.split(b"\r\n") else 407
        if status == SILENT:
            await reader.read()
            return
        writer.write(b"HTTP/1.1 %d Whatever\r\n\r\n" % status + self.behind)
        await writer.drain()
        if status == 200:
            there = await asyncio.open_connection("127.0.0.1", self.leads_to)
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextmanager
def serving_proxy(proxy: ConnectProxy, certificate: Path | None = None) -> Iterator[None]:
    """Let *proxy* listen on a free port, with TLS where it has a *certificate*."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with LoopThread() as run:

        async def start() -> asyncio.Server:
            return await asyncio.start_server(proxy.handle, "127.0.0.1", 0, ssl=context)

        listening = run(start())
        proxy.port = listening.sockets[0].getsockname()[1]
        yield
        run(closed(listening))
