"""Addresses of names: asked for once, after the decision, and each of them is checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bypass import BOTH, HERE, LOOPBACK, NAMES, THERE, Ground, Sent, grounds
from harness import OTHER_NAME, WEB_NAME
from http2_client import Http2Client
from watch import Answers

CLOSING = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
POLICY = f"""\
version: 1
network: {{allow_private: [127.0.0.1/32]}}
egress:
  rules:
    - {{id: docs, host: [{WEB_NAME}, 127.0.0.1, 127.0.0.2, "::1", 169.254.169.254, 10.0.0.1],
       ports: [TLS, PLAIN], then: allow}}
"""
HEX = ("AKIA" + "QYLPMN5HHHFPZAM2").encode().hex()
WILD = "version: 1\negress: {rules: [{id: wild, host: '*.wild.example', then: allow}]}\n"


@pytest.fixture(scope="module")
def ground(pki: tuple[Path, Path]) -> Iterator[Ground]:
    with grounds(POLICY, pki) as ground:
        yield ground


@pytest.fixture
def leads(ground: Ground) -> Iterator[list[Answers]]:
    """Give the addresses of the name for each lookup in turn."""
    answers: list[Answers] = []
    ground.watch.answers[WEB_NAME] = answers
    yield answers
    ground.watch.answers[WEB_NAME] = list(NAMES[WEB_NAME])


def refused(ground: Ground, sent: Sent, code: str, protocol: str, lookups: int = 1) -> None:
    """Send *sent*, whose name has a bad address: it is looked up, and nobody is dialled."""
    ground.watch.clear()
    before = ground.web.connections
    told = ground.send(sent, protocol)
    assert (told.status, told.problem["code"]) == (403, code)
    assert ground.watch.seen == ([WEB_NAME] * lookups, [], [])
    assert ground.web.connections == before


PUBLIC = "93.184.215.14"
# What a name may not lead to, also among addresses that it may.
PLACES: dict[str, Answers] = {
    "a private network": ("10.0.0.1",),
    "another loopback address than the one that is open": ("127.0.0.2",),
    "an address that is open, then a private one": (LOOPBACK, "192.168.1.1"),
    "a private one, then an address that is open": ("192.168.1.1", LOOPBACK),
    "public, then private": (PUBLIC, "10.0.0.1"),
    "private, then public": ("10.0.0.1", PUBLIC),
    "public, then loopback of IPv6": (PUBLIC, "::1"),
    "the metadata of a cloud": ("169.254.169.254",),
    "public, then the metadata of a cloud": (PUBLIC, "169.254.169.254"),
    "the metadata of a cloud, mapped": ("::ffff:169.254.169.254",),
    "a private one, mapped": ("::ffff:10.0.0.1",),
    "a private one behind NAT64": ("64:ff9b::a00:1",),
    "a private one in 6to4": ("2002:a00:1::1",),
    "every address": ("0.0.0.0",),
    "every address of IPv6": ("::",),
    "shared addresses of carriers": ("100.64.0.1",),
    "a unique local address": ("fd00::1",),
    "multicast": ("224.0.0.1",),
    "the last of many": (*[PUBLIC] * 20, "10.0.0.1"),
}


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("addresses", PLACES.values(), ids=PLACES)
def test_names_that_lead_where_nobody_may_go(
    addresses: Answers, protocol: str, ground: Ground, leads: list[Answers]
) -> None:
    leads[:] = [addresses]
    refused(ground, Sent(), "private_address", protocol)


@pytest.mark.parametrize("protocol", BOTH)
def test_an_open_address_is_dialled(protocol: str, ground: Ground, leads: list[Answers]) -> None:
    leads[:] = [(LOOPBACK,)]
    ground.assert_arrives(Sent(), protocol)


@pytest.mark.parametrize("protocol", BOTH)
def test_an_answer_that_changes_between_two_requests(
    protocol: str, ground: Ground, leads: list[Answers]
) -> None:
    leads[:] = [(LOOPBACK,), ("10.0.0.1",), (LOOPBACK, "10.0.0.1"), (LOOPBACK,)]
    ground.assert_arrives(Sent(), protocol)
    refused(ground, Sent(), "private_address", protocol)
    refused(ground, Sent(), "private_address", protocol)
    ground.assert_arrives(Sent(), protocol)


@pytest.mark.parametrize("protocol", BOTH)
def test_the_address_that_was_checked_is_the_one_that_is_dialled(
    protocol: str, ground: Ground, leads: list[Answers]
) -> None:
    # Who asks a second time gets the private address.
    leads[:] = [(LOOPBACK,), ("10.0.0.1",), ("10.0.0.1",)]
    ground.assert_arrives(Sent(), protocol)
    assert len(leads) == 2


def test_an_answer_that_changes_while_a_client_stays(
    ground: Ground, leads: list[Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    leads[:] = [(LOOPBACK,), ("10.0.0.1",)]
    ground.watch.clear()
    before = ground.web.connections
    client = ground.http2()
    with closing(client.connection):
        assert statuses(client, ground, "/1", "/2") == [200, 200]
        assert ground.watch.lookups == [WEB_NAME]
        monkeypatch.setattr(ground.web, "answer", CLOSING)
        assert statuses(client, ground, "/3") == [200]
        [status] = statuses(client, ground, "/4")
    assert status == 403
    assert ground.watch.lookups == [WEB_NAME, WEB_NAME]
    assert ground.codes[-1] == "private_address"
    assert ground.web.connections == before + 1


def statuses(client: Http2Client, ground: Ground, *paths: str) -> list[int]:
    where = HERE.replace("PORT", str(ground.web.port))
    found = []
    for path in paths:
        [answer] = client.wait(client.send(where, path))
        found.append(answer.status)
    return found


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "[::ffff:127.0.0.2]", "[::1]", "169.254.169.254",
             "[::ffff:169.254.169.254]", "[::ffff:a00:1]"]
)  # fmt: skip
@pytest.mark.parametrize("protocol", BOTH)
def test_addresses_that_stand_in_the_url(host: str, protocol: str, ground: Ground) -> None:
    name = f"{host}:PORT"
    ground.assert_denied(Sent(name, connect=name), "private_address", protocol)
    ground.assert_denied(Sent(name, connect=name, sni=""), "private_address")
    ground.assert_denied(Sent(name, f"http://{name}/", connect=""), "private_address")
    fine = Sent(f"{LOOPBACK}:PORT", f"http://{LOOPBACK}:PORT/", connect="")
    assert ground.send(fine).status == 200


@pytest.mark.parametrize("protocol", BOTH)
def test_a_name_that_leads_back_to_the_proxy(
    protocol: str, ground: Ground, leads: list[Answers]
) -> None:
    leads[:] = [(LOOPBACK,)]
    _, _, port = ground.running.listen.rpartition(":")
    name = f"{WEB_NAME}:{port}"
    with ground.ruled(POLICY.replace("TLS, PLAIN", port)):
        refused(ground, Sent(name, connect=name), "own_address", protocol)


@pytest.mark.parametrize("protocol", BOTH)
def test_a_denied_name_is_not_looked_up(protocol: str, ground: Ground) -> None:
    name = f"{OTHER_NAME}:443"
    ground.assert_denied(Sent(OTHER_NAME, connect=name), "otherwise", protocol)
    with ground.ruled(POLICY.replace(WEB_NAME, OTHER_NAME)):
        ground.assert_arrives(Sent(THERE, connect=THERE), protocol, OTHER_NAME)


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("secret", [HEX, f"{HEX[:20]}.{HEX[20:]}"], ids=["whole", "in two labels"])
def test_a_secret_in_a_name_is_not_looked_up(secret: str, protocol: str, ground: Ground) -> None:
    host = f"{secret}.wild.example"
    with ground.ruled(WILD):
        ground.assert_denied(Sent(host, connect=f"{host}:443"), "finding", protocol)
        plain = "fine.wild.example"
        ground.watch.clear()
        assert ground.send(Sent(plain, connect=f"{plain}:443"), protocol).status == 502
        assert ground.watch.lookups == [plain]
