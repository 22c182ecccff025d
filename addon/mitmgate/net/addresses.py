"""What kind of place an IP address is, seen through every way of hiding one in another."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


class AddressClass(StrEnum):
    """Kinds of addresses, from harmless to worst; only ``PUBLIC`` is open by default."""

    PUBLIC = "public"
    DOCUMENTATION = "documentation"
    RESERVED = "reserved"
    MULTICAST = "multicast"
    CGNAT = "cgnat"
    PRIVATE = "private"
    LINK_LOCAL = "link_local"
    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    METADATA = "metadata"


_RANK = {kind: rank for rank, kind in enumerate(AddressClass)}

# Addresses where clouds hand out credentials to whoever asks from inside.
METADATA_ADDRESSES: frozenset[str] = frozenset(
    {
        "169.254.169.254",  # AWS, Azure, Google, OpenStack, Oracle, DigitalOcean and others
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "169.254.0.23",  # Tencent
        "169.254.42.42",  # Scaleway
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure wire server: a public address that only exists inside
        "192.0.0.192",  # Oracle Cloud Classic
        "fd00:ec2::254",  # AWS over IPv6
        "fd00:ec2::23",  # AWS EKS pod identity over IPv6
        "fd20:ce::254",  # Google over IPv6
        "fd00:42::42",  # Scaleway over IPv6
        "fe80::a9fe:a9fe",  # OpenStack over IPv6
    }
)

_V4: tuple[tuple[IPv4Network, AddressClass], ...] = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", AddressClass.UNSPECIFIED),  # Linux dials its own loopback for these
        ("10.0.0.0/8", AddressClass.PRIVATE),
        ("100.64.0.0/10", AddressClass.CGNAT),
        ("127.0.0.0/8", AddressClass.LOOPBACK),
        ("169.254.0.0/16", AddressClass.LINK_LOCAL),
        ("172.16.0.0/12", AddressClass.PRIVATE),
        ("192.0.0.0/24", AddressClass.RESERVED),
        ("192.0.2.0/24", AddressClass.DOCUMENTATION),
        ("192.88.99.0/24", AddressClass.RESERVED),
        ("192.168.0.0/16", AddressClass.PRIVATE),
        ("198.18.0.0/15", AddressClass.RESERVED),
        ("198.51.100.0/24", AddressClass.DOCUMENTATION),
        ("203.0.113.0/24", AddressClass.DOCUMENTATION),
        ("224.0.0.0/4", AddressClass.MULTICAST),
        ("240.0.0.0/4", AddressClass.RESERVED),
    )
)

# First match decides, so the narrow ones stand first. Whatever is outside of 2000::/3 and not
# listed was never given out.
_V6: tuple[tuple[IPv6Network, AddressClass], ...] = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", AddressClass.UNSPECIFIED),
        ("::1/128", AddressClass.LOOPBACK),
        ("64:ff9b::/96", AddressClass.PUBLIC),  # NAT64: the IPv4 address inside decides
        ("64:ff9b:1::/48", AddressClass.PRIVATE),  # NAT64 for local use
        ("2001:db8::/32", AddressClass.DOCUMENTATION),
        ("3fff::/20", AddressClass.DOCUMENTATION),
        ("2001::/23", AddressClass.RESERVED),  # Teredo and other protocol assignments
        ("2002::/16", AddressClass.RESERVED),  # 6to4, deprecated (RFC 7526)
        ("fc00::/7", AddressClass.PRIVATE),
        ("fe80::/10", AddressClass.LINK_LOCAL),
        ("fec0::/10", AddressClass.PRIVATE),
        ("ff00::/8", AddressClass.MULTICAST),
        ("2000::/3", AddressClass.PUBLIC),
    )
)

_LOW_32 = 0xFFFFFFFF
# ::/96 IPv4-compatible, ::ffff:0:0:0/96 IPv4-translated, NAT64: the last 32 bits are IPv4.
_TAIL_NETWORKS = tuple(
    IPv6Network(network)
    for network in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
_ISATAP = (0x00005EFE, 0x02005EFE)


def unmap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address of an IPv4-mapped one, else *address* itself."""
    return getattr(address, "ipv4_mapped", None) or address


def classify(address: str) -> AddressClass:
    """Return the worst class of *address* and of every address embedded in it.

    Total: a text that is no address is ``RESERVED``, which nothing opens.
    """
    try:
        parsed = unmap(ipaddress.ip_address(address))
    except ValueError:
        return AddressClass.RESERVED
    if isinstance(parsed, IPv4Address):
        return _class_of_v4(parsed)
    plain = IPv6Address(int(parsed))  # without a zone id
    kinds = [_class_of_v6(plain), *map(_class_of_v4, _embedded(plain))]
    return max(kinds, key=_RANK.__getitem__)


def _class_of_v4(address: IPv4Address) -> AddressClass:
    if str(address) in METADATA_ADDRESSES:
        return AddressClass.METADATA
    return next((kind for network, kind in _V4 if address in network), AddressClass.PUBLIC)


def _class_of_v6(address: IPv6Address) -> AddressClass:
    if str(address) in METADATA_ADDRESSES:
        return AddressClass.METADATA
    return next((kind for network, kind in _V6 if address in network), AddressClass.RESERVED)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that a router or a stack may take *address* for."""
    number = int(address)
    if number > 1 and any(address in network for network in _TAIL_NETWORKS):
        yield IPv4Address(number & _LOW_32)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if (number >> 32) & _LOW_32 in _ISATAP:
        yield IPv4Address(number & _LOW_32)
