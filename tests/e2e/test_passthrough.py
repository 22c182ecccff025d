"""TLS that stays closed by a rule: it ends at the server, and what was passed is on record."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from connect_proxy import ConnectProxy, serving_proxy
from harness import OTHER_NAME, WEB_NAME, Gate, InProcess, Web

from mitmgate.mitm.gate import Gate as GateAddon
from mitmgate.mitm.upstream import Upstream

POLICY = """\
version: 1
network: {resolve: {docs.upstream.example: 127.0.0.1, paste.upstream.example: 127.0.0.1}}
egress:
  rules:
    - {id: pinned, host: docs.upstream.example, then: allow, inspect: none}
    - {id: other, host: paste.upstream.example, then: allow}
"""
REQUEST = f"GET / HTTP/1.1\r\nhost: {WEB_NAME}\r\n\r\n".encode()


def tunnel(port: int, target: str) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=20)
    plain.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
    head = plain.recv(65536)
    assert head.startswith(b"HTTP/1.1 200"), head
    return plain


def trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    return context


@pytest.fixture
def pinned(pki: tuple[Path, Path]) -> ssl.SSLContext:
    """What a client that pins has: it trusts the server's own CA, and not ours."""
    return trusting(pki[0])


@pytest.fixture
def gate(start_gate: Callable[..., Gate]) -> Gate:
    return start_gate(POLICY)


@contextmanager
def exchanged(port: int, target: str, context: ssl.SSLContext) -> Iterator[bytes]:
    """Give the answer to one request; at the end the connection is over on both sides."""
    plain = tunnel(port, target)
    with context.wrap_socket(plain, server_hostname=target.rpartition(":")[0]) as line:
        line.sendall(REQUEST)
        yield whole(line)


def whole(line: socket.socket) -> bytes:
    """Return an answer with its body."""
    answer = line.recv(65536)
    length = int(answer.split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(answer.partition(b"\r\n\r\n")[2]) < length:
        answer += line.recv(65536)
    return answer


def completed(gate: Gate, count: int = 1) -> list[dict[str, Any]]:
    """Return the completions, read when the gate has ended."""
    gate.stop()
    found = [record for record in gate.audit() if record["type"] == "completion"]
    assert len(found) == count
    return found


def test_the_servers_own_certificate_arrives(web: Web, gate: Gate, pinned: ssl.SSLContext) -> None:
    with exchanged(gate.port, f"{WEB_NAME}:{web.port}", pinned) as answer:
        assert answer.endswith(b"hello")
        [decision] = gate.decisions()
        assert (decision["code"], decision["rule"], decision["verdict"]) == (
            "not_inspected", "pinned", "allow")  # fmt: skip
        assert (decision["kind"], decision["channel"], decision["host"], decision["port"]) == (
            "connect", "egress", WEB_NAME, web.port)  # fmt: skip
    [end] = completed(gate)
    assert (end["exchange"], end["fate"], end["status"]) == (
        decision["id"].rpartition(".")[0], "answered", None)  # fmt: skip
    # A ClientHello and a request one way; a certificate and an answer the other.
    assert end["request_bytes"] > 300
    assert end["response_bytes"] > 600
    replayed = gate.command("replay", str(gate.captures), "--policy", str(gate.policy))
    assert replayed.returncode == 0, replayed.stdout
    assert "1 same, 0 different" in replayed.stdout


def test_without_the_rule_a_client_that_pins_is_lost(
    web: Web, start_gate: Callable[..., Gate], pinned: ssl.SSLContext
) -> None:
    gate = start_gate(POLICY.replace(", inspect: none", ""))
    with pytest.raises(ssl.SSLCertVerificationError):
        pinned.wrap_socket(tunnel(gate.port, f"{WEB_NAME}:{web.port}"), server_hostname=WEB_NAME)
    assert web.connections == 0


# The tunnel's name, and the one in the ClientHello.
OPENED: dict[str, tuple[str, str | None]] = {
    "another name in TLS": (WEB_NAME, OTHER_NAME),
    "the pinned name in a tunnel to another": (OTHER_NAME, WEB_NAME),
    "no name in TLS": (WEB_NAME, None),
    "a host that is inspected": (OTHER_NAME, OTHER_NAME),
}


@pytest.mark.parametrize(("target", "sni"), OPENED.values(), ids=OPENED)
def test_what_is_opened_all_the_same(target: str, sni: str | None, web: Web, gate: Gate) -> None:
    context = trusting(Path(gate.ready["ca"]))  # ours: TLS ends here
    plain = tunnel(gate.port, f"{target}:{web.port}")
    with context.wrap_socket(plain, server_hostname=sni) as line:
        line.sendall(f"GET / HTTP/1.1\r\nhost: {target}:{web.port}\r\n\r\n".encode())
        answer = whole(line)
    if sni not in (None, target):
        assert answer.startswith(b"HTTP/1.1 421")
        assert web.connections == 0
    else:
        assert answer.endswith(b"hello")
    assert not gate.decisions(code="not_inspected")


def test_a_name_that_may_be_encrypted_is_none(start_gate: Callable[..., Gate]) -> None:
    gate = start_gate(POLICY)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        target = f"{WEB_NAME}:{server.getsockname()[1]}"
        with tunnel(gate.port, target) as line:
            line.sendall(with_extension(hello_for(WEB_NAME), 0xFE0D))
            assert line.recv(65536)[:1] == b"\x16"  # a ServerHello of ours
        with pytest.raises(BlockingIOError):
            server.accept()
        assert gate.decisions() == []
        server.setblocking(True)
        with tunnel(gate.port, target) as line:
            hello = with_extension(hello_for(WEB_NAME), 0xFE0E)
            line.sendall(hello)
            with server.accept()[0] as arrived:
                assert arrived.recv(65536) == hello


def test_plain_http_in_the_tunnel_is_judged(web: Web, start_gate: Callable[..., Gate]) -> None:
    gate = start_gate(POLICY + "scan: {secrets: {egress_request: deny}}\n")
    with tunnel(gate.port, f"{WEB_NAME}:{web.port}") as line:
        line.sendall(f"GET /?k=AKIA{'Z7QXK3VJ2M5T4WRB'} HTTP/1.1\r\n"
                     f"host: {WEB_NAME}:{web.port}\r\n\r\n".encode())  # fmt: skip
        assert b'"code":"finding"' in whole(line)
    assert (web.connections, gate.decisions(code="not_inspected")) == (0, [])


def test_an_address_on_the_inside_is_not_reached(
    run_proxy: Callable[..., InProcess], pinned: ssl.SSLContext
) -> None:
    async def resolver(_host: str, _port: int) -> tuple[str, ...]:
        return ("10.0.0.1",)

    policy = POLICY.replace("docs.upstream.example: 127.0.0.1, ", "")
    gate = run_proxy(lambda core, _, own: GateAddon(core, resolver, own), policy=policy)
    port = int(gate.running.listen.rpartition(":")[2])
    with pytest.raises(OSError, match=r".*"):
        pinned.wrap_socket(tunnel(port, f"{WEB_NAME}:443"), server_hostname=WEB_NAME)
    rows = gate.wait_for_rows(2)
    assert [row.code for row in rows] == ["not_inspected", "private_address"]


def test_a_port_that_nobody_listens_on(gate: Gate, pinned: ssl.SSLContext) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r".*"):
            pinned.wrap_socket(tunnel(gate.port, f"{WEB_NAME}:{free.getsockname()[1]}"),
                               server_hostname=WEB_NAME)  # fmt: skip
    [end] = completed(gate)
    assert (end["fate"], end["response_bytes"]) == ("upstream_failed", 0)
    assert [one["code"] for one in gate.decisions()] == ["not_inspected", "upstream_failed"]


def test_through_another_proxy(
    web: Web, run_proxy: Callable[..., InProcess], pinned: ssl.SSLContext
) -> None:
    async def resolver(host: str, _port: int) -> tuple[str, ...]:
        return ("93.184.215.14",) if host == WEB_NAME else (host,)

    policy = POLICY.replace("docs.upstream.example: 127.0.0.1, ", "")
    proxy = ConnectProxy(web.port)
    with serving_proxy(proxy):
        gate = run_proxy(lambda core, _, own: GateAddon(core, resolver, own), policy=policy,
                         upstream=Upstream("http", "127.0.0.1", proxy.port))  # fmt: skip
        port = int(gate.running.listen.rpartition(":")[2])
        with exchanged(port, f"{WEB_NAME}:443", pinned) as answer:
            assert answer.endswith(b"hello")
        assert proxy.targets == ["93.184.215.14:443"]
        proxy.status = 503
        with pytest.raises(OSError, match=r".*"):
            pinned.wrap_socket(tunnel(port, f"{WEB_NAME}:443"), server_hostname=WEB_NAME)
        rows = gate.wait_for_rows(3)
    assert [row.code for row in rows][1:] == ["not_inspected", "upstream_proxy_failed"]


def hello_for(name: str) -> bytes:
    """Return the record of a ClientHello for *name*."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def with_extension(record: bytes, kind: int) -> bytes:
    """Return the ClientHello in *record* with one more extension (RFC 8446 section 4.1.2)."""
    body = bytes(32)
    hello = record[9:]
    at = 34 + 1 + hello[34]
    at += 2 + int.from_bytes(hello[at : at + 2])
    at += 1 + hello[at]
    known = hello[at + 2 :]
    known = kind.to_bytes(2) + len(body).to_bytes(2) + body + known
    hello = hello[:at] + len(known).to_bytes(2) + known
    message = b"\x01" + len(hello).to_bytes(3) + hello
    return record[:3] + len(message).to_bytes(2) + message
