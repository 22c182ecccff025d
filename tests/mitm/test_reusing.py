"""Connections to servers that wait are looked at before they are used, and not for long."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
from mitmproxy import http
from mitmproxy.connection import Server

from mitmgate.mitm import reusing
from mitmgate.mitm.reusable import binds
from mitmgate.mitm.reusing import Idle, Key, Pool, Reusing

KEY: Key = ("an agent", ("a.example", 443))
OTHER: Key = ("an agent", ("b.example", 443))


class Ends:
    """Opens connections to a socket that the test holds."""

    def __init__(self) -> None:
        self.pool = Pool(lambda _: None, cast(Any, None))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._far: list[socket.socket] = []
        self._near: list[asyncio.StreamWriter] = []

    async def open(self) -> tuple[Idle, socket.socket]:
        reader, writer = await asyncio.open_connection(*self._listening.getsockname())
        far, _ = self._listening.accept()
        self._far.append(far)
        self._near.append(writer)
        return Idle(reader, writer, None), far

    def close(self) -> None:
        self.pool.clear()
        for writer in self._near:
            writer.close()
        for one in (*self._far, self._listening):
            one.close()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    made.close()
    await asyncio.sleep(0)


def speak(_: Idle, far: socket.socket) -> None:
    far.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")


def leave(_: Idle, far: socket.socket) -> None:
    far.close()


def break_off(_: Idle, far: socket.socket) -> None:
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


def pause(idle: Idle, _: socket.socket) -> None:
    cast(Any, idle.writer.transport).pause_reading()


def end_here(idle: Idle, _: socket.socket) -> None:
    idle.writer.close()


CHANGES = {
    "the server spoke": speak,
    "the server ended it": leave,
    "the server broke it off": break_off,
    "it is not read": pause,
    "it is closed here": end_here,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_connection_is_looked_at_right_before_it_is_used(
    change: Callable[[Idle, socket.socket], None], ends: Ends
) -> None:
    untouched, _ = await ends.open()
    ends.pool.put(KEY, untouched)
    assert ends.pool.take(KEY) is untouched
    idle, far = await ends.open()
    ends.pool.put(KEY, idle)
    change(idle, far)  # the loop has no turn in between: nobody has read it
    assert ends.pool.take(KEY) is None
    assert idle.writer.is_closing()
    assert len(ends.pool) == 0


async def test_a_server_that_ends_what_waits_is_not_waited_for(ends: Ends) -> None:
    idle, far = await ends.open()
    ends.pool.put(KEY, idle)
    far.close()
    assert ends.pool.take(KEY) is None
    for key, waits in ((KEY, 0), (OTHER, 1)):
        ends.pool.put(key, (await ends.open())[0])
        assert len(ends.pool) == waits


async def test_it_is_noted_also_where_no_client_came(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle, far = await ends.open()
    ends.pool.put(KEY, idle)
    far.close()
    with suppress(TimeoutError):
        await asyncio.wait_for(idle.reader.read(), 10)
    ends.pool.clear()
    ends.pool.put(KEY, (await ends.open())[0])
    assert len(ends.pool) == 0
    monkeypatch.setattr(reusing, "HASTY_SECONDS", 0.0)
    ends.pool.ended(KEY)
    ends.pool.put(KEY, (await ends.open())[0])
    assert len(ends.pool) == 1


async def test_no_more_servers_are_noted_than_the_limit(ends: Ends) -> None:
    for number in range(reusing.MOST_HASTY + 9):
        ends.pool.ended((number,))
    assert len(ends.pool._hasty) == reusing.MOST_HASTY


async def test_the_oldest_goes_where_too_many_wait(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reusing, "MOST", 2)
    opened = [(await ends.open())[0] for _ in range(3)]
    for idle in opened:
        ends.pool.put(KEY, idle)
    assert [idle.writer.is_closing() for idle in opened] == [True, False, False]
    assert ends.pool.take(KEY) is opened[2]  # the newest: the server has kept it for the least time


async def test_one_waits_for_so_long_only(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reusing, "SECONDS", 0.01)
    idle, far = await ends.open()
    ends.pool.put(KEY, idle)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    assert await asyncio.wait_for(loop.sock_recv(far, 1), 10) == b""
    assert len(ends.pool) == 0


@pytest.mark.parametrize(
    ("client_tls", "server_tls", "may"),
    [(True, True, True), (False, False, True), (True, False, False)],
    ids=["https", "http in a tunnel", "a tunnel whose TLS stays closed"],
)
def test_what_may_wait(client_tls: bool, server_tls: bool, may: bool) -> None:
    handler = cast(Reusing, SimpleNamespace(client=SimpleNamespace(tls=client_tls)))
    server = Server(address=("a.example", 443))
    server.tls = server_tls
    assert Reusing._may_wait(handler, server) is may


@pytest.mark.parametrize(
    ("status", "asked", "answered", "bound"),
    [
        (200, {"authorization": "Bearer x"}, {}, False),
        (200, {"authorization": "NTLM x"}, {}, True),
        (200, {"authorization": "Negotiate x"}, {}, True),
        (401, {}, {"www-authenticate": "Basic, Negotiate"}, True),
        (401, {}, {"www-authenticate": "Bearer"}, False),
        (101, {}, {}, True),
    ],
)
def test_what_binds_a_connection(
    status: int, asked: dict[str, str], answered: dict[str, str], bound: bool
) -> None:
    fields = [(name.encode(), value.encode()) for name, value in asked.items()]
    request = http.Request.make("GET", "https://a.example/", headers=fields)
    response = http.Response.make(status, headers=answered)
    assert binds(request, response) is bound
