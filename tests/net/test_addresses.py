"""Address classes, through every way of hiding one address in another."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.net.addresses import METADATA_ADDRESSES, AddressClass, classify

CASES = {
    "public IPv4": ("8.8.8.8", "public"),
    "public IPv6": ("2606:4700::1111", "public"),
    "ten": ("10.1.2.3", "private"),
    "172.16 to 172.31": ("172.31.255.255", "private"),
    "172.32 is public": ("172.32.0.1", "public"),
    "192.168": ("192.168.0.1", "private"),
    "unique local": ("fd12::1", "private"),
    "site local": ("fec0::1", "private"),
    "loopback": ("127.8.9.1", "loopback"),
    "IPv6 loopback": ("::1", "loopback"),
    "link local": ("169.254.1.1", "link_local"),
    "IPv6 link local with a zone": ("fe80::1%eth0", "link_local"),
    "carrier grade NAT": ("100.64.0.1", "cgnat"),
    "zero": ("0.0.0.0", "unspecified"),
    "anything in net zero": ("0.1.2.3", "unspecified"),
    "IPv6 zero": ("::", "unspecified"),
    "multicast": ("224.0.0.251", "multicast"),
    "IPv6 multicast": ("ff02::fb", "multicast"),
    "broadcast": ("255.255.255.255", "reserved"),
    "benchmarking": ("198.18.0.1", "reserved"),
    "documentation": ("203.0.113.9", "documentation"),
    "IPv6 documentation": ("2001:db8::1", "documentation"),
    "never given out": ("4000::1", "reserved"),
    "no address at all": ("example.com", "reserved"),
    "a decimal number": ("2130706433", "reserved"),
    "nothing": ("", "reserved"),
    "mapped loopback": ("::ffff:127.0.0.1", "loopback"),
    "mapped public": ("::ffff:8.8.8.8", "public"),
    "compatible loopback": ("::7f00:1", "loopback"),
    "translated loopback": ("::ffff:0:7f00:1", "loopback"),
    "NAT64 public": ("64:ff9b::808:808", "public"),
    "NAT64 private": ("64:ff9b::a00:1", "private"),
    "NAT64 metadata": ("64:ff9b::a9fe:a9fe", "metadata"),
    "local NAT64 is private at least": ("64:ff9b:1::808:808", "private"),
    "6to4 of a public address": ("2002:808:808::1", "reserved"),
    "6to4 of loopback": ("2002:7f00:1::1", "loopback"),
    "Teredo of a private client": ("2001:0:808:808::f5ff:fffe", "private"),
    "Teredo is reserved at least": ("2001:0:808:808::f7f7:f7f7", "reserved"),
    "ISATAP of a private address": ("2606::5efe:a00:1", "private"),
    "Azure's wire server": ("168.63.129.16", "metadata"),
}


@pytest.mark.parametrize(("address", "kind"), CASES.values(), ids=CASES)
def test_classes(address: str, kind: str) -> None:
    assert classify(address) is AddressClass(kind)


@pytest.mark.parametrize("address", sorted(METADATA_ADDRESSES))
def test_metadata_addresses_are_known_in_every_spelling(address: str) -> None:
    assert classify(ipaddress.ip_address(address).exploded) is AddressClass.METADATA


@given(st.ip_addresses(v=4))
def test_hiding_an_address_never_makes_it_better(address: ipaddress.IPv4Address) -> None:
    order = list(AddressClass)
    plain = classify(str(address))
    number = int(address)
    for hidden in (
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x64FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        ipaddress.IPv6Address((0x20010000 << 96) | (number << 64)),
    ):
        assert order.index(classify(str(hidden))) >= order.index(plain)


@given(st.ip_addresses(v=6))
def test_whatever_python_calls_private_is_not_public(address: ipaddress.IPv6Address) -> None:
    if address.is_private or address.is_multicast or address.is_link_local:
        assert classify(str(address)) is not AddressClass.PUBLIC


@given(st.text())
def test_classify_is_total(text: str) -> None:
    assert classify(text) in AddressClass
