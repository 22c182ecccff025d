"""A hidden request in the body of another never reaches the server (DESIGN section 4).

An HTTP/2 client that posts without content-length to an HTTP/1.1 server is sent on without
framing by stock mitmproxy: the server reads the body as a second request, which nobody judged.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from harness import WEB_NAME, Web
from http2_client import Http2Client, open_tls

import mitmgate.mitm.kept

HIDDEN = (
    b"POST /hidden HTTP/1.1\r\nhost: docs.upstream.example\r\ncontent-length: 2\r\n\r\n{}"
)  # fmt: skip


def tunnel(listen: str, ca: str, port: int, alpn: list[str]) -> ssl.SSLSocket:
    """Open TLS to the web server's name through the proxy, offering *alpn*."""
    host, _, proxy_port = listen.rpartition(":")
    plain = socket.create_connection((host, int(proxy_port)), timeout=20)
    plain.sendall(f"CONNECT {WEB_NAME}:{port} HTTP/1.1\r\n\r\n".encode())
    assert plain.recv(65536).startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(alpn)
    return context.wrap_socket(plain, server_hostname=WEB_NAME)


def post_without_length(connection: ssl.SSLSocket, port: int) -> int:
    """Post HIDDEN over HTTP/2 without content-length; return the status of the answer."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    peer.initiate_connection()
    peer.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/visible"),
                          (":authority", f"{WEB_NAME}:{port}")])  # fmt: skip
    peer.send_data(1, HIDDEN, end_stream=True)
    connection.sendall(peer.data_to_send())
    while data := connection.recv(65536):
        for event in peer.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                fields = {str(name): str(value) for name, value in event.headers or []}
                return int(fields[":status"])
        connection.sendall(peer.data_to_send())
    raise AssertionError("no answer")


def test_clients_get_no_http2(run_proxy: Callable[..., Any], web: Web) -> None:
    running = run_proxy().running
    with tunnel(running.listen, str(running.authority.cert_path), web.port,
                ["h2", "http/1.1"]) as connection:  # fmt: skip
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_a_body_without_length_stays_a_body(run_proxy: Callable[..., Any], web: Web) -> None:
    running = run_proxy(http2=True).running
    with tunnel(running.listen, str(running.authority.cert_path), web.port, ["h2"]) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert post_without_length(connection, web.port) == 200
    assert [request.split(b" ")[1] for request in web.requests] == [b"/visible"]
    assert web.requests[0].endswith(HIDDEN)


def test_the_control_shows_that_the_hidden_request_would_run(
    run_proxy: Callable[..., Any], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("clean_request", "to_http1"):
        monkeypatch.setattr(mitmgate.mitm.kept, name, lambda *_, **__: None)
    running = run_proxy(http2=True).running
    with tunnel(running.listen, str(running.authority.cert_path), web.port, ["h2"]) as connection:
        post_without_length(connection, web.port)
        web.wait_for_requests(2)
    assert [request.split(b" ")[1] for request in web.requests] == [b"/visible", b"/hidden"]


def test_a_length_without_its_body_does_not_eat_the_next_request(
    run_proxy: Callable[..., Any], web: Web
) -> None:
    where = f"{WEB_NAME}:{web.port}"
    running = run_proxy(http2=True).running
    ca = str(running.authority.cert_path)
    second = b"POST /b HTTP/1.1\r\nHost: x\r\ncontent-length: %d\r\n\r\n" % len(HIDDEN)
    with open_tls(running.listen, ca, where) as connection:
        client = Http2Client(connection, careful=False)
        [answer] = client.wait(client.send(where, "/a", ("content-length", str(len(second)))))
        assert (answer.status, b"malformed_request" in answer.body) == (400, True)
        [answer] = client.wait(client.send(where, "/b", ("content-length", "0")))
        assert answer.status == 200
    assert [request.split(b" ")[1] for request in web.requests] == [b"/b"]
