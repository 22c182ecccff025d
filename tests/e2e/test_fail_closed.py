"""Each hook raises in turn, over real sockets: the client is denied, the server gets nothing."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import POLICY, WEB_NAME, LoopThread, Web
from mitmproxy import hooks

from mitmgate.mitm.gate import Gate as GateAddon
from mitmgate.policy.load import load_policy
from mitmgate.serve.launch import Running, Settings, proxy


@dataclass
class InProcess:
    """A proxy in a thread of this process."""

    running: Running

    def get(self, url: str, **options: Any) -> httpx.Response:
        trust = ssl.create_default_context(cafile=str(self.running.authority.cert_path))
        where = f"http://{self.running.listen}"
        with httpx.Client(proxy=where, verify=trust, trust_env=False, timeout=10) as client:
            return client.get(url, **options)


@pytest.fixture
def run_proxy(tmp_path: Path, pki: tuple[Path, Path]) -> Iterator[Callable[..., InProcess]]:
    """Run proxies with a gate of the test's own."""
    with LoopThread() as run:
        ending: list[Callable[[], None]] = []

        def start(make_gate: Any = GateAddon, **changes: Any) -> InProcess:
            policy = load_policy(POLICY.replace("MCP_PORT", "9"), file="policy.yaml")
            settings = Settings(policy=policy, state=tmp_path / "state", port=0,
                                upstream_ca=pki[0], **changes)  # fmt: skip

            async def enter() -> tuple[Any, Running]:
                context = proxy(settings, log=lambda _: None, make_gate=make_gate)
                return context, await context.__aenter__()

            context, running = run(enter())
            ending.append(lambda: run(context.__aexit__(None, None, None)))
            return InProcess(running)

        yield start
        for end in ending:
            end()


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
        "udp_message", "udp_start", "websocket_end", "websocket_message", "websocket_start",
        "http_connect_upstream",
    },
    "mitmproxy's own life": {
        "add_log", "configure", "done", "load", "running", "update",
    },
    "has a test of its own": {"sse_event"},
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
