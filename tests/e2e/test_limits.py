"""What one client or server sends, or does not send, is bounded: with real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import WEB_NAME, InProcess, Web, serving_tls
from mitmproxy import ctx

from mitmgate.mitm import bodies, clients, flowing, http1
from mitmgate.mitm.events import StreamJudge
from mitmgate.mitm.largebody import Turn
from mitmgate.scan.engine import Scanner

RUN = Callable[..., InProcess]
POLICY = f"""\
version: 1
network: {{resolve: {{{WEB_NAME}: 127.0.0.1}}}}
egress:
  rules: [{{id: site, host: {WEB_NAME}, methods: [GET, POST], then: allow}}]
  otherwise: deny
"""


def dial(proxy: InProcess) -> socket.socket:
    host, _, port = proxy.running.listen.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read(line: socket.socket) -> bytes:
    """Return all that comes until the gate ends the connection."""
    got = b""
    while piece := line.recv(65536):
        got += piece
    return got


def connect(web: Web) -> bytes:
    return f"CONNECT {WEB_NAME}:{web.port} HTTP/1.1\r\n\r\n".encode()


def test_who_says_nothing_is_cut_off_before_and_after_connect(
    run_proxy: RUN, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "SILENT_SECONDS", 0.2)
    proxy = run_proxy(policy=POLICY)
    with dial(proxy) as silent, dial(proxy) as tunnel:
        tunnel.sendall(connect(web))
        assert read(silent) == b""
        assert read(tunnel).startswith(b"HTTP/1.1 200 ")
    assert proxy.get(f"https://{WEB_NAME}:{web.port}/").status_code == 200


SLOW = {
    "a head that never ends": (b"GET http://a.example/ HTTP/1.1\r\nho", b"request_timeout"),
    "a first line that never ends": (b"GET http://a.exa", b"request_timeout"),
    "more lines than a head has": (
        b"GET http://a.example/ HTTP/1.1\r\nhost: a.example\r\n" + b"a: b\r\n" * 600 + b"\r\n",
        b"head_too_large"),
    "two gigabytes": (
        f"POST http://{WEB_NAME}/ HTTP/1.1\r\nhost: {WEB_NAME}\r\n"
        "content-length: 2000000000\r\n\r\n".encode(), b"body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "code"), SLOW.values(), ids=SLOW)
def test_refused_by_a_limit(
    sent: bytes, code: bytes, run_proxy: RUN, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "HEAD_SECONDS", 0.2)
    with dial(run_proxy(policy=POLICY)) as line:
        line.sendall(sent)
        assert code in read(line)
    assert web.requests == []


def resident() -> int:
    """Return how many bytes of memory this process has, proxy included."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
def test_an_answer_that_unpacks_to_too_much_is_denied(run_proxy: RUN, web: Web) -> None:
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(384)) + packer.flush()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\n"
    web.answer = head + b"content-length: %d\r\n\r\n" % len(bomb) + bomb
    proxy = run_proxy(policy=POLICY)
    before = resident()
    with proxy.client() as client:
        answer = client.get(f"https://{WEB_NAME}:{web.port}/")
    assert answer.json()["code"] == "body_too_large"
    assert len(web.requests) == 1
    assert resident() - before < 192 * 2**20  # of 384


TINY = b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n'
PACKED = gzip.compress(TINY * 40_000)
EVENTS = b"content-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: "
BLOB = b"content-type: application/octet-stream\r\nconnection: close\r\ncontent-length: "
LARGE = bytes(range(256)) * (16 * 1024)


@dataclass
class Waits:
    """Looks at what the gate keeps of what nobody takes, each time that it waits for this."""

    kept: list[int] = field(default_factory=list)
    unsent: int = 0
    begun: threading.Event = field(default_factory=threading.Event)

    async def taken(self, turn: Turn) -> None:
        handler = ctx.master.addons.get("proxyserver").connections[turn.flow.client_conn.id]
        flow = turn.flow
        receiver = flow.client_conn if turn.to_client else flow.server_conn
        writer = handler.transports[receiver].writer
        self.kept.append(writer.transport.get_write_buffer_size())
        if turn.to_client:
            line = writer.get_extra_info("socket")
            self.unsent = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        if self.kept[-1] > 64 * 1024:  # asyncio's high-water mark: who writes waits
            self.begun.set()
        await flowing.taken(turn)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits()
    monkeypatch.setattr(bodies, "taken", made.taken)
    return made


def narrow(proxy: InProcess, web: Web) -> ssl.SSLSocket:
    """Open a tunnel to *web* whose client has place for little."""
    host, _, port = proxy.running.listen.rpartition(":")
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    plain.settimeout(20)
    plain.connect((host, int(port)))
    plain.sendall(connect(web))
    assert b" 200 " in plain.recv(4096)
    trust = ssl.create_default_context(cafile=str(proxy.running.authority.cert_path))
    return trust.wrap_socket(plain, server_hostname=WEB_NAME)


def chunks(body: bytes) -> bytes:
    """Return what the chunks in *body* hold."""
    whole = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        whole += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return bytes(whole)


NOT_READ = {
    "a large answer": (BLOB + b"%d\r\n\r\n" % len(LARGE) + LARGE, LARGE),
    "many events in a few bytes": (
        EVENTS + b"%d\r\nconnection: close\r\n\r\n" % len(PACKED) + PACKED,
        TINY * 40_000,
    ),
}


@pytest.mark.parametrize(("answer", "whole"), NOT_READ.values(), ids=NOT_READ)
def test_of_what_a_client_does_not_read_little_is_kept_and_others_are_served(
    answer: bytes, whole: bytes, run_proxy: RUN, web: Web, waits: Waits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(StreamJudge, "_piece", lambda _, block: block.raw)  # it is about bytes
    usual, web.answer = web.answer, b"HTTP/1.1 200 OK\r\n" + answer
    proxy = run_proxy(policy=POLICY)
    with narrow(proxy, web) as line:
        line.sendall(f"GET / HTTP/1.1\r\nhost: {WEB_NAME}:{web.port}\r\n\r\n".encode())
        assert waits.begun.wait(20)
        web.answer = usual
        assert proxy.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"
        assert max(waits.kept) < 1024 * 1024 < len(whole)
        assert 0 < waits.unsent <= flowing.UNSENT_BYTES
        head, _, body = read(line).partition(b"\r\n\r\n")
    assert (chunks(body) if b"chunked" in head.lower() else body) == whole


class Deaf(Web):
    """Reads a head, and the body when it is let to."""

    read_on: threading.Event

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await asyncio.get_running_loop().run_in_executor(None, self.read_on.wait, 20)
        self.requests.append(await reader.readexactly(size))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


def test_of_what_a_server_does_not_read_little_is_kept(
    run_proxy: RUN, pki: tuple[Path, Path], waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scanner, "scan", lambda *_, **__: ())  # it is about bytes
    web = Deaf()
    web.read_on = threading.Event()
    with serving_tls(web, pki[1]):
        proxy, body = run_proxy(policy=POLICY), LARGE * 2  # half of it the system may keep
        with narrow(proxy, web) as line:
            head = (
                f"POST / HTTP/1.1\r\nhost: {WEB_NAME}:{web.port}\r\nconnection: close\r\n"
                f"content-type: application/octet-stream\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            line.sendall(head.encode() + body)
            assert waits.begun.wait(20)
            assert max(waits.kept) < 1024 * 1024
            web.read_on.set()
            assert read(line).endswith(b"hello")
    assert web.requests == [body]
