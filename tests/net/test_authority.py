"""One form for each host, and a refusal for every host with two readings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.net.authority import Authority, normalise_authority, normalise_host

ACCEPTED = {
    "a name": ("example.com", "example.com", None),
    "a name and a port": ("example.com:8443", "example.com", 8443),
    "upper case is lowered": ("EXAMPLE.Com", "example.com", None),
    "one trailing dot is dropped": ("example.com.:443", "example.com", 443),
    "a single label": ("localhost", "localhost", None),
    "an underscore is in use": ("my_service.example.com", "my_service.example.com", None),
    "hyphens at three and four are in use": ("r3---sn.example.com", "r3---sn.example.com", None),
    "IDNA 2008 maps by UTS 46": ("Bücher.example", "xn--bcher-kva.example", None),
    "sharp s is its own letter since 2008": ("straße.example", "xn--strae-oqa.example", None),
    "a full-width name is the plain one": ("ｅｘａｍｐｌｅ。com", "example.com", None),
    "a proper A-label stays": ("XN--bcher-KVA.example", "xn--bcher-kva.example", None),
    "an IPv4 address": ("127.0.0.1:80", "127.0.0.1", 80),
    "an IPv4 address with a dot behind": ("127.0.0.1.", "127.0.0.1", None),
    "an IPv6 address": ("[2001:DB8:0:0::1]:443", "2001:db8::1", 443),
    "a mapped address is the IPv4 one": ("[::ffff:127.0.0.1]", "127.0.0.1", None),
    "the highest port": ("a:65535", "a", 65535),
    "a label of 63": ("a" * 63 + ".com", "a" * 63 + ".com", None),
}


@pytest.mark.parametrize(("text", "host", "port"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(text: str, host: str, port: int | None) -> None:
    assert normalise_authority(text) == Authority(host, port)


REFUSED = {
    "nothing": "",
    "a port alone": ":443",
    "user information": "good.example@evil.example",
    "a password": "u:p@evil.example",
    "a zone id": "[fe80::1%25eth0]",
    "a percent escape": "ex%61mple.com",
    "a space": "example.com ",
    "a tab": "exa\tmple.com",
    "a NUL": "example.com\x00.evil.example",
    "a zero-width space": "exa\u200bmple\u200b.com\u200b",
    "a slash": "example.com/x",
    "a backslash": "example.com\\x",
    "a decimal address": "2130706433",
    "an octal address": "0177.0.0.1",
    "a hexadecimal address": "0x7f.0.0.1",
    "a hexadecimal last part": "127.0.0.0x1",
    "a short address": "127.1",
    "an address out of range": "256.0.0.1",
    "five numbers": "1.2.3.4.5",
    "a full-width address in short form": "１２７.１",
    "an IPv6 address without brackets": "::1",
    "brackets around a name": "[example.com]",
    "an open bracket": "[::1",
    "text behind the bracket": "[::1]x",
    "an IPvFuture literal": "[v1.fe80]",
    "port zero": "a:0",
    "a port with a leading zero": "a:0443",
    "a port too large": "a:65536",
    "an empty port": "a:",
    "a signed port": "a:+443",
    "a port in other digits": "a:４４３",
    "two trailing dots": "example.com..",
    "an empty label": "a..b",
    "a dot": ".",
    "a label of 64": "a" * 64 + ".com",
    "a name of 254": ".".join(["a" * 49] * 5) + ".abcd",
    "a leading hyphen": "-a.example",
    "a trailing hyphen": "a-.example",
    "a made-up A-label": "xn--example.com",
    "an A-label of what it is not": "xn--a.example",
    "a mapping that yields a slash": "a\u2100b.example",
    "a star": "*.example.com",
    "a very long text": "a." * 1000,
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(WireError) as caught:
        normalise_authority(text)
    assert caught.value.code == "bad_authority"
    assert len(text) < 5 or text not in str(caught.value)


def test_a_host_may_stand_without_brackets_but_not_with_a_port() -> None:
    assert normalise_host("::1") == normalise_host("[::1]") == "::1"
    with pytest.raises(WireError):
        normalise_host("example.com:443")


def test_an_authority_is_written_with_brackets() -> None:
    assert str(Authority("::1", 443)) == "[::1]:443"
    assert str(Authority("a.example", None)) == "a.example"


HOSTS = st.text(st.sampled_from("aA1.0x-:[]_%@ éß。%\u200d"), max_size=20) | st.text(max_size=30)


@given(HOSTS)
def test_a_normal_form_or_bad_authority_and_nothing_else(text: str) -> None:
    try:
        authority = normalise_authority(text)
    except WireError as error:
        assert error.code == "bad_authority"
        return
    assert authority.host.isascii()
    assert authority.host == authority.host.lower()
    assert normalise_authority(str(authority)) == authority
