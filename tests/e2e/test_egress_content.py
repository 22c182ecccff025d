"""What egress carries, through real sockets: denied with its code, and the server gets nothing."""

from __future__ import annotations

import base64
import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from harness import OTHER_NAME, WEB_NAME, Gate, Web

KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
FORM = {"content-type": "multipart/form-data; boundary=b"}
POLICY = f"""\
version: 1
network:
  resolve: {{{WEB_NAME}: 127.0.0.1, {OTHER_NAME}: 127.0.0.1}}
egress:
  rules:
    - {{id: small, host: {OTHER_NAME}, then: allow, max_session: 3KB}}
    - {{id: docs, host: {WEB_NAME}, then: allow}}
hold: {{wait: 10s, unattended: deny}}
"""


@pytest.fixture
def gate(start_gate: Callable[..., Gate], web: Web) -> Gate:
    del web  # it ends after the proxy
    return start_gate(POLICY)


@pytest.fixture
def client(gate: Gate) -> Iterator[httpx.Client]:
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    where = f"http://127.0.0.1:{gate.port}"
    with httpx.Client(proxy=where, verify=trust, trust_env=False, timeout=30) as client:
        yield client


def part(head: bytes, body: bytes) -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + body + b"\r\n--b--\r\n"


def url(web: Web, target: str = "/", name: str = WEB_NAME) -> str:
    return f"https://{name}:{web.port}{target}"


REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "DNS over HTTPS": (
        {"method": "GET", "headers": {"accept": "application/dns-message"}}, "dns_over_https"),
    "a POST of DNS over HTTPS": (
        {"method": "POST", "headers": {"content-type": "application/dns-message"},
         "content": b"\0" * 40}, "dns_over_https"),
    "a secret in a part in base64": (
        {"method": "POST", "headers": FORM, "content": part(
            b"Content-Transfer-Encoding: base64", base64.encodebytes(f"k {KEY}".encode()))},
        "finding"),
    "a secret in a part in gzip": (
        {"method": "POST", "headers": FORM, "content": part(
            b"Content-Encoding: gzip", gzip.compress(KEY.encode()))}, "finding"),
    "parts that cannot be told apart": (
        {"method": "POST", "headers": {"content-type": "multipart/mixed"},
         "content": part(b"A: b", b"c")}, "malformed_multipart"),
}  # fmt: skip
CONTROLS: dict[str, dict[str, Any]] = {
    "a page": {"method": "GET", "headers": {"accept": "text/html"}},
    "a part in base64": {"method": "POST", "headers": FORM, "content": part(
        b"Content-Transfer-Encoding: base64", base64.encodebytes(b"words"))},
}  # fmt: skip


@pytest.mark.parametrize(("sent", "code"), REQUESTS.values(), ids=REQUESTS)
def test_it_is_denied_and_nobody_is_dialled(
    sent: dict[str, Any], code: str, client: httpx.Client, web: Web, gate: Gate
) -> None:
    answer = client.request(url=url(web), **sent)
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (told["code"], told["status"], told["retry"]) == (code, answer.status_code, False)
    assert (told["host"], told["id"]) == (WEB_NAME, gate.decisions()[-1]["id"])
    assert web.connections == 0


@pytest.mark.parametrize("sent", CONTROLS.values(), ids=CONTROLS)
def test_the_like_of_it_passes(sent: dict[str, Any], client: httpx.Client, web: Web) -> None:
    assert client.request(url=url(web), **sent).text == "hello"
    assert len(web.requests) == 1


def test_a_secret_in_pieces_is_stopped_before_its_last_one_goes_out(
    client: httpx.Client, web: Web, gate: Gate
) -> None:
    pieces = [KEY[:7], KEY[7:14], KEY[14:]]
    answers = [client.get(url(web, f"/pixel.png?d={piece}")) for piece in pieces]
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    assert answers[-1].json()["code"] == "finding"
    assert len(web.requests) == 2
    assert all(piece not in json.dumps(gate.audit()) for piece in pieces)


def test_a_budget_is_spent_and_the_rule_is_named(client: httpx.Client, web: Web) -> None:
    answers = [
        client.post(url(web, "/", OTHER_NAME), content=b"word " * 200) for _ in range(3)
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [200, 200, 403]
    told = answers[-1].json()
    assert (told["code"], told["rule"], told["host"]) == ("session_budget", "small", OTHER_NAME)
    assert len(web.requests) == 2
    assert client.get(url(web)).text == "hello"
