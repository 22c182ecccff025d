"""Requests that try to get around a decision, and the ground that they are tried on.

A row of a table is sent to a real proxy: what it tries must be denied, without a name that is
looked up and without a connection. Its control, which differs in nothing but the trick or the
policy, must arrive, and the same watch must see it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from harness import OTHER_NAME, WEB_NAME, LoopThread, Web, closed, serving_tls
from http2_client import Answer, Http2Client, open_tls
from watch import Answers, Watch, watching

from mitmgate.mitm import reusing
from mitmgate.policy.load import load_policy
from mitmgate.policy.source import PolicySource
from mitmgate.serve.launch import Running, Settings, proxy

HERE = f"{WEB_NAME}:PORT"
THERE = f"{OTHER_NAME}:PORT"
HTTP1, HTTP2 = "http/1.1", "h2"
BOTH = (HTTP1, HTTP2)
LOOPBACK = "127.0.0.1"
NAMES: dict[str, Sequence[Answers]] = {WEB_NAME: [(LOOPBACK,)], OTHER_NAME: [(LOOPBACK,)]}
STATUS = {
    "host_mismatch": 421, "malformed_request": 400, "bad_authority": 400, "not_http": 400,
    "request_too_large": 413, "body_too_large": 413, "head_too_large": 431,
}  # fmt: skip
"""Of the answer to a denial; of every other code it is 403."""

type Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it is put on the wire; PORT stands for the port of the server.

    ``connect``: what CONNECT names, "" for no tunnel. ``sni``: None for the name of the tunnel, ""
    for no TLS. ``raw``: all of the HTTP/1 request; ``fields``: all of the HTTP/2 head.
    """

    authority: str = HERE
    target: str = "/"
    method: str = "GET"
    headers: Fields = ()
    body: bytes = b""
    connect: str = HERE
    sni: str | None = None
    raw: str | bytes | None = None
    fields: Fields | None = None

    @property
    def is_tls(self) -> bool:
        return bool(self.connect) and self.sni != ""

    def as_http1(self) -> bytes:
        if self.raw is not None:
            return self.raw if isinstance(self.raw, bytes) else self.raw.encode("latin-1")
        named = (("host", self.authority),) if self.authority else ()
        head = [f"{self.method} {self.target} HTTP/1.1"]
        head += [f"{name}: {value}" for name, value in (*named, *self.headers)]
        if self.body:
            head.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*head, "", ""]).encode() + self.body

    def as_http2(self) -> Fields:
        if self.fields is not None:
            return self.fields
        named = ((":authority", self.authority),) if self.authority else ()
        method, path = (":method", self.method), (":path", self.target)
        return (method, (":scheme", "https"), path, *named, *self.headers)


@dataclass(frozen=True, slots=True)
class Told:
    """What a client reads. Status 0: the connection ended, or its stream was reset."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers.get("content-type") == "application/problem+json", self
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


@dataclass
class Ground:
    """A proxy that is watched, and a server with TLS and one without that it may lead to."""

    running: Running
    watch: Watch
    web: Web
    plain: Web

    def fill(self, given: bytes, port: int) -> bytes:
        return given.replace(b"PORT", str(port).encode())

    def send(self, sent: Sent, protocol: str = HTTP1) -> Told:
        """Send *sent* on a connection of its own; return what the client is told."""
        with ExitStack() as stack:
            port = self.web.port if sent.is_tls else self.plain.port
            sock: socket.socket = stack.enter_context(closing(self._connect()))
            if sent.connect:
                refused = self._tunnel(sock, sent.connect, port)
                if refused is not None:
                    return refused
            if sent.is_tls:
                sock = stack.enter_context(closing(self.secure(sock, sent, protocol)))
            if protocol == HTTP2:
                return self._stream(sock, sent)
            sock.sendall(self.fill(sent.as_http1(), port))
            return read_answer(sock, method=sent.method)

    def tunnel(self) -> ssl.SSLSocket:
        """Return a connection inside TLS to the allowed host."""
        target = f"{WEB_NAME}:{self.web.port}"
        ca = str(self.running.authority.cert_path)
        return open_tls(self.running.listen, ca, target, alpn=HTTP1)

    def _connect(self) -> socket.socket:
        host, _, port = self.running.listen.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def _tunnel(self, sock: socket.socket, named: str, port: int) -> Told | None:
        line = f"CONNECT {named} HTTP/1.1\r\nhost: {named}\r\n\r\n".encode()
        sock.sendall(self.fill(line, port))
        told = read_answer(sock, method="CONNECT")
        return None if told.status == 200 else told

    def secure(self, sock: socket.socket, sent: Sent, protocol: str) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.running.authority.cert_path))
        context.check_hostname = False
        context.set_alpn_protocols([protocol])
        name = sent.connect.rpartition(":")[0] if sent.sni is None else sent.sni
        wrapped = context.wrap_socket(sock, server_hostname=name.rstrip(".").strip("[]"))
        assert wrapped.selected_alpn_protocol() == protocol
        return wrapped

    def _stream(self, sock: socket.socket, sent: Sent) -> Told:
        assert isinstance(sock, ssl.SSLSocket)
        client = Http2Client(sock, careful=False)
        number = begin(client, self.filled(sent.as_http2()), ended=not sent.body)
        if sent.body:
            client.peer.send_data(number, sent.body, end_stream=True)
            sock.sendall(client.peer.data_to_send())
        [answer] = client.wait(number)
        return Told(answer.status, answer.headers, answer.body)

    def filled(self, fields: Fields) -> list[tuple[str, str]]:
        port = str(self.web.port)
        return [(name, value.replace("PORT", port)) for name, value in fields]

    def http2(self, where: str = HERE) -> Http2Client:
        """Return a client of HTTP/2 inside TLS to *where*."""
        target = where.replace("PORT", str(self.web.port))
        sock = open_tls(self.running.listen, str(self.running.authority.cert_path), target)
        assert sock.selected_alpn_protocol() == HTTP2
        return Http2Client(sock, careful=False)

    @property
    def codes(self) -> list[str]:
        """The codes of all decisions that are shown, in their order."""
        return [row.code for row in self.running.pipeline.hub.rows]

    def assert_denied(self, sent: Sent, code: str, protocol: str = HTTP1) -> Told:
        """Send *sent*: the client is told *code*, and nobody else hears of anything."""
        before = self._arrived()
        self.watch.clear()
        told = self.send(sent, protocol)
        assert told.status in (STATUS.get(code, 403), 0 if protocol == HTTP2 else -1), told
        found = self.running.pipeline.hub.rows[-1]
        if told.status and sent.method != "HEAD":
            assert told.problem["code"] == code
            # What follows a head that is refused may be read as a request of its own.
            rows = self.running.pipeline.hub.rows
            found = next(row for row in reversed(rows) if row.id == told.problem["id"])
        assert (found.code, found.verdict) == (code, "deny")
        assert self.watch.seen == ([], [], [])
        assert self._arrived() == before
        return told

    def assert_arrives(self, sent: Sent, protocol: str = HTTP1, name: str = WEB_NAME) -> bytes:
        """Send *sent*: it arrives, and the watch sees it; return what the server read."""
        self.watch.clear()
        server = self.web if sent.is_tls else self.plain
        before = len(server.requests)
        told = self.send(sent, protocol)
        assert (told.status, told.body) == (200, b"" if sent.method == "HEAD" else b"hello"), told
        assert self.watch.seen == ([name], [(LOOPBACK, server.port)], [])
        assert len(server.requests) == before + 1
        return server.requests[-1]

    @contextmanager
    def ruled(self, policy: str) -> Iterator[None]:
        """Judge by *policy* for the length of the block."""
        judge = self.running.pipeline.judge
        before, text = judge.policy, _ported(policy, self.web, self.plain)
        judge.policy = load_policy(text, file="policy.yaml")
        try:
            yield
        finally:
            judge.policy = before

    def _arrived(self) -> tuple[int, ...]:
        return tuple(
            number
            for server in (self.web, self.plain)
            for number in (server.connections, len(server.requests))
        )


def _ported(policy: str, web: Web, plain: Web) -> str:
    return policy.replace("TLS", str(web.port)).replace("PLAIN", str(plain.port))


def begin(client: Http2Client, fields: list[tuple[str, str]], *, ended: bool = True) -> int:
    """Begin a stream with the head *fields*; return its number."""
    number = client.peer.get_next_available_stream_id()
    client.peer.send_headers(number, fields, end_stream=ended)
    client.answers[number] = Answer()
    client.connection.sendall(client.peer.data_to_send())
    return number


def read_answer(sock: socket.socket, *, method: str = "GET") -> Told:
    """Read one answer of HTTP/1 off *sock*; status 0 where it ends without one."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):  # byte by byte: what follows is another answer
        more = sock.recv(1)
        if not more:
            return Told(0)
        head += more
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    status = int(first.split()[1])
    has_body = method != "HEAD" and not (method == "CONNECT" and status == 200)
    size = int(headers.get("content-length", "0")) if has_body else 0
    body = b""
    while len(body) < size:
        body += sock.recv(size - len(body))
    return Told(status, headers, body)


@contextmanager
def serving_plain(server: Web) -> Iterator[None]:
    """Let *server* listen on a free port of loopback, without TLS."""
    with LoopThread() as run:

        async def start() -> asyncio.Server:
            return await asyncio.start_server(server.handle, LOOPBACK, 0)

        listening = run(start())
        server.port = listening.sockets[0].getsockname()[1]
        yield
        run(closed(listening))


@contextmanager
def grounds(
    policy: str,
    pki: tuple[Path, Path],
    answers: dict[str, Sequence[Answers]] = NAMES,
    web: Web | None = None,
    **settings: Any,
) -> Iterator[Ground]:
    """Run servers and a watched proxy with *policy*, in which TLS and PLAIN are their ports.

    No connection to a server waits for another client: each that arrives is seen to be dialled.
    """
    server, plain = web or Web(), Web()
    with ExitStack() as stack:
        stack.enter_context(patch.object(reusing, "MOST", 0))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mg-")))
        stack.enter_context(serving_tls(server, pki[1]))
        stack.enter_context(serving_plain(plain))
        watch = stack.enter_context(watching(answers))
        run = stack.enter_context(LoopThread())
        file = folder / "policy.yaml"
        file.write_text(_ported(policy, server, plain))
        given = Settings(PolicySource(file), folder / "state", port=0, upstream_ca=pki[0],
                         http2=True, **settings)  # fmt: skip
        context = proxy(given, log=lambda _: None)
        running = run(context.__aenter__())
        try:
            yield Ground(running, watch, server, plain)
        finally:
            run(context.__aexit__(None, None, None))
        # Nobody was dialled after a test had looked.
        assert watch.dialled == server.connections + plain.connections
