"""Hosts and ports as peers and files write them, brought to the one form that we compare.

A host that two programs could read as two places is refused: what we decide on must be
what is dialled.
"""

from __future__ import annotations

import ipaddress
import string
from functools import lru_cache
from typing import NamedTuple

import idna

from mitmgate.errors import WireError

_LABEL_CHARS = frozenset(string.ascii_lowercase + string.digits + "-_")
_MAX_TEXT = 1024
_ODD = frozenset(" /\\?#")


class Authority(NamedTuple):
    """A normalised host (IPv6 without brackets) and the port, if one was written."""

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


@lru_cache(maxsize=1024)  # clients name few hosts, and each of them with every request
def normalise_authority(text: str) -> Authority:
    """Return the host and port that *text* spells, or raise WireError ``bad_authority``."""
    _refuse_odd_characters(text)
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise _bad("unbalanced brackets")
        return Authority(_ipv6(inner), _port(rest[1:]) if rest else None)
    host, colon, port = text.partition(":")
    if ":" in port:
        raise _bad("an IPv6 address needs brackets")
    return Authority(_name_or_ipv4(host), _port(port) if colon else None)


def normalise_host(text: str) -> str:
    """Return the host that *text* spells, an IPv6 address with or without brackets.

    Raises WireError ``bad_authority``, for a port too.
    """
    _refuse_odd_characters(text)
    if text.startswith("[") and text.endswith("]"):
        return _ipv6(text[1:-1])
    if text.count(":") >= 2:
        return _ipv6(text)
    return _name_or_ipv4(text)


def _bad(why: str) -> WireError:
    return WireError("bad_authority", f"the host is not usable: {why}")


def _refuse_odd_characters(text: str) -> None:
    if not text:
        raise _bad("it is empty")
    if len(text) > _MAX_TEXT:
        raise _bad("it is too long")
    if "@" in text:
        # https://good.example@evil.example/ is read by people as the one, dialled as the other.
        raise _bad("user information is not allowed")
    if "%" in text:
        # Zone ids pick an interface of our machine; percent escapes are decoded by some only.
        raise _bad("percent signs and zone ids are not allowed")
    if not text.isprintable() or not _ODD.isdisjoint(text):
        raise _bad("spaces, control characters and slashes are not allowed")


def _port(text: str) -> int:
    plain = text.isascii() and text.isdigit() and not text.startswith("0") and len(text) <= 5
    if not plain or int(text) > 65535:
        raise _bad("a port is a number from 1 to 65535")
    return int(text)


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise _bad("not an IPv6 address") from None
    return str(address.ipv4_mapped or address)


def _name_or_ipv4(text: str) -> str:
    name = _ascii(text)
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > 253:
        raise _bad("a name has at most 253 characters")
    for label in labels:
        _check_label(label)
    return _ipv4(name) if _is_numeric(labels[-1]) else name


def _ascii(text: str) -> str:
    """Return *text* in lower case with every label as DNS carries it."""
    if text.isascii():
        return text.lower()
    try:
        return idna.encode(text, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError, ValueError):
        raise _bad("not a name of IDNA 2008") from None


def _check_label(label: str) -> None:
    if not label:
        raise _bad("a label is empty")
    if len(label) > 63:
        raise _bad("a label has at most 63 characters")
    # Underscores are no host names by the book, but DNS carries them and people use them.
    if not _LABEL_CHARS.issuperset(label) or label.startswith("-") or label.endswith("-"):
        raise _bad("a label holds letters, digits, and hyphens inside")
    if label.startswith("xn--"):
        _check_a_label(label)


def _check_a_label(label: str) -> None:
    # A made-up xn-- label is shown by some programs as another name than it resolves as.
    try:
        if idna.alabel(idna.ulabel(label)).decode("ascii") == label:
            return
    except (idna.IDNAError, UnicodeError, ValueError):
        pass
    raise _bad("not a name of IDNA 2008")


def _is_numeric(label: str) -> bool:
    """Say whether URL parsers take a host that ends in *label* for an IPv4 address."""
    if label.isdigit():
        return True
    return label.startswith("0x") and not label[2:].strip(string.hexdigits)


def _ipv4(name: str) -> str:
    # 2130706433, 0x7f.1 and 0177.0.0.1 are loopback to inet_aton and names to others.
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError:
        raise _bad("an IPv4 address is four plain decimal numbers") from None
