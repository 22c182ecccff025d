"""Bad input that only sockets show: too much of it, or without end. The proxy outlives each."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx
import pytest
from bad_peer import FINE, Act, Peer, events, whole, writes
from harness import MCP_NAME, POLICY, Gate, InProcess, Web
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Message
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from mitmgate.judge.limits import Limits
from mitmgate.mitm.sockets import PENDING_BYTES

MB = 1_000_000
LARGE = b" " * (50 * MB)
DEEP = b"[" * 10_000 + b"]" * 10_000
CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_x","arguments":{}}}'
NOTE = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%s"}}\n\n'
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
BODY_GROWTH = 300 * MB
"""For a body of 50 MB: as it came in, as one piece, and what Python keeps of both."""
STREAM_GROWTH = 100 * MB
"""For streams, however long: the longest event, once as it came and once decoded."""
UPGRADE = (
    f"GET /mcp HTTP/1.1\r\nhost: {MCP_NAME}:%d\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-protocol: mcp\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: mcp\r\n"
)


@pytest.fixture
def web_kind() -> type[Web]:
    return Peer


@pytest.fixture
def server(web: Web) -> Peer:
    assert isinstance(web, Peer)
    return web


@pytest.fixture
def gate(start_gate: Callable[..., Gate], server: Peer) -> Gate:
    return start_gate(POLICY.replace("MCP_PORT", str(server.port)))


@pytest.fixture
def client(gate: Gate) -> Iterator[httpx.Client]:
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    where = f"http://127.0.0.1:{gate.port}"
    with httpx.Client(proxy=where, verify=trust, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def post(client: httpx.Client, server: Peer) -> Callable[..., Any]:
    """Post a body as a call, answered by the pieces given; return the JSON that comes back."""

    def send(body: bytes = CALL, answer: Iterable[bytes] = whole(FINE), **headers: str) -> Any:
        server.act = writes(answer)
        url = f"https://{MCP_NAME}:{server.port}/mcp"
        got = client.post(url, content=body, headers={**HEADERS, **headers})
        text = got.text.rpartition("data: ")[2] if "event-stream" in str(got.headers) else got.text
        return json.loads(text)

    return send


@pytest.fixture
def go_on(post: Callable[..., Any], server: Peer) -> Callable[[], None]:
    """Assert that the proxy serves an allowed call."""

    def check() -> None:
        seen = len(server.requests)
        assert post() == json.loads(FINE)
        assert len(server.requests) == seen + 1

    return check


def memory(gate: Gate, key: str) -> int:
    """Return what the proxy uses (``VmRSS``) or used at most (``VmHWM``), in bytes."""
    status = Path(f"/proc/{gate.process.pid}/status")
    if not status.exists():
        pytest.skip("how much memory a process used is read from /proc, which is not here")
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


@contextmanager
def grows_at_most(gate: Gate, size: int) -> Iterator[None]:
    """Assert that the proxy never uses *size* bytes more than it does now."""
    before = memory(gate, "VmRSS")
    Path(f"/proc/{gate.process.pid}/clear_refs").write_text("5")  # the peak begins anew
    yield
    grown = memory(gate, "VmHWM") - before
    assert grown < size


def denied(message: Any) -> str:
    """Return what the model reads of a denied call with the id 1."""
    assert (message["id"], message["result"]["isError"]) == (1, True)
    [block] = message["result"]["content"]
    return str(block["text"])


def test_large_bodies_are_denied_in_both_directions_within_bounds(
    gate: Gate, post: Callable[..., Any], server: Peer, go_on: Callable[[], None]
) -> None:
    go_on()
    arrived = len(server.requests)
    bomb = gzip.compress(LARGE)
    for body, headers in ((CALL + LARGE, {}), (bomb, {"content-encoding": "gzip"})):
        with grows_at_most(gate, BODY_GROWTH):
            message = post(body, **headers)
        assert (message["id"], message["error"]["code"]) == (None, -32600)
        assert "larger than" in message["error"]["message"]
    assert len(server.requests) == arrived
    for answer in (whole(FINE + LARGE), whole(bomb, "content-encoding: gzip")):
        with grows_at_most(gate, BODY_GROWTH):
            text = denied(post(CALL, answer))
        assert text.startswith("The tool has run;")
        assert "larger than" in text
        go_on()


def test_answers_with_ten_thousand_levels_are_denied(
    post: Callable[..., Any], go_on: Callable[[], None]
) -> None:
    deep = FINE.replace(b'"fine"', DEEP)
    for answer in (whole(deep), [events(), b"data: " + deep + b"\n\n"], whole(DEEP)):
        text = denied(post(CALL, answer))
        assert text.startswith("The tool has run;")
        assert "nested too deeply" in text
        go_on()


LINE = b"x" * 65_536
# A stream without end that is refused, and what its denial says.
ENDLESS: dict[str, tuple[Iterable[bytes], str]] = {
    "a line": (chain([events(), b"data: "], repeat(LINE)), "larger than"),
    "lines of one event": (chain([events()], repeat(b"data: " + LINE + b"\n")), "larger than"),
    "comments that nothing ends": (chain([events()], repeat(b": " + LINE + b"\n")), "larger than"),
    "a gzip bomb": (
        chain([events("content-encoding: gzip")], repeat(gzip.compress(b": " + LARGE))),
        "larger than"),
    "gzip of no end after gzip": (
        chain([events("content-encoding: gzip")], repeat(gzip.compress(NOTE % b"hi"))),
        "follow the end"),
    "bytes that are no UTF-8": (chain([events()], repeat(b"data: \xff\n\n")), "UTF-8"),
}  # fmt: skip


def test_streams_without_end_are_ended_within_bounds(
    gate: Gate, post: Callable[..., Any], server: Peer, go_on: Callable[[], None]
) -> None:
    go_on()
    for name, (pieces, told) in ENDLESS.items():
        server.left.clear()
        with grows_at_most(gate, STREAM_GROWTH):
            text = denied(post(CALL, pieces))
        assert text.startswith("The tool has run;"), name
        assert told in text, name
        assert server.left.wait(20), name
        go_on()


@pytest.mark.parametrize(("count", "captures"), [(40_000, None), (12_000, "captures")])
def test_a_call_is_answered_while_a_stream_of_tiny_comments_is_read(
    run_proxy: Callable[..., InProcess],
    server: Peer,
    tmp_path: Path,
    count: int,
    captures: str | None,
) -> None:
    dense = gzip.compress(b":a\n\n" * count + b"data: " + FINE + b"\n\n")
    proxy = run_proxy(port_of_mcp=server.port, capture=captures and tmp_path / captures)
    url = f"https://{MCP_NAME}:{server.port}/mcp"
    with proxy.client() as client:
        server.act = writes([events("content-encoding: gzip"), dense])
        with client.stream("POST", url, content=CALL, headers=HEADERS) as stream:
            server.act = writes(whole(FINE))
            assert client.post(url, content=CALL, headers=HEADERS).content == FINE
            seen = over(tmp_path / "state")
            assert stream.read().endswith(b"data: " + FINE + b"\n\n")
    assert seen == 1  # the call was over, the stream was not
    assert over(tmp_path / "state") == 2


def over(state: Path) -> int:
    """Return how many exchanges the audit file under *state* knows the end of."""
    lines = (state / "audit" / "audit.jsonl").read_text().splitlines()
    return sum(json.loads(line)["type"] == "completion" for line in lines)


@pytest.mark.parametrize("nothing", [b"\n", b":\n\n"], ids=["blank lines", "empty comments"])
def test_a_compressed_stream_of_nothing_does_not_stop_the_proxy(
    post: Callable[..., Any], go_on: Callable[[], None], nothing: bytes
) -> None:
    size = Limits().body - 1024
    dense = gzip.compress(nothing * (size // len(nothing)) + b"data: " + FINE + b"\n\n")
    assert post(CALL, [events("content-encoding: gzip"), dense]) == json.loads(FINE)
    go_on()


def test_a_stream_without_end_that_nobody_reads_waits(
    gate: Gate, client: httpx.Client, server: Peer, go_on: Callable[[], None]
) -> None:
    go_on()
    sent = threading.Semaphore(0)

    def pieces() -> Iterator[bytes]:
        yield events()
        while True:
            sent.release()
            yield NOTE % LINE

    server.act = writes(pieces())
    url = f"https://{MCP_NAME}:{server.port}/mcp"
    with (
        grows_at_most(gate, STREAM_GROWTH),
        client.stream("POST", url, content=CALL, headers=HEADERS) as answer,
    ):
        assert answer.status_code == 200
        # It reads nothing: what the sockets and the proxy hold is all that is ever taken.
        taken = 0
        while sent.acquire(timeout=1):
            taken += 1
        assert 0 < taken * len(LINE) < 40 * MB
    assert server.left.wait(20)  # and its leaving reaches the server
    fates: set[str] = set()
    for _ in range(50):  # the record of it comes with one of the next turns
        go_on()
        fates = {record["fate"] for record in gate.audit() if record["type"] == "completion"}
        if fates != {"answered"}:
            break
    assert fates == {"answered", "client_left"}


def test_a_stream_in_an_unknown_coding_is_denied(
    post: Callable[..., Any], go_on: Callable[[], None]
) -> None:
    text = denied(post(CALL, [events("content-encoding: rot13"), b"data: " + FINE + b"\n\n"]))
    assert text.startswith("The tool has run;")
    assert "content coding" in text
    go_on()


def test_an_endpoint_event_to_another_origin_ends_the_stream(
    gate: Gate, client: httpx.Client, server: Peer, go_on: Callable[[], None]
) -> None:
    url = f"https://{MCP_NAME}:{server.port}/mcp"

    def listen(place: str) -> bytes:
        told = f"event: endpoint\ndata: {place}\n\n".encode()
        server.act = writes([events(), told, NOTE % b"after"])
        headers = {"accept": "text/event-stream"}
        with client.stream("GET", url, headers=headers) as answer:
            try:
                return b"".join(answer.iter_raw())
            except httpx.RemoteProtocolError:
                return b"cut"

    assert listen(f"https://{MCP_NAME}:{server.port}/messages?s=1") != b"cut"
    for place in ("https://evil.example/messages", f"https://{MCP_NAME}:1/messages"):
        got = listen(place)
        assert b"endpoint" not in got
        assert b"after" not in got
    found = [(d["verdict"], d["code"]) for d in gate.decisions(kind="event")]
    assert found == [("allow", "endpoint"), *[("deny", "foreign_endpoint")] * 2]
    go_on()


@pytest.fixture
def opened(server: Peer, raw: Callable[..., socket.socket]) -> Callable[..., Any]:
    """Open a WebSocket through the proxy; return its socket and the head of the answer."""

    def start(act: Act) -> tuple[socket.socket, bytes]:
        server.act = act
        sock = raw(MCP_NAME, server.port)
        sock.sendall((UPGRADE % server.port).encode())
        return sock, sock.recv(65536)

    return start


def until_the_end(sock: socket.socket) -> list[Event]:
    """Return what comes on the WebSocket of *sock* until it ends."""
    frames = Connection(ConnectionType.CLIENT)
    found: list[Event] = []
    with sock:
        try:
            while data := sock.recv(65536):
                frames.receive_data(data)
                found += list(frames.events())
        except OSError:
            pass
    return found


def sends(*pieces: bytes, more: bytes = b"") -> Act:
    """Return what switches to a WebSocket and writes *pieces*."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writes([SWITCHED + more + b"\r\n", *pieces])(reader, writer)
        while await reader.read(65536):
            pass

    return act


def test_a_websocket_message_without_end_ends_it(
    gate: Gate, opened: Callable[..., Any], go_on: Callable[[], None]
) -> None:
    go_on()
    for from_client in (False, True):
        side = Connection(ConnectionType.CLIENT if from_client else ConnectionType.SERVER)
        piece = "x" * 65_536
        pieces = [side.send(Message(piece, message_finished=False))
                  for _ in range(2 * PENDING_BYTES // len(piece))]  # fmt: skip
        with grows_at_most(gate, STREAM_GROWTH):
            sock, answer = opened(sends() if from_client else sends(*pieces))
            assert b"101" in answer.split(b"\r\n")[0]
            try:
                for one in pieces if from_client else ():
                    sock.sendall(one)
            except OSError:
                pass
            found = until_the_end(sock)
        assert not [event for event in found if not isinstance(event, CloseConnection)]
        assert gate.decisions(code="message_too_large", verdict="deny")
        go_on()


def test_a_compressed_websocket_message_ends_it(
    opened: Callable[..., Any], server: Peer, go_on: Callable[[], None]
) -> None:
    frames = FrameProtocol(client=False, extensions=[deflating()])
    packed = frames.send_data(FINE.decode(), fin=True)
    plain = FrameProtocol(client=False, extensions=[]).send_data(FINE.decode(), fin=True)
    assert packed[0] & 0x40  # the bit of a compressed message
    assert plain[0] == packed[0] & ~0x40
    sock, answer = opened(sends(bytes(packed), bytes(plain)))
    assert b"101" in answer.split(b"\r\n")[0]
    assert b"sec-websocket-extensions" not in server.requests[-1].lower()
    assert b"fine" not in answer
    assert not [event for event in until_the_end(sock) if not isinstance(event, CloseConnection)]
    go_on()


def deflating() -> PerMessageDeflate:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate")
    return extension


def test_an_extension_nobody_offered_ends_it(
    gate: Gate, opened: Callable[..., Any], go_on: Callable[[], None]
) -> None:
    sock, answer = opened(sends(more=b"sec-websocket-extensions: permessage-deflate\r\n"))
    assert b" 101 " not in answer.split(b"\r\n")[0]
    assert until_the_end(sock) == []
    assert gate.decisions(code="malformed_answer", verdict="deny")
    go_on()


def test_the_bounds_of_this_file_are_above_the_limits() -> None:
    assert Limits().event < STREAM_GROWTH
    assert Limits().body < BODY_GROWTH
