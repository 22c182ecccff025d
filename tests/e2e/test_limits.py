"""What one client or server sends, or does not send, is bounded: with real sockets."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import WEB_NAME, InProcess, Web

from mitmgate.mitm import clients, http1

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
