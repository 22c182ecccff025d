"""Other protocols, upgrades, WebSockets and uploads: nothing gets out by the way it is sent."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bypass import BOTH, HERE, HTTP1, HTTP2, THERE, Ground, Sent, begin, grounds, read_answer
from harness import WEB_NAME, Web
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
CALL = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}})
POLICY = f"""\
version: 1
network: {{allow_private: [127.0.0.0/8]}}
mcp: {{unknown_servers: deny}}
egress:
  rules:
    - {{id: live, host: {WEB_NAME}, ports: [TLS, PLAIN], paths: /live, websocket: text, then: allow}}
    - {{id: small, host: {WEB_NAME}, ports: [TLS, PLAIN], paths: /small, max_request: 1KB, then: allow}}
    - {{id: docs, host: {WEB_NAME}, ports: [TLS, PLAIN], then: allow}}
"""  # noqa: E501
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Live(Web):
    """A server that opens WebSockets too, and keeps the text that comes."""

    texts: list[str]
    ended = 0

    def __init__(self) -> None:
        super().__init__()
        self.texts = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b" /live" in head:
                    writer.write(SWITCHED)
                    await self._talk(reader)
                    return
                body = await self._body(reader, head.lower())
                with self.came:
                    self.requests.append(head + body)
                    self.came.notify_all()
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            with self.came:
                self.ended += 1
                self.came.notify_all()
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: bytes) -> bytes:
        if b"transfer-encoding" in head:
            return await reader.readuntil(b"\r\n0\r\n\r\n")
        _, _, rest = head.partition(b"content-length: ")
        return await reader.readexactly(int(rest.partition(b"\r\n")[0] or b"0"))

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        frames = Connection(ConnectionType.SERVER)
        while data := await reader.read(65536):
            frames.receive_data(data)
            for event in frames.events():
                if isinstance(event, TextMessage):
                    with self.came:
                        self.texts.append(event.data)
                        self.came.notify_all()

    def wait(self, what: str, count: int) -> None:
        """Wait until ``ended`` or the number of ``texts`` is *count*."""

        def reached() -> bool:
            return (self.ended if what == "ended" else len(self.texts)) >= count

        with self.came:
            assert self.came.wait_for(reached, timeout=20)


@pytest.fixture(scope="module")
def ground(pki: tuple[Path, Path]) -> Iterator[Ground]:
    with grounds(POLICY, pki, web=Live()) as ground:
        yield ground


# Where bytes can be sent: inside TLS in a tunnel, in a tunnel, without one.
WAYS = {
    "inside TLS": Sent(),
    "in a tunnel": Sent(sni=""),
    "without a tunnel": Sent(connect=""),
}


def saying(way: str, raw: str | bytes) -> Sent:
    given = WAYS[way]
    return Sent(connect=given.connect, sni=given.sni, raw=raw)


STRANGE: dict[str, bytes] = {
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "SSH and its keys": b"SSH-2.0-x\r\n\0\0\1\x14\x06\x14",
    "SMTP": b"EHLO mail.example\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "Redis in words": b"SET a b\r\n",
    "memcached": b"stats\r\n",
    "BitTorrent": b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0",
    "SOCKS 4": b"\x04\x01\x00\x50\x7f\0\0\1\0",
    "SOCKS 5": b"\x05\x01\x00",
    "PostgreSQL": b"\0\0\0\x08\x04\xd2\x16\x2f",
    "DNS over TCP": b"\0\x1d\0\1\1\0\0\1\0\0\0\0\0\0\4docs\7example\0\0\1\0\1",
    "random bytes": bytes(range(128, 256)),
    "the PROXY protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n",
    "the PROXY protocol of version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_what_is_not_http(text: bytes, way: str, ground: Ground) -> None:
    ground.assert_denied(saying(way, text), "not_http")


@pytest.mark.parametrize("way", ["inside TLS", "in a tunnel"])
def test_http_passes_where_the_others_do_not(way: str, ground: Ground) -> None:
    ground.assert_arrives(saying(way, f"GET / HTTP/1.1\r\nhost: {HERE}\r\n\r\n"))


def test_ssh_on_its_port(ground: Ground) -> None:
    ground.assert_denied(Sent(connect=f"{WEB_NAME}:22", raw="SSH-2.0-x\r\n"), "port")


def test_a_tunnel_in_which_nobody_speaks_leads_nowhere(ground: Ground) -> None:
    ground.watch.clear()
    with closing(ground.tunnel()):
        ground.assert_denied(Sent(authority=THERE), "host_mismatch")
    assert ground.watch.seen == ([], [], [])


GET = f"GET / HTTP/1.1\r\nhost: {HERE}\r\n"
H2C = "http2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
UPGRADES: dict[str, str] = {
    "h2c": f"{GET}connection: upgrade, http2-settings\r\nupgrade: h2c\r\n{H2C}",
    "h2c in capitals": f"{GET}connection: upgrade, http2-settings\r\nupgrade: H2C\r\n{H2C}",
    "h2c without its Connection": f"{GET}upgrade: h2c\r\n{H2C}",
    "h2c beside a WebSocket": f"{GET}connection: upgrade\r\nupgrade: websocket, h2c\r\n\r\n",
    "h2c behind a WebSocket": (
        f"{GET}connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n\r\n"),
    "TLS": f"{GET}connection: upgrade\r\nupgrade: TLS/1.0\r\n\r\n",
    "something else": f"{GET}connection: upgrade\r\nupgrade: spdy/3\r\n\r\n",
    "HTTP/2 without a word": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", UPGRADES.values(), ids=UPGRADES)
def test_upgrades(text: str, way: str, ground: Ground) -> None:
    if way == "without a tunnel":
        text = text.replace("GET /", f"GET http://{HERE}/")
    ground.assert_denied(saying(way, text), "upgrade_refused")


@pytest.mark.parametrize("way", ["inside TLS", "in a tunnel"])
@pytest.mark.parametrize("target", [THERE, HERE, "127.0.0.1:22"])
def test_a_tunnel_in_a_tunnel(target: str, way: str, ground: Ground) -> None:
    text = f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n"
    ground.assert_denied(saying(way, text), "nested_connect")


CONNECT = ((":method", "CONNECT"), (":scheme", "https"), (":path", "/"), (":authority", HERE))
NESTED: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "to another host": (
        ((":method", "CONNECT"), (":authority", THERE)), "malformed_request"),
    "with a path": (CONNECT, "nested_connect"),
    "for a WebSocket": ((*CONNECT, (":protocol", "websocket")), "nested_connect"),
    "for UDP": ((*CONNECT, (":protocol", "connect-udp")), "nested_connect"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "code"), NESTED.values(), ids=NESTED)
def test_tunnels_of_http2(fields: tuple[tuple[str, str], ...], code: str, ground: Ground) -> None:
    ground.assert_denied(Sent(fields=fields), code, HTTP2)


@pytest.mark.parametrize("protocol", BOTH)
def test_nobody_is_told_of_http3(
    protocol: str, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = b'HTTP/1.1 200 OK\r\nalt-svc: h3=":443"\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello'
    monkeypatch.setattr(ground.web, "answer", offer)
    told = ground.send(Sent(), protocol)
    assert (told.status, told.headers["x-a"]) == (200, "b")
    assert "alt-svc" not in told.headers


# WebSockets

OPENING = (
    f"GET /live HTTP/1.1\r\nhost: {HERE}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


def frame(opcode: int, payload: bytes, *, more: bool = False, rsv: int = 0) -> bytes:
    """Return a masked frame (RFC 6455 section 5.2) of less than 65,536 bytes."""
    first = (0 if more else 0x80) | rsv << 4 | opcode
    short = len(payload) < 126
    size = bytes([0x80 | len(payload)]) if short else b"\xfe" + len(payload).to_bytes(2)
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([first]) + size + mask + masked


def cut(text: str, size: int, between: bytes = b"") -> bytes:
    """Return *text* as one message in frames of *size* bytes, *between* them something else."""
    data = text.encode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    last = len(pieces) - 1
    frames = [frame(0 if n else 1, piece, more=n < last) for n, piece in enumerate(pieces)]
    return between.join(frames)


PING = frame(9, b"x")
# The code of the message; None: it breaks the protocol before it is one.
FRAMES: dict[str, tuple[bytes, str | None]] = {
    "a secret": (cut(f"the key is {KEY}", 999), "finding"),
    "a secret in two frames": (cut(f"the key is {KEY}", 20), "finding"),
    "a secret in frames of one letter": (cut(f"the key is {KEY}", 1), "finding"),
    "a secret with pings between its frames": (cut(f"the key is {KEY}", 5, PING), "finding"),
    "a secret with empty frames between": (cut(KEY, 4, frame(0, b"", more=True)), "finding"),
    "a message of MCP": (cut(CALL, 999), "unknown_server"),
    "a message of MCP in frames of one letter": (cut(CALL, 1), "unknown_server"),
    "a message of MCP with pings between its frames": (cut(CALL, 7, PING), "unknown_server"),
    "bytes": (frame(2, KEY.encode()), "binary_refused"),
    "text that is said to be compressed": (frame(1, KEY.encode(), rsv=4), None),
    "a frame of an unknown kind": (frame(3, KEY.encode()), None),
    "a frame that continues nothing": (frame(0, KEY.encode()), None),
    "text within another text": (frame(1, b"a", more=True) + frame(1, KEY.encode()), None),
    "text that is no UTF-8": (frame(1, b"\xff" + KEY.encode()), None),
    "a ping in two frames": (frame(9, KEY.encode(), more=True), None),
    "a ping that is too large": (frame(9, KEY.encode() * 10), None),
    "a frame without a mask": (bytes([0x81, len(KEY)]) + KEY.encode(), None),
}  # fmt: skip


@pytest.fixture
def opened(ground: Ground) -> Iterator[socket.socket]:
    with closing(ground.tunnel()) as sock:
        sock.sendall(ground.fill(OPENING.encode(), ground.web.port))
        assert read_answer(sock).status == 101
        yield sock


@pytest.mark.parametrize(("frames", "code"), FRAMES.values(), ids=FRAMES)
def test_frames_of_a_websocket(
    frames: bytes, code: str | None, opened: socket.socket, ground: Ground
) -> None:
    live = ground.web
    assert isinstance(live, Live)
    before, texts = live.ended, len(live.texts)
    opened.sendall(frames)
    live.wait("ended", before + 1)
    assert len(live.texts) == texts
    row = ground.running.pipeline.hub.rows[-1]
    assert (row.kind, row.code) == (("request", "rule") if code is None else ("message", code))


@pytest.mark.parametrize("size", [1, 5, 999])
def test_the_same_frames_pass_with_other_words(
    size: int, opened: socket.socket, ground: Ground
) -> None:
    live = ground.web
    assert isinstance(live, Live)
    texts = len(live.texts)
    opened.sendall(cut("the key is under the mat", size, PING))
    live.wait("texts", texts + 1)
    assert live.texts[-1] == "the key is under the mat"


def test_a_websocket_that_no_rule_opens(ground: Ground) -> None:
    ground.assert_denied(Sent(raw=OPENING.replace("/live", "/x")), "websocket_refused")


# Uploads

SECRET = b"x " * 2000 + KEY.encode()
FILLED = b"x " * 2000 + b"and no key at all"


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def upload(body: bytes, path: str = "/", size: int = 100) -> Sent:
    head = f"POST {path} HTTP/1.1\r\nhost: {HERE}\r\ntransfer-encoding: chunked\r\n\r\n"
    return Sent(raw=head.encode() + chunks(body, size))


@pytest.mark.parametrize("size", [100, 7, 4000])
def test_a_secret_at_the_end_of_an_upload_in_chunks(size: int, ground: Ground) -> None:
    ground.assert_denied(upload(SECRET, size=size), "finding")
    ground.assert_arrives(upload(FILLED, size=size))


@pytest.mark.parametrize("protocol", BOTH)
def test_a_secret_at_the_end_of_an_upload(protocol: str, ground: Ground) -> None:
    ground.assert_denied(Sent(method="POST", body=SECRET), "finding", protocol)
    ground.assert_arrives(Sent(method="POST", body=FILLED), protocol)


def test_a_secret_over_frames_of_http2(ground: Ground) -> None:
    fields = ground.filled(Sent(method="PUT").as_http2())
    before = len(ground.web.requests)
    for body, status in ((SECRET, 403), (FILLED, 200)):
        client = ground.http2()
        with closing(client.connection):
            number = begin(client, fields, ended=False)
            for start in range(0, len(body), 9):
                client.peer.send_data(number, body[start : start + 9])
            client.peer.send_data(number, b"", end_stream=True)
            client.connection.sendall(client.peer.data_to_send())
            [answer] = client.wait(number)
        assert answer.status == status
    assert [request[-9:] for request in ground.web.requests[before:]] == [b"ey at all"]


@pytest.mark.parametrize("protocol", BOTH)
def test_an_upload_beyond_what_its_rule_lets_through(protocol: str, ground: Ground) -> None:
    large, small = (Sent(target="/small", method="POST", body=b"x" * n) for n in (1025, 1024))
    ground.assert_denied(large, "request_too_large", protocol)
    ground.assert_arrives(small, protocol)


def test_an_upload_in_chunks_that_grows_beyond_that(ground: Ground) -> None:
    ground.assert_denied(upload(b"x" * 1025, "/small"), "request_too_large")
    ground.assert_arrives(upload(b"x" * 1024, "/small"))


@pytest.mark.parametrize("protocol", BOTH)
def test_an_upload_that_its_client_gives_up(protocol: str, ground: Ground) -> None:
    ground.watch.clear()
    before = ground.web.connections
    if protocol == HTTP1:
        with closing(ground.tunnel()) as sock:
            head = f"POST / HTTP/1.1\r\nhost: {HERE}\r\ntransfer-encoding: chunked\r\n\r\n"
            sock.sendall(ground.fill(head.encode(), ground.web.port) + b"64\r\n" + b"x" * 50)
    else:
        client = ground.http2()
        with closing(client.connection):
            number = begin(client, ground.filled(Sent(method="PUT").as_http2()), ended=False)
            client.peer.send_data(number, b"x" * 50)
            client.connection.sendall(client.peer.data_to_send())
    ground.assert_denied(Sent(authority=THERE), "host_mismatch", protocol)
    assert (ground.web.connections, ground.watch.seen) == (before, ([], [], []))
