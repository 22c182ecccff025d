"""TLS connections that never wait, and the frames of HTTP/2, for clients and server alike.

One epoll loop and blocking-free sockets: a library's streams would cost more than the proxies that
are measured.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import Iterator

READ = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
WRITE = select.EPOLLOUT
PIECE = 65_536
BUFFER = memoryview(bytearray(1 << 18))

# RFC 9113: a frame is a head of nine bytes (length, type, flags, stream), then its payload.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
WINDOW = 2**31 - 1
LARGEST_FRAME = 16_384


class Line:
    """Writes what is given as soon as the other side takes it. Registered in *poll* by its fd."""

    def __init__(self, sock: ssl.SSLSocket, poll: select.epoll) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.poll = poll
        self._waiting: list[memoryview] = []
        poll.register(self.fd, READ)

    def write(self, data: bytes) -> None:
        """Send *data* behind what still waits."""
        self._waiting.append(memoryview(data))
        if len(self._waiting) == 1:
            self.push()

    @property
    def is_writing(self) -> bool:
        """Whether something waits."""
        return bool(self._waiting)

    def push(self) -> None:
        """Send as much of what waits as is taken."""
        while self._waiting:
            view = self._waiting[0]
            try:
                sent = self.sock.send(view[:PIECE])
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self.poll.modify(self.fd, READ | WRITE)
                return
            if sent < len(view):
                self._waiting[0] = view[sent:]
            else:
                del self._waiting[0]
        self.poll.modify(self.fd, READ)

    def read(self) -> Iterator[memoryview]:
        """Yield what has come, in pieces that last until the next; OSError at the end."""
        while True:
            try:
                size = self.sock.recv_into(BUFFER)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            if not size:
                raise ConnectionResetError("the connection was closed")
            yield BUFFER[:size]
            if not self.sock.pending():
                return

    def close(self) -> None:
        """Leave without a farewell."""
        if self.sock.fileno() >= 0:
            self.poll.unregister(self.fd)
            self.sock.close()


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: memoryview | bytes) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield type, flags, stream and payload of every frame that is whole."""
        rest = self._rest
        rest += data
        at = 0
        while len(rest) - at >= 9:
            size = int.from_bytes(rest[at : at + 3])
            if len(rest) - at < 9 + size:
                break
            start = at + 9
            stream = int.from_bytes(rest[at + 5 : start]) & WINDOW
            yield rest[at + 3], rest[at + 4], stream, bytes(rest[start : start + size])
            at = start + size
        del rest[:at]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def framed(stream: int, body: bytes, *, last: bool) -> bytes:
    """Return *body* in frames; the last of them ends the stream where *last* says so."""
    views = [body[at : at + LARGEST_FRAME] for at in range(0, len(body), LARGEST_FRAME)] or [b""]
    flags = [0] * (len(views) - 1) + [END_STREAM if last else 0]
    pairs = zip(flags, views, strict=True)
    return b"".join(frame(DATA, flag, stream, view) for flag, view in pairs)


def opening() -> bytes:
    """Return the SETTINGS and the WINDOW_UPDATE of an endpoint that never says stop."""
    return frame(SETTINGS, 0, 0, (4).to_bytes(2) + WINDOW.to_bytes(4)) + more(WINDOW - 65_535)


def more(size: int) -> bytes:
    """Return the frame that lets the other side send *size* bytes more."""
    return frame(WINDOW_UPDATE, 0, 0, size.to_bytes(4))
