"""The server behind every leg: HTTP/1.1 and HTTP/2 over TLS, one process, answers made beforehand.

``python bench/upstream.py CERTIFICATE`` prints its port. What is answered stands in the path:

- ``/mcp/json/SIZE``, ``/mcp/sse/SIZE``: the result of a call, as JSON or as events;
- ``/mcp/tiny/COUNT``: so many tiny events, then the result;
- ``/mcp/paced/COUNT``: an event every 2 ms, each with the clock of its making;
- ``/mcp/endless``: events as long as somebody takes them;
- ``/mcp/bomb/zstd`` and ``gzip``, ``/bomb/...``: 10 GB, compressed to less than 11 MB;
- ``/page/SIZE``: text; ``/blob/SIZE``: bytes that are no text.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import ssl
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import hpack
import payloads
from line import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    READ,
    SETTINGS,
    WRITE,
    Frames,
    Line,
    frame,
    framed,
    more,
    opening,
)

PACE = 0.002
GIGABYTE = 1_000_000_000
type Head = tuple[tuple[str, str], ...]
JSON: Head = (("content-type", "application/json"),)
SSE: Head = (("content-type", "text/event-stream"),)
TEXT: Head = (("content-type", "text/plain"),)
BYTES: Head = (("content-type", "application/octet-stream"),)


class Answer:
    """A head, and a body that is whole (bytes) or comes in pieces."""

    def __init__(self, head: Head, body: bytes | Callable[[], Iterator[bytes]]) -> None:
        self.body = body
        length = (("content-length", str(len(body))),) if isinstance(body, bytes) else ()
        chunked = () if isinstance(body, bytes) else (("transfer-encoding", "chunked"),)
        lines = "".join(f"{name}: {value}\r\n" for name, value in head + length + chunked)
        self.head1 = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode()
        fields = [(":status", "200"), *head, *length]
        # Never indexed: the same bytes mean the same in every answer.
        self.head2 = hpack.Encoder().encode([(*field, True) for field in fields])
        self.whole1 = self.head1 + body if isinstance(body, bytes) else b""


def answers_of(path: str) -> Iterator[Answer]:
    """Return the answers to *path*, again and again."""
    kind, _, size = path.strip("/").removeprefix("mcp/").partition("/")
    number = int(size) if size.isdigit() else 0
    match kind:
        case "json" | "page" | "sse":
            head, make = {
                "json": (JSON, payloads.result),
                "sse": (SSE, payloads.events),
                "page": (TEXT, lambda size, seed: payloads.prose(size, seed).encode()),
            }[kind]
            seeds = range(payloads.variants(number))
            if kind == "sse":
                made = [Answer(head, _once(make(number, seed))) for seed in seeds]
            else:
                made = [Answer(head, make(number, seed)) for seed in seeds]
        case "tiny":
            made = [Answer(SSE, lambda: _tiny(number))]
        case "endless":
            made = [Answer(SSE, lambda: itertools.repeat(payloads.progress(16_000)))]
        case "blob":
            made = [Answer(BYTES, b"\x00\x9c\xff\x01" * (number // 4))]
        case "bomb":
            made = [Answer((*JSON, ("content-encoding", size)), _bomb(size))]
        case _:
            made = [Answer(JSON, payloads.result(200))]
    return itertools.cycle(made)


def _once(body: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter((body,))


def _tiny(count: int) -> Iterator[bytes]:
    batch = payloads.tiny(100)
    for _ in range(count // 100):
        yield batch
    yield payloads.events(300)


def _bomb(coding: str) -> bytes:
    if coding == "zstd":
        return payloads.zstd_bomb(10 * GIGABYTE)
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(bytes(10_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    raw = zlib.compressobj(9, wbits=-15)
    again = raw.compress(bytes(10_000_000)) + raw.flush(zlib.Z_FULL_FLUSH)
    return head + again * 999


class Peer(Line):
    """One connection; its first bytes say which HTTP it speaks."""

    def __init__(self, sock: ssl.SSLSocket, server: Server) -> None:
        super().__init__(sock, server.poll)
        self._server = server
        self._speak: Http1 | Http2 | None = None
        self.pieces: Iterator[bytes] | None = None
        self.due = 0.0

    def readable(self) -> None:
        """Take what has come."""
        for data in self.read():
            if self._speak is None:
                h2 = self.sock.selected_alpn_protocol() == "h2"
                self._speak = Http2(self) if h2 else Http1(self)
            self._speak.feed(data)

    def send(self, data: bytes) -> None:
        """Write *data*."""
        self.write(data)

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Write *pieces*, each when the one before was taken."""
        self.pieces = pieces
        self.writable()

    def writable(self) -> None:
        """Write on."""
        self.push()
        for _ in range(16):  # then the others have their turn
            if self.pieces is None or self.is_writing:
                return
            piece = next(self.pieces, None)
            if piece is None:
                self.pieces = None
                return
            self.write(piece)
        self.poll.modify(self.fd, READ | WRITE)

    def pace(self, pieces: Iterator[bytes]) -> None:
        """Write one of *pieces* every PACE seconds."""
        self._server.paced.append((self, pieces))

    def answer(self, path: str) -> Answer:
        """Return the next answer to *path*."""
        return next(self._server.answers(path))


class Http1:
    """Reads requests one after the other; never two at once."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._head = bytearray()
        self._left = 0
        self._chunked = False
        self._path = ""

    def feed(self, data: memoryview) -> None:
        """Take *data*; answer when a request is whole."""
        if self._chunked:
            self._head += data[-5:]
            if self._head.endswith(b"0\r\n\r\n"):
                self._whole()
            del self._head[:-5]
            return
        if self._left:
            self._left -= len(data)
            if self._left <= 0:
                self._whole()
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            self._begin(bytes(self._head[:end]), bytes(self._head[end + 4 :]))

    def _begin(self, head: bytes, rest: bytes) -> None:
        self._head.clear()
        self._path = head.split(b" ", 2)[1].decode()
        lines = head.lower()
        if b"\r\ntransfer-encoding: chunked" in lines:
            self._chunked = True
            self.feed(memoryview(rest))
            return
        at = lines.find(b"\r\ncontent-length:")
        size = int(lines[at + 17 :].partition(b"\r")[0]) if at >= 0 else 0
        self._left = size - len(rest)
        if self._left <= 0:
            self._whole()

    def _whole(self) -> None:
        self._head.clear()
        self._left, self._chunked = 0, False
        peer = self._peer
        if "/paced/" in self._path:
            peer.send(Answer(SSE, lambda: iter(())).head1)
            peer.pace(_chunk(event) for event in paced(self._path))
            return
        answer = peer.answer(self._path)
        if isinstance(answer.body, bytes):
            peer.send(answer.whole1)
            return
        pieces = (_chunk(piece) for piece in answer.body())
        peer.stream(itertools.chain((answer.head1 + next(pieces),), pieces, (b"0\r\n\r\n",)))


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"0\r\n\r\n"


def paced(path: str) -> Iterator[bytes]:
    """Yield the events of *path*, each with the clock at which it was made, and an empty end."""
    for _ in range(int(path.rpartition("/")[2])):
        told = {"level": "info", "data": payloads.prose(200), "at": time.perf_counter_ns()}
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": told}
        yield f"event: message\ndata: {json.dumps(note)}\n\n".encode()
    yield b"event: message\ndata: %s\n\n" % payloads.result(200)
    yield b""


class Http2:
    """Answers every stream as it ends; flow control is left open on both sides."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._preface = len(PREFACE)
        self._frames = Frames()
        self._decoder = hpack.Decoder()
        self._known: dict[bytes, str] = {}
        self._paths: dict[int, str] = {}
        self._block = b""
        self._received = 0
        peer.send(opening())

    def feed(self, data: memoryview) -> None:
        """Take *data*; answer the streams that are whole."""
        skip = min(self._preface, len(data))
        self._preface -= skip
        for kind, flags, stream, payload in self._frames.feed(data[skip:]):
            self._take(kind, flags, stream, payload)
        self._received += len(data)
        if self._received > GIGABYTE:
            self._peer.send(more(self._received))
            self._received = 0

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (HEADERS, CONTINUATION):
            self._block += _unpadded(kind, flags, payload)
            if flags & END_HEADERS and stream not in self._paths:
                self._paths[stream] = self._path(self._block)
            if flags & END_HEADERS:
                self._block = b""
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self._peer.send(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self._whole(stream)

    def _path(self, block: bytes) -> str:
        known = self._known.get(block)
        if known is not None:
            return known
        path = dict(self._decoder.decode(block))[":path"]
        if not self._decoder.header_table.dynamic_entries:  # the block means the same for ever
            self._known[block] = path
        return path

    def _whole(self, stream: int) -> None:
        answer = self._peer.answer(self._paths.pop(stream))
        head = frame(HEADERS, END_HEADERS, stream, answer.head2)
        if isinstance(answer.body, bytes):
            self._peer.send(head + framed(stream, answer.body, last=True))
            return
        body = b"".join(answer.body())
        self._peer.send(head + framed(stream, body, last=True))


def _unpadded(kind: int, flags: int, payload: bytes) -> bytes:
    if kind == HEADERS and flags & PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if kind == HEADERS and flags & PRIORITY else payload


class Server:
    """Accepts and answers until its standard input ends."""

    def __init__(self, certificate: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        self._context.set_alpn_protocols(["h2", "http/1.1"])
        self.poll = select.epoll()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listening.setblocking(False)
        self.poll.register(self._listening, READ)
        self.poll.register(sys.stdin, READ)
        self._peers: dict[int, Peer] = {}
        self.answers: Callable[[str], Iterator[Answer]] = cache(answers_of)
        self.paced: list[tuple[Peer, Iterator[bytes]]] = []

    def run(self) -> None:
        """Serve."""
        print(self._listening.getsockname()[1], flush=True)
        while True:
            for fd, event in self.poll.poll(PACE if self.paced else None):
                if fd == sys.stdin.fileno():
                    return
                if fd == self._listening.fileno():
                    self._accept()
                elif fd in self._peers:
                    self._turn(self._peers[fd], event)
            if self.paced:
                self._pace()

    def _accept(self) -> None:
        try:
            plain, _ = self._listening.accept()
        except OSError:
            return
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        except OSError:
            plain.close()
            return
        peer = Peer(sock, self)
        self._peers[peer.fd] = peer

    def _turn(self, peer: Peer, event: int) -> None:
        try:
            if event & READ:
                peer.readable()
            if event & WRITE:
                peer.writable()
        except OSError:
            self._peers.pop(peer.fd, None)
            peer.close()

    def _pace(self) -> None:
        now = time.perf_counter()
        for entry in list(self.paced):
            peer, pieces = entry
            if peer.due > now:
                continue
            peer.due = now + PACE
            piece = next(pieces, None)
            if piece is None or peer.sock.fileno() < 0:
                self.paced.remove(entry)
                continue
            try:
                peer.write(piece)
            except OSError:
                self.paced.remove(entry)


if __name__ == "__main__":
    Server(sys.argv[1]).run()
