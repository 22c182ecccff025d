"""Request heads that two parsers could read differently, and names that disagree: refused.

Source: RFC 9112 (HTTP/1.1), RFC 9110 section 5.5; what mitmproxy forwards as it came.
"""

from __future__ import annotations

from mitmgate.errors import WireError
from mitmgate.judge.inputs import RequestInput
from mitmgate.net.authority import Authority, normalise_authority
from mitmgate.wire.http import RequestHead

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

# A second one of these lets us read one value and the server the other.
_SINGLE = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "content-type",
        "content-encoding",
        "authorization",
        "mcp-session-id",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
    }
)
_USUAL = _SINGLE | {"accept", "accept-encoding", "accept-language", "connection", "user-agent"}
# RFC 9110 section 9.3 and RFC 5789.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


def check_head(request: RequestInput) -> None:
    """Raise ``WireError('malformed_request')`` where the head is not read in one way only."""
    _check_line(request.head)
    seen = _check_fields(request.head)
    if "transfer-encoding" in seen:
        _check_coding(request.head, seen)
    if "connection" in seen:
        _check_connection(request.head)


def _check_line(head: RequestHead) -> None:
    if not head.target.startswith("/") and not (head.method == "OPTIONS" and head.target == "*"):
        # An absolute-form target inside a tunnel names a second host.
        raise _malformed("the request target is not in origin form")
    if " " in head.target or not _clean_value(head.target) or "\t" in head.target:
        raise _malformed("the request target holds a control character or a space")
    if "#" in head.target:
        # RFC 9112 section 3.2: no form has a fragment, and some servers cut it off the path.
        raise _malformed("the request target holds a #")
    if not head.method or not _TOKEN.issuperset(head.method):
        raise _malformed("the method is not a token")
    if head.method not in _METHODS and head.method.upper() in _METHODS:
        # RFC 9110 section 9.1: case counts, and to some frameworks it does not.
        raise _malformed("the method is not in capitals")


def _check_fields(head: RequestHead) -> set[str]:
    """Return the names of the headers, each of which is read in one way."""
    seen: set[str] = set()
    for name, value in head.headers:
        if not name or (name not in _USUAL and not _TOKEN.issuperset(name)):
            raise _malformed("a header name is not a token")
        if not _clean_value(value):
            # A bare CR, a NUL or a folded line ends the value for some servers.
            raise _malformed(f"header {name} holds a control character or a folded line")
        if name in _SINGLE and name in seen:
            raise _malformed(f"header {name} occurs twice")
        seen.add(name)
    return seen


def _check_coding(head: RequestHead, seen: set[str]) -> None:
    if "content-length" in seen:
        raise _malformed("both Content-Length and Transfer-Encoding")
    if (head.get("transfer-encoding") or "").strip().lower() != "chunked":
        # RFC 9112 section 7: a server takes off what compresses, and nobody here looked below it.
        raise _malformed("a Transfer-Encoding other than chunked")


def _check_connection(head: RequestHead) -> None:
    """Refuse the Connection header that has the next proxy drop what a server must read."""
    options = ",".join(head.get_all("connection")).lower()
    if any(option.strip() in _SINGLE for option in options.split(",")):
        # RFC 9110 section 7.6.1: what it names ends at the next hop.
        raise _malformed("Connection names a header that is for the server")


def check_names(request: RequestInput) -> None:
    """Raise ``WireError('host_mismatch')`` unless CONNECT name == SNI == authority == dialled."""
    if request.authority is None:
        return
    head = request.head
    dialled = (normalise_authority(_bracketed(head.host)).host, head.port)
    default = 443 if head.scheme == "https" else 80
    claimed = normalise_authority(request.authority)
    if _pair(claimed, default) != dialled:
        raise _mismatch("the Host header names another host than the connection")
    tunnel = request.tunnel
    if tunnel is None:
        return
    if tunnel.connect is not None and (
        _pair(normalise_authority(tunnel.connect), default) != dialled
    ):
        raise _mismatch("CONNECT named another host than the request")
    if tunnel.sni is not None and normalise_authority(tunnel.sni).host != dialled[0]:
        raise _mismatch("the TLS server name is another than the request's host")


def _pair(authority: Authority, default_port: int) -> tuple[str, int]:
    return authority.host, authority.port if authority.port is not None else default_port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _clean_value(value: str) -> bool:
    return value.isprintable() or all(
        char == "\t" or (ord(char) >= 0x20 and ord(char) != 0x7F) for char in value
    )


def _malformed(message: str) -> WireError:
    return WireError("malformed_request", message)


def _mismatch(message: str) -> WireError:
    return WireError("host_mismatch", message)
