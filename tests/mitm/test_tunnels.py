"""Before a request: what a ClientHello leads to in each mode, and tunnels inside tunnels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h2.connection
import pytest
from mitmproxy import http, tls
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow
from piping import Rig, make_rig

from mitmgate.mitm.gate import Gate
from mitmgate.mitm.http2 import GateHttp2Server
from mitmgate.mitm.passthrough import PassageLayer

NAME = "pinned.example"
PINNED = (
    "  rules:\n    - {id: docs,",
    f"  rules:\n    - {{id: pinned, host: {NAME}, then: allow, inspect: none}}\n    - {{id: docs,",
)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = make_rig(PINNED)
    yield made
    made.pipeline.close()


@pytest.fixture
def gate(rig: Rig) -> Gate:
    async def resolver(_host: str, _port: int) -> tuple[str, ...]:
        return ("1.1.1.1",)

    return Gate(rig.pipeline, resolver, lambda: ())


class Hello:
    """What a client says first; stands in for mitmproxy's parsed ClientHello."""

    def __init__(self, sni: str | None) -> None:
        self.sni = sni
        self.extensions: list[tuple[int, bytes]] = []


def hello_data(mode: str, address: tuple[str, int] | None, sni: str | None) -> tls.ClientHelloData:
    client = tflow.tclient_conn()
    client.proxy_mode = ProxyMode.parse(mode)
    where = context.Context(client, Options())
    where.server = Server(address=address)
    hello: Any = Hello(sni)
    return tls.ClientHelloData(where, hello)


async def with_tunnel(gate: Gate, data: tls.ClientHelloData, target: str) -> None:
    """Let the client of *data* have opened a tunnel to *target*."""
    host, _, port = target.rpartition(":")
    flow = tflow.tflow(req=http.Request.make("CONNECT", f"https://{target}/"))
    flow.request = http.Request(host, int(port), b"CONNECT", b"", target.encode(), b"",
                                b"HTTP/1.1", http.Headers(), b"", None, 0.0, 0.0)  # fmt: skip
    flow.client_conn = data.context.client
    await gate.http_connect(flow)
    assert flow.response is None


# The mode, where packets or CONNECT lead, the name in TLS, and what is dialled unread.
HELLOS: dict[str, tuple[str, tuple[str, int] | None, str | None, tuple[str, int] | None]] = {
    "a tunnel": ("regular", (NAME, 443), NAME, (NAME, 443)),
    "a tunnel to another name": ("regular", ("docs.example", 443), NAME, None),
    "TLS with the proxy itself": ("regular", None, NAME, None),
    "packets to any address": ("transparent", ("192.0.2.1", 443), NAME, (NAME, 443)),
    "packets to another port": ("transparent", ("192.0.2.1", 8443), NAME, None),
    "packets without a name": ("transparent", ("192.0.2.1", 443), None, None),
    "packets to an address that a rule names": ("transparent", (NAME, 443), "docs.example", None),
    "reverse mode": (f"reverse:https://{NAME}", (NAME, 443), NAME, None),
}


@pytest.mark.parametrize(("mode", "address", "sni", "dialled"), HELLOS.values(), ids=HELLOS)
async def test_tls_stays_closed(
    mode: str, address: Any, sni: str | None, dialled: Any, gate: Gate, rig: Rig
) -> None:
    data = hello_data(mode, address, sni)
    if mode == "regular" and address is not None:
        await with_tunnel(gate, data, f"{address[0]}:{address[1]}")
    await gate.tls_clienthello(data)
    assert data.ignore_connection == (dialled is not None)
    assert [one["code"] for one in rig.audit.of("decision")] == (
        [] if dialled is None else ["not_inspected"])  # fmt: skip
    if dialled is not None:
        assert data.context.server.address == dialled  # a name, to be resolved and checked


async def test_a_tunnel_that_leads_elsewhere_than_was_judged_is_opened(gate: Gate) -> None:
    data = hello_data("regular", ("docs.example", 443), NAME)
    await with_tunnel(gate, data, f"{NAME}:443")
    await gate.tls_clienthello(data)
    assert not data.ignore_connection


async def test_what_cannot_be_recorded_does_not_pass_unread(gate: Gate, rig: Rig) -> None:
    data = hello_data("regular", (NAME, 443), NAME)
    await with_tunnel(gate, data, f"{NAME}:443")
    rig.audit.broken = True
    await gate.tls_clienthello(data)
    assert not data.ignore_connection
    assert gate.passages.layer(data.context) is None


async def test_each_passage_is_completed_once(gate: Gate, rig: Rig) -> None:
    data = hello_data("regular", (NAME, 443), NAME)
    client, server = data.context.client, data.context.server
    await with_tunnel(gate, data, f"{NAME}:443")
    await gate.tls_clienthello(data)
    layer = gate.passages.layer(data.context)
    assert isinstance(layer, PassageLayer)
    assert gate.passages.layer(data.context) is None
    [opening] = layer.handle_event(events.Start())
    assert isinstance(opening, commands.OpenConnection)
    client.state = server.state = ConnectionState.OPEN
    list(layer.handle_event(events.OpenConnectionCompleted(opening, None)))
    for peer, size in ((client, 517), (server, 4000), (client, 83)):
        [sent] = layer.handle_event(events.DataReceived(peer, b"x" * size))
        assert isinstance(sent, commands.SendData)
        assert len(sent.data) == size
    gate.client_disconnected(client)
    gate.client_disconnected(client)
    [end] = rig.audit.of("completion")
    assert (end["request_bytes"], end["response_bytes"], end["fate"]) == (600, 4000, "answered")
    assert rig.pipeline.judge._memory.get(end["exchange"]) is None


async def test_the_next_address_of_a_passage_is_tried(gate: Gate, rig: Rig) -> None:
    data = hello_data("regular", (NAME, 443), NAME)
    await with_tunnel(gate, data, f"{NAME}:443")
    await gate.tls_clienthello(data)
    layer = gate.passages.layer(data.context)
    assert layer is not None
    [first] = layer.handle_event(events.Start())
    assert isinstance(first, commands.OpenConnection)
    left = iter([True, False])
    gate.dialling.tries_next = lambda exchange: next(left)  # type: ignore[method-assign] # noqa: ARG005
    [second] = layer.handle_event(events.OpenConnectionCompleted(first, "dead"))
    assert isinstance(second, commands.OpenConnection)
    assert second.connection is not first.connection
    assert second.connection.address == first.connection.address
    [close] = layer.handle_event(events.OpenConnectionCompleted(second, "dead as well"))
    assert isinstance(close, commands.CloseConnection)
    [end] = rig.audit.of("completion")
    assert (end["fate"], end["request_bytes"]) == ("upstream_failed", 0)


class Keeper:
    """Notes what is refused."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def refused_head(self, _where: object, code: str, _reason: str, _request: object) -> Any:
        self.codes.append(code)
        return http.Response.make(403, code.encode())


# The protocol of an extended CONNECT (None: a plain one), and the code.
NESTED = {"websocket": "nested_connect", "connect-udp": "nested_connect", None: "malformed_request"}


@pytest.mark.parametrize(("protocol", "code"), NESTED.items())
def test_a_tunnel_in_a_stream_of_http2_is_refused(protocol: str | None, code: str) -> None:
    """RFC 8441 (extended CONNECT) as much as RFC 9113 section 8.5."""
    options = Options()
    options.add_option("validate_inbound_headers", bool, True, "")
    where = context.Context(tflow.tclient_conn(), options)
    keeper = Keeper()
    server = GateHttp2Server(where, keeper, lambda *_: None, lambda _: None)
    client = h2.connection.H2Connection()
    client.config.validate_outbound_headers = False
    client.initiate_connection()
    head = [(":method", "CONNECT"), (":authority", "docs.example")]
    if protocol is not None:
        head += [(":scheme", "https"), (":path", "/"), (":protocol", protocol)]
    client.send_headers(1, head)
    passed: list[commands.Command] = list(server.handle_event(events.Start()))
    passed += server.handle_event(events.DataReceived(where.client, client.data_to_send()))
    assert keeper.codes == [code]
    assert {type(command) for command in passed} <= {commands.SendData, commands.CloseConnection}
