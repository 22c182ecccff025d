"""Names that try to be another: denied before anybody is asked for an address or dialled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bypass import BOTH, HERE, HTTP1, HTTP2, LOOPBACK, NAMES, THERE, Ground, Sent, begin, grounds
from harness import MCP_NAME, OTHER_NAME, WEB_NAME

from mitmgate.net.authority import normalise_host

THIRD = f"{MCP_NAME}:PORT"
UMLAUT = "xn--mnchen-3ya.example"
LOOK_ALIKE = "xn--ds-fmcm.upstream.example"  # two letters of docs are Cyrillic
POLICY = f"""\
version: 1
network: {{allow_private: [127.0.0.0/8]}}
egress:
  rules:
    - {{id: docs, host: [{WEB_NAME}, {UMLAUT}], ports: [TLS, PLAIN, 80, 443], then: allow}}
    - {{id: address, host: 127.0.0.1, ports: [TLS, PLAIN], then: allow}}
"""


@pytest.fixture(scope="module")
def ground(pki: tuple[Path, Path]) -> Iterator[Ground]:
    with grounds(POLICY, pki, {**NAMES, UMLAUT: [(LOOPBACK,)]}) as ground:
        yield ground


# What CONNECT, TLS and the request name. Only the first host is allowed.
FRONTS: dict[str, tuple[str, str, str]] = {
    "the request names another": (HERE, WEB_NAME, THERE),
    "TLS names another": (HERE, OTHER_NAME, HERE),
    "CONNECT names another": (THERE, WEB_NAME, HERE),
    "TLS and the request name another": (HERE, OTHER_NAME, THERE),
    "CONNECT and the request name another": (THERE, WEB_NAME, THERE),
    "all three differ": (HERE, OTHER_NAME, THIRD),
    "all three differ, the request names the allowed one": (THERE, MCP_NAME, HERE),
    "another port": (HERE, WEB_NAME, f"{WEB_NAME}:443"),
    "no port where one is needed": (HERE, WEB_NAME, WEB_NAME),
    "a name below it": (HERE, WEB_NAME, f"x.{HERE}"),
    "a name that begins alike": (HERE, WEB_NAME, f"{WEB_NAME}.evil.example:PORT"),
    "its address": (HERE, WEB_NAME, f"{LOOPBACK}:PORT"),
    "a look-alike": (HERE, WEB_NAME, f"{LOOK_ALIKE}:PORT"),
}  # fmt: skip


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize(("tunnel", "sni", "authority"), FRONTS.values(), ids=FRONTS)
def test_names_that_differ(
    tunnel: str, sni: str, authority: str, protocol: str, ground: Ground
) -> None:
    # A tunnel to a host without a rule opens on web ports only, and that is enough to try.
    trick = Sent(authority, connect=tunnel.replace(THERE, f"{OTHER_NAME}:443"), sni=sni)
    ground.assert_denied(trick, "host_mismatch", protocol)


@pytest.mark.parametrize("protocol", BOTH)
def test_names_that_are_one(protocol: str, ground: Ground) -> None:
    ground.assert_arrives(Sent(), protocol)
    ground.assert_arrives(Sent(WEB_NAME.upper() + ":PORT"), protocol)
    ground.assert_arrives(Sent(f"{WEB_NAME}.:PORT"), protocol)
    ground.assert_arrives(Sent(connect=f"{WEB_NAME.title()}:PORT"), protocol)
    ground.assert_arrives(Sent(connect=f"{WEB_NAME}.:PORT", authority=f"{WEB_NAME}.:PORT"),
                          protocol)  # fmt: skip


def test_each_stream_of_a_connection_is_a_question_of_its_own(ground: Ground) -> None:
    before = len(ground.web.requests)
    client = ground.http2()
    with closing(client.connection):
        for authority, status in ((HERE, 200), (THERE, 421), (HERE, 200), (f"x.{HERE}", 421)):
            number = begin(client, ground.filled(Sent(authority).as_http2()))
            [answer] = client.wait(number)
            assert answer.status == status
    assert len(ground.web.requests) == before + 2


# Python's own client sends no name that is an address: nobody is named then.
@pytest.mark.parametrize("protocol", BOTH)
def test_a_client_that_names_nobody_in_tls(protocol: str, ground: Ground) -> None:
    ground.assert_arrives(Sent(sni=LOOPBACK), protocol)
    trick = Sent(THERE, sni=LOOPBACK)
    ground.assert_denied(trick, "host_mismatch", protocol)


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("sni", ["2130706433", "0x7f.1", "127.1", f"xn--docs{WEB_NAME[4:]}"])
def test_names_in_tls_that_have_more_than_one_reading(
    sni: str, protocol: str, ground: Ground
) -> None:
    ground.assert_denied(Sent(sni=sni), "bad_authority", protocol)


@pytest.mark.parametrize("host", [OTHER_NAME, "2130706433", LOOK_ALIKE, "127.0.0.2"])
def test_where_a_server_sends_a_client_is_a_question_of_its_own(
    host: str, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\nlocation: http://%b/\r\n\r\n"
    monkeypatch.setattr(ground.web, "answer", away % host.encode())
    told = ground.send(Sent())
    assert (told.status, told.headers["location"]) == (302, f"http://{host}/")
    code = "bad_authority" if host.isdigit() else "otherwise"
    ground.assert_denied(Sent(host, told.headers["location"], connect=""), code)


# Without a tunnel: the target, then the Host.
URIS: dict[str, tuple[str, str, str]] = {
    "Host names another": (f"http://{HERE}/", THERE, "host_mismatch"),
    "the target names another": (f"http://{THERE}/", HERE, "host_mismatch"),
    "Host names another port": (f"http://{HERE}/", f"{WEB_NAME}:1", "host_mismatch"),
    "Host names no port": (f"http://{HERE}/", WEB_NAME, "host_mismatch"),
    "the target has user information": (
        f"http://{WEB_NAME}@{THERE}/", THERE, "bad_authority"),
    "user information ends at a backslash": (
        f"http://{WEB_NAME}:80\\@{THERE}/", HERE, "bad_authority"),
    "the target is cut by a fragment": (f"http://{HERE}#@{THERE}/", HERE, "bad_authority"),
    "the target is cut by a query": (f"http://{HERE}?@{THERE}/", HERE, "bad_authority"),
    "an A-label that is one by the rules of 2003 only": (
        "http://xn--a-up5e.example:PORT/", "xn--a-18h.example:PORT", "bad_authority"),
    "another scheme": (f"ftp://{HERE}/", HERE, "malformed_request"),
}  # fmt: skip


@pytest.mark.parametrize(("target", "host", "code"), URIS.values(), ids=URIS)
def test_absolute_targets(target: str, host: str, code: str, ground: Ground) -> None:
    ground.assert_denied(Sent(host, target, connect=""), code)
    ground.assert_arrives(Sent(HERE, f"http://{HERE}/", connect=""))


@pytest.mark.parametrize("target", [f"https://{HERE}/", f"https://{THERE}/", f"http://{HERE}/"])
def test_absolute_targets_in_a_tunnel(target: str, ground: Ground) -> None:
    ground.assert_denied(Sent(HERE, target), "malformed_request")
    ground.assert_arrives(Sent(HERE, "/"))


def utf8(text: str) -> str:
    """Return *text* as one character for each byte that goes over the wire."""
    return text.encode().decode("latin-1")


# Each is the allowed host, or loopback, to somebody.
SPELLINGS: dict[str, str] = {
    "two dots at the end": f"{WEB_NAME}..",
    "a dot at the start": f".{WEB_NAME}",
    "two dots inside": WEB_NAME.replace(".", "..", 1),
    "user information": f"{WEB_NAME}@{OTHER_NAME}",
    "user information of the allowed host": f"a:b@{WEB_NAME}",
    "an escaped letter": f"%64{WEB_NAME[1:]}",
    "an escaped dot": WEB_NAME.replace(".", "%2e", 1),
    "an escaped NUL": f"{WEB_NAME}%00.{OTHER_NAME}",
    "an escaped slash": f"{WEB_NAME}%2f.{OTHER_NAME}",
    "wide letters": utf8(f"ｄｏｃｓ{WEB_NAME[4:]}"),
    "an ideographic dot": utf8(WEB_NAME.replace(".", "。", 1)),
    "Cyrillic letters": utf8(f"dосs{WEB_NAME[4:]}"),
    "a soft hyphen": utf8(f"do\u00adcs{WEB_NAME[4:]}"),
    "a joiner": utf8(f"do\u200dcs{WEB_NAME[4:]}"),
    "an A-label that is none": f"xn--docs{WEB_NAME[4:]}",
    "an A-label of ASCII": f"xn--docs-{WEB_NAME[4:]}",
    "a capital sharp s as an A-label": "xn--strae-301b.example",
    "two hosts": f"{WEB_NAME},{OTHER_NAME}",
    "a backslash": f"{WEB_NAME}\\.{OTHER_NAME}",
    "a wildcard": "*.upstream.example",
    "a label that is too long": f"{'a' * 64}.example",
    "decimal": "2130706433",
    "octal": "0177.0.0.1",
    "octal in one number": "017700000001",
    "hexadecimal": "0x7f000001",
    "hexadecimal in parts": "0x7f.0x0.0x0.0x1",
    "a short address": "127.1",
    "a shorter one of zeros": "0",
    "five numbers": "127.0.0.0.1",
    "a number that is too large": "127.0.0.257",
    "wide digits": utf8("１２７.0.0.1"),
    "an escaped digit": "%3127.0.0.1",
    "IPv6 without brackets": "::1",
    "a zone": "[::1%lo]",
    "an escaped zone": "[fe80::1%25lo]",
    "an address of the future": "[v1.a]",
    "brackets that do not end": "[::1",
    "a name in brackets": f"[{WEB_NAME}]",
}  # fmt: skip

# Where a host can be written, and the protocol that is spoken there.
PLACES: dict[str, tuple[Callable[[str], Sent], str]] = {
    "CONNECT": (lambda host: Sent(HERE, connect=f"{host}:PORT", sni=WEB_NAME), HTTP1),
    "Host": (lambda host: Sent(f"{host}:PORT"), HTTP1),
    "target": (lambda host: raw(f"GET http://{host}:PORT/ HTTP/1.1\r\nhost: {host}:PORT"), HTTP1),
    "authority": (lambda host: Sent(f"{host}:PORT"), HTTP2),
}


def raw(head: str) -> Sent:
    return Sent(connect="", raw=f"{head}\r\n\r\n")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("host", SPELLINGS.values(), ids=SPELLINGS)
def test_spellings_that_have_more_than_one_reading(host: str, place: str, ground: Ground) -> None:
    spelled, protocol = PLACES[place]
    ground.assert_denied(spelled(host), "bad_authority", protocol)


@pytest.mark.parametrize("place", PLACES)
def test_the_plain_spelling_passes(place: str, ground: Ground) -> None:
    spelled, protocol = PLACES[place]
    ground.assert_arrives(spelled(WEB_NAME), protocol)


PORTS = (
    "",
    "0",
    "0443",
    "+443",
    "-1",
    "65536",
    "4 43",
    "443:443",
    "0x1bb",
    "４４３",
    "99999999999",
)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "target"])
@pytest.mark.parametrize("port", PORTS)
def test_ports_that_are_none(port: str, place: str, ground: Ground) -> None:
    spelled, protocol = PLACES[place]
    sent = spelled("HOST")
    text = f"{WEB_NAME}:{utf8(port)}"
    if place == "CONNECT":
        code = "malformed_request" if " " in port else "bad_authority"
        ground.assert_denied(Sent(HERE, connect=text, sni=WEB_NAME), code)
    else:
        assert sent.authority == "HOST:PORT"
        ground.assert_denied(Sent(text), "bad_authority", protocol)


@pytest.mark.parametrize("port", [22, 25, 3306, 6379])
def test_ports_that_no_rule_opens(port: int, ground: Ground) -> None:
    name = f"{WEB_NAME}:{port}"
    ground.assert_denied(Sent(name, connect=name), "port")
    ground.assert_denied(Sent(name, f"http://{name}/", connect=""), "port")


# Hosts that are others than they look like: no rule is for them.
@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("host", [LOOK_ALIKE, f"{WEB_NAME}.evil.example", "upstream.example",
                                  f"x.{WEB_NAME}", "docs-upstream.example"])  # fmt: skip
def test_hosts_that_look_alike_are_others(host: str, protocol: str, ground: Ground) -> None:
    ground.assert_denied(Sent(host, connect=f"{host}:443"), "otherwise", protocol)


def test_a_name_of_other_letters_passes_by_its_own_rule(ground: Ground) -> None:
    sent = Sent(f"{UMLAUT}:PORT", f"http://{UMLAUT}:PORT/", connect="")
    ground.assert_arrives(sent, name=UMLAUT)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
             "[0:0:0:0:0:ffff:7f00:1]"]
)  # fmt: skip
def test_spellings_of_an_address_that_have_one_reading(host: str, ground: Ground) -> None:
    ground.watch.clear()
    told = ground.send(raw(f"GET http://{host}:PORT/ HTTP/1.1\r\nhost: {host}:PORT"))
    assert (told.status, told.body) == (200, b"hello")
    names, [(address, port)], around = ground.watch.seen
    assert (names, normalise_host(address), port, around) == ([], LOOPBACK, ground.plain.port, [])
