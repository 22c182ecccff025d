"""A denial as a client reads it: one document to a CONNECT, inside TLS and without a tunnel."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from bypass import BOTH, HERE, HTTP1, HTTP2, Ground, Sent, Told, grounds, read_answer
from harness import OTHER_NAME, WEB_NAME

POLICY = f"""\
version: 1
contact: "the platform team, #egress"
network: {{allow_private: [127.0.0.0/8]}}
egress:
  rules:
    - {{id: no-pastes, host: {OTHER_NAME}, then: deny, reason: Nothing is pasted from here.}}
    - {{id: docs, host: {WEB_NAME}, ports: [TLS, PLAIN], then: allow}}
"""
# As in POLICY, but a rule before it leaves the tunnel to the host open.
OPEN = f"    - {{id: open, host: {OTHER_NAME}, paths: /open, then: allow}}\n"
LATER = POLICY.replace("  rules:\n", f"  rules:\n{OPEN}")
MEMBERS = {
    "type", "title", "status", "detail", "code", "host", "rule", "id", "retry", "advice", "contact",
}  # fmt: skip

# What CONNECT names, then status, code, host and rule.
TUNNELS: dict[str, tuple[str, int, str, str, str]] = {
    "a host that a rule denies": (f"{OTHER_NAME}:443", 403, "rule", OTHER_NAME, "no-pastes"),
    "a port that no rule opens": (f"{WEB_NAME}:25", 403, "port", WEB_NAME, "connect_port"),
    "a port that no rule opens at an address": (
        "[2001:db8::1]:22", 403, "port", "2001:db8::1", "connect_port"),
    "a host that is none": ("2130706433:443", 400, "bad_authority", "", "bad_authority"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(pki: tuple[Path, Path]) -> Iterator[Ground]:
    with grounds(POLICY, pki) as ground:
        yield ground


def where(ground: Ground) -> tuple[str, int]:
    host, _, port = ground.running.listen.rpartition(":")
    return host, int(port)


def connect_to(sock: socket.socket, target: str) -> Told:
    sock.sendall(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
    return read_answer(sock, method="CONNECT")


def stable(problem: dict[str, Any]) -> dict[str, Any]:
    """Return what does not depend on when it was asked."""
    assert set(problem) == MEMBERS
    return {name: value for name, value in problem.items() if name != "id"}


@pytest.mark.parametrize(
    ("target", "status", "code", "host", "rule"), TUNNELS.values(), ids=TUNNELS
)
def test_a_denied_tunnel(
    target: str, status: int, code: str, host: str, rule: str, ground: Ground
) -> None:
    told = ground.assert_denied(Sent(connect=target), code)
    problem = stable(told.problem)
    assert (told.status, problem["status"], problem["retry"]) == (status, status, False)
    assert (problem["code"], problem["host"], problem["rule"]) == (code, host, rule)
    assert problem["contact"] == "the platform team, #egress"
    assert problem["title"] == "Stopped by mitmgate"
    assert "ask the operator" in problem["advice"]
    assert told.headers["content-length"] == str(len(told.body))


def test_the_reason_of_a_rule_is_told(ground: Ground) -> None:
    told = ground.assert_denied(Sent(connect=f"{OTHER_NAME}:443"), "rule")
    assert "Nothing is pasted from here." in told.problem["detail"]


def test_a_tunnel_that_is_allowed(ground: Ground) -> None:
    for protocol in BOTH:
        ground.assert_arrives(Sent(), protocol)


def test_the_document_is_the_same_everywhere(ground: Ground) -> None:
    target = f"{OTHER_NAME}:443"
    tunnel = ground.assert_denied(Sent(connect=target), "rule")
    plain = Sent(OTHER_NAME, f"http://{OTHER_NAME}/", connect="")
    told = [ground.assert_denied(plain, "rule")]
    with ground.ruled(LATER):  # the tunnel may open: what is asked for inside is denied
        inside = Sent(OTHER_NAME, connect=target)
        told += [ground.assert_denied(inside, "rule", protocol) for protocol in BOTH]
    documents = [stable(one.problem) for one in (tunnel, *told)]
    assert documents == [documents[0]] * 4
    kinds = {one.headers["content-type"] for one in (tunnel, *told)}
    assert kinds == {"application/problem+json"}


def test_inside_tls_of_a_host_without_a_rule(ground: Ground) -> None:
    for protocol in BOTH:
        sent = Sent("mail.example", connect="mail.example:443")
        problem = stable(ground.assert_denied(sent, "otherwise", protocol).problem)
        assert (problem["host"], problem["rule"]) == ("mail.example", "otherwise")
        assert (problem["status"], problem["retry"]) == (403, False)
        assert problem["contact"] == "the platform team, #egress"


HEADS: dict[str, tuple[Sent, str]] = {
    "inside TLS": (Sent("mail.example", method="HEAD", connect="mail.example:443"), HTTP1),
    "over HTTP/2": (Sent("mail.example", method="HEAD", connect="mail.example:443"), HTTP2),
    "without a tunnel": (
        Sent("mail.example", "http://mail.example/", method="HEAD", connect=""), HTTP1),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "protocol"), HEADS.values(), ids=HEADS)
def test_a_denied_head_has_no_body(sent: Sent, protocol: str, ground: Ground) -> None:
    told = ground.assert_denied(sent, "otherwise", protocol)
    assert (told.status, told.body) == (403, b"")
    assert told.headers["content-type"] == "application/problem+json"
    ground.assert_arrives(Sent(method="HEAD"), protocol)


def test_the_connection_goes_on_after_a_denied_head(ground: Ground) -> None:
    head = Sent("x.example", method="HEAD").as_http1()
    with closing(ground.tunnel()) as sock:
        for _ in range(2):
            sock.sendall(ground.fill(head, ground.web.port))
            assert read_answer(sock, method="HEAD").status == 421
        sock.sendall(ground.fill(Sent().as_http1(), ground.web.port))
        told = read_answer(sock)
    assert (told.status, told.body) == (200, b"hello")


def test_the_connection_goes_on_after_a_denied_tunnel(ground: Ground) -> None:
    with socket.create_connection(where(ground), timeout=20) as sock:
        assert connect_to(sock, f"{OTHER_NAME}:443").problem["code"] == "rule"
        sock.sendall(b"GET http://mail.example/ HTTP/1.1\r\nhost: mail.example\r\n\r\n")
        told = read_answer(sock)
    assert (told.status, told.problem["code"]) == (403, "otherwise")


def test_as_httpx_reads_it(ground: Ground) -> None:
    trust = ssl.create_default_context(cafile=str(ground.running.authority.cert_path))
    proxy = f"http://{ground.running.listen}"
    with httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=20) as client:
        with pytest.raises(httpx.ProxyError, match="403"):
            client.get(f"https://{OTHER_NAME}/")
        problem = client.get("https://mail.example/")
        assert (problem.status_code, problem.json()["code"]) == (403, "otherwise")
        fine = client.get(f"https://{HERE.replace('PORT', str(ground.web.port))}/")
    assert fine.text == "hello"


def test_as_the_standard_library_reads_it(ground: Ground) -> None:
    host, port = where(ground)
    connection = http.client.HTTPSConnection(host, port, timeout=20)
    connection.set_tunnel(OTHER_NAME, 443)
    with closing(connection), pytest.raises(OSError, match="403 Forbidden"):
        connection.request("GET", "/")
