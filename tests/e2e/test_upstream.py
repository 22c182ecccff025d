"""Through another proxy, end to end: the checks come first, and it is asked for the result."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from connect_proxy import SILENT, ConnectProxy, serving_proxy
from harness import OTHER_NAME, WEB_NAME, Gate, InProcess, Web
from http2_client import Http2Client, open_tls

from mitmgate.mitm import dialling
from mitmgate.mitm.gate import Gate as GateAddon
from mitmgate.mitm.upstream import Upstream

PUBLIC = "93.184.215.14"
LOGIN = "gate:a-long-password-that-nobody-else-knows"
POLICY = """\
version: 1
egress:
  rules:
    - {id: docs, host: [docs.upstream.example, inner.example, twin.example, localhost, none.example,
                        93.184.215.14, 10.0.0.1], then: allow}
"""
URL = f"https://{WEB_NAME}/a"

type StartProxy = Callable[..., ConnectProxy]


@pytest.fixture
def start_proxy(web: Web, pki: tuple[Path, Path]) -> Iterator[StartProxy]:
    """Start proxies that lead every tunnel to ``web``."""
    with ExitStack() as stack:

        def start(*, tls: bool = False, **changes: Any) -> ConnectProxy:
            made = ConnectProxy(**{"leads_to": web.port, **changes})
            stack.enter_context(serving_proxy(made, pki[1] if tls else None))
            return made

        yield start


@pytest.fixture
def through(run_proxy: Callable[..., InProcess]) -> Callable[..., tuple[InProcess, list[str]]]:
    """Start a gate that goes through a proxy; with the names that it looked up."""

    def start(
        proxy: ConnectProxy, *, scheme: Any = "http", names: Any = "here",
        credentials: str | None = None, policy: str = POLICY, host: str = "127.0.0.1",
        **more: Any,
    ) -> tuple[InProcess, list[str]]:  # fmt: skip
        asked: list[str] = []

        async def resolver(host: str, _port: int) -> tuple[str, ...]:
            asked.append(host)
            return {
                WEB_NAME: ("2001:4860::1", PUBLIC),
                "inner.example": ("10.0.0.1",),
                "twin.example": (PUBLIC, "127.0.0.1"),
                "localhost": ("127.0.0.1",),
                OTHER_NAME: ("127.0.0.1",),
            }.get(host, (host,) if host[0].isdigit() else ())

        upstream = Upstream(scheme, host, proxy.port, names, credentials)
        gate = run_proxy(lambda core, _, own: GateAddon(core, resolver, own),
                         policy=policy, upstream=upstream, **more)  # fmt: skip
        return gate, asked

    return start


def problem(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    return document


def test_the_checked_address_is_asked_for(through: Any, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy()
    gate, asked = through(proxy)
    with gate.client() as client:
        assert [client.get(URL).text for _ in range(3)] == ["hello"] * 3
    # The certificate was checked against the name, though the proxy never heard it.
    assert proxy.targets == [f"{PUBLIC}:443"]
    assert (asked, web.connections) == ([WEB_NAME, "127.0.0.1"], 1)


def test_a_name_is_asked_for_where_the_proxy_resolves(
    through: Any, start_proxy: StartProxy
) -> None:
    proxy = start_proxy()
    gate, asked = through(proxy, names="there")
    assert gate.get(URL).text == "hello"
    assert proxy.targets == [f"{WEB_NAME}:443"]
    assert asked == ["127.0.0.1"]


def test_plain_http_goes_through_a_tunnel_too(through: Any, start_proxy: StartProxy) -> None:
    with LineServer() as plain:
        proxy = start_proxy(leads_to=plain.port)
        gate, _ = through(proxy)
        assert gate.get(f"http://{WEB_NAME}/b").text == "plain"
        assert plain.lines == ["GET /b HTTP/1.1"]
    assert proxy.targets == [f"{PUBLIC}:80"]


def test_streams_of_http2_share_a_tunnel(through: Any, start_proxy: StartProxy, web: Web) -> None:
    proxy = start_proxy()
    gate, _ = through(proxy, http2=True)
    line = open_tls(gate.running.listen, str(gate.running.authority.cert_path), f"{WEB_NAME}:443")
    with line:
        assert line.selected_alpn_protocol() == "h2"
        client = Http2Client(line)
        for _ in range(3):
            [answer] = client.wait(client.send(WEB_NAME))
            assert (answer.status, answer.body) == (200, b"hello")
    assert (proxy.targets, web.connections) == ([f"{PUBLIC}:443"], 1)


def test_the_proxy_may_speak_tls(through: Any, start_proxy: StartProxy) -> None:
    proxy = start_proxy(tls=True)
    gate, _ = through(proxy, scheme="https", host=OTHER_NAME)
    assert gate.get(URL).text == "hello"
    assert proxy.targets == [f"{PUBLIC}:443"]


def test_a_proxy_with_a_strange_certificate_gets_no_credentials(
    through: Any, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(tls=True)
    gate, _ = through(proxy, scheme="https", credentials="Basic c2VjcmV0OnNlY3JldA==")
    told = problem(gate.get(URL))
    assert (told["code"], proxy.heads) == ("upstream_proxy_failed", [])
    assert "certificate" in told["detail"]


# The URL, where names are resolved, and the code. The control is that the proxy is asked.
DENIED: dict[str, tuple[str, str, str]] = {
    "a host that no rule allows": ("https://evil.example/", "here", "otherwise"),
    "a host that no rule allows, resolved there": ("https://evil.example/", "there", "otherwise"),
    "a name on the inside": ("https://inner.example/", "here", "private_address"),
    "a name with one address on this machine": (
        "https://twin.example/", "here", "private_address"),
    "a name without an address": ("https://none.example/", "here", "unresolvable"),
    "an address on the inside, resolved there": ("https://10.0.0.1/", "there", "private_address"),
    "this machine, resolved there": ("https://localhost/", "there", "private_address"),
}  # fmt: skip


@pytest.mark.parametrize(("url", "names", "code"), DENIED.values(), ids=DENIED)
def test_what_is_denied_reaches_no_proxy(
    url: str, names: str, code: str, through: Any, start_proxy: StartProxy
) -> None:
    proxy = start_proxy()
    gate, _ = through(proxy, names=names)
    told = problem(gate.get(url))
    assert (told["code"], proxy.connections) == (code, 0)
    assert gate.get(URL).text == "hello"
    assert proxy.connections == 1


def test_a_name_inside_is_the_proxys_business_where_it_resolves(
    through: Any, start_proxy: StartProxy
) -> None:
    proxy = start_proxy()
    gate, _ = through(proxy, names="there")
    gate.get("https://inner.example/")
    assert proxy.targets == ["inner.example:443"]


def test_an_opened_loopback_address_is_never_asked_of_the_proxy(
    through: Any, start_proxy: StartProxy
) -> None:
    proxy = start_proxy()
    opened = POLICY + "network: {allow_private: [127.0.0.0/8]}\n"
    gate, _ = through(proxy, policy=opened)
    assert problem(gate.get("https://twin.example/"))["code"] == "private_address"
    assert proxy.connections == 0


def test_a_name_that_the_policy_puts_on_this_machine_is_dialled_from_here(
    through: Any, start_proxy: StartProxy, web: Web
) -> None:
    proxy = start_proxy()
    gate, _ = through(proxy, policy=POLICY + f"network: {{resolve: {{{WEB_NAME}: 127.0.0.1}}}}\n")
    assert gate.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"
    assert (proxy.connections, web.connections) == (0, 1)


# What the proxy does, and what the client reads of it.
FAILURES: dict[str, tuple[dict[str, Any], str]] = {
    "refuses": ({"status": 503}, "status 503"),
    "wants other credentials": ({"login": "some:body"}, "credentials"),
    "says more than it was asked": ({"behind": b"HTTP/1.1 200 OK\r\n\r\n"}, "more than"),
    "does not answer": ({"status": SILENT}, "seconds"),
}


@pytest.mark.parametrize(("behaviour", "words"), FAILURES.values(), ids=FAILURES)
def test_a_proxy_that_fails(
    behaviour: dict[str, Any], words: str, through: Any, start_proxy: StartProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if behaviour.get("status") == SILENT:
        monkeypatch.setattr(dialling, "SETUP_SECONDS", 0.5)
    proxy = start_proxy(**behaviour)
    gate, _ = through(proxy, credentials="Basic c2VjcmV0OnNlY3JldA==")
    answer = gate.get(URL)
    told = problem(answer)
    assert (answer.status_code, told["code"], told["retry"]) == (502, "upstream_proxy_failed", True)
    assert words in told["detail"]
    assert "127.0.0.1" not in answer.text
    assert "c2VjcmV0" not in answer.text
    assert proxy.connections == 1


def test_nobody_at_the_proxys_port(through: Any, start_proxy: StartProxy) -> None:
    proxy = start_proxy()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        proxy.port = free.getsockname()[1]
        gate, _ = through(proxy)
        told = gate.get(URL)
    assert problem(told)["code"] == "upstream_proxy_failed"
    assert str(proxy.port) not in told.text


def test_a_server_that_never_ends_its_handshake(
    through: Any, start_proxy: StartProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "SETUP_SECONDS", 2.5)  # the proxy answers within it
    with LineServer(silent=True) as server:
        proxy = start_proxy(leads_to=server.port)
        gate, _ = through(proxy)
        told = problem(gate.get(URL))
    assert (told["status"], told["code"]) == (502, "upstream_failed")
    assert "2.5 seconds" in told["detail"]


def test_a_server_that_never_ends_its_handshake_without_a_proxy(
    run_proxy: Callable[..., InProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "SETUP_SECONDS", 0.5)
    with LineServer(silent=True) as server:
        gate = run_proxy(policy=POLICY + f"network: {{resolve: {{{WEB_NAME}: 127.0.0.1}}}}\n")
        told = problem(gate.get(f"https://{WEB_NAME}:{server.port}/"))
    assert (told["status"], told["code"], told["retry"]) == (502, "upstream_failed", True)
    assert "0.5 seconds" in told["detail"]


def test_a_ready_connection_is_not_cut(
    run_proxy: Callable[..., InProcess], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[object] = []
    monkeypatch.setattr(dialling, "SETUP_SECONDS", 1.5)
    monkeypatch.setattr(dialling, "cut_connection", lambda *found: cut.append(found))
    gate = run_proxy(policy=POLICY + f"network: {{resolve: {{{WEB_NAME}: 127.0.0.1}}}}\n")
    silent = LineServer(silent=True)
    with silent, gate.client() as client:
        assert client.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"
        # Its limit comes after the other's: when it is cut, the other would have been.
        with pytest.raises(httpx.ReadTimeout):
            client.get(f"https://{WEB_NAME}:{silent.port}/", timeout=4)
        assert client.get(f"https://{WEB_NAME}:{web.port}/").text == "hello"
    assert (len(cut), web.connections) == (1, 1)


def test_credentials_come_from_a_file(
    start_gate: Callable[..., Gate], start_proxy: StartProxy, tmp_path: Path
) -> None:
    proxy = start_proxy(login=LOGIN)
    file = tmp_path / "login"
    file.write_text(LOGIN + "\n")
    file.chmod(0o600)
    gate = start_gate(POLICY, "--upstream", f"http://127.0.0.1:{proxy.port}",
                      "--upstream-credentials", str(file), "--upstream-names", "there")  # fmt: skip
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    with httpx.Client(proxy=f"http://127.0.0.1:{gate.port}", verify=trust, timeout=20,
                      trust_env=False) as client:  # fmt: skip
        assert client.get(URL).text == "hello"
        arguments = Path(f"/proc/{gate.process.pid}/cmdline").read_bytes()
    assert b"password" not in arguments
    _, log = gate.stop()
    assert "where they lead is not checked" in log
    written = [path.read_bytes() for path in gate.state.parent.rglob("*") if path.is_file()]
    encoded = proxy.heads[0].split(b"Basic ")[1].split(b"\r\n")[0]
    assert not any(LOGIN.encode() in text or encoded in text for text in written)


class LineServer:
    """A server without TLS that answers each line of a request once, or takes and says nothing."""

    def __init__(self, *, silent: bool = False) -> None:
        self.lines: list[str] = []
        self._silent = silent

    def __enter__(self) -> LineServer:
        from threading import Thread

        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    data = connection.recv(65536)
                    while self._silent and connection.recv(65536):
                        pass
                    self.lines.append(data.split(b"\r\n")[0].decode("latin-1"))
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nplain")
        except OSError:
            return
