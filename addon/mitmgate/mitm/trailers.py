"""Trailer fields of HTTP messages (RFC 9110 section 6.5): judged like headers, or not passed on."""

from __future__ import annotations

from mitmproxy import http

# RFC 9110 section 6.5.1: framing, routing, authentication, and what says how to read the message.
# Whoever merges trailers into the headers would see another message than the one that was judged.
_NEVER = frozenset(
    {
        "accept",
        "age",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "expect",
        "expires",
        "host",
        "keep-alive",
        "location",
        "origin",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "referer",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "www-authenticate",
    }
)
_NEVER_BEGIN = ("content-", "mcp-", "accept-", "if-", "sec-", "x-forwarded-", ":")


def trailer_problem(headers: http.Headers, trailers: http.Headers) -> str | None:
    """Return why *trailers* may not follow a message with *headers*, None where they may."""
    for field in trailers:
        name = field.lower()
        if name in _NEVER or name.startswith(_NEVER_BEGIN):
            return f"the trailer {name[:40]} belongs into the head of a message"
        if name in headers:
            return f"the trailer {name[:40]} is a header of the same message too"
        if len(trailers.get_all(field)) > 1:
            return f"the trailer {name[:40]} occurs twice"
    return None


def last_chunk(trailers: http.Headers | None) -> bytes:
    """Return the end of a chunked body, with *trailers* (RFC 9112 section 7.1.2)."""
    fields = trailers.fields if trailers is not None else ()
    lines = b"".join(b"%s: %s\r\n" % (name, value) for name, value in fields)
    return b"0\r\n%s\r\n" % lines


def is_chunked(message: http.Message) -> bool:
    """Tell whether *message* is sent in chunks, the only form of HTTP/1 that has trailers."""
    return "chunked" in message.headers.get("transfer-encoding", "").lower()
