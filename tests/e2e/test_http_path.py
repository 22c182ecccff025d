"""What no hook of mitmproxy sees is refused with a code and recorded; the odd but legal passes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from harness import OTHER_NAME, WEB_NAME, InProcess, Web, serving_tls
from http2_client import open_tls

from mitmgate.mitm.gate import Gate
from mitmgate.mitm.heads import HEAD_BYTES

HERE = f"host: {WEB_NAME}:PORT\r\n"
CLOSE = "connection: close\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"


@dataclass
class Way:
    """A proxy, and plain sockets to it and into tunnels."""

    proxy: InProcess
    web: Web

    def fill(self, text: str | bytes) -> bytes:
        raw = text if isinstance(text, bytes) else text.encode("latin-1")
        return raw.replace(b"PORT", str(self.web.port).encode())

    def talk(self, text: str | bytes, *, tunnel: bool = True) -> bytes:
        """Send *text*, return all that comes until the connection ends."""
        where = f"{WEB_NAME}:{self.web.port}"
        running = self.proxy.running
        sock: socket.socket
        if tunnel:
            sock = open_tls(running.listen, str(running.authority.cert_path), where,
                            alpn="http/1.1")  # fmt: skip
        else:
            host, _, port = running.listen.rpartition(":")
            sock = socket.create_connection((host, int(port)), timeout=20)
        with sock:
            sock.sendall(self.fill(text))
            return b"".join(iter(lambda: sock.recv(65536), b""))

    @property
    def codes(self) -> list[str]:
        return [row.code for row in self.proxy.running.pipeline.hub.rows]


@pytest.fixture
def path(run_proxy: Callable[..., InProcess], web: Web) -> Way:
    return Way(run_proxy(), web)


def problem_in(answer: bytes) -> tuple[int, str]:
    """Return status and code of the problem document in *answer*."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head.lower(), answer[:300]
    return int(head.split()[1]), json.loads(body)["code"]


LONG = "a" * HEAD_BYTES
# In a tunnel, inside TLS.
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a chunk without a length": (
        f"POST / HTTP/1.1\r\n{HERE}{CHUNKED}\r\nzz\r\n", "malformed_request"),
    "a target with user information": (
        f"GET https://{WEB_NAME}@{OTHER_NAME}/ HTTP/1.1\r\n{HERE}\r\n", "bad_authority"),
    "a head without end": (f"GET / HTTP/1.1\r\n{HERE}a: {LONG}{LONG}", "head_too_large"),
    "a head that is too large": (
        f"GET / HTTP/1.1\r\n{HERE}a: {LONG}\r\n\r\n", "head_too_large"),
    "a chunk extension without end": (
        f"POST / HTTP/1.1\r\n{HERE}{CHUNKED}\r\n1;{LONG}{LONG}", "malformed_request"),
    "a trailer that belongs into the head": (
        f"POST / HTTP/1.1\r\n{HERE}{CLOSE}{CHUNKED}\r\n1\r\na\r\n0\r\nauthorization: b\r\n\r\n",
        "malformed_request"),
    "a trailer that is a header too": (
        f"POST / HTTP/1.1\r\n{HERE}{CLOSE}{CHUNKED}x-a: 1\r\n\r\n1\r\na\r\n0\r\nx-a: 2\r\n\r\n",
        "malformed_request"),
    "a body that is declared too large": (
        f"POST / HTTP/1.1\r\n{HERE}content-length: 99999999\r\n\r\nabc", "body_too_large"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_with_a_code(text: str | bytes, code: str, path: Way) -> None:
    status, found = problem_in(path.talk(text))
    assert (found, 400 <= status < 500) == (code, True)
    assert path.codes == [code]
    assert path.proxy.running.pipeline.hub.rows[0].host == WEB_NAME
    assert path.web.connections == 0


def test_a_request_without_a_tunnel_that_names_no_host(path: Way) -> None:
    answer = path.talk("GET / HTTP/1.1\r\na: b\r\n\r\n", tunnel=False)
    assert problem_in(answer)[1] == "bad_authority"
    assert path.codes == ["bad_authority"]
    assert path.web.connections == 0


def test_a_body_that_grows_too_large(run_proxy: Callable[..., InProcess], web: Web) -> None:
    path = Way(run_proxy(options=("body_size_limit=1k",)), web)
    chunks = "400\r\n" + "a" * 1024 + "\r\n"
    answer = path.talk(f"POST / HTTP/1.1\r\n{HERE}{CHUNKED}\r\n{chunks * 3}")
    assert problem_in(answer) == (413, "body_too_large")
    assert path.codes == ["body_too_large"]
    assert web.connections == 0


def test_the_answer_to_mcp_that_is_too_large_is_one_of_mcp(
    run_proxy: Callable[..., InProcess], web: Web
) -> None:
    running = run_proxy(port_of_mcp=web.port, options=("body_size_limit=1k",))
    with running.client() as client:
        url = f"https://mcp.upstream.example:{web.port}/mcp"
        answer = client.post(url, content=b"{" * 5000, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
    assert web.connections == 0


# What a client sends, and what the server must read.
PASSED: dict[str, tuple[str, bytes]] = {
    "HTTP/1.0 with a Host": (f"GET /a HTTP/1.0\r\n{HERE}\r\n", b"GET /a HTTP/1.0\r\n"),
    "HTTP/1.0 without a Host": ("GET /a HTTP/1.0\r\n\r\n", b"\r\nHost: " + WEB_NAME.encode()),
    "HTTP/1.0 that expects an interim answer": (
        "POST /a HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\na", b"\r\n\r\na"),
    "trailers": (
        f"POST /a HTTP/1.1\r\n{HERE}{CLOSE}{CHUNKED}\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n",
        b"\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n"),
    "empty lines before a request": (f"\r\n\r\nGET /a HTTP/1.1\r\n{HERE}{CLOSE}\r\n", b"GET /a "),
}  # fmt: skip


class Reader(Web):
    """Reads until its client is done, as it answers at once: the test looks at the bytes."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        seen = b""
        try:
            while b"\r\n\r\n" not in seen or not self.whole(seen):
                data = await reader.read(65536)
                if not data:
                    break
                seen += data
            with self.came:
                self.requests.append(seen)
                self.came.notify_all()
            writer.write(self.answer)
            await writer.drain()
            await reader.read()
        except OSError:
            pass
        finally:
            writer.close()

    def whole(self, seen: bytes) -> bool:
        head, _, body = seen.lower().partition(b"\r\n\r\n")
        if b"chunked" in head:
            return body.endswith(b"\r\n\r\n") and b"0\r\n" in body
        return b"content-length: 1" not in head or len(body) == 1


@pytest.fixture
def reader(pki: tuple[Path, Path]) -> Iterator[Reader]:
    server = Reader()
    with serving_tls(server, pki[1]):
        yield server


@pytest.mark.parametrize(("text", "reads"), PASSED.values(), ids=PASSED)
def test_passed_on(
    text: str, reads: bytes, run_proxy: Callable[..., InProcess], reader: Reader
) -> None:
    path = Way(run_proxy(), reader)
    answer = path.talk(text)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert answer.endswith(b"hello")
    assert reads in reader.requests[0]


SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
ANSWER = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
# What a server sends, and what the client reads of it.
ANSWERS: dict[str, tuple[bytes, int, bytes]] = {
    "early hints": (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + PLAIN_ANSWER, 200, b"hello"),
    "many interim answers": (
        b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + PLAIN_ANSWER, 200, b"hello"),
    "trailers": (ANSWER + b"x-sum: 1\r\n\r\n", 200, b"0\r\nx-sum: 1\r\n\r\n"),
    "a trailer that belongs into the head": (
        ANSWER + b"set-cookie: a=b\r\n\r\n", 502, b"malformed_answer"),
    "interim answers without end": (
        b"HTTP/1.1 102 Processing\r\n\r\n" * 40 + PLAIN_ANSWER, 502, b"upstream_failed"),
    "another protocol, unasked": (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhi",
        502, b"upstream_failed"),
    "no answer of HTTP": (b"hello\r\n\r\n", 502, b"upstream_failed"),
    "a version that is none": (
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", 502, b"upstream_failed"),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", 502,
        b"upstream_failed"),
    "a head without end": (
        b"HTTP/1.1 200 OK\r\na: " + b"a" * 3 * HEAD_BYTES, 502, b"upstream_failed"),
    "chunks that are none": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 502, b"upstream_failed"),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status", "reads"), ANSWERS.values(), ids=ANSWERS)
def test_answers(sent: bytes, status: int, reads: bytes, path: Way) -> None:
    path.web.answer = sent
    answer = path.talk(f"GET / HTTP/1.1\r\n{HERE}{CLOSE}\r\n")
    assert int(answer.split()[1]) == status, answer
    assert reads in answer
    assert b"103" not in answer.split(b"\r\n")[0]


def test_a_client_of_http10_gets_no_chunks(path: Way) -> None:
    path.web.answer = ANSWER + b"\r\n"
    answer = path.talk(f"GET / HTTP/1.0\r\n{HERE}\r\n")
    assert answer.endswith(b"\r\n\r\nhello")
    assert b"chunked" not in answer


class Leaving(Web):
    """Closes the connection in the middle of its answer, or before it."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b" /half" in head:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello")
        writer.close()


@pytest.mark.parametrize("web_kind", [Leaving])
@pytest.mark.parametrize("where", ["/half", "/nothing"])
def test_a_server_that_leaves_is_told_of(where: str, path: Way) -> None:
    answer = path.talk(f"GET {where} HTTP/1.1\r\n{HERE}{CLOSE}\r\n")
    assert problem_in(answer) == (502, "upstream_failed")


def test_a_secret_in_a_trailer_goes_nowhere(path: Way) -> None:
    text = f"POST / HTTP/1.1\r\n{HERE}{CLOSE}{CHUNKED}\r\n1\r\na\r\n0\r\nx-note: {SECRET}\r\n\r\n"
    assert problem_in(path.talk(text))[1] == "finding"
    assert path.web.connections == 0


class Looked(Gate):
    """Looks names up, which the policy gives addresses for otherwise."""

    async def server_connect(self, data: Any) -> None:
        judge = self._core.judge
        loopback = (ip_network("127.0.0.0/8"),)
        judge.policy = replace(judge.policy, static_names={}, private_networks=loopback)
        await super().server_connect(data)


# The addresses of a name, then the code of the answer, None: it is the server's.
ADDRESSES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "the first ones are dead": (("127.0.0.2", "127.0.0.3", "127.0.0.1"), None),
    "all are dead": (("127.0.0.2", "127.0.0.3"), "upstream_failed"),
    "the last one may not be dialled": (("127.0.0.2", "10.0.0.1"), "private_address"),
    "too many are dead": ((*(f"127.0.0.{n}" for n in range(2, 9)), "127.0.0.1"), "upstream_failed"),
}


@pytest.mark.parametrize(("addresses", "code"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_next_address_is_dialled_when_one_is_dead(
    addresses: tuple[str, ...], code: str | None, run_proxy: Callable[..., InProcess], web: Web
) -> None:
    looked: list[str] = []

    async def resolver(host: str, _: int) -> tuple[str, ...]:
        looked.append(host)
        return addresses

    proxy = run_proxy(lambda core, _, own: Looked(core, resolver, own))
    answer = proxy.get(f"https://{WEB_NAME}:{web.port}/")
    assert (answer.json()["code"] if code else answer.text) == (code or "hello")
    assert looked == [WEB_NAME]
    assert web.connections == (code is None)
