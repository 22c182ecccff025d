"""Upstreams that fail and clients that misbehave: a denial with its code, and the proxy goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from harness import (
    MCP_NAME,
    POLICY,
    WEB_NAME,
    Agent,
    Gate,
    LoopThread,
    Mcp,
    Web,
    closed,
    serving_tls,
)

from mitmgate.demo.pki import make_pki

type StartGate = Callable[..., Gate]
type StartAgent = Callable[[Gate, str, str], Agent]
type Connect = Callable[..., socket.socket]

WRONG_NAME = "wrong.upstream.example"  # no certificate of these tests is for it


def client_of(gate: Gate) -> httpx.Client:
    """Return a client that trusts the gate and knows no other way."""
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    proxy = f"http://127.0.0.1:{gate.port}"
    return httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=30)


def wait_resolved(gate: Gate, key: str, begin: Callable[[], object]) -> None:
    """Call *begin* and wait until the held call *key* is resolved."""
    transport = httpx.HTTPTransport(uds=str(gate.state / "control.sock"))
    with (
        httpx.Client(transport=transport, base_url="http://gate") as client,
        client.stream("GET", "/v1/events", timeout=20) as events,
    ):
        # The state comes every second, so that waiting for nothing ends.
        for _, line in zip(range(30), events.iter_lines(), strict=False):
            event = json.loads(line)
            if event["type"] == "snapshot":
                begin()
            if event["type"] == "resolved" and event["resolved"]["id"] == key:
                return
    raise AssertionError(f"{key} was not resolved")


@dataclass
class Relay:
    """A TCP port in front of a server, which can be closed or lead elsewhere."""

    run: Callable[..., object]
    target: int
    port: int = 0
    listening: asyncio.Server | None = None

    async def start(self) -> None:
        self.listening = await asyncio.start_server(self.handle, "127.0.0.1", self.port)
        self.port = self.listening.sockets[0].getsockname()[1]

    def open(self, target: int) -> None:
        """Lead new connections to *target*; the old ones are cut."""
        self.close()
        self.target = target
        self.run(self.start())

    def close(self) -> None:
        """Close the port and every connection."""
        if self.listening is not None:
            self.run(closed(self.listening))
        self.listening = None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(copy(reader, back))
                group.create_task(copy(there, writer))
        finally:
            writer.close()
            back.close()


async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()
    except OSError:
        sink.close()


@pytest.fixture
def relay(mcp: Mcp) -> Iterator[Relay]:
    """A way to the MCP server that can break."""
    with LoopThread() as run:
        relay = Relay(run, mcp.port)
        relay.open(mcp.port)
        yield relay
        relay.close()


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Web]:
    """A server with the right names, by a CA that nobody trusts."""
    server = Web()
    folder = tmp_path / "strange-pki"
    folder.mkdir()
    with serving_tls(server, make_pki(folder, MCP_NAME, WEB_NAME)[1]):
        yield server


@pytest.mark.parametrize("mode", ["legacy", "auto"], ids=["2025-11-25", "2026-07-28"])
def test_a_session_outlives_an_upstream_that_is_down_or_not_who_it_says(
    mode: str, relay: Relay, mcp: Mcp, stranger: Web, start_gate: StartGate,
    start_agent: StartAgent,
) -> None:  # fmt: skip
    gate = start_gate(POLICY.replace("MCP_PORT", str(relay.port)))
    agent = start_agent(gate, f"https://{MCP_NAME}:{relay.port}/mcp", mode)
    fine = {"error": False, "text": "The note 'x' says: water the plants."}

    def call() -> dict[str, object]:
        return agent.do(call="read_note", arguments={"title": "x"})

    assert call() == fine
    relay.close()
    down = call()
    assert down["error"] is True
    assert f"{MCP_NAME} cannot be reached" in str(down["text"])
    relay.open(mcp.port)
    assert call() == fine
    relay.open(stranger.port)
    denied = call()
    assert denied["error"] is True
    assert "certificate" in str(denied["text"]).lower()
    assert stranger.requests == []
    relay.open(mcp.port)
    assert call() == fine
    assert len(mcp.calls) == 3
    codes = [record["code"] for record in gate.decisions(kind="dial", method="tools/call")]
    assert codes == ["upstream_failed", "upstream_certificate"]


def test_plain_requests_to_such_upstreams_get_502_with_a_code(
    web: Web, stranger: Web, start_gate: StartGate
) -> None:
    policy = POLICY.replace("MCP_PORT", "9").replace(
        "paste.upstream.example: 127.0.0.1", f"{WRONG_NAME}: 127.0.0.1"
    )
    policy = policy.replace("host: docs.up", f"host: [{WRONG_NAME}, gone.invalid, docs.up").replace(
        "example, methods", "example], methods"
    )
    gate = start_gate(policy)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]
    urls = {
        "a port where nobody listens": f"https://{WEB_NAME}:{nobody}/",
        "a certificate of a stranger": f"https://{WEB_NAME}:{stranger.port}/",
        "a certificate for another name": f"https://{WRONG_NAME}:{web.port}/",
        "a name without an address": "https://gone.invalid/",
    }
    with client_of(gate) as client:
        problems = {name: client.get(url).json() for name, url in urls.items()}
        assert client.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"
    assert {name: (p["status"], p["code"]) for name, p in problems.items()} == {
        "a port where nobody listens": (502, "upstream_failed"),
        "a certificate of a stranger": (502, "upstream_certificate"),
        "a certificate for another name": (502, "upstream_certificate"),
        "a name without an address": (502, "unresolvable"),
    }
    assert stranger.requests == []
    assert len(web.requests) == 1


def test_clients_that_send_rubbish_or_leave_disturb_nobody(
    gate: Gate, web: Web, raw: Connect
) -> None:
    def garbage() -> None:
        with raw() as sock:
            sock.sendall(bytes(range(256)) * 8 + b"\r\n\r\n")
            assert b" 200 " not in sock.recv(65536)

    def half_a_head() -> None:
        with raw() as sock:
            sock.sendall(b"CONNECT docs.upstr")

    def half_a_handshake() -> None:
        with raw() as sock:
            sock.sendall(f"CONNECT {WEB_NAME}:{web.port} HTTP/1.1\r\n\r\n".encode())
            sock.recv(65536)
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")

    def raw_bytes_in_a_tunnel() -> None:
        with raw() as sock:
            sock.sendall(f"CONNECT {WEB_NAME}:{web.port} HTTP/1.1\r\n\r\n".encode())
            sock.recv(65536)
            sock.sendall(b"SSH-2.0-hello\r\n\r\n")
            assert not sock.recv(65536).startswith(b"SSH")

    def half_a_body() -> None:
        with raw(WEB_NAME, web.port) as sock:
            sock.sendall(f"POST / HTTP/1.1\r\nhost: {WEB_NAME}:{web.port}\r\n"
                         "content-length: 100\r\n\r\nhalf".encode())  # fmt: skip

    def a_request_and_a_reset() -> None:
        sock = raw()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.sendall(b"GET http://docs.upstream.example/ HTTP/1.1\r\n")
        sock.close()

    with client_of(gate) as client:
        for misbehave in (
            garbage, half_a_head, half_a_handshake, raw_bytes_in_a_tunnel, half_a_body,
            a_request_and_a_reset,
        ):  # fmt: skip
            misbehave()
            before = len(web.requests)
            assert client.get(f"https://{WEB_NAME}:{web.port}/ok").text == "hello"
            assert len(web.requests) == before + 1, misbehave.__name__
    assert {request.split(b"\r\n")[0] for request in web.requests} == {b"GET /ok HTTP/1.1"}
    code, log = gate.stop()
    assert code == 0
    assert "Traceback" not in log


def test_a_client_that_leaves_takes_its_held_call_with_it(
    gate: Gate, mcp: Mcp, start_agent: StartAgent, raw: Connect
) -> None:
    message = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "save_note", "arguments": {"title": "t", "text": "b"}},
    }  # fmt: skip
    body = json.dumps(message).encode()
    with raw(MCP_NAME, mcp.port) as sock:
        sock.sendall(f"POST /mcp HTTP/1.1\r\nhost: {MCP_NAME}:{mcp.port}\r\n"
                     "accept: application/json, text/event-stream\r\n"
                     "mcp-protocol-version: 2025-11-25\r\n"
                     "content-type: application/json\r\n"
                     f"content-length: {len(body)}\r\n\r\n".encode() + body)  # fmt: skip
        entry = gate.wait_pending()
        wait_resolved(gate, entry["id"], sock.close)
    assert gate.command("pending").stdout == "Nothing waits.\n"
    late = gate.command("approve", entry["id"])
    assert late.returncode == 2
    assert late.stderr.startswith("error: Too late: client_left denied it")
    [answer] = [record for record in gate.audit() if record["type"] == "resolution"]
    assert (answer["id"], answer["answer"], answer["via"]) == (entry["id"], "deny", "client_left")
    agent = start_agent(gate, mcp.url, "auto")
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    assert [name for name, _ in mcp.calls] == ["read_note"]


CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_x","arguments":{}}}'
DEEP = CALL.replace(b"{}}", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}")
PLAIN: dict[str, str] = {}
GZIP = {"content-encoding": "gzip"}

# What is sent, then status, code and rule: at the endpoint of a server, and elsewhere.
BODIES: dict[str, tuple[bytes, dict[str, str], tuple[int, str, str], tuple[int, str, str]]] = {
    "gzip that ends early": (
        gzip.compress(CALL)[:-6], GZIP,
        (400, "bad_encoding", "bad_encoding"), (403, "bad_encoding", "bad_encoding")),
    "a gzip bomb": (
        gzip.compress(b" " * 40_000_000 + CALL), GZIP,
        (400, "body_too_large", "body_too_large"), (413, "body_too_large", "body_too_large")),
    "the same key twice": (
        CALL.replace(b'"id":1', b'"id":1,"id":1'), PLAIN,
        (400, "parse_error", "duplicate_key"), (403, "ambiguous_message", "duplicate_key")),
    "ten thousand levels": (
        DEEP, PLAIN, (400, "parse_error", "too_deep"), (403, "ambiguous_message", "too_deep")),
    "bytes that are no UTF-8": (
        CALL.replace(b"read_x", b"read_\xff"), PLAIN,
        (400, "parse_error", "not_utf8"), (403, "ambiguous_message", "not_utf8")),
    "half a JSON document": (
        CALL[:-2], PLAIN, (400, "parse_error", "not_json"), (403, "ambiguous_message", "not_json")),
    "a batch with one id twice": (
        b"[" + CALL + b"," + CALL + b"]", PLAIN,
        (200, "duplicate_id", "duplicate_id"), (200, "duplicate_id", "duplicate_id")),
}  # fmt: skip


def test_bodies_with_two_readings_reach_nobody(web: Web, start_gate: StartGate) -> None:
    mcp_server = f"docs.upstream.example:{web.port}"
    gate = start_gate(POLICY.replace("mcp.upstream.example:MCP_PORT", mcp_server))
    web.answer = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 36\r\n\r\n"
        b'{"jsonrpc":"2.0","id":1,"result":{}}'
    )
    found: dict[tuple[str, str], tuple[int, str, str]] = {}
    with client_of(gate) as client:
        for path in ("/mcp", "/elsewhere"):
            for name, (body, headers, *_) in BODIES.items():
                seen = len(gate.decisions())
                sent = {"content-type": "application/json", **headers}
                answer = client.post(f"https://{mcp_server}{path}", content=body, headers=sent)
                decision = gate.decisions()[seen]
                assert decision["verdict"] == "deny"
                found[name, path] = answer.status_code, decision["code"], decision["rule"]
                assert answer.json()  # problem+json or JSON-RPC: a document that says why
        assert web.connections == 0
        control = client.post(f"https://{mcp_server}/mcp", content=gzip.compress(CALL),
                              headers={"content-type": "application/json", **GZIP})  # fmt: skip
    assert control.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert len(web.requests) == 1
    expected = {(name, "/mcp"): row[2] for name, row in BODIES.items()}
    expected |= {(name, "/elsewhere"): row[3] for name, row in BODIES.items()}
    assert found == expected


@pytest.fixture
def local() -> Iterator[Web]:
    """A plain server on whatever address `localhost` means first."""
    server = Web()
    address = str(socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)[0][4][0])
    with LoopThread() as run:

        async def start() -> asyncio.Server:
            return await asyncio.start_server(server.handle, address, 0)

        listening = run(start())
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        run(closed(listening))


def test_an_allowed_name_with_a_private_address_is_not_dialled(
    local: Web, start_gate: StartGate
) -> None:
    # The server's entry opens its port, which is no web port; its path is another one.
    policy = (
        f'version: 1\nservers: {{s: {{url: "http://localhost:{local.port}/mcp"}}}}\n'
        "egress:\n  rules:\n    - {id: here, host: localhost, then: allow}\n"
    )
    permitted = policy + 'network: {allow_private: [127.0.0.0/8, "::1/128"]}\n'
    url = f"http://localhost:{local.port}/"
    with client_of(start_gate(policy)) as client:
        problems = [client.get(url).json() for _ in range(2)]  # the second on the same connection
    assert [(p["status"], p["code"]) for p in problems] == [(403, "private_address")] * 2
    assert local.connections == 0
    with client_of(start_gate(permitted, name="permitted")) as client:
        assert client.get(url).text == "hello"
    assert local.connections == 1
