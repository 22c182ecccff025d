"""A TLS server for large bodies: it counts and hashes what comes, and makes up what goes."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from harness import Web

BLOCK = bytes(range(1, 256)) * 257  # 65,535 bytes that are no text


@dataclass
class Upload:
    """A request as it came: its head, what its body was, and how one that is not read ends."""

    head: bytes
    size: int = 0
    digest: str = ""
    whole: bool = False
    last: bytes = b""


@dataclass
class Sink(Web):
    """Answers each request when its body has come; ``/down/N`` with N bytes, ``/chunks/N`` too.

    ``early`` is an answer that is sent before the body is read, which then is not.
    """

    uploads: list[Upload] = field(default_factory=list)
    kind: bytes = b"application/octet-stream"
    early: bytes = b""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                upload = Upload(head)
                with self.came:
                    self.uploads.append(upload)
                    self.came.notify_all()
                if self.early:
                    writer.write(self.early)
                    await writer.drain()
                    while piece := await reader.read(1 << 20):
                        upload.size += 1
                        with self.came:
                            upload.last = (upload.last + piece)[-200:]
                            self.came.notify_all()
                    return
                await self._take(reader, upload)
                with self.came:
                    self.requests.append(head)
                    self.came.notify_all()
                await self._answer(head.split(b" ")[1], writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()  # its client has left, or the test is over

    async def _take(self, reader: asyncio.StreamReader, upload: Upload) -> None:
        digest = hashlib.sha256()
        if b"transfer-encoding: chunked" in upload.head.lower():
            while size := int(await reader.readline(), 16):
                digest.update(await reader.readexactly(size))
                await reader.readexactly(2)
                upload.size += size
            await reader.readline()
        else:
            length = next((int(line.split(b":")[1]) for line in upload.head.split(b"\r\n")
                           if line.lower().startswith(b"content-length:")), 0)  # fmt: skip
            while upload.size < length:
                piece = await reader.read(min(1 << 20, length - upload.size))
                if not piece:
                    return
                digest.update(piece)
                upload.size += len(piece)
        upload.digest, upload.whole = digest.hexdigest(), True

    async def _answer(self, path: bytes, writer: asyncio.StreamWriter) -> None:
        _, way, size, *_ = [*path.split(b"/"), b"", b""]
        if way not in (b"down", b"chunks"):
            writer.write(self.answer)
            await writer.drain()
            return
        chunked = way == b"chunks"
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: " + size
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n%s\r\n\r\n" % (self.kind, framing))
        left = int(size)
        while left:
            piece = BLOCK[:left]
            left -= len(piece)
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    def wait_for_uploads(self, count: int) -> None:
        """Wait until the heads of *count* requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.uploads) >= count, timeout=20)


def blocks(size: int) -> list[bytes]:
    """Return blocks that are *size* bytes together."""
    whole, rest = divmod(size, len(BLOCK))
    return [BLOCK] * whole + ([BLOCK[:rest]] if rest else [])


def digest_of(size: int) -> str:
    """Return the digest of what :func:`blocks` gives."""
    digest = hashlib.sha256()
    for block in blocks(size):
        digest.update(block)
    return digest.hexdigest()
