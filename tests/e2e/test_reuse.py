"""Clients that open a connection for each call go over one to the server, and only then."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from harness import OTHER_NAME, WEB_NAME, InProcess, Web
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from mitmgate.mitm import reusing
from mitmgate.mitm.fast import VARIABLE
from mitmgate.mitm.gate import Gate
from mitmgate.policy.load import load_policy

RUN = Callable[..., InProcess]
POLICY = f"""\
version: 1
network:
  resolve: {{{WEB_NAME}: 127.0.0.1, {OTHER_NAME}: 127.0.0.1}}
egress:
  rules:
    - {{id: sites, host: [{WEB_NAME}, {OTHER_NAME}], methods: [GET, POST], then: allow}}
  otherwise: deny
"""


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections wait, and none be too old because the machine is slow."""
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(reusing, "SECONDS", 60.0)


class Server(Web):
    """Says what it is told after an answer, and leaves if it has to; notes both."""

    def __init__(self) -> None:
        super().__init__()
        self.more = b""
        self.leaves = False
        self.breaks_off = False
        self.resumed: list[bool] = []
        self.done = threading.Semaphore(0)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.resumed.append(writer.get_extra_info("ssl_object").session_reused)
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(_length(head)))
                if self.breaks_off:
                    break
                writer.write(self.answer + self.more)
                await writer.drain()
                if self.leaves:
                    break
        writer.close()
        self.done.release()


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0] or 0)


@pytest.fixture
def web_kind() -> type[Web]:
    return Server


def calls(proxy: InProcess, *addresses: str, **headers: str) -> list[int]:
    """Make each call on a connection of its own."""
    done = []
    for address in addresses:
        with proxy.client() as client:
            done.append(client.get(address, headers=headers).status_code)
    return done


def at(web: Web, *names: str) -> list[str]:
    return [f"https://{name}:{web.port}/" for name in names]


def test_one_connection_for_three_clients(run_proxy: RUN, web: Web) -> None:
    proxy = run_proxy(policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME, WEB_NAME, WEB_NAME)) == [200, 200, 200]
    assert (len(web.requests), web.connections) == (3, 1)


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n"
ANSWERS = {
    "the server ends it": (OK + b"connection: close\r\n\r\nhello", b""),
    "the server authenticates it": (
        b"HTTP/1.1 401 No\r\ncontent-length: 0\r\nwww-authenticate: Negotiate\r\n\r\n", b""),
    "the server says more than it was asked for": (OK + b"\r\nhello", OK + b"\r\nother"),
    "no length says where the answer ends": (b"HTTP/1.0 200 OK\r\n\r\nhello", b""),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "more"), ANSWERS.values(), ids=ANSWERS)
def test_the_next_client_has_its_own_where(
    answer: bytes, more: bytes, run_proxy: RUN, web: Server
) -> None:
    web.answer, web.more = answer, more
    web.leaves = b"length" not in answer
    proxy = run_proxy(policy=POLICY)
    calls(proxy, *at(web, WEB_NAME))
    web.more, web.leaves = b"", False
    web.answer = OK + b"\r\nhello"
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    assert (len(web.requests), web.connections) == (2, 2)


def test_the_client_authenticated_it(run_proxy: RUN, web: Web) -> None:
    proxy = run_proxy(policy=POLICY)
    calls(proxy, *at(web, WEB_NAME), authorization="NTLM TlRMTVNTUAAB")
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    assert web.connections == 2


WHOLE = {
    "no content": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a head alone": ("HEAD", OK + b"\r\n"),
    "not modified": ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
    "chunks with trailers": (
        "GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"),
    "events": (
        "GET", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        b"transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n0\r\n\r\n"),
    "an interim answer before": ("GET", b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"\r\nhello"),
    "a body": ("POST", OK + b"\r\nhello"),
}  # fmt: skip


def test_one_connection_for_answers_of_all_kinds(run_proxy: RUN, web: Server) -> None:
    proxy = run_proxy(policy=POLICY.replace("GET,", "GET, HEAD,"))
    for method, answer in WHOLE.values():
        web.answer = answer
        with proxy.client() as client:
            given = client.request(method, *at(web, WEB_NAME), content=b"x" * 9)
        assert f" {given.status_code} ".encode() in answer
    assert (len(web.requests), web.connections) == (len(WHOLE), 1)


def test_another_name_at_the_same_address_has_its_own(run_proxy: RUN, web: Web) -> None:
    proxy = run_proxy(policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME, OTHER_NAME)) == [200, 200]
    assert web.connections == 2


def test_another_agent_has_its_own(run_proxy: RUN, web: Web) -> None:
    proxy = run_proxy(policy=POLICY)
    trust = ssl.create_default_context(cafile=str(proxy.running.authority.cert_path))
    for agent in ("a", "b", "a"):
        where = f"http://{agent}:secret@{proxy.running.listen}"
        with httpx.Client(proxy=where, verify=trust, trust_env=False, timeout=10) as client:
            assert client.get(*at(web, WEB_NAME)).status_code == 200
    assert (len(web.requests), web.connections) == (3, 2)


def test_a_client_that_left_in_the_middle_leaves_none(run_proxy: RUN, web: Server) -> None:
    web.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello"
    proxy = run_proxy(policy=POLICY)
    with proxy.client() as client, pytest.raises(httpx.ReadTimeout):
        client.get(*at(web, WEB_NAME), timeout=0.5)
    assert web.done.acquire(timeout=10)  # the gate ended it with its client
    web.answer = OK + b"\r\nhello"
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    assert web.connections == 2


def test_one_that_the_server_ended_meanwhile_is_not_used(run_proxy: RUN, web: Server) -> None:
    proxy, web.leaves = run_proxy(policy=POLICY), True
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    assert web.done.acquire(timeout=10)
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    assert (len(web.requests), web.connections) == (2, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_was_sent_as_the_server_ended_it_is_not_sent_again(
    method: str, run_proxy: RUN, web: Server
) -> None:
    proxy = run_proxy(policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    web.breaks_off = True
    with proxy.client() as client:
        answer = client.request(method, *at(web, WEB_NAME), content=b"x" * 9)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_failed")
    assert (len(web.requests), web.connections) == (2, 1)
    web.breaks_off = False
    assert calls(proxy, *at(web, WEB_NAME, WEB_NAME)) == [200, 200]
    assert web.connections == 3  # nothing waits for a server that was seen to end one


def test_the_session_of_one_that_waited_is_kept(
    run_proxy: RUN, web: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reusing, "MOST", 0)
    proxy = run_proxy(policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME, WEB_NAME)) == [200, 200]
    assert web.resumed == [False, True]


def test_what_is_no_longer_allowed_does_not_reach_one_that_waits(
    run_proxy: RUN, web: Server
) -> None:
    proxy = run_proxy(policy=POLICY)
    judge = proxy.running.pipeline.judge
    before = judge.policy
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    for was, now in (("GET, POST", "DELETE"), (": 127.0.0.1,", ": 127.0.0.2,")):
        judge.policy = load_policy(POLICY.replace(was, now), file="policy.yaml")
        with proxy.client() as client:
            assert client.get(*at(web, WEB_NAME)).status_code in (403, 502)
        assert (len(web.requests), web.connections) == (1, 1)
    judge.policy = before
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    assert (len(web.requests), web.connections) == (2, 1)


class Strict(Gate):
    """Finds fault with the second connection."""

    dials = 0

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        self.dials += 1
        await super().server_connect(data)
        if self.dials == 2:
            data.server.error = "private_address"


def test_each_is_judged_though_one_waits(run_proxy: RUN, web: Web) -> None:
    proxy = run_proxy(Strict, policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME, WEB_NAME, WEB_NAME)) == [200, 502, 200]
    assert (len(web.requests), web.connections) == (2, 1)


def test_nothing_waits_while_all_is_stopped(run_proxy: RUN, web: Server) -> None:
    proxy = run_proxy(policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME)) == [200]
    proxy.running.switch.engage("signal")
    assert web.done.acquire(timeout=10)


def test_the_part_can_be_left_out(
    run_proxy: RUN, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "pool")
    proxy = run_proxy(policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME, WEB_NAME)) == [200, 200]
    assert web.connections == 2
