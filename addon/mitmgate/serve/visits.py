"""The client's side of a live replay: one request through a proxy, and all that comes back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection
from contextlib import suppress

import h11

from mitmgate.errors import WireError
from mitmgate.judge.inputs import RequestInput
from mitmgate.serve.recorded import decoded, encoded, without_framing
from mitmgate.wire.http import Headers
from mitmgate.wire.sse import SseDecoder

_CHUNK = 65_536
_OWN = frozenset({"host", "proxy-authorization", "proxy-connection", "expect", "upgrade"})


class UnplayableError(Exception):
    """What was recorded cannot be sent in HTTP/1.1 as it was."""


class Visit:
    """One request of a client; ``status`` is None until an answer begins.

    ``texts`` are the data of the events that came by now. ``done``: all of the answer is there, or
    the connection is gone.
    """

    def __init__(self, proxy: tuple[str, int], trust: ssl.SSLContext) -> None:
        self._proxy = proxy
        self._trust = trust
        self._connection = h11.Connection(h11.CLIENT)
        self._decoder = SseDecoder()
        self._came = asyncio.Condition()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self.status: int | None = None
        self.headers: Headers = ()
        self.body = bytearray()
        self.texts: list[str] = []
        self.done = asyncio.Event()

    async def tunnel(self, authority: str) -> int:
        """Ask the proxy for a tunnel to *authority*; return its status."""
        reader, writer = await self._opened()
        return await self._tunnelled(reader, writer, authority)

    async def send(self, given: RequestInput) -> None:
        """Send what *given* holds, in the tunnel that it came in; its answer is read meanwhile."""
        request, target = _request_of(given), given.head.target
        reader, writer = await self._opened()
        named = given.tunnel.connect if given.tunnel is not None else None
        if named is None:
            target = f"{given.head.scheme}://{given.authority}{target}"
        else:
            self.status = await self._tunnelled(reader, writer, named)
            if self.status != 200:
                self.done.set()
                return
            self.status = None
            if given.head.scheme == "https":
                sni = given.tunnel.sni if given.tunnel is not None else None
                await writer.start_tls(self._trust, server_hostname=sni)
        try:
            events = [h11.Request(method=given.head.method, target=target.encode("latin-1"),
                                  headers=request)]  # fmt: skip
            data = [self._connection.send(event) or b"" for event in events]
            if given.body:
                data.append(self._connection.send(h11.Data(data=given.body)) or b"")
            data.append(self._connection.send(h11.EndOfMessage()) or b"")
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise UnplayableError(str(error)) from None
        self._reading = asyncio.create_task(self._read(reader))
        writer.write(b"".join(data))

    async def got(self, texts: Collection[str], *, after: int) -> str | None:
        """Wait until an event with one of *texts* is there behind the first *after*; return it."""

        def found() -> str | None:
            return next((text for text in self.texts[after:] if text in texts), None)

        async with self._came:
            await self._came.wait_for(lambda: found() is not None or self.done.is_set())
        return found()

    async def close(self) -> None:
        """Leave."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        if self._writer is not None:
            self._writer.close()
            with suppress(OSError):
                await self._writer.wait_closed()
        self.done.set()

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self._writer = await asyncio.open_connection(*self._proxy)
        return reader, self._writer

    async def _tunnelled(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str
    ) -> int:
        line = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n"
        if not authority.isascii() or not authority.isprintable() or " " in authority:
            raise UnplayableError("the target of CONNECT is no name")
        writer.write(line.encode("ascii"))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1])
        except (asyncio.IncompleteReadError, IndexError, ValueError, OSError):
            return 0

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while await self._take(self._connection.next_event(), reader):
                pass
        except (h11.RemoteProtocolError, WireError, OSError):
            pass  # it ends here for every client
        finally:
            self.done.set()
            async with self._came:
                self._came.notify_all()

    async def _take(self, event: object, reader: asyncio.StreamReader) -> bool:
        if event is h11.NEED_DATA:
            self._connection.receive_data(await reader.read(_CHUNK))
        elif isinstance(event, h11.Response):
            self.status, self.headers = event.status_code, decoded(event.headers)
        elif isinstance(event, h11.Data):
            self.body += event.data
            if dict(self.headers).get("content-type", "").startswith("text/event-stream"):
                found = [block.data for block in self._decoder.feed(bytes(event.data))]
                async with self._came:
                    self.texts += [data for data in found if data is not None]
                    self._came.notify_all()
        return isinstance(event, h11.Data | h11.Response | h11.InformationalResponse) or (
            event is h11.NEED_DATA
        )


def _request_of(given: RequestInput) -> list[tuple[bytes, bytes]]:
    """Return the headers of *given* with the framing of its body."""
    try:
        kept = [pair for pair in without_framing(given.head.headers) if pair[0] not in _OWN]
        headers = [("host", given.authority or given.head.authority), *kept]
        if given.body or given.head.method in ("POST", "PUT", "PATCH"):
            headers.append(("content-length", str(len(given.body))))
        return encoded(headers)
    except UnicodeError:
        raise UnplayableError("a header is not of HTTP/1.1") from None
