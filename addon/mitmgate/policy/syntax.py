"""The small languages inside a policy: durations, JSON pointers, server URLs, networks, names.

Each function returns the parsed value or raises ValueError saying how to write it right.
"""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_authority, normalise_host

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DETECTORS = frozenset({"secrets", "injection", "poisoning", "pii", "canary", "limits"})
REDACTABLE = frozenset({"secrets", "pii", "canary"})
"""Detectors whose findings can be cut out of a text: what is left is then clean."""
BUILT_IN_RULES = frozenset(
    {"otherwise", "housekeeping", "unknown_servers", "ambiguous_key", "policy_error"}
)
MISSING: Final = object()
"""What :func:`member` finds where nothing stands."""
MAX_NAME = 100
MAX_REASON = 500
_NAME_CHARS = frozenset(string.ascii_letters + string.digits + "-_.")
_SIZES: Final = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_HEX = frozenset(string.digits + "abcdef")
_MAX_WAIT = 3600
_MAX_LENGTH = 86_400
_NO_PREFIX = frozenset('%?#;*\\ "<>[]{}|^`')  # RFC 3986 section 3.3, and what can be misread
_MAX_ENCODINGS = 4
_DEFAULT_PORT = {"https": 443, "wss": 443, "http": 80, "ws": 80}
_DEFAULT_PORTS = frozenset(_DEFAULT_PORT.values())


def parse_name(text: str) -> str:
    """Return *text* if it may name a server or a rule."""
    if not text or len(text) > MAX_NAME or not _NAME_CHARS.issuperset(text):
        raise ValueError(f"a name has 1 to {MAX_NAME} letters, digits, hyphens, dots, underscores")
    return text


def parse_rule_id(text: str) -> str:
    """Return *text* if it may be the id of a rule."""
    if text in BUILT_IN_RULES:
        raise ValueError(f"{text} is the name of a built-in rule; choose another id")
    return parse_name(text)


def parse_reason(text: str) -> str:
    """Return *text* if an agent and a terminal may be shown it."""
    if not text.strip() or len(text) > MAX_REASON:
        raise ValueError(f"a reason has 1 to {MAX_REASON} characters")
    if any(not char.isprintable() and char != "\n" for char in text):
        raise ValueError("a reason holds no control characters")
    return text


def parse_duration(text: str) -> float:
    """Return the seconds that ``45s``, ``10m`` or ``1h`` spell, from 1s to 1h."""
    return _seconds(text, _MAX_WAIT, "must be from 1s to 1h")


def parse_length(text: str) -> float:
    """Return the seconds that ``45s``, ``10m`` or ``8h`` spell, from 1s to 24h."""
    return _seconds(text, _MAX_LENGTH, "must be from 1s to 24h")


def _seconds(text: str, most: int, told: str) -> float:
    number, unit = text[:-1], text[-1:]
    plain = number.isascii() and number.isdigit() and len(number) <= 5
    if not plain or unit not in _SECONDS:
        raise ValueError("a duration is a whole number and s, m or h, as in 45s")
    seconds = int(number) * _SECONDS[unit]
    if not 1 <= seconds <= most:
        raise ValueError(told)
    return float(seconds)


def parse_pointer(text: str) -> tuple[str, ...]:
    """Return the tokens of the JSON pointer *text* (RFC 6901)."""
    if not text.startswith("/"):
        raise ValueError("a JSON pointer starts with /, as in /arguments/force")
    tokens = text[1:].split("/")
    for token in tokens:
        rest = token.replace("~0", "").replace("~1", "")
        if "~" in rest:
            raise ValueError("in a JSON pointer ~ is written ~0 and / inside a key ~1")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def parse_redacted(text: str) -> str:
    """Return *text* if it may be redacted: a JSON pointer, or the name of a detector."""
    if text not in DETECTORS:
        parse_pointer(text)
    return text


def parse_pack_path(text: str) -> str:
    """Return *text* if it is the path of a YAML file."""
    if not text.endswith((".yaml", ".yml")) or "\0" in text:
        raise ValueError("a pack of scanner rules is a file that ends in .yaml")
    return text


def parse_value_hash(text: str) -> str:
    """Return *text* if it is the keyed hash of a value, as findings show it."""
    if len(text) != 16 or not _HEX.issuperset(text):
        raise ValueError("a value is given by its value_hash: 16 digits of 0-9 and a-f")
    return text


def parse_clock(text: str) -> int:
    """Return the minutes after midnight that ``HH:MM`` spells, 24:00 included."""
    hours, colon, minutes = text.partition(":")
    digits = (hours + minutes).isascii() and (hours + minutes).isdigit()
    if not colon or not digits or len(hours) != 2 or len(minutes) != 2:
        raise ValueError('a time of day is written as "HH:MM", as in "09:00"')
    value = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or value > 24 * 60:
        raise ValueError("a time of day is from 00:00 to 24:00")
    return value


def parse_zone(text: str) -> str:
    """Return *text* if it is a time zone of the IANA database."""
    try:
        ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("a time zone is named as in Europe/Berlin, or UTC") from None
    return text


def parse_extended(text: str) -> str:
    """Return *text* if it may name a pack: a plain name, or the path of a YAML file."""
    if "/" in text or text.endswith((".yaml", ".yml")):
        if "\0" in text or not text.isprintable():
            raise ValueError("a path holds no control characters")
        return text
    return parse_name(text)


def parse_network(text: str) -> Network:
    """Return the network that *text* spells as address/prefix."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("a network is written as address/prefix, as in 10.0.0.0/8") from None
    raise ValueError(f"the address has bits outside of its prefix; did you mean {meant}?")


def parse_static_name(text: str) -> str:
    """Return the normalised host name that a static address can be given to."""
    host = _host(text)
    if _is_address(host):
        raise ValueError("an address needs no resolving; name a host here")
    return host


def parse_address(text: str) -> str:
    """Return the normalised IP address that *text* spells."""
    host = _host(text)
    if not _is_address(host):
        raise ValueError("must be an IP address, as in 127.0.0.1")
    return host


def parse_http_method(text: str) -> str:
    """Return *text* if it is an HTTP method as it stands on the wire."""
    if not (text.isascii() and text.isalpha() and text.isupper()):
        raise ValueError("an HTTP method is written in capitals, as in GET")
    return text


def parse_path_prefix(text: str) -> str:
    """Return the path that *text* spells, without a slash at its end: ``/`` is ``""``."""
    odd = not text.isascii() or not text.isprintable() or not _NO_PREFIX.isdisjoint(text)
    if not text.startswith("/") or odd or not is_plain_path(text):
        raise ValueError("a path begins with / and is plain: no query, no .., no wildcard, "
                         "nothing encoded")  # fmt: skip
    if any(segment.endswith(".") for segment in text.split("/")):
        raise ValueError("no part of a path ends in a dot: some servers cut it")
    return text.rstrip("/")


def parse_size(text: str) -> int:
    """Return the bytes that ``500B``, ``64KB``, ``10MB`` or ``2GB`` spell; 1KB is 1,024 bytes."""
    number = text.rstrip("BKMG")
    factor = _SIZES.get(text[len(number) :])
    if factor is None or not (number.isascii() and number.isdigit() and len(number) <= 5):
        raise ValueError("a size is a whole number and B, KB, MB or GB, as in 64KB")
    if not int(number):
        raise ValueError("must be at least 1B")
    return int(number) * factor


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """Where a server listens: a host, its ports, and a path or everything below it.

    ``path`` has no trailing slash when ``below`` is set.
    """

    host: str
    ports: frozenset[int]
    path: str
    below: bool

    def covers(self, path: str) -> bool:
        """Say whether the plain *path* (no dot segments, no query) belongs to this URL."""
        if not self.below:
            return path == self.path
        return path == self.path or path.startswith(self.path + "/")

    @property
    def specificity(self) -> tuple[bool, int]:
        """Larger for the URL that wins where two cover the same path."""
        return (not self.below, len(self.path))


def parse_server_url(text: str) -> ServerUrl:
    """Return where the server at *text* listens; the scheme only tells the default port.

    A WebSocket is opened by a request to the same URL with ``http`` (RFC 6455 section 4.1).
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _DEFAULT_PORT:
        raise ValueError("a server URL starts with https:// or wss://")
    authority, slash, path = rest.partition("/")
    try:
        where = normalise_authority(authority)
    except WireError as error:
        raise ValueError("a server URL names one exact host" if "*" in authority
                         else str(error)) from None  # fmt: skip
    # An agent that is told http:// must not slip past the entry that says https://.
    default = where.port is None or where.port == _DEFAULT_PORT[scheme]
    ports = _DEFAULT_PORTS if default or where.port is None else frozenset({where.port})
    return ServerUrl(where.host, ports, *_parse_path(slash + path))


def _parse_path(path: str) -> tuple[str, bool]:
    below = path == "/**" or path.endswith("/**")
    plain = path[:-3] if below else path or "/"
    if "*" in plain:
        raise ValueError("** is allowed only at the end of the path, as in https://host/mcp/**")
    if any(char in "?#" or char.isspace() for char in plain):
        raise ValueError("a server URL has no query, fragment or spaces")
    if not is_plain_path(plain or "/"):
        raise ValueError("the path of a server URL has no .. and no empty segments")
    return plain, below


_ODD_IN_PATHS = ("%", "//", "/.", "\\")
"""Without any of them a path is plain."""


def is_plain_path(path: str) -> bool:
    """Say whether every server reads *path* as the place that it spells.

    ``/mcp/../admin``, ``/mcp/%2e%2e/admin``, ``/mcp/..;/admin`` and ``/mcp//..`` begin like
    a known server and may end up elsewhere on its host.
    """
    if path.startswith("/") and not any(map(path.__contains__, _ODD_IN_PATHS)):
        return True
    text = path
    for _ in range(_MAX_ENCODINGS):
        decoded = _decode_dots(text)
        if decoded == text:
            break
        text = decoded
    else:
        return False  # nobody encodes a path that often but to hide something
    if not text.startswith("/") or "\\" in text or "//" in text:
        return False
    return all(segment.partition(";")[0] not in (".", "..") for segment in text.split("/"))


def _decode_dots(path: str) -> str:
    for escape, char in (("%25", "%"), ("%2e", "."), ("%2E", "."), ("%2f", "/"), ("%2F", "/"),
                         ("%5c", "\\"), ("%5C", "\\")):  # fmt: skip
        path = path.replace(escape, char)
    return path


def member(value: Any, token: str) -> Any:
    """Return what stands in the JSON *value* at one *token* of a pointer, or ``MISSING``."""
    if isinstance(value, Mapping):
        return value.get(token, MISSING)
    if isinstance(value, list) and _is_index(token) and int(token) < len(value):
        return value[int(token)]
    return MISSING


def json_equal(left: Any, right: Any) -> bool:
    """Say whether two JSON values are the same: ``1`` is ``1.0`` and is not ``true``."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(json_equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            json_equal(value, right[key]) for key, value in left.items()
        )
    return type(left) is type(right) and bool(left == right)


def _is_index(text: str) -> bool:
    plain = text.isascii() and text.isdigit() and len(text) <= 9
    return plain and (text == "0" or not text.startswith("0"))


def _host(text: str) -> str:
    try:
        return normalise_host(text)
    except WireError as error:
        raise ValueError(str(error)) from None


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()
