"""Each hook raises in turn, over real sockets: the client is denied, the server gets nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import httpx
import pytest
from harness import WEB_NAME, InProcess, Web
from mitmproxy import hooks

from mitmgate.mitm.gate import Gate as GateAddon


def raising(name: str, error: type[BaseException]) -> type[GateAddon]:
    """Return a gate whose hook *name* raises."""

    def hook(_self: GateAddon, _data: object) -> None:
        raise error("on purpose")

    return type("Raising", (GateAddon,), {name: hook})


BEFORE_THE_SERVER = [
    "client_connected", "http_connect", "http_connected", "next_layer", "tls_clienthello",
    "tls_start_client", "tls_established_client", "requestheaders", "request", "server_connect",
]  # fmt: skip
BEFORE_THE_FIRST_BYTE = ["server_connected", "tls_start_server", "tls_established_server"]
BEFORE_THE_ANSWER = ["responseheaders", "response"]
AFTER_THE_END = ["client_disconnected", "server_disconnected"]
NEVER_HERE = {
    "what only tells of an end that already came": {
        "error", "http_connect_error", "server_connect_error", "tls_failed_client",
        "tls_failed_server",
    },
    "protocols that are closed before they begin": {
        "dns_error", "dns_request", "dns_response", "quic_start_client", "quic_start_server",
        "socks5_auth", "tcp_end", "tcp_error", "tcp_message", "tcp_start", "udp_end", "udp_error",
        "udp_message", "udp_start",
        "http_connect_upstream",
    },
    "mitmproxy's own life": {
        "add_log", "configure", "done", "load", "running", "update",
    },
    "has a test of its own": {
        "kept_turn", "large_body", "sse_event", "websocket_message",
    },
    "changes nothing that is sent": {"websocket_end", "websocket_start"},
}  # fmt: skip


def test_every_hook_of_mitmproxy_has_its_place_in_these_lists() -> None:
    placed = {*BEFORE_THE_SERVER, *BEFORE_THE_FIRST_BYTE, *BEFORE_THE_ANSWER, *AFTER_THE_END}
    placed |= set().union(*NEVER_HERE.values())
    assert set(hooks.all_hooks) - placed == set()


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError],
                         ids=["raises", "is cancelled"])  # fmt: skip
@pytest.mark.parametrize("name", [*BEFORE_THE_SERVER, *BEFORE_THE_FIRST_BYTE, *BEFORE_THE_ANSWER])
def test_a_hook_that_fails_denies(
    name: str, error: type[BaseException], run_proxy: Callable[..., InProcess], web: Web
) -> None:
    gate = run_proxy(raising(name, error))
    try:
        answer = gate.get(f"https://{WEB_NAME}:{web.port}/")
    except httpx.HTTPError:
        pass  # the connection was cut: nothing came back
    else:
        assert answer.status_code == 502
        assert "hello" not in answer.text
    if name in BEFORE_THE_SERVER:
        assert web.connections == 0
    if name not in BEFORE_THE_ANSWER:
        assert web.requests == []


def test_the_control_without_a_failure_passes(
    run_proxy: Callable[..., InProcess], web: Web
) -> None:
    answer = run_proxy().get(f"https://{WEB_NAME}:{web.port}/")
    assert (answer.status_code, answer.text) == (200, "hello")
    assert len(web.requests) == 1


@pytest.mark.parametrize("name", AFTER_THE_END)
def test_a_hook_that_fails_after_the_end_harms_nobody(
    name: str, run_proxy: Callable[..., InProcess], web: Web
) -> None:
    gate = run_proxy(raising(name, RuntimeError))
    for _ in range(2):
        assert gate.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"


def test_a_failure_is_logged_without_what_it_quotes(
    run_proxy: Callable[..., InProcess], web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        run_proxy(raising("request", RuntimeError)).get(f"https://{WEB_NAME}:{web.port}/")
    [record] = [r for r in caplog.records if r.name == "mitmgate.guard"]
    assert "hook request failed: RuntimeError" in record.getMessage()
    assert "on purpose" not in caplog.text
