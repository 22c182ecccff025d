"""The kill switch over real sockets: nothing reaches a server while it is on."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from harness import OTHER_NAME, POLICY, WEB_NAME, Agent, Gate, Mcp, Web, serving_tls

NOTE = {"title": "t", "text": "b"}
DOCS = "    - {id: docs,"


class Endless(Web):
    """A server whose answers are streams that never end; tells when its connections do."""

    def __init__(self) -> None:
        super().__init__()
        self.left = threading.Semaphore(0)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                         b"transfer-encoding: chunked\r\n\r\nd\r\ndata: first\n\n\r\n")  # fmt: skip
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            self.left.release()
            writer.close()


@pytest.fixture
def endless(pki: tuple[Path, Path]) -> Iterator[Endless]:
    server = Endless()
    with serving_tls(server, pki[1]):
        yield server


@pytest.fixture
def killable(start_gate: Callable[..., Gate], mcp: Mcp) -> Gate:
    """A proxy whose rules would let everything through that the tests send."""
    streams = f"    - {{id: streams, host: {OTHER_NAME}, then: allow}}\n"
    policy = POLICY.replace("MCP_PORT", str(mcp.port)).replace(DOCS, streams + DOCS)
    return start_gate(policy)


def client(gate: Gate) -> httpx.Client:
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    proxy = f"http://127.0.0.1:{gate.port}"
    return httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=20)


def control(gate: Gate, *, key: bool = True) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(gate.state / "control.sock"))
    headers = {"authorization": f"Bearer {gate.ready['operator_key']}"} if key else {}
    return httpx.Client(transport=transport, base_url="http://gate", headers=headers, timeout=20)


def wait_for_halt(gate: Gate) -> None:
    """Wait for the state that says so, which comes every second."""
    with control(gate) as socket_, socket_.stream("GET", "/v1/events") as events:
        for line in events.iter_lines():
            if (json.loads(line).get("state") or {}).get("halt"):
                return


def by_command(gate: Gate) -> None:
    done = gate.command("kill", "--reason", "enough")
    assert (done.returncode, "Everything is denied" in done.stdout) == (0, True), done.stderr


def by_signal(gate: Gate) -> None:
    gate.process.send_signal(signal.SIGUSR1)
    wait_for_halt(gate)


def by_file(gate: Gate) -> None:
    (gate.state / "halt").touch()
    wait_for_halt(gate)


WAYS = {"the command": by_command, "the signal": by_signal, "the file": by_file}


@pytest.mark.parametrize("kill", WAYS.values(), ids=WAYS)
def test_nothing_arrives_while_it_is_on(
    kill: Callable[[Gate], None],
    killable: Gate,
    web: Web,
    mcp: Mcp,
    start_agent: Callable[[Gate, str, str], Agent],
) -> None:
    url = f"https://{WEB_NAME}:{web.port}/"
    agent = start_agent(killable, mcp.url, "auto")
    with client(killable) as http:
        assert http.get(url).text == "hello"  # the control: the same connections, switch off
        read = {"call": "read_note", "arguments": {"title": "none"}}
        agent.do(**read)
        reached = len(web.requests), web.connections, len(mcp.calls)
        assert reached == (1, 1, 1)

        kill(killable)
        again = http.get(url)
        assert (again.status_code, again.json()["code"]) == (403, "kill_switch")
        denied = agent.do(**read)
        assert "the operator has stopped everything" in json.dumps(denied)
        with client(killable) as another, pytest.raises(httpx.ProxyError):
            another.get(url)  # the tunnel itself is refused
        assert (len(web.requests), web.connections, len(mcp.calls)) == reached

        lifted = killable.command("kill", "--lift")
        assert (lifted.returncode, "is off" in lifted.stdout) == (0, True), lifted.stderr
        assert not (killable.state / "halt").exists()
        assert http.get(url).text == "hello"
        assert len(web.requests) == 2
    kinds = [record["on"] for record in killable.audit() if record["type"] == "switch"]
    assert kinds == [True, False]
    agent.close()
    assert killable.stop()[0] == 0
    replayed = killable.command("replay", "--policy", str(killable.policy), str(killable.captures))
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert ", 0 different" in replayed.stdout


def test_a_call_that_waits_is_denied(
    killable: Gate, mcp: Mcp, start_agent: Callable[[Gate, str, str], Agent]
) -> None:
    agent = start_agent(killable, mcp.url, "auto")
    agent.ask(call="save_note", arguments=NOTE)
    entry = killable.wait_pending()
    by_command(killable)
    assert "the operator has stopped everything" in json.dumps(agent.read())
    assert mcp.calls == []
    with control(killable) as api:
        late = api.post(f"/v1/pending/{entry['id']}", json={"decision": "allow"})
        assert (late.status_code, late.json()["via"]) == (409, "kill_switch")
    assert mcp.calls == []


def test_an_open_stream_ends_on_both_sides(killable: Gate, endless: Endless) -> None:
    url = f"https://{OTHER_NAME}:{endless.port}/"
    with client(killable) as http:
        with http.stream("GET", url, headers={"accept": "text/event-stream"}) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "data: first"
            assert not endless.left.acquire(blocking=False), "the control: it is open"
            by_command(killable)
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
        assert endless.left.acquire(timeout=20)


def test_a_tunnel_that_nobody_reads_ends(
    start_gate: Callable[..., Gate], pki: tuple[Path, Path], endless: Endless
) -> None:
    rule = f"{{id: pin, host: {OTHER_NAME}, then: allow, inspect: none}}"
    gate = start_gate(
        f"version: 1\nnetwork: {{resolve: {{{OTHER_NAME}: 127.0.0.1}}}}\n"
        f"egress: {{rules: [{rule}]}}\n"
    )
    plain = socket.create_connection(("127.0.0.1", gate.port), timeout=20)
    where = f"{OTHER_NAME}:{endless.port}"
    plain.sendall(f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n\r\n".encode())
    assert plain.recv(65536).startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=str(pki[0]))
    with context.wrap_socket(plain, server_hostname=OTHER_NAME) as line:
        line.sendall(f"GET / HTTP/1.1\r\nhost: {where}\r\n\r\n".encode())
        assert b"200 OK" in line.recv(65536)
        by_command(gate)
        assert endless.left.acquire(timeout=20)
        with suppress(OSError):  # cut, in one way or another
            while line.recv(65536):
                pass


def test_it_is_on_from_the_start_where_the_file_is_there(
    start_gate: Callable[..., Gate], web: Web, tmp_path: Path
) -> None:
    state = tmp_path / "halted"
    state.mkdir(mode=0o700)
    (state / "halt").touch()
    gate = start_gate(POLICY.replace("MCP_PORT", "9"), "--state-dir", str(state))
    gate.state = state
    with client(gate) as http, pytest.raises(httpx.ProxyError):
        http.get(f"https://{WEB_NAME}:{web.port}/")
    assert web.connections == 0
    assert gate.command("kill", "--lift").returncode == 0
    with client(gate) as http:
        assert http.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"
    first, *_ = gate.audit()
    assert (first["type"], first["on"], first["by"]) == ("switch", True, "file")
