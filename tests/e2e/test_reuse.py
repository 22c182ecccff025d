"""Clients that open a connection for each call go over one to the server, and only then."""

from __future__ import annotations

import asyncio
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
        self.done = threading.Semaphore(0)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer + self.more)
                await writer.drain()
                if self.leaves:
                    break
        writer.close()
        self.done.release()


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


def test_another_name_at_the_same_address_has_its_own(run_proxy: RUN, web: Web) -> None:
    proxy = run_proxy(policy=POLICY)
    assert calls(proxy, *at(web, WEB_NAME, OTHER_NAME)) == [200, 200]
    assert web.connections == 2


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
