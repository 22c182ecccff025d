"""Egress that a person is asked for: nothing leaves before the answer, and one request after it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from bypass import HERE, HTTP1, HTTP2, LOOPBACK, THERE, Ground, Sent, Told, begin, grounds
from harness import OTHER_NAME, WEB_NAME
from watch import CLIENT

POLICY = f"""\
version: 1
contact: the platform team
network: {{allow_private: [127.0.0.0/8]}}
egress:
  rules:
    - {{id: asked, host: {WEB_NAME}, ports: [TLS, PLAIN], then: ask}}
    - {{id: open, host: {OTHER_NAME}, ports: [TLS, PLAIN], then: allow}}
hold: {{wait: 30s, unattended: wait}}
"""
ALONE = POLICY.replace("unattended: wait", "unattended: deny")
HASTY = POLICY.replace("30s", "1s")

WAYS: dict[str, tuple[Sent, str]] = {
    "inside TLS": (Sent(), HTTP1),
    "inside TLS, over HTTP/2": (Sent(), HTTP2),
    "in a tunnel without TLS": (Sent(sni=""), HTTP1),
    "without a tunnel": (Sent(target=f"http://{HERE}/", connect=""), HTTP1),
    "an upload": (Sent(method="POST", body=b"text"), HTTP1),
    "an upload over HTTP/2": (Sent(method="POST", body=b"text"), HTTP2),
}
every_way = pytest.mark.parametrize(("sent", "protocol"), WAYS.values(), ids=WAYS)


def at(sent: Sent, name: str) -> Sent:
    """Return *sent* for a path of its own: an answer to another one is none for it."""
    return replace(sent, target=f"{sent.target}{name}")


@dataclass
class Operator:
    """A person at the control socket, who sees all events."""

    client: httpx.Client
    events: Iterator[str]

    def until(self, kind: str) -> dict[str, Any]:
        """Return the next event of *kind*."""
        for line in self.events:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == kind:
                return event
        raise AssertionError(f"no {kind}")

    def says(self, key: str, decision: str) -> int:
        body = {"decision": decision, "via": "shell", "operator": "ann"}
        return self.client.post(f"/v1/pending/{key}", json=body).status_code


@pytest.fixture(scope="module")
def ground(pki: tuple[Path, Path]) -> Iterator[Ground]:
    with grounds(POLICY, pki) as ground:
        yield ground


@pytest.fixture
def operator(ground: Ground) -> Iterator[Operator]:
    with operator_of(ground) as client, client.stream("GET", "/v1/events") as events:
        lines = events.iter_lines()
        operator = Operator(operator_of(ground), lines)
        operator.until("snapshot")
        ground.watch.clear()
        with operator.client:
            yield operator


def operator_of(ground: Ground) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(ground.running.control))
    key = {"authorization": f"Bearer {ground.running.operator_key}"}
    return httpx.Client(transport=transport, base_url="http://gate", headers=key, timeout=20)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2, thread_name_prefix=CLIENT) as threads:
        yield threads


def held(ground: Ground, operator: Operator, asking: Future[Told], before: tuple[int, int]) -> str:
    """Wait until the request of *asking* waits; return its id."""
    pending = operator.until("held")["pending"]
    assert not asking.done()
    assert (pending["row"]["host"], pending["row"]["rule"]) == (WEB_NAME, "asked")
    assert (arrived(ground), ground.watch.seen) == (before, ([], [], []))
    key: str = pending["id"]
    return key


def arrived(ground: Ground) -> tuple[int, int]:
    """Return how many connections and requests came to the servers."""
    servers = ground.web, ground.plain
    return sum(s.connections for s in servers), sum(len(s.requests) for s in servers)


def assert_stopped(told: Told, ground: Ground, before: tuple[int, int]) -> None:
    problem = told.problem
    assert (told.status, problem["host"], problem["rule"]) == (403, WEB_NAME, "asked")
    assert (problem["retry"], problem["contact"]) == (False, "the platform team")
    assert (arrived(ground), ground.watch.seen) == (before, ([], [], []))


@every_way
def test_what_is_approved_arrives_once(
    sent: Sent, protocol: str, ground: Ground, operator: Operator, threads: ThreadPoolExecutor
) -> None:
    before = arrived(ground)
    asking = threads.submit(ground.send, at(sent, "approved"), protocol)
    key = held(ground, operator, asking, before)
    assert operator.says(key, "allow") == 200
    told = asking.result(20)
    assert (told.status, told.body) == (200, b"hello")
    assert arrived(ground) == (before[0] + 1, before[1] + 1)
    port = ground.web.port if sent.is_tls else ground.plain.port
    assert ground.watch.seen == ([WEB_NAME], [(LOOPBACK, port)], [])
    assert operator.says(key, "allow") != 200


@every_way
def test_what_is_denied_does_not(
    sent: Sent, protocol: str, ground: Ground, operator: Operator, threads: ThreadPoolExecutor
) -> None:
    before = arrived(ground)
    asking = threads.submit(ground.send, at(sent, "denied"), protocol)
    assert operator.says(held(ground, operator, asking, before), "deny") == 200
    assert_stopped(asking.result(20), ground, before)


@pytest.mark.parametrize("way", ["inside TLS", "inside TLS, over HTTP/2", "without a tunnel"])
def test_what_nobody_answers_does_not(way: str, ground: Ground, operator: Operator) -> None:
    sent, protocol = WAYS[way]
    before = arrived(ground)
    with ground.ruled(HASTY):
        assert_stopped(ground.send(at(sent, "late"), protocol), ground, before)
    assert operator.until("held")["pending"]["row"]["rule"] == "asked"


@every_way
def test_what_nobody_is_there_for_does_not(sent: Sent, protocol: str, ground: Ground) -> None:
    before = arrived(ground)
    ground.watch.clear()
    with ground.ruled(ALONE):
        assert_stopped(ground.send(at(sent, "alone"), protocol), ground, before)


@pytest.mark.parametrize("protocol", [HTTP1, HTTP2])
def test_what_its_client_gives_up_does_not(
    protocol: str, ground: Ground, operator: Operator
) -> None:
    before, gone = arrived(ground), Sent(target="/gone")
    if protocol == HTTP1:
        with closing(ground.tunnel()) as sock:
            sock.sendall(ground.fill(gone.as_http1(), ground.web.port))
            key = operator.until("held")["pending"]["id"]
    else:
        client = ground.http2()
        with closing(client.connection):
            number = begin(client, ground.filled(gone.as_http2()))
            key = operator.until("held")["pending"]["id"]
            client.reset(number)
    given = operator.until("resolved")["resolved"]
    assert (given["id"], given["answer"], given["via"]) == (key, "deny", "client_left")
    operator.says(key, "allow")
    assert (arrived(ground), ground.watch.seen) == (before, ([], [], []))


@every_way
def test_what_a_rule_allows_waits_for_nobody(sent: Sent, protocol: str, ground: Ground) -> None:
    ground.assert_arrives(
        Sent(THERE, sent.target.replace(WEB_NAME, OTHER_NAME), sent.method, body=sent.body,
             connect=sent.connect and THERE, sni=sent.sni),
        protocol, OTHER_NAME)  # fmt: skip


def test_each_request_is_asked_for_on_its_own(
    ground: Ground, operator: Operator, threads: ThreadPoolExecutor
) -> None:
    before = arrived(ground)
    both = [threads.submit(ground.send, Sent(target=path)) for path in ("/a", "/b")]
    pending = [operator.until("held")["pending"] for _ in both]
    keys = {entry["row"]["endpoint"][-2:]: entry["id"] for entry in pending}
    assert operator.says(keys["/a"], "allow") == 200
    assert operator.says(keys["/b"], "deny") == 200
    assert [asked.result(20).status for asked in both] == [200, 403]
    assert arrived(ground) == (before[0] + 1, before[1] + 1)
    assert b" /a " in ground.web.requests[-1]
