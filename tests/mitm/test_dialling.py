"""Which way is dialled, what is refused on it, and how long it may take; without a socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import server_hooks
from mitmproxy.test import tflow
from piping import Rig, make_rig

from mitmgate.mitm import dialling
from mitmgate.mitm.dialling import Dialling
from mitmgate.mitm.resolve import is_interface, with_interfaces
from mitmgate.mitm.upstream import Upstream, is_address

PROXY = Upstream("http", "proxy.example", 3128)
KNOWN = {
    "good.example": ("2001:4860::1", "1.1.1.1"),
    "inner.example": ("10.9.9.9",),
    "both.example": ("fd00::9", "10.0.0.9", "10.0.0.10"),
    "proxy.example": ("10.0.0.7", "10.0.0.8"),
}


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = make_rig()
    yield made
    made.pipeline.close()


def make_dialling(rig: Rig, upstream: Upstream | None = None, own: Any = ()) -> Dialling:
    async def resolver(host: str, _port: int) -> tuple[str, ...]:
        return (host,) if is_address(host) else KNOWN.get(host, ())

    made = Dialling(rig.pipeline, resolver, lambda: own)
    made.upstream = upstream
    return made


type Data = server_hooks.ServerConnectionHookData


async def dialled(dials: Dialling, host: str, port: int = 443, exchange: str = "x") -> Data:
    """Dial *host* for an exchange, through the proxy where there is one."""
    client, target = tflow.tclient_conn(), Server(address=(host, port))
    via = dials.via(host)
    if via is None:
        data = server_hooks.ServerConnectionHookData(target, client)
        dials.opens(exchange, client=client.id, server=target.id)
    else:
        data = server_hooks.ServerConnectionHookData(Server(address=via[1]), client)
        dials.opens(exchange, client=client.id, server=data.server.id)
        dials.carries(client.id, data.server, target)
    await dials.server_connect(data)
    return data


def nothing_is_left(dials: Dialling) -> bool:
    tables = (dials._dials, dials._setups, dials._asked, dials._heads, dials._attempts,
              dials._refused)  # fmt: skip
    return not any(tables)


# The host, who resolves names, and what the proxy is asked for; None: it is dialled from here.
WAYS: dict[str, tuple[str, Any, str | None]] = {
    "a name": ("good.example", "here", "1.1.1.1:443"),
    "a name, resolved there": ("good.example", "there", "good.example:443"),
    "a name that only the proxy knows": ("far.example", "there", "far.example:443"),
    "an address in IPv6, resolved there": ("2001:4860::2", "there", "[2001:4860::2]:443"),
    "a name of the policy on this machine": ("static.example", "here", None),
    "a name of the policy on this machine, resolved there": ("static.example", "there", None),
    "this machine": ("localhost", "there", None),
    "a name below this machine": ("a.localhost", "there", None),
    "this machine's address": ("127.0.0.1", "there", None),
}


@pytest.mark.parametrize(("host", "names", "target"), WAYS.values(), ids=WAYS)
async def test_the_way(host: str, names: Any, target: str | None, rig: Rig) -> None:
    dials = make_dialling(rig, Upstream("http", "proxy.example", 3128, names))
    data = await dialled(dials, host)
    head = dials.head_for(data.client.id, data.server)
    if target is None:
        assert head is None
        assert data.server.address != ("10.0.0.7", 3128)
    else:
        assert data.server.error is None
        assert data.server.address == ("10.0.0.7", 3128)  # a private one: the operator named it
        assert head == f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()
        assert dials.head_for(data.client.id, data.server) is None  # once


async def test_a_proxy_is_dialled_by_ipv4_first(rig: Rig) -> None:
    dials = make_dialling(rig, Upstream("http", "both.example", 3128))
    data = await dialled(dials, "good.example")
    assert data.server.address == ("10.0.0.9", 3128)
    assert dials._attempts["x"].rest == ["10.0.0.10", "fd00::9"]


async def test_credentials_stand_in_nothing_but_the_head(rig: Rig) -> None:
    upstream = Upstream("http", "proxy.example", 3128, "there", "Basic c2VjcmV0")
    dials = make_dialling(rig, upstream)
    data = await dialled(dials, "good.example")
    shown = repr(dials._attempts)
    head = dials.head_for(data.client.id, data.server)
    assert head is not None
    assert b"\r\nProxy-Authorization: Basic c2VjcmV0\r\n" in head
    assert "c2VjcmV0" not in f"{upstream!r} {rig.audit.records} {rig.log} {data} {shown}"
    assert "proxy.example" in shown or "good.example" in shown
    assert "Proxy-Authorization" not in shown


async def test_a_connection_that_nobody_led_through_the_proxy_is_not_opened(rig: Rig) -> None:
    dials = make_dialling(rig, PROXY)
    server = Server(address=("good.example", 443))
    data = server_hooks.ServerConnectionHookData(server, tflow.tclient_conn())
    await dials.server_connect(data)
    assert data.server.error is not None


async def test_the_proxys_next_address_is_tried(rig: Rig) -> None:
    dials = make_dialling(rig, PROXY)
    first = await dialled(dials, "good.example")
    dials.server_connect_error(first)
    assert dials.tries_next("x")
    second = await dialled(dials, "good.example")
    assert second.server.address == ("10.0.0.8", 3128)
    assert dials.head_for(second.client.id, second.server)
    dials.server_connect_error(second)
    assert not dials.tries_next("x")
    dials.forget("x")
    assert nothing_is_left(dials)


async def test_a_proxy_that_is_this_proxy_is_not_dialled(rig: Rig) -> None:
    own = (("10.0.0.7", 3128), ("10.0.0.8", 3128))
    dials = make_dialling(rig, PROXY, own)
    data = await dialled(dials, "good.example")
    assert data.server.error is not None
    assert data.server.address == ("proxy.example", 3128)


async def test_a_refusal_comes_before_the_proxy_is_resolved(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(KNOWN, "proxy.example")
    dials = make_dialling(rig, PROXY)
    await dialled(dials, "inner.example")
    ruling = dials.refusal("x", "upstream proxy cannot be reached")
    assert ruling is not None
    assert ruling.outcome.code == "private_address"
    assert dials.refusal("x") is None


@pytest.mark.parametrize("upstream", [None, PROXY], ids=["direct", "through the proxy"])
async def test_a_connection_that_does_not_get_ready_is_cut(
    upstream: Upstream | None, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(dialling, "SETUP_SECONDS", 0.0)
    monkeypatch.setattr(dialling, "cut_connection", lambda _, server: cut.set_result(server))
    dials = make_dialling(rig, upstream)
    data = await dialled(dials, "good.example")
    dials.server_connected(data)
    assert await asyncio.wait_for(cut, 10) is data.server
    ruling = dials.refusal("x", "connection closed")
    assert ruling is not None
    assert ruling.outcome.code == ("upstream_failed" if upstream is None
                                   else "upstream_proxy_failed")  # fmt: skip
    assert not dials.tries_next("x")


async def test_a_silent_server_behind_the_proxy_is_no_fault_of_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = asyncio.Event()
    monkeypatch.setattr(dialling, "SETUP_SECONDS", 0.0)
    monkeypatch.setattr(dialling, "cut_connection", lambda *_: cut.set())
    dials = make_dialling(rig, PROXY)
    data = await dialled(dials, "good.example")
    inner = dials._dials[data.client.id][data.server.id].inner
    assert inner is not None
    inner.state = ConnectionState.OPEN  # the tunnel stands
    dials.server_connected(data)
    await asyncio.wait_for(cut.wait(), 10)
    ruling = dials.refusal("x")
    assert ruling is not None
    assert ruling.outcome.code == "upstream_failed"


async def test_a_tunnel_that_nobody_asked_for_leaves_nothing(rig: Rig) -> None:
    dials = make_dialling(rig, PROXY)
    data = await dialled(dials, "good.example")
    inner = dials._dials[data.client.id][data.server.id].inner
    assert inner is not None
    dials.server_connected(data)
    dials.ready(data.client.id, inner.id)  # as mitmproxy says of a failed handshake too
    assert nothing_is_left(dials)


ENDS = ["it is ready", "the client leaves"]


@pytest.mark.parametrize("end", ENDS)
async def test_no_limit_outlasts_its_connection(end: str, rig: Rig) -> None:
    dials = make_dialling(rig)
    data = await dialled(dials, "good.example")
    dials.server_connected(data)
    [setup] = dials._asked.values()
    if end == "it is ready":
        dials.ready(data.client.id, data.server.id)
    else:
        dials.client_left(data.client.id)
    assert setup.limit.cancelled()
    assert nothing_is_left(dials)


async def test_what_nobody_asks_for_any_more_is_cut_without_a_record(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = asyncio.Event()
    monkeypatch.setattr(dialling, "SETUP_SECONDS", 0.0)
    monkeypatch.setattr(dialling, "cut_connection", lambda *_: cut.set())
    dials = make_dialling(rig)
    data = await dialled(dials, "good.example")
    dials.server_connected(data)
    dials.forget("x")
    await asyncio.wait_for(cut.wait(), 10)
    assert (rig.audit.records, nothing_is_left(dials)) == ([], True)


async def test_no_address_is_left(rig: Rig) -> None:
    dials = make_dialling(rig)
    for address in ("2001:4860::1", "1.1.1.1"):
        data = await dialled(dials, "good.example")
        assert data.server.address == (address, 443)
        dials.server_connect_error(data)
    data = await dialled(dials, "good.example")
    assert (data.server.error, data.server.address) == ("unresolvable", ("good.example", 443))
    assert dials._dials[data.client.id][data.server.id].limit is None


# Where the proxy listens, what is dialled at which port, and whether that is the proxy itself.
INTERFACE = "127.9.8.7"  # each address of 127.0.0.0/8 is this machine's
OWN: dict[str, tuple[str, str, int, bool]] = {
    "everywhere, its own port": ("0.0.0.0", INTERFACE, 8080, True),
    "everywhere in IPv6, its own port": ("::", INTERFACE, 8080, True),
    "everywhere, its own port, mapped": ("0.0.0.0", f"::ffff:{INTERFACE}", 8080, True),
    "everywhere, another port": ("0.0.0.0", INTERFACE, 8081, False),
    "everywhere, another machine": ("0.0.0.0", "192.0.2.1", 8080, False),
    "on another address": ("127.0.0.1", INTERFACE, 8080, False),
}


@pytest.mark.parametrize(("listens", "address", "port", "is_own"), OWN.values(), ids=OWN)
def test_own_addresses(listens: str, address: str, port: int, is_own: bool) -> None:
    found = with_interfaces(((listens, 8080),), (address,), port)
    assert ((address, port) in found) == is_own


async def test_an_address_of_this_machine_at_our_port_would_go_round_for_ever(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The policy opens 10.1.0.0/16; say that this machine is in it.
    monkeypatch.setitem(KNOWN, "me.example", ("10.1.2.3",))
    monkeypatch.setattr("mitmgate.mitm.resolve.is_interface", lambda address: address == "10.1.2.3")
    dials = make_dialling(rig, own=(("0.0.0.0", 8080),))
    data = await dialled(dials, "me.example", 8080)
    assert data.server.error == "own_address"
    data = await dialled(dials, "me.example", 8081, "y")
    assert (data.server.error, data.server.address) == (None, ("10.1.2.3", 8081))


def test_interfaces_are_known_without_a_question() -> None:
    assert is_interface("127.0.0.1")
    assert not is_interface("192.0.2.1")  # RFC 5737: nobody has it
    assert not is_interface("hello")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        assert is_interface("127.0.0.1")  # whatever is bound there
