"""A hook that fails denies at the place where it still can; what it quoted is not logged."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from mitmproxy import connection, http, tls
from mitmproxy.options import Options
from mitmproxy.proxy import commands, context, events, layer, layers, server_hooks
from mitmproxy.proxy.layers import tls as tls_layers
from mitmproxy.proxy.layers.http._hooks import (
    HttpConnectHook,
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)
from mitmproxy.test import tflow

from mitmgate.mitm.guard import CloseLayer, Guard, failure_response
from mitmgate.mitm.streams import HeldEvent, SseEventHook
from mitmgate.mitm.table import HookTable


class Failing:
    """An addon of which every hook raises."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def hook(_data: object) -> None:
            raise self._error

        return hook


ABORTED: list[object] = []


def table(addon: object | None = None) -> HookTable:
    ABORTED.clear()
    chosen = addon or Failing(RuntimeError("quoted text"))
    return HookTable([chosen], Guard(lambda _client, one: ABORTED.append(one)))


def proxy_context() -> context.Context:
    return context.Context(tflow.tclient_conn(), Options())


FLOW_HOOKS = [HttpRequestHeadersHook, HttpRequestHook, HttpConnectHook, HttpResponseHook]
FAILURES = [RuntimeError("quoted text"), asyncio.CancelledError(), KeyError("quoted text")]


@pytest.mark.parametrize("hook", FLOW_HOOKS, ids=lambda hook: hook.name)
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_flow_is_answered_by_us(
    hook: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    flow = tflow.tflow(resp=hook is HttpResponseHook)
    await table(Failing(error)).handle_lifecycle(hook(flow))
    assert flow.response is not None
    assert flow.response.status_code == 502
    assert b"internal_error" in (flow.response.raw_content or b"")
    assert type(error).__name__ in caplog.text
    assert "quoted text" not in caplog.text


async def test_an_awaited_hook_is_guarded_too() -> None:
    class Later:
        async def request(self, _flow: http.HTTPFlow) -> None:
            await asyncio.sleep(0)
            raise RuntimeError

    flow = tflow.tflow()
    await table(Later()).handle_lifecycle(HttpRequestHook(flow))
    assert flow.response is not None
    assert flow.response.status_code == 502


async def test_the_first_failure_ends_the_round() -> None:
    ran: list[str] = []

    class Second:
        def request(self, _flow: http.HTTPFlow) -> None:
            ran.append("second")

    flow = tflow.tflow()
    hooks = HookTable([Failing(RuntimeError()), Second()], Guard(lambda _c, _o: None))
    await hooks.handle_lifecycle(HttpRequestHook(flow))
    assert ran == []


async def test_an_answer_that_failed_early_stays_denied_when_its_body_comes() -> None:
    class Early:
        def responseheaders(self, _flow: http.HTTPFlow) -> None:
            raise RuntimeError

    guarded, flow = table(Early()), tflow.tflow(resp=True)
    await guarded.handle_lifecycle(HttpResponseHeadersHook(flow))
    flow.response = http.Response.make(200, b"the server's")  # as the layer does
    await guarded.handle_lifecycle(HttpResponseHook(flow))
    assert flow.response.status_code == 502
    flow.response = http.Response.make(200, b"next")
    await guarded.handle_lifecycle(HttpResponseHook(flow))
    assert flow.response.status_code == 200  # and no longer than that


async def test_a_stream_that_failed_early_is_cut() -> None:
    flow = tflow.tflow(resp=True)
    assert flow.response is not None
    flow.live = True
    flow.response.headers["content-type"] = "text/event-stream"
    await table().handle_lifecycle(HttpResponseHeadersHook(flow))
    assert flow.error is not None
    assert flow.response.status_code == 502


async def test_an_end_is_only_told() -> None:
    flow = tflow.tflow(err=True)
    await table().handle_lifecycle(HttpErrorHook(flow))
    assert flow.response is None
    assert ABORTED == []


async def test_a_held_event_that_fails_lets_nothing_by() -> None:
    held = HeldEvent(tflow.tflow(), object())
    await table().handle_lifecycle(SseEventHook(held))
    assert held.output == b""


async def test_a_server_is_not_dialled() -> None:
    data = server_hooks.ServerConnectionHookData(tflow.tserver_conn(), tflow.tclient_conn())
    await table().handle_lifecycle(server_hooks.ServerConnectHook(data))
    assert data.server.error
    assert ABORTED == []


async def test_a_server_that_was_reached_is_cut_off() -> None:
    data = server_hooks.ServerConnectionHookData(tflow.tserver_conn(), tflow.tclient_conn())
    await table().handle_lifecycle(server_hooks.ServerConnectedHook(data))
    assert data.server.error
    assert [data.server] == ABORTED


async def test_a_client_is_turned_away() -> None:
    client = tflow.tclient_conn()
    await table().handle_lifecycle(server_hooks.ClientConnectedHook(client))
    assert client.error


async def test_an_unknown_layer_is_closed() -> None:
    data = layer.NextLayer(proxy_context())
    data.layer = layers.TCPLayer(data.context)
    await table().handle_lifecycle(layer.NextLayerHook(data))
    assert isinstance(data.layer, CloseLayer)
    [closing] = [one for one in data.layer.handle_event(events.Start())
                 if isinstance(one, commands.CloseConnection)]  # fmt: skip
    assert closing.connection is data.context.client


async def test_a_hello_that_failed_is_not_passed_through_and_gets_no_certificate() -> None:
    class Hello:
        def tls_clienthello(self, data: tls.ClientHelloData) -> None:
            data.ignore_connection = True
            raise RuntimeError

        def tls_start_client(self, data: tls.TlsData) -> None:
            data.ssl_conn = object()  # type: ignore[assignment]

    where, guarded = proxy_context(), table(Hello())
    hello = tls.ClientHelloData(where, None)  # type: ignore[arg-type]
    await guarded.handle_lifecycle(tls_layers.TlsClienthelloHook(hello))
    assert hello.ignore_connection is False
    start = tls.TlsData(where.client, where)
    await guarded.handle_lifecycle(tls_layers.TlsStartClientHook(start))
    assert start.ssl_conn is None
    await guarded.handle_lifecycle(server_hooks.ClientDisconnectedHook(where.client))
    await guarded.handle_lifecycle(tls_layers.TlsStartClientHook(start))
    assert start.ssl_conn is not None  # forgotten with its connection


@pytest.mark.parametrize("hook", [tls_layers.TlsStartClientHook, tls_layers.TlsStartServerHook])
async def test_a_handshake_gets_no_context(hook: Any) -> None:
    where = proxy_context()
    data = tls.TlsData(where.client, where)
    data.ssl_conn = object()  # type: ignore[assignment]
    await table().handle_lifecycle(hook(data))
    assert data.ssl_conn is None


async def test_a_handshake_that_is_over_is_cut() -> None:
    where = proxy_context()
    data = tls.TlsData(connection.Server(address=("a", 1)), where)
    await table().handle_lifecycle(tls_layers.TlsEstablishedServerHook(data))
    assert data.conn in ABORTED
    assert where.client in ABORTED


def test_the_answer_of_a_failure_tells_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    assert failure_response().headers["content-type"] == "application/problem+json"
