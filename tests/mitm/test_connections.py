"""Connections without a socket: time limits, what is kept of a slow peer, addresses in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, context, events, server_hooks
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestEndOfMessage,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.test import tflow
from piping import Rig, make_rig

from mitmgate.mitm import dialling, http1
from mitmgate.mitm.dialling import Dialling
from mitmgate.mitm.http1 import GateHttp1Server, RefusedRequest
from mitmgate.mitm.http2 import BACKLOG, GateHttp2Server
from mitmgate.mitm.layers import GateHttpLayer


class Keeper:
    """Notes what is refused."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def refused_head(self, _where: object, code: str, _reason: str, _request: object) -> Any:
        self.codes.append(code)
        return http.Response.make(400, code.encode())


class Line:
    """The client's side of a connection, and a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.keeper = Keeper()
        self.where = context.Context(tflow.tclient_conn(), Options())
        self.where.client.state = ConnectionState.OPEN
        self.server = GateHttp1Server(self.where, self.keeper)
        self.timers: list[commands.RequestWakeup] = []
        self.sent = b""
        self.closed = False
        self.received: list[Any] = []
        self.give(events.Start())

    def give(self, event: events.Event) -> None:
        for command in self.server.handle_event(event):
            if isinstance(command, commands.RequestWakeup):
                self.timers.append(command)
            elif isinstance(command, commands.SendData):
                self.sent += command.data
            elif isinstance(command, commands.CloseConnection):
                self.closed = True
            elif isinstance(command, ReceiveHttp):
                self.received.append(command.event)

    def data(self, data: bytes) -> None:
        self.give(events.DataReceived(self.where.client, data))

    def later(self, seconds: float) -> None:
        """Let *seconds* pass, and the oldest timer ring."""
        self.now += seconds
        self.give(events.Wakeup(self.timers.pop(0)))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    return Line(monkeypatch)


def test_a_head_that_comes_whole_starts_no_timer(line: Line) -> None:
    line.data(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert line.timers == []


def test_a_head_must_come_in_time(line: Line) -> None:
    line.data(b"GET / HTTP/1.1\r\n")
    for _ in range(5):
        line.now += http1.HEAD_SECONDS / 10
        line.data(b"a: b\r\n")  # a byte now and then is no excuse
    assert len(line.timers) == 1
    line.later(http1.HEAD_SECONDS)
    assert line.keeper.codes == ["request_timeout"]
    assert line.sent.endswith(b"request_timeout")
    line.data(b"c: d\r\n\r\n")
    assert line.received == []
    line.later(http1.LINGER_SECONDS)
    line.later(http1.LINGER_SECONDS)
    assert line.closed


# sentence: in how many seconds after a refusal something comes, and when the connection is closed
LINGERING: dict[str, tuple[int, int]] = {
    "a client that is silent": (0, 1),
    "a client that sends on for a moment": (3, 4),
    "a client that never ends": (99, http1.LINGER_TIMES),
}


@pytest.mark.parametrize(("busy", "closed"), LINGERING.values(), ids=LINGERING)
def test_a_refusal_is_not_lost_in_what_still_comes(busy: int, closed: int, line: Line) -> None:
    line.data(b"no HTTP\r\n\r\n")
    assert line.keeper.codes
    for second in range(1, closed + 1):
        assert not line.closed
        if second <= busy:
            line.data(b"a" * http1.WAITING_BYTES)
        line.later(http1.LINGER_SECONDS)
    assert line.closed


def test_what_is_dropped_after_a_refusal_is_bounded(line: Line) -> None:
    line.data(b"no HTTP\r\n\r\n")
    for _ in range(http1.LINGER_BYTES // http1.WAITING_BYTES):
        line.data(b"a" * http1.WAITING_BYTES)
    assert not line.closed
    line.data(b"a")
    assert line.closed


def test_a_body_may_take_its_time_but_not_for_ever(line: Line) -> None:
    line.data(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n")
    line.data(b"a" * 100 * http1.LEAST_RATE)
    line.later(http1.HEAD_SECONDS)
    line.later(http1.BODY_SECONDS)  # a hundred seconds more than that are bought
    assert not any(isinstance(event, RefusedRequest) for event in line.received)
    line.later(100)
    refused = line.received[-1]
    assert isinstance(refused, RefusedRequest)
    assert refused.problem.code == "request_timeout"


def test_what_comes_before_an_answer_is_bounded(line: Line) -> None:
    line.data(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert isinstance(line.received[-1], RequestEndOfMessage)
    line.data(b"a" * http1.WAITING_BYTES)
    closed = [line.closed]
    line.data(b"a")
    assert [*closed, line.closed] == [False, True]
    assert len(line.server.buf) == 0


def test_the_next_request_has_its_own_time(line: Line) -> None:
    line.data(b"GET / HTTP/1.1\r\n")
    line.now += http1.HEAD_SECONDS - 1
    line.data(b"host: a\r\n\r\n")
    response = http.Response.make(200, b"", {"content-length": "0"})
    line.give(ResponseHeaders(1, response))
    line.give(ResponseEndOfMessage(1))
    line.data(b"GET / HT")
    line.later(2)
    assert line.keeper.codes == []
    line.later(http1.HEAD_SECONDS)
    assert line.keeper.codes == ["request_timeout"]


def test_a_keeper_that_fails_still_ends_the_connection(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Any:
        raise RuntimeError("a full disk, and more")

    monkeypatch.setattr(line.keeper, "refused_head", fails)
    line.data(b"hello\r\n")
    assert b"internal_error" in line.sent
    assert b"full disk" not in line.sent


def test_a_slow_reader_slows_its_server_down(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, bool]] = []
    gone: list[int] = []
    options = Options()
    options.add_option("validate_inbound_headers", bool, True, "")
    where = context.Context(tflow.tclient_conn(), options)
    server = GateHttp2Server(
        where, Keeper(), lambda number, paused: told.append((number, paused)), gone.append
    )

    class Buffers:
        def __init__(self) -> None:
            self.stream_buffers: dict[int, list[int]] = {}

        def data_to_send(self) -> bytes:
            return b""

        def receive_data(self, _: bytes) -> list[object]:
            return []

    buffers: Any = Buffers()
    server.h2_conn = buffers
    monkeypatch.setattr(server, "is_open_for_us", lambda _: False)
    buffers.stream_buffers[1] = [0] * (BACKLOG + 1)
    for _ in range(3):
        list(server.handle_event(ResponseData(1, b"a")))
    list(server.handle_event(events.DataReceived(where.client, b"")))
    assert told == [(1, True)]
    buffers.stream_buffers[1] = []
    list(server.handle_event(events.DataReceived(where.client, b"")))
    assert told == [(1, True), (1, False)]


def test_connections_that_are_over_are_forgotten() -> None:
    made = GateHttpLayer(context.Context(tflow.tclient_conn(), Options()), HTTPMode.transparent)
    for number in range(100):
        server = Server(address=(f"s{number}.example", 443))
        server.state = ConnectionState.OPEN if number == 50 else ConnectionState.CLOSED
        server.timestamp_end = None if number in (50, 60) else 1.0
        server.timestamp_tcp_setup = 1.0
        made.connections[server] = made
    made._sweep()
    # 50 is open; the end of 60 was not told to the layers yet.
    assert [server.address for server in made.connections if isinstance(server, Server)] == [
        ("s50.example", 443), ("s60.example", 443)]  # fmt: skip
    gone = events.ConnectionClosed(Server(address=("s1.example", 443)))
    assert list(made.handle_event(gone)) == []


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = make_rig()
    yield made
    made.pipeline.close()


async def test_an_address_that_does_not_answer_is_given_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolver(_host: str, _port: int) -> tuple[str, ...]:
        return ("1.1.1.1", "1.0.0.1")

    given_up = asyncio.Event()
    monkeypatch.setattr(dialling, "NEXT_SECONDS", 0.0)
    monkeypatch.setattr(dialling, "cut_dial", lambda *_: given_up.set())
    dials = Dialling(rig.pipeline, resolver, lambda: ())
    server = Server(address=("a.example", 443))
    data = server_hooks.ServerConnectionHookData(server, tflow.tclient_conn())
    dials.opens("x", client=data.client.id, server=server.id)
    await dials.server_connect(data)
    await asyncio.wait_for(given_up.wait(), 10)
    assert not dials.tries_next("x")
    dials.server_connect_error(data)
    assert dials.tries_next("x")
    second = server_hooks.ServerConnectionHookData(Server(address=("a.example", 443)), data.client)
    dials.opens("x", client=data.client.id, server=second.server.id)
    await dials.server_connect(second)
    assert second.server.address == ("1.0.0.1", 443)
    dials.server_connected(second)
    assert second.server.address == ("a.example", 443)
    assert (dials._dials, dials._attempts) == ({}, {})


async def test_refusals_that_nobody_asks_for_are_not_kept(rig: Rig) -> None:
    async def resolver(_host: str, _port: int) -> tuple[str, ...]:
        return ("10.0.0.1",)

    dials = Dialling(rig.pipeline, resolver, lambda: ())
    for _ in range(5):
        server = Server(address=("a.example", 443))
        data = server_hooks.ServerConnectionHookData(server, tflow.tclient_conn())
        await dials.server_connect(data)
        assert server.error == "private_address"
        dials.server_connect_error(data)
    assert (dials._dials, dials._attempts, dials._refused) == ({}, {}, {})
    assert not rig.pipeline.judge._memory._open
