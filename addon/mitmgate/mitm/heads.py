"""The heads of HTTP/1 messages: read in one way, within a bound, or refused with a code.

Source: RFC 9112 sections 2.2, 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.net.http import http1

from mitmgate.errors import WireError
from mitmgate.net.authority import normalise_authority

HEAD_BYTES = 64 * 1024
HEAD_LINES = 512  # each costs every check of the headers some work
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LONGEST_METHOD = 40
_ENOUGH = 128  # bytes of a first line that show whether it can be one of HTTP
_VERSIONS = (b"HTTP/1.0", b"HTTP/1.1")


def head_lines(buffer: ReceiveBuffer) -> list[bytes] | None:
    """Take the lines of a head out of *buffer*; None as long as it is not whole.

    Raises ``WireError('head_too_large')`` beyond HEAD_BYTES or HEAD_LINES.
    """
    lines: list[bytearray] | None = []
    while lines is not None and not lines:  # empty lines may come before it
        lines = buffer.maybe_extract_lines()
    size = len(buffer) if lines is None else sum(map(len, lines))
    if size > HEAD_BYTES:
        raise WireError("head_too_large", f"a head has more than {HEAD_BYTES} bytes")
    if lines is not None and len(lines) > HEAD_LINES:
        raise WireError("head_too_large", f"a head has more than {HEAD_LINES} lines")
    return None if lines is None else [bytes(line) for line in lines]


def check_start(start: bytes) -> bool:
    """Tell whether *start* shows enough of the first line of a request.

    Raises ``WireError('not_http')`` as soon as it can be none: who speaks another protocol may wait
    for an answer for ever.
    """
    line, newline, _ = start.lstrip(b"\r\n").partition(b"\n")
    method = line.partition(b" ")[0]
    if not _TOKEN.issuperset(method.rstrip(b"\r")) or len(method) > _LONGEST_METHOD:
        raise _not_http()
    if not newline:
        return len(start) > _ENOUGH
    if b" HTTP/" not in line:
        raise _not_http()
    return True


def read_request(lines: Sequence[bytes]) -> http.Request:
    """Return the request that *lines* begin; WireError with a code where they cannot be read."""
    parts = lines[0].split(b" ")
    if not parts[-1].startswith(b"HTTP/"):
        raise _not_http()
    if parts == [b"PRI", b"*", b"HTTP/2.0"]:
        raise WireError("upgrade_refused", "HTTP/2 without TLS (h2c) is refused")
    if len(parts) != 3 or parts[2] not in _VERSIONS:
        raise WireError("malformed_request", "the request line is not one of HTTP/1.0 or HTTP/1.1")
    try:
        request = http1.read_request_head(list(lines))
    except ValueError:
        _check_target(parts[0], parts[1])
        raise WireError("malformed_request", "the head of the request cannot be read") from None
    if parts[0] != b"CONNECT":
        _check_target(parts[0], parts[1])  # mitmproxy reads A-labels by the rules of 2003
    return request


def read_response(lines: Sequence[bytes]) -> http.Response:
    """Return the answer that *lines* begin; ValueError where they cannot be read."""
    response = http1.read_response_head(list(lines))
    if response.data.http_version not in _VERSIONS:
        raise ValueError("neither HTTP/1.0 nor HTTP/1.1")
    return response


def _check_target(method: bytes, target: bytes) -> None:
    """Raise ``WireError('bad_authority')`` where the host of *target* is what cannot be read."""
    authority = target
    if target.startswith(b"/"):
        return
    if method != b"CONNECT":
        _, scheme, rest = target.partition(b"://")
        if not scheme:
            return
        authority = rest.partition(b"/")[0]
    normalise_authority(authority.decode("latin-1"))


def _not_http() -> WireError:
    return WireError("not_http", "what came is no HTTP request; only HTTP passes")
