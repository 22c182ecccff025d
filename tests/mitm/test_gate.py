"""The hooks between the pipeline and mitmproxy, without a socket."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from judging import SERVER, call, text_result
from mitmproxy import tls
from mitmproxy.connection import Server
from mitmproxy.options import Options
from mitmproxy.proxy import context, server_hooks
from mitmproxy.proxy.events import HookCompleted
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode, SendHttp
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseProtocolError
from mitmproxy.test import tflow
from piping import Rig, make_rig

from mitmgate.errors import WireError
from mitmgate.judge.limits import Limits
from mitmgate.mitm import refusing, streams
from mitmgate.mitm.core import INLINE_BYTES
from mitmgate.mitm.events import MOST_DENIED, StreamJudge
from mitmgate.mitm.gate import Gate
from mitmgate.mitm.largebody import LargeBodyHook, Turn
from mitmgate.mitm.streams import TURN, GateHttpStream, HeldEvent, SseEventHook
from mitmgate.mitm.turns import Turns
from mitmgate.wire.http import AnswerHead


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = make_rig()
    yield made
    made.pipeline.close()


@pytest.fixture
def asked() -> list[str]:
    """The names that were looked up."""
    return []


@pytest.fixture
def gate(rig: Rig, asked: list[str]) -> Gate:
    async def resolver(host: str, _port: int) -> tuple[str, ...]:
        asked.append(host)
        return {"good.example": ("1.1.1.1",), "bad.example": ("10.0.0.1",)}.get(host, ())

    return Gate(rig.pipeline, resolver, lambda: ())


def proxy_context() -> context.Context:
    return context.Context(tflow.tclient_conn(), Options())


def test_clients_that_distrust_us_push_no_live_exchange_out(gate: Gate, rig: Rig) -> None:
    where = proxy_context()
    where.client.sni = "pinned.example"
    for _ in range(5):
        gate.tls_failed_client(tls.TlsData(where.client, where))
    assert len(rig.audit.records) == 5
    assert rig.audit.records[0]["host"] == "pinned.example"
    memory = rig.pipeline.judge._memory
    assert not [n for n in range(1, 9) if memory.get(f"{rig.pipeline._run}-{n:x}")]


# The host to dial, then the address that is dialled (None: refused) and what is looked up.
DIALLED: dict[str, tuple[str, str | None, list[str]]] = {
    "a public name": ("good.example", "1.1.1.1", ["good.example"]),
    "a name that resolves to a private address": ("bad.example", None, ["bad.example"]),
    "a name without an address": ("none.example", None, ["none.example"]),
    "a name of the policy": ("static.example", "127.0.0.1", []),
    "a name of the policy in another spelling": ("Static.EXAMPLE.", "127.0.0.1", []),
}


@pytest.mark.parametrize(("host", "address", "looked"), DIALLED.values(), ids=DIALLED)
async def test_what_is_dialled(
    host: str, address: str | None, looked: list[str], gate: Gate, asked: list[str]
) -> None:
    server = Server(address=(host, 443))
    data = server_hooks.ServerConnectionHookData(server, tflow.tclient_conn())
    await gate.server_connect(data)
    assert asked == looked
    if address is None:
        assert server.error in ("private_address", "unresolvable")
        assert server.address == (host, 443)
    else:
        assert server.error is None
        assert server.address == (address, 443)
        gate.server_connected(data)
        assert server.address == (host, 443)  # mitmproxy finds it for reuse by its name


EVENT = b"data: " + json.dumps(text_result("x" * 500)).encode() + b"\n\n"


async def stream(rig: Rig, encoding: str | None) -> StreamJudge:
    await rig.pipeline.decide(call("get_x"), connection="c")
    headers = (("content-type", "text/event-stream"),)
    more = () if encoding is None else (("content-encoding", encoding),)
    head = AnswerHead(200, headers + more)
    return StreamJudge(rig.pipeline, tflow.tflow(), exchange="x", head=head)


async def test_a_compressed_stream_cannot_fill_the_memory(rig: Rig) -> None:
    rig.pipeline.judge.limits = Limits(body=10_000)
    judge = await stream(rig, "gzip")
    with pytest.raises(WireError) as caught:
        list(judge.feed(gzip.compress(b": " + b"x" * 9_998 + b"\n\n")))
    assert caught.value.code == "body_too_large"


async def test_a_plain_stream_may_go_on_for_ever(rig: Rig) -> None:
    rig.pipeline.judge.limits = Limits(body=10_000)
    judge = await stream(rig, None)
    comment = b": " + b"x" * 998 + b"\n\n"
    assert b"".join(piece for _ in range(50) for piece in judge.feed(comment)
                    if isinstance(piece, bytes)) == comment * 50  # fmt: skip


async def test_a_stream_of_denials_ends(rig: Rig) -> None:
    judge = await stream(rig, None)
    with pytest.raises(WireError) as caught:
        list(judge.feed(b"data: x\n\n" * (MOST_DENIED + 1)))
    assert caught.value.code == "too_many_denials"


async def test_a_large_event_waits_until_it_was_judged_in_a_thread(rig: Rig) -> None:
    judge = await stream(rig, None)
    text = json.dumps(text_result("some words " * INLINE_BYTES)).encode()
    [held] = judge.feed(b"data: " + text + b"\n\n")
    assert isinstance(held, HeldEvent)
    assert await judge.settled(held.token, connection="c") == b"data: " + text + b"\n\n"
    [again] = judge.feed(b"data: " + text + b"\n\n")  # a second answer to one request
    assert isinstance(again, HeldEvent)
    assert b"some words" not in await judge.settled(again.token, connection="c")


class Broken:
    """A keeper that fails at everything."""

    def stream_of(self, _flow: object) -> Any:
        class Judge:
            def feed(self, _chunk: bytes) -> Iterator[bytes]:
                raise RuntimeError

        return Judge()

    def kept_of(self, _flow: object) -> None:
        return None

    def is_refused(self, _flow: object) -> bool:
        return False

    def message_too_large(self, _flow: object) -> None:
        raise AssertionError("no WebSocket here")

    def pause(self, _flow: object, *, paused: bool) -> None:
        raise RuntimeError(f"no such connection: {paused}")

    def reads_until(self, *_: object) -> Any:
        raise RuntimeError("a full disk, and more")

    def unread_answer(self, _flow: object) -> Any:
        raise RuntimeError("a full disk, and more")

    def pause_client(self, _flow: object, *, paused: bool) -> None:
        raise RuntimeError(f"no such connection: {paused}")

    def stream_failed(self, _flow: object, _error: Exception) -> bytes:
        raise RuntimeError("a full disk, and more")

    def stream_cut(self, _flow: object) -> None:
        raise RuntimeError("a full disk, and more")

    def unreachable(self, _flow: object, _error: str) -> Any:
        raise RuntimeError("a full disk, and more")

    def tries_next(self, _flow: object) -> bool:
        raise RuntimeError("a full disk, and more")

    def refused_head(self, *_: object) -> Any:
        raise RuntimeError("a full disk, and more")

    def refusal(self, *_: object) -> Any:
        raise RuntimeError("a full disk, and more")

    def broken_off(self, *_: object) -> Any:
        raise RuntimeError("a full disk, and more")


def gate_stream() -> GateHttpStream:
    made = GateHttpStream(proxy_context(), 1, Broken())
    made.flow = tflow.tflow(resp=True)
    return made


def test_a_stream_is_cut_also_where_its_failure_cannot_be_told() -> None:
    made = gate_stream()
    sent = [command.event for command in made.state_stream_response_body(ResponseData(1, EVENT))
            if hasattr(command, "event")]  # fmt: skip
    assert [type(event) for event in sent] == [ResponseProtocolError]
    assert made.server_state == made.state_errored


def test_a_client_is_answered_also_where_the_failure_cannot_be_told() -> None:
    made = gate_stream()
    steps = made.make_server_connection()
    next(steps)
    steps.send((None, f"{SERVER} cannot be reached"))
    assert made.flow.response is not None
    assert made.flow.response.status_code == 502


class Unread(Broken):
    """A keeper that lets answers of more than 40 bytes pass unread."""

    def unread_answer(self, _flow: object) -> int:
        return 40


# sentence: what is kept of the answers of one connection, and whether the last one passes now
KEPT: dict[str, tuple[tuple[int, ...], bool]] = {
    "as much as is read": ((40,), False),
    "more than is read": ((41,), True),
    "twice as much together": ((40, 20, 20), False),
    "more than that together": ((40, 20, 21), True),
    "more than that together, and little of this one": ((40, 40, 10), False),
}


@pytest.mark.parametrize(("sizes", "passes"), KEPT.values(), ids=KEPT)
def test_what_is_kept_of_all_answers_of_a_connection_is_bounded(
    sizes: tuple[int, ...], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusing, "PEEK", 10)
    parent = HttpLayer(proxy_context(), HTTPMode.transparent)
    for number, size in enumerate(sizes):
        made = parent.streams[number] = GateHttpStream(parent.context.fork(), number, Unread())
        made.flow = tflow.tflow(resp=True)
        made.client_state = made.state_done
        made.response_body_buf += bytes(size)
    last = parent.streams[len(sizes) - 1]
    first = next(last.check_body_size(False), None)
    assert isinstance(first, LargeBodyHook) is passes


class Holding(Broken):
    """A keeper that holds every event."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []
        self.cut = False
        self.paused: list[bool] = []

    def stream_of(self, flow: Any) -> Any:
        keeper = self

        class Judge:
            def feed(self, chunk: bytes) -> Iterator[HeldEvent]:
                keeper.fed.append(chunk)
                yield HeldEvent(flow, None)

        return Judge()

    def pause(self, _flow: object, *, paused: bool) -> None:
        self.paused.append(paused)

    def stream_failed(self, _flow: object, error: Exception) -> bytes:
        return str(error).encode()

    def stream_cut(self, _flow: object) -> None:
        self.cut = True


def test_what_comes_behind_a_held_event_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "QUEUED_BYTES", 10)
    keeper = Holding()
    made = GateHttpStream(proxy_context(), 1, keeper)
    made.flow = tflow.tflow(resp=True)
    made.server_state = made.state_stream_response_body
    [hook] = made.handle_event(ResponseData(1, b"one"))
    assert isinstance(hook, SseEventHook)
    for _ in range(100):
        assert list(made.handle_event(ResponseData(1, b"12345678"))) == []
    assert len(made._paused_event_queue) == 1
    sent = [command.event for command in made.handle_event(HookCompleted(hook))
            if isinstance(command, SendHttp)]  # fmt: skip
    assert [type(event) for event in sent] == [ResponseData, ResponseProtocolError]
    assert sent[0] == ResponseData(1, b"too much came while an event was held")
    assert (keeper.fed, keeper.cut) == ([b"one"], True)
    assert keeper.paused == [True, True]


class Many(Holding):
    """A keeper whose streams bring many events in one chunk."""

    def stream_of(self, _flow: Any) -> Any:
        class Judge:
            def feed(self, _chunk: bytes) -> Iterator[bytes]:
                yield from (b"%d," % number for number in range(2 * TURN + 1))

        return Judge()


def test_others_have_their_turn_between_the_events_of_one_chunk() -> None:
    keeper = Many()
    made = GateHttpStream(proxy_context(), 1, keeper)
    made.flow = tflow.tflow(resp=True)
    made.server_state = made.state_stream_response_body
    sent, turns = b"", 0
    waiting = list(made.handle_event(ResponseData(1, b"x")))
    while waiting:
        command = waiting.pop(0)
        if isinstance(command, SendHttp):
            assert isinstance(command.event, ResponseData)
            sent += command.event.data
        elif isinstance(command, LargeBodyHook):
            assert isinstance(command.body, Turn)
            turns += 1
            waiting += made.handle_event(HookCompleted(command))
    assert (sent, turns) == (b"".join(b"%d," % n for n in range(2 * TURN + 1)), 2)
    assert keeper.paused == [True, False, True, False]


def test_events_that_take_long_have_a_turn_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SLICE", 0.0)
    monkeypatch.setattr(Turns, "is_free", False)
    made = GateHttpStream(proxy_context(), 1, Many())
    made.flow = tflow.tflow(resp=True)
    made.server_state = made.state_stream_response_body
    kinds: list[type[object]] = []
    waiting = list(made.handle_event(ResponseData(1, b"x")))
    while waiting and len(kinds) < 20:
        command = waiting.pop(0)
        kinds.append(type(command))
        if isinstance(command, LargeBodyHook):
            waiting += made.handle_event(HookCompleted(command))
    assert kinds == [LargeBodyHook, SendHttp] * 10


def test_a_little_behind_a_held_event_is_judged_after_it() -> None:
    keeper = Holding()
    made = GateHttpStream(proxy_context(), 1, keeper)
    made.flow = tflow.tflow(resp=True)
    made.server_state = made.state_stream_response_body
    [hook] = made.handle_event(ResponseData(1, b"one"))
    assert isinstance(hook, SseEventHook)
    assert list(made.handle_event(ResponseData(1, b"two"))) == []
    hook.held.output = b"approved"
    first, again = made.handle_event(HookCompleted(hook))
    assert isinstance(first, SendHttp)
    assert first.event == ResponseData(1, b"approved")
    assert isinstance(again, SseEventHook)
    assert keeper.fed == [b"one", b"two"]
