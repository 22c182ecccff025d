"""What other programs make of an authority that we accept: the same host and port, or nothing."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import httpx
import idna
from fuzzing import Step
from mitmproxy.net.http.url import parse_authority

from mitmgate.errors import WireError
from mitmgate.net.authority import Authority, normalise_authority, normalise_host

CORPUS = [
    "example.com", "example.com:8443", "EXAMPLE.Com.", "bücher.example", "xn--bcher-kva.example",
    "127.0.0.1:80", "[2001:db8::1]:443", "[::ffff:10.0.0.1]", "a-b.c_d.example", "localhost:1",
    "straße.example", "ｅｘａｍｐｌｅ。com", "1.2.3.4", "0x7f.1", "2130706433", "faß.de:443",
    "good.example", "r3---sn.example",
]  # fmt: skip
PIECES = [
    ".", "..", ":", "::", "@", "%", "%2e", "%25", "/", "\\", "?", "#", "[", "]", " ", "\t", "\r\n",
    "\0", "0", "00", "0x", "0X7F", "1", "127", "255", "256", "4294967295", "-", "_", "xn--",
    "XN--a", "。", "．", "｡", "\u200b", "\u200d", "\u00ad", "ß", "ẞ", "İ", "ı", "ſ", "K", "é",
    "e\u0301", "①", "１", "٣", "：", "＠", "／", "℀", "㏂", ":80", ":0", ":65535", ":65536", ":+1",
    ":１", "evil.example", "good.example", "localhost", "ffff", "*", "&", ";", ",", "'",
    '"', "~", "!", "$",
]  # fmt: skip


def mutated(base: int, steps: Iterable[Step]) -> str:
    """Return an authority of the corpus after *steps*: what to do, where, and with which piece."""
    text = CORPUS[base % len(CORPUS)]
    for kind, where, which in steps:
        at, piece = where % (len(text) + 1), PIECES[which % len(PIECES)]
        if kind % 4 == 3:
            text = text[:at] + text[at + which % 5 :]
        else:
            text = text[:at] + piece + text[at + kind % 3 :]
    return text


def check_authority(text: str) -> bool:
    """Refused, or read alike by all that reads it; tell whether it was accepted."""
    try:
        found = normalise_authority(text)
    except WireError as problem:
        assert problem.code == "bad_authority"
        return False
    assert normalise_authority(str(found)) == found
    assert found.host.isascii()
    _check_address(found.host)
    for written in {text, str(found)}:
        for read in READERS:
            other = _read(read, written)
            assert other in (None, found), (read, written, other, found)
    assert _read(_urllib, str(found)) == found, "the normal form is read by all"
    return True


def _check_address(host: str) -> None:
    """An address is one to every reader, and a name to none an address."""
    packed = (_packed(socket.inet_aton, host), _packed(_ipv4, host))
    assert packed[0] == packed[1], host
    if ":" in host:
        assert str(ipaddress.IPv6Address(host)) == host
        assert ipaddress.IPv6Address(host).ipv4_mapped is None


def _packed(read: Callable[[str], bytes], host: str) -> bytes | None:
    try:
        return read(host)
    except (OSError, ValueError):
        return None


def _ipv4(host: str) -> bytes:
    return ipaddress.IPv4Address(host).packed


type Reader = Callable[[str], tuple[str, int | None]]


def _read(read: Reader, text: str) -> Authority | None:
    """Return what another program reads, None where it refuses."""
    try:
        host, port = read(text)
    except (ValueError, httpx.InvalidURL):
        return None
    dialled = _packed(socket.inet_aton, host)
    if dialled is not None:
        return Authority(str(ipaddress.IPv4Address(dialled)), port)
    return Authority(normalise_host(host), port)


def _urllib(text: str) -> tuple[str, int | None]:
    parts = urlsplit(f"https://{text}/")
    return parts.hostname or "", parts.port


def _httpx(text: str) -> tuple[str, int | None]:
    url = httpx.URL(f"http://{text}/")
    port = normalise_authority(text).port  # it leaves out the one of the scheme
    return url.raw_host.decode("ascii"), port if url.port is None else url.port


def _mitmproxy(text: str) -> tuple[str, int | None]:
    return parse_authority(text, check=True)


def _mitmproxy_bytes(text: str) -> tuple[str, int | None]:
    host, port = parse_authority(text.encode(), check=True)
    # It shows A-labels as what they stand for.
    labels = (one if one.isascii() else idna.encode(one).decode() for one in host.split("."))
    return ".".join(labels), port


READERS: tuple[Reader, ...] = (_urllib, _httpx, _mitmproxy, _mitmproxy_bytes)
