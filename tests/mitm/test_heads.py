"""Heads are read in one way or refused; whatever is read goes on as what was judged."""

from __future__ import annotations

import h11
import pytest
from h11._receivebuffer import ReceiveBuffer
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.net.http.http1 import assemble_request_head

from mitmgate.errors import WireError
from mitmgate.mitm.heads import HEAD_BYTES, check_start, head_lines, read_request, read_response
from mitmgate.mitm.trailers import last_chunk, trailer_problem

HOST = b"host: a.example"


def code_of(line: bytes, *headers: bytes) -> str | None:
    """Return the code that a head is refused with, None where it is read."""
    try:
        read_request([line, *headers])
    except WireError as problem:
        return problem.code
    return None


LINES: dict[str, tuple[bytes, str | None]] = {
    "origin form": (b"GET / HTTP/1.1", None),
    "HTTP/1.0": (b"GET / HTTP/1.0", None),
    "a tunnel": (b"CONNECT a.example:443 HTTP/1.1", None),
    "absolute form": (b"GET http://a.example/ HTTP/1.1", None),
    "a tab for a space": (b"GET\t/ HTTP/1.1", "malformed_request"),
    "no version": (b"GET /", "not_http"),
    "another protocol": (b"EHLO a.example", "not_http"),
    "a version of two digits": (b"GET / HTTP/1.10", "malformed_request"),
    "a version in lower case": (b"GET / http/1.1", "not_http"),
    "HTTP/2 in plain text": (b"GET / HTTP/2.0", "malformed_request"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0", "upgrade_refused"),
    "a tunnel without a port": (b"CONNECT a.example HTTP/1.1", "malformed_request"),
    "a tunnel with a zone, which the judge refuses": (
        b"CONNECT [fe80::1%25eth0]:443 HTTP/1.1",
        None,
    ),
    "a target with a password": (b"GET http://a:b@c.example/ HTTP/1.1", "bad_authority"),
    "a target without a scheme": (b"GET a.example/ HTTP/1.1", "malformed_request"),
}


@pytest.mark.parametrize(("line", "code"), LINES.values(), ids=LINES)
def test_request_lines(line: bytes, code: str | None) -> None:
    assert code_of(line, HOST) == code


STARTS: dict[str, tuple[bytes, bool | None]] = {
    "nothing but empty lines": (b"\r\n\r\n", False),
    "the begin of a method": (b"GE", False),
    "half a line": (b"GET /a HT", False),
    "half a long line": (b"GET /" + b"a" * 200, True),
    "a whole line": (b"GET / HTTP/1.1\r\n", True),
    "a whole line of something else": (b"USER a\r\n", None),
    "a greeting of SSH": (b"SSH-2.0-a\n", None),
    "TLS": (b"\x16\x03\x01", None),
    "a word that is no method": (b"a" * 41, None),
}


@pytest.mark.parametrize(("start", "whole"), STARTS.values(), ids=STARTS)
def test_the_first_bytes(start: bytes, whole: bool | None) -> None:
    if whole is None:
        with pytest.raises(WireError, match="no HTTP request"):
            check_start(start)
    else:
        assert check_start(start) is whole


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["without end", "whole"])
def test_a_head_is_bounded(end: bytes) -> None:
    buffer = ReceiveBuffer()
    buffer += b"GET / HTTP/1.1\r\na: " + b"a" * HEAD_BYTES + end
    with pytest.raises(WireError, match="65536 bytes"):
        head_lines(buffer)


def test_answers_have_a_version_that_we_speak() -> None:
    assert read_response([b"HTTP/1.0 200 OK"]).status_code == 200
    with pytest.raises(ValueError, match="neither"):
        read_response([b"HTTP/1.2 200 OK"])


# A header of the message, a trailer, and whether it may follow.
TRAILERS: dict[str, tuple[str, str, bool]] = {
    "a sum": ("a", "x-checksum", True),
    "the status of gRPC": ("a", "grpc-status", True),
    "a length": ("a", "Content-Length", False),
    "a host": ("a", "host", False),
    "credentials": ("a", "authorization", False),
    "a header of MCP": ("a", "Mcp-Session-Id", False),
    "a cookie": ("a", "set-cookie", False),
    "a header of the message": ("X-A", "x-a", False),
}


@pytest.mark.parametrize(("header", "name", "may"), TRAILERS.values(), ids=TRAILERS)
def test_trailers(header: str, name: str, may: bool) -> None:
    headers, trailers = (
        http.Headers([(key.encode(), b"1")]) for key in (header, name)
    )  # fmt: skip
    assert (trailer_problem(headers, trailers) is None) is may


def test_a_trailer_occurs_once() -> None:
    trailers = http.Headers([(b"x-a", b"1"), (b"X-A", b"2")])
    assert trailer_problem(http.Headers(), trailers) is not None


def test_the_last_chunk() -> None:
    assert last_chunk(None) == b"0\r\n\r\n"
    assert last_chunk(http.Headers([(b"x-a", b"1")])) == b"0\r\nx-a: 1\r\n\r\n"


PIECES = st.sampled_from(
    [b"GET", b"POST", b"CONNECT", b" ", b"/", b"/a", b"http://", b"a.example", b":443", b"@", b"%",
     b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\n", b"\r", b"\t", b"\0", b":", b"host: ",
     b"content-length: 3", b"transfer-encoding: chunked", b"transfer-encoding : chunked", b"\xff",
     b"[::1]", b"*", b"PRI", b"\r\n "]
)  # fmt: skip


@given(st.lists(PIECES, max_size=24).map(b"".join))
def test_what_is_read_is_read_alike_by_another_parser(raw: bytes) -> None:
    buffer = ReceiveBuffer()
    buffer += raw + b"\r\n\r\n"
    try:
        lines = head_lines(buffer)
        if lines is None:
            return
        request = read_request(lines)
    except WireError:
        return
    sent = assemble_request_head(request)
    other = h11.Connection(h11.SERVER)
    try:
        other.receive_data(sent)
        event = other.next_event()
    except h11.RemoteProtocolError:
        return  # `check_head` refuses it
    assert isinstance(event, h11.Request)
    assert event.method == request.data.method
    assert event.http_version in (b"1.0", b"1.1")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading(raw: bytes) -> None:
    buffer = ReceiveBuffer()
    buffer += raw
    try:
        check_start(raw)
        lines = head_lines(buffer)
        if lines is not None:
            read_request(lines)
    except WireError as problem:
        assert problem.code in ("not_http", "malformed_request", "bad_authority", "upgrade_refused")
