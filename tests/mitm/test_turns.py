"""Who has much to say does not keep the others waiting: turns, and large bodies in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from mitmproxy import options
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy.commands import Command
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import RequestData, ResponseData, ResponseEndOfMessage
from mitmproxy.test import tflow

from mitmgate.mitm.largebody import LargeBodyHook, Turn
from mitmgate.mitm.sending import PIECE, TURN_BYTES, SendingStream
from mitmgate.mitm.turns import SLICE, Turns, turns


class Count:
    """Counts the turns of the running loop."""

    def __init__(self) -> None:
        self.now = 0
        self._loop = asyncio.get_running_loop()
        self._next()

    def _next(self) -> None:
        self.now += 1
        self._handle = self._loop.call_soon(self._next)

    def stop(self) -> None:
        self._handle.cancel()


async def test_streams_go_on_one_after_the_other_and_in_one_turn_of_the_loop_only_one() -> None:
    count, shared, seen = Count(), turns(), list[tuple[str, int]]()

    async def stream(name: str) -> None:
        for _ in range(20):
            await shared.next()
            seen.append((name, count.now))
            shared.spent(SLICE)

    await asyncio.gather(stream("a"), stream("b"), stream("c"))
    count.stop()
    assert [name for name, _ in seen] == ["a", "b", "c"] * 20
    assert len({turn for _, turn in seen}) == len(seen)


async def test_a_turn_is_free_until_its_time_is_used_and_again_in_the_next_one() -> None:
    shared, free = turns(), list[bool]()
    for _ in range(3):
        free.append(shared.is_free)
        shared.spent(SLICE / 2)
    await asyncio.sleep(0)
    assert [*free, shared.is_free] == [True, True, False, True]


async def test_who_waits_comes_before_who_asks_now() -> None:
    shared = turns()
    waiting = asyncio.ensure_future(shared.next())
    await asyncio.sleep(0)
    before = shared.is_free
    await waiting
    assert (before, shared.is_free) == (False, True)


async def test_who_left_takes_no_turn() -> None:
    shared = turns()
    gone, stays = (asyncio.ensure_future(shared.next()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait({gone, stays}, timeout=20)
    assert (gone.cancelled(), stays.done()) == (True, True)
    assert shared.is_free


def test_without_a_loop_nobody_waits() -> None:
    shared = turns()
    shared.spent(10 * SLICE)
    assert shared.is_free
    assert isinstance(shared, Turns)


def stream() -> SendingStream:
    flow = tflow.tflow(resp=True)
    flow.client_conn.state = flow.server_conn.state = ConnectionState.OPEN
    where = Context(flow.client_conn, options.Options())
    where.server = flow.server_conn
    made = SendingStream(where, 1)
    made.flow = flow
    return made


def sends(made: SendingStream, event: Any, receiver: Connection) -> Iterator[Command]:
    def steps() -> Iterator[Command]:
        yield SendHttp(event, receiver)
        yield SendHttp(ResponseEndOfMessage(1), receiver)

    return made.in_turns(steps())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [ResponseData, RequestData])
def test_a_large_body_goes_on_in_pieces_with_a_turn_for_others_between_some(kind: Any) -> None:
    made, body = stream(), bytes(range(256)) * 2 * (TURN_BYTES // 256) + b"end"
    receiver = made.context.client if kind is ResponseData else made.context.server
    *commands, end = sends(made, kind(1, body), receiver)
    sent: list[Any] = [one.event for one in commands if isinstance(one, SendHttp)]
    assert b"".join(event.data for event in sent) == body
    assert {type(event) for event in sent} == {kind}
    assert max(len(event.data) for event in sent) == PIECE
    hooks = [one.body for one in commands if isinstance(one, LargeBodyHook)]
    assert hooks == [Turn(made.flow, to_client=kind is ResponseData)] * 2
    assert isinstance(end, SendHttp)
    assert end.event == ResponseEndOfMessage(1)


def test_a_small_body_goes_on_as_it_is() -> None:
    made = stream()
    event = ResponseData(1, bytes(PIECE))
    first, _ = sends(made, event, made.context.client)
    assert isinstance(first, SendHttp)
    assert first.event is event


def test_the_rest_of_a_body_whose_receiver_left_is_dropped() -> None:
    made = stream()
    client = made.context.client
    seen = []
    for command in sends(made, ResponseData(1, bytes(9 * TURN_BYTES)), client):
        seen.append(command)
        if isinstance(command, LargeBodyHook):
            client.state = ConnectionState.CLOSED
    assert len(seen) == TURN_BYTES // PIECE + 2  # a turn, the hook after it, and the end
