"""What is larger than memory passes in bounded memory where its rule says ``inspect: headers``.

A gigabyte comes down; up goes a quarter of one, and a gigabyte in `make soak`.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import WEB_NAME, Gate, InProcess
from http2_client import open_tls
from sinks import BLOCK, Sink, digest_of

MEGABYTE = 1024 * 1024
MOST = 48 * MEGABYTE  # that the process may grow
POLICY = """\
version: 1
network: {resolve: {docs.upstream.example: 127.0.0.1}}
egress:
  rules:
    - {id: read, host: docs.upstream.example, methods: [GET, PUT], paths: /read, then: allow}
    - {id: large, host: docs.upstream.example, inspect: headers, then: allow}
hold: {wait: 30s, unattended: deny}
"""


@pytest.fixture
def web_kind() -> type[Sink]:
    return Sink


@pytest.fixture
def size(request: pytest.FixtureRequest) -> int:
    """Return how many bytes go up."""
    deep = request.config.getoption("--hypothesis-profile") == "deep"
    return (1024 if deep else 256) * MEGABYTE


@dataclass
class Measured:
    """A gate in a process of its own, and the memory that it has."""

    gate: Gate
    web: Sink

    def memory(self, name: str) -> int:
        """Return VmRSS or VmHWM in bytes (proc(5))."""
        text = Path(f"/proc/{self.gate.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024

    def grown(self, work: Callable[[], None]) -> int:
        """Return by how many bytes the process was larger at most during *work*."""
        Path(f"/proc/{self.gate.process.pid}/clear_refs").write_text("5")  # the peak, anew
        before = self.memory("VmRSS")
        work()
        return self.memory("VmHWM") - before

    def open(self) -> ssl.SSLSocket:
        where = f"{WEB_NAME}:{self.web.port}"
        return open_tls(f"127.0.0.1:{self.gate.port}", self.gate.ready["ca"], where,
                        alpn="http/1.1")  # fmt: skip

    def get(self, path: str) -> tuple[bytes, int]:
        """Return the head of an answer, and how many bytes followed."""
        with self.open() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nhost: {WEB_NAME}:{self.web.port}\r\n"
                         "connection: close\r\n\r\n".encode())  # fmt: skip
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(65536)
            head, _, rest = head.partition(b"\r\n\r\n")
            came, space = len(rest), bytearray(1 << 16)
            while got := sock.recv_into(space):
                came += got
        return head, came

    def put(self, path: str, size: int) -> bytes:
        """Upload so many bytes, return the answer."""
        with self.open() as sock:
            host = f"{WEB_NAME}:{self.web.port}"
            sock.sendall(f"PUT {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n"
                         f"content-length: {size}\r\n\r\n".encode())  # fmt: skip
            left = size
            while left:
                sock.sendall(BLOCK[:left])
                left -= len(BLOCK[:left])
            return sock.recv(65536)


@pytest.fixture
def measured(start_gate: Callable[..., Gate], web: Sink) -> Measured:
    found = Measured(start_gate(POLICY), web)
    for _ in range(3):  # what is compiled at the first search of each thread stays
        found.get(f"/down/{40 * MEGABYTE}")
        found.put("/x", 40 * MEGABYTE)
    return found


def test_a_download_passes_in_bounded_memory(measured: Measured) -> None:
    size = 1024 * MEGABYTE
    found: list[tuple[bytes, int]] = []
    grown = measured.grown(lambda: found.append(measured.get(f"/down/{size}")))
    [(head, came)] = found
    assert head.startswith(b"HTTP/1.1 200")
    assert came == size
    assert grown < MOST
    end = next(r for r in reversed(measured.gate.audit()) if r["type"] == "completion")
    assert (end["response_bytes"], end["detail"]) == (size, "body unread: answer")


def test_an_upload_passes_in_bounded_memory(measured: Measured, size: int) -> None:
    found: list[bytes] = []
    grown = measured.grown(lambda: found.append(measured.put("/up", size)))
    assert found[0].startswith(b"HTTP/1.1 200")
    assert (measured.web.uploads[-1].size, measured.web.uploads[-1].digest) == (
        size, digest_of(size))  # fmt: skip
    assert grown < MOST


def test_what_is_denied_in_its_middle_takes_no_memory(measured: Measured, size: int) -> None:
    def upload() -> None:
        with pytest.raises((OSError, ssl.SSLError)):  # nobody reads to its end
            measured.put("/read", size)

    before = len(measured.web.uploads)
    assert measured.grown(upload) < MOST
    assert [record["code"] for record in measured.gate.decisions(rule="body_too_large")] == [
        "body_too_large"]  # fmt: skip
    assert len(measured.web.uploads) == before


TEXT, OCTETS = b"text/plain", b"application/octet-stream"
# sentence: path, type, megabytes, the status, the completion's detail
ANSWERS: dict[str, tuple[str, bytes, int, int, str | None]] = {
    "large": ("/down", OCTETS, 40, 200, "body unread: answer"),
    "large text": ("/down", TEXT, 40, 200, "body unread: answer"),
    "large, without a length": ("/chunks", OCTETS, 40, 200, "body unread: answer"),
    "large text, without a length": ("/chunks", TEXT, 40, 200, "body unread: answer"),
    "small, without a length": ("/chunks", OCTETS, 1, 200, "body unread: answer"),
    "small": ("/down", OCTETS, 1, 200, None),
    "small text, without a length": ("/chunks", TEXT, 1, 200, None),
}  # fmt: skip


@pytest.fixture
def proxy(run_proxy: Callable[..., InProcess]) -> InProcess:
    return run_proxy(policy=POLICY)


def completions(proxy: InProcess) -> list[dict[str, Any]]:
    text = (proxy.running.control.parent / "audit" / "audit.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if record["type"] == "completion"]


@pytest.mark.parametrize(("path", "kind", "size", "status", "detail"), ANSWERS.values(),
                         ids=ANSWERS)  # fmt: skip
def test_answers(
    path: str, kind: bytes, size: int, status: int, detail: str | None, proxy: InProcess, web: Sink
) -> None:
    web.kind = kind
    answer = proxy.get(f"https://{WEB_NAME}:{web.port}{path}/{size * MEGABYTE}")
    assert (answer.status_code, len(answer.content)) == (status, size * MEGABYTE)
    assert hashlib.sha256(answer.content).hexdigest() == digest_of(size * MEGABYTE)
    [end] = completions(proxy)
    assert (end["response_bytes"], end["detail"]) == (size * MEGABYTE, detail)


@pytest.mark.parametrize("path", ["/down", "/chunks"])
def test_without_such_a_rule_a_large_answer_is_refused(
    path: str, run_proxy: Callable[..., InProcess], web: Sink
) -> None:
    proxy = run_proxy(policy=POLICY.replace(", inspect: headers", ""))
    answer = proxy.get(f"https://{WEB_NAME}:{web.port}{path}/{70 * MEGABYTE}")
    assert answer.json()["code"] == "body_too_large"


def test_an_endless_answer_passes_as_it_comes(proxy: InProcess, web: Sink) -> None:
    web.answer = (b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
                  b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")  # fmt: skip
    with proxy.client() as client, client.stream("GET", f"https://{WEB_NAME}:{web.port}/") as got:
        assert next(got.iter_raw()) == b"first"


def test_a_head_is_judged_though_its_body_passes(proxy: InProcess, web: Sink) -> None:
    secret = b"ghp_" + b"aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6"
    web.kind = b"application/octet-stream\r\nx-key: " + secret
    answer: httpx.Response = proxy.get(f"https://{WEB_NAME}:{web.port}/down/{40 * MEGABYTE}")
    rows = proxy.running.pipeline.hub.rows
    assert any(row.kind == "answer" and row.findings for row in rows), answer.status_code


@pytest.mark.parametrize("path", ["/down", "/chunks"])
def test_nobody_is_asked_about_what_passes_unread(
    path: str, run_proxy: Callable[..., InProcess], web: Sink
) -> None:
    proxy = run_proxy(policy=POLICY.replace("unattended: deny", "unattended: wait"),
                      injection="ask}, secrets: {egress_response: ask")  # fmt: skip
    web.kind = b"application/octet-stream\r\nx-key: ghp_" + b"aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6"
    with proxy.client() as client:
        for _ in range(5):  # what comes of the body says nothing more to the client
            answer = client.get(f"https://{WEB_NAME}:{web.port}{path}/{40 * MEGABYTE}")
            assert (answer.status_code, answer.json()["code"]) == (403, "finding")
    assert not proxy.running.pipeline.pending
    assert [row.code for row in proxy.running.pipeline.hub.rows] == ["rule", "finding"] * 5
