"""Uploads that a head decides on are answered before their end, and large ones pass by a rule."""

from __future__ import annotations

import asyncio
import json
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from harness import OTHER_NAME, WEB_NAME, InProcess
from http2_client import Answer, Http2Client, open_tls
from sinks import BLOCK, Sink, blocks, digest_of

from mitmgate.mitm.gate import Gate as GateAddon
from mitmgate.serve.waiting import Given

MEGABYTE = 1024 * 1024
POLICY = """\
version: 1
network: {resolve: {docs.upstream.example: 127.0.0.1, paste.upstream.example: 127.0.0.1}}
egress:
  rules:
    - {id: no-put, host: docs.upstream.example, methods: PUT, paths: /read, then: deny}
    - {id: small, host: docs.upstream.example, paths: /small, max_request: 1MB, then: allow}
    - {id: counted, host: docs.upstream.example, paths: /counted, max_session: 900MB,
       inspect: headers, then: allow}
    - {id: asked, host: docs.upstream.example, paths: /asked, inspect: headers, then: ask}
    - {id: large, host: docs.upstream.example, paths: [/large, /chunks], inspect: headers,
       then: allow}
    - {id: docs, host: docs.upstream.example, then: allow}
  otherwise: deny
hold: {wait: 30s, unattended: deny}
"""
OCTETS = "application/octet-stream"
TOKEN = "ghp_" + "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6"


@pytest.fixture
def web_kind() -> type[Sink]:
    return Sink


@dataclass
class Way:
    """A proxy and the server that takes uploads."""

    proxy: InProcess
    web: Sink

    def url(self, path: str, host: str = WEB_NAME) -> str:
        return f"https://{host}:{self.web.port}{path}"

    @property
    def codes(self) -> list[str]:
        return [row.code for row in self.proxy.running.pipeline.hub.rows]

    @property
    def audit(self) -> list[dict[str, Any]]:
        text = (self.proxy.running.control.parent / "audit" / "audit.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def http2(self, host: str = WEB_NAME) -> Http2Client:
        running = self.proxy.running
        where = f"{host}:{self.web.port}"
        return Http2Client(open_tls(running.listen, str(running.authority.cert_path), where))


@pytest.fixture
def way(run_proxy: Callable[..., InProcess], web: Sink) -> Way:
    return Way(run_proxy(policy=POLICY, http2=True), web)


@dataclass
class Body:
    """A body that tells how much of it was asked for."""

    size: int
    taken: int = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in blocks(self.size):
            self.taken += len(block)
            yield block


def put(way: Way, url: str, body: Body, *, declared: bool = True, method: str = "PUT",
        kind: str = OCTETS) -> httpx.Response:  # fmt: skip
    """Send *body* with httpx, in chunks where its length is not *declared*."""
    headers = {"content-type": kind}
    if declared:
        headers["content-length"] = str(body.size)
    with way.proxy.client() as client:
        return client.request(method, url, content=iter(body), headers=headers)


# sentence: path, host, method, type, megabytes, declared: the code
EARLY: dict[str, tuple[str, str, str, str, int, bool, str, int]] = {
    "a host that no rule opens": ("/", OTHER_NAME, "PUT", OCTETS, 500, True, "otherwise", 403),
    "the same, without a length": ("/", OTHER_NAME, "PUT", OCTETS, 500, False, "otherwise", 403),
    "a POST of it": ("/", OTHER_NAME, "POST", OCTETS, 500, True, "otherwise", 403),
    "a POST that is called JSON and is none": (
        "/", OTHER_NAME, "POST", "application/json", 500, False, "otherwise", 403),
    "a method that is denied": ("/read", WEB_NAME, "PUT", OCTETS, 500, True, "rule", 403),
    "more than the rule lets through": (
        "/small", WEB_NAME, "PUT", OCTETS, 500, True, "request_too_large", 413),
    "the same, known only in its middle": (
        "/small", WEB_NAME, "PUT", OCTETS, 500, False, "request_too_large", 413),
    "more than is read": ("/", WEB_NAME, "PUT", OCTETS, 500, True, "body_too_large", 413),
    "the same, known only in its middle, too": (
        "/", WEB_NAME, "PUT", OCTETS, 500, False, "body_too_large", 413),
    "no length where a rule counts": (
        "/counted", WEB_NAME, "PUT", OCTETS, 500, False, "request_too_large", 413),
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "host", "method", "kind", "size", "declared", "code", "status"),
    EARLY.values(),
    ids=EARLY,
)
def test_answered_before_its_end(
    path: str, host: str, method: str, kind: str, size: int, declared: bool, code: str,
    status: int, way: Way,
) -> None:  # fmt: skip
    body = Body(size * MEGABYTE)
    answer = put(way, way.url(path, host), body, declared=declared, method=method, kind=kind)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert body.taken < body.size
    assert way.codes == [code]
    assert way.web.connections == 0
    [decision] = [record for record in way.audit if record["type"] == "decision"]
    assert "body-unread" in decision["tags"]


def test_the_control_shows_that_the_rule_would_let_it_through(way: Way) -> None:
    body = Body(MEGABYTE)
    assert put(way, way.url("/small"), body).status_code == 200
    assert (way.web.uploads[0].size, body.taken) == (MEGABYTE, MEGABYTE)


@pytest.mark.parametrize("host", [OTHER_NAME, WEB_NAME], ids=["denied", "allowed"])
def test_who_waits_for_100_continue_gets_the_answer(host: str, way: Way) -> None:
    running, where = way.proxy.running, f"{host}:{way.web.port}"
    ca = str(running.authority.cert_path)
    with open_tls(running.listen, ca, where, alpn="http/1.1") as sock:
        sock.sendall(f"PUT /large HTTP/1.1\r\nhost: {where}\r\ncontent-length: 10\r\n"
                     "expect: 100-continue\r\n\r\n".encode())  # fmt: skip
        status = sock.recv(65536).split(b"\r\n")[0]
        if host == OTHER_NAME:
            assert status == b"HTTP/1.1 403 Forbidden"
            assert way.web.connections == 0
        else:
            assert status == b"HTTP/1.1 100 Continue"
            sock.sendall(b"0123456789")
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("host", [OTHER_NAME, WEB_NAME], ids=["denied", "allowed"])
def test_curl_reads_the_answer(host: str, version: str, way: Way, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    with file.open("wb") as out:
        out.truncate(100 * MEGABYTE)
    running = way.proxy.running
    done = subprocess.run(
        ["curl", "-sS", version, "--proxy", f"http://{running.listen}", "--cacert",
         str(running.authority.cert_path), "-H", "expect:", "-T", str(file),
         "-w", "\n%{http_code}", way.url("/large", host)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    text, _, status = done.stdout.rpartition("\n")
    if host == OTHER_NAME:
        assert (status, json.loads(text)["code"]) == ("403", "otherwise"), done.stderr
        assert way.web.connections == 0
    else:
        assert (status, done.returncode) == ("200", 0), done.stderr
        assert (way.web.uploads[0].size, way.web.uploads[0].whole) == (100 * MEGABYTE, True)


def flood(client: Http2Client, where: str, size: int, *more: tuple[str, str]) -> tuple[int, Answer]:
    """Upload blocks on one stream until all went or an answer came; return how many bytes did."""
    number = client.peer.get_next_available_stream_id()
    client.peer.send_headers(number, [(":method", "PUT"), (":scheme", "https"), *more[:1],
                                      (":authority", where), *more[1:]])  # fmt: skip
    client.answers[number] = answer = Answer()
    sent = 0
    while sent < size and not answer.ended:
        room = min(client.peer.local_flow_control_window(number), 16_000, size - sent)
        if room and not select.select([client.connection], [], [], 0)[0]:
            client.peer.send_data(number, bytes(room))
            sent += room
            client.connection.sendall(client.peer.data_to_send())
            continue
        client.connection.sendall(client.peer.data_to_send())
        for event in client.peer.receive_data(client.connection.recv(65536)):
            client._take(event)
    if not answer.ended:
        client.peer.end_stream(number)
        client.connection.sendall(client.peer.data_to_send())
        client.wait(number)
    return sent, answer


H2_EARLY: dict[str, tuple[str, str, str, int]] = {
    "a host that no rule opens": (OTHER_NAME, "/", "otherwise", 403),
    "more than the rule lets through": (WEB_NAME, "/small", "request_too_large", 413),
    "more than is read": (WEB_NAME, "/", "body_too_large", 413),
}


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "not declared"])
@pytest.mark.parametrize(("host", "path", "code", "status"), H2_EARLY.values(), ids=H2_EARLY)
def test_answered_before_its_end_in_http2(
    host: str, path: str, code: str, status: int, declared: bool, way: Way
) -> None:
    size = 100 * MEGABYTE
    client = way.http2(host)
    with client.connection:
        assert client.connection.selected_alpn_protocol() == "h2"
        length = [("content-length", str(size))] if declared else []
        where = f"{host}:{way.web.port}"
        sent, answer = flood(client, where, size, (":path", path), *length)
        assert (answer.status, json.loads(answer.body)["code"]) == (status, code)
        assert sent < size
        again = f"{WEB_NAME}:{way.web.port}"
        if host == WEB_NAME:  # the connection goes on
            assert client.wait(client.send(again, "/x"))[0].status == 200
    assert way.codes[0] == code
    assert all(upload.head.startswith(b"GET /x") for upload in way.web.uploads)


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "not declared"])
def test_a_large_upload_passes_unread_by_its_rule(declared: bool, way: Way) -> None:
    size = 80 * MEGABYTE + 7
    answer = put(way, way.url("/large"), Body(size), declared=declared)
    assert (answer.status_code, answer.text) == (200, "hello")
    [upload] = way.web.uploads
    assert (upload.size, upload.digest) == (size, digest_of(size))
    framing = b"content-length: %d" % size if declared else b"transfer-encoding: chunked"
    assert framing in upload.head.lower()
    [decision] = [record for record in way.audit if record["type"] == "decision"]
    assert (decision["verdict"], decision["rule"], decision["tags"]) == (
        "allow", "large", ["body-unread"])  # fmt: skip
    [end] = [record for record in way.audit if record["type"] == "completion"]
    assert (end["request_bytes"], end["fate"], end["detail"]) == (
        size, "answered", "body unread: request")  # fmt: skip


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "not declared"])
def test_a_large_upload_passes_in_http2(declared: bool, way: Way) -> None:
    size = 40 * MEGABYTE
    client = way.http2()
    with client.connection:
        length = [("content-length", str(size))] if declared else []
        where = f"{WEB_NAME}:{way.web.port}"
        sent, answer = flood(client, where, size, (":path", "/large"), *length)
        assert (answer.status, answer.body, sent) == (200, b"hello", size)
        assert client.wait(client.send(where, "/x"))[0].status == 200
    assert (way.web.uploads[0].size, way.web.uploads[0].whole) == (size, True)


def test_a_small_upload_by_such_a_rule_is_read_whole(way: Way) -> None:
    content = bytes(BLOCK) + TOKEN.encode()
    with way.proxy.client() as client:
        answer = client.put(way.url("/large"), content=content)
    assert (answer.status_code, answer.json()["code"]) == (403, "finding")
    assert way.web.connections == 0


LINE = json.dumps({"index": {"id": 1}}).encode() + b"\n"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}
PADDED = json.dumps({"params": {"name": "x", "pad": "a" * 70_000}}).encode()[:-1]
# sentence: how a large body begins, how it is coded, the code or None where it passes
STARTS: dict[str, tuple[bytes, str | None, str | None]] = {
    "as bytes": (BLOCK, None, None),
    "as lines of JSON": (LINE * 4000, None, None),
    "as a call of MCP": (json.dumps(CALL).encode(), None, "ambiguous_message"),
    "as a call of MCP in lines": (
        json.dumps(CALL).encode() + b"\n" + LINE * 4000,
        None,
        "ambiguous_message",
    ),
    "as JSON without an end": (PADDED, None, "ambiguous_message"),
    "as nothing but blanks": (b" " * 70_000, None, "ambiguous_message"),
    "with a secret": (TOKEN.encode() + BLOCK * 2, None, "finding"),
    "compressed": (b"\x1f\x8b\x08\0" + BLOCK * 2, "gzip", "body_too_large"),
}


@pytest.mark.parametrize(("start", "coding", "code"), STARTS.values(), ids=STARTS)
def test_what_a_large_body_may_begin_with(
    start: bytes, coding: str | None, code: str | None, way: Way
) -> None:
    size = 33 * MEGABYTE
    filled = (start * (70_000 // len(start) + 1) if code == "ambiguous_message" and b"\n" in start
              else start + b" " * (70_000 - len(start)) if code == "ambiguous_message"
              else start)  # fmt: skip

    def content() -> Iterator[bytes]:
        yield filled
        left = size - len(filled)
        while left > 0:
            yield BLOCK[:left]
            left -= len(BLOCK)

    headers = {"content-length": str(size)} | ({"content-encoding": coding} if coding else {})
    with way.proxy.client() as client:
        answer = client.post(way.url("/large"), content=content(), headers=headers)
    if code is None:
        assert (answer.status_code, way.web.uploads[0].size) == (200, size)
    else:
        assert (answer.json()["code"], way.web.connections) == (code, 0)


def test_nobody_is_asked_where_nobody_is_there(way: Way) -> None:
    answer = put(way, way.url("/asked"), Body(40 * MEGABYTE))
    assert (answer.status_code, answer.json()["code"]) == (403, "rule")
    assert way.web.connections == 0


def test_a_server_that_refuses_an_upload_is_heard(way: Way) -> None:
    way.web.early = b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nmuch"
    answer = put(way, way.url("/large"), Body(300 * MEGABYTE))
    assert (answer.status_code, answer.text) == (413, "much")
    [end] = [record for record in way.audit if record["type"] == "completion"]
    assert (end["status"], end["fate"]) == (413, "answered")


class Kept(GateAddon):
    """A gate that is looked into."""

    made: list[Kept]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.loop = asyncio.get_running_loop()
        self.made.append(self)


@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_an_upload_that_waits_in_http2_holds_no_other_stream(
    answer: Literal["allow", "deny"], run_proxy: Callable[..., InProcess], web: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Kept, "made", [], raising=False)
    policy = POLICY.replace("unattended: deny", "unattended: wait")
    way = Way(run_proxy(Kept, policy=policy, http2=True), web)
    client, where, left = way.http2(), f"{WEB_NAME}:{web.port}", 33 * MEGABYTE
    number = client.peer.get_next_available_stream_id()
    head = [(":method", "PUT"), (":scheme", "https"), (":authority", where), (":path", "/asked"),
            ("content-length", str(left))]  # fmt: skip
    client.peer.send_headers(number, head)
    client.answers[number] = told = Answer()

    def fill() -> int:
        sent = 0
        while room := min(client.peer.local_flow_control_window(number), 16_000, left - sent):
            client.peer.send_data(number, bytes(room))
            sent += room
        client.connection.sendall(client.peer.data_to_send())
        return sent

    with client.connection:
        for _ in range(50):  # of at most 256 KiB
            left -= fill()
            assert client.wait(client.send(where, "/x"))[0].status == 200
        assert left > 32 * MEGABYTE
        pipeline = way.proxy.running.pipeline
        [key] = pipeline.pending
        Kept.made[0].loop.call_soon_threadsafe(pipeline.answer, key, Given(answer, "console"))
        while left and not told.ended:
            left -= fill()
            for event in client.peer.receive_data(client.connection.recv(65536)):
                client._take(event)
        if answer == "allow":
            client.peer.end_stream(number)
            client.connection.sendall(client.peer.data_to_send())
            client.wait(number)
        assert told.status == (200 if answer == "allow" else 403)
        assert client.wait(client.send(where, "/x"))[0].status == 200
    whole = [upload.size for upload in web.uploads if b" /asked " in upload.head]
    assert whole == ([33 * MEGABYTE] if answer == "allow" else [])


def test_what_follows_an_answer_that_came_early_ends_without_trailers(
    run_proxy: Callable[..., InProcess], web: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Kept, "made", [], raising=False)
    way = Way(run_proxy(Kept, policy=POLICY), web)
    way.web.early = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    running, where = way.proxy.running, f"{WEB_NAME}:{way.web.port}"
    ca = str(running.authority.cert_path)
    with open_tls(running.listen, ca, where, alpn="http/1.1") as sock:
        sock.sendall(f"PUT /large HTTP/1.1\r\nhost: {where}\r\ntrailer: x-key\r\n"
                     "transfer-encoding: chunked\r\n\r\n".encode())  # fmt: skip
        for _ in range(33 * 16 + 1):
            sock.sendall(b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
        sock.sendall(b"0\r\nx-key: " + TOKEN.encode() + b"\r\n\r\n")
        [upload] = way.web.uploads
        with way.web.came:
            assert way.web.came.wait_for(lambda: upload.last.endswith(b"\r\n\r\n"), timeout=20)
        assert upload.last.endswith(b"\r\n0\r\n\r\n")
    [gate] = Kept.made
    assert not gate._tracks


def test_a_server_that_leaves_in_the_middle_is_told(way: Way) -> None:
    way.web.early = b"\0\r\n\r\n"  # no HTTP
    answer = put(way, way.url("/large"), Body(300 * MEGABYTE))
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_failed")


def test_a_client_that_leaves_in_the_middle_leaves_nothing(way: Way) -> None:
    running, where = way.proxy.running, f"{WEB_NAME}:{way.web.port}"
    ca = str(running.authority.cert_path)
    with open_tls(running.listen, ca, where, alpn="http/1.1") as sock:
        sock.sendall(f"PUT /large HTTP/1.1\r\nhost: {where}\r\n"
                     f"content-length: {50 * MEGABYTE}\r\n\r\n".encode() + BLOCK * 2)  # fmt: skip
        way.web.wait_for_uploads(1)
    put(way, way.url("/large/x"), Body(10))
    ends = [record["fate"] for record in way.audit if record["type"] == "completion"]
    assert ends == ["client_left", "answered"]
    assert not way.web.uploads[0].whole


def broken(name: str) -> type[GateAddon]:
    """Return a gate where *name* fails."""

    def fail(*_: object) -> None:
        raise RuntimeError(name)

    return type("Broken", (GateAddon,), {name: fail})


@pytest.mark.parametrize("name", ["large_body", "reads_until"])
def test_nothing_passes_unread_where_the_gate_fails(
    name: str, run_proxy: Callable[..., InProcess], web: Sink
) -> None:
    way = Way(run_proxy(broken(name), policy=POLICY), web)
    body = Body(300 * MEGABYTE)
    answer = put(way, way.url("/large"), body)
    assert (answer.status_code, answer.json()["code"]) == (502, "internal_error")
    assert body.taken < body.size
    assert web.connections == 0


def test_no_answer_passes_unread_where_the_gate_fails(
    run_proxy: Callable[..., InProcess], web: Sink
) -> None:
    way = Way(run_proxy(broken("large_body"), policy=POLICY), web)
    web.kind = b"text/plain"
    with way.proxy.client() as client:
        answer = client.get(way.url(f"/chunks/{40 * MEGABYTE}"))
    assert (answer.status_code, answer.json()["code"]) == (502, "internal_error")
