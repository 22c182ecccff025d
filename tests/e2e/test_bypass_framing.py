"""Heads, bodies and paths with more than one reading: refused before anybody is dialled."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bypass import BOTH, HERE, HTTP2, THERE, Ground, Sent, grounds, read_answer
from harness import OTHER_NAME, WEB_NAME

KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
POLICY = f"""\
version: 1
network: {{allow_private: [127.0.0.0/8]}}
egress:
  rules:
    - {{id: docs, host: {WEB_NAME}, ports: [TLS, PLAIN], then: allow}}
"""


@pytest.fixture(scope="module")
def ground(pki: tuple[Path, Path]) -> Iterator[Ground]:
    with grounds(POLICY, pki) as ground:
        yield ground


POST = f"POST / HTTP/1.1\r\nhost: {HERE}\r\n"
CHUNKED = "transfer-encoding: chunked\r\n"
CHUNKS = "5\r\nhello\r\n0\r\n\r\n"
BAD = "malformed_request"


def coded(value: str, name: str = "transfer-encoding:") -> str:
    """Return a POST of chunks, with *value* for how it is coded."""
    return f"{POST}{name}{value}\r\n\r\n{CHUNKS}"


def long(value: str) -> str:
    """Return a POST of five bytes, with *value* for its length."""
    return f"{POST}content-length:{value}\r\n\r\nhello"


def in_chunks(chunks: str) -> str:
    return f"{POST}{CHUNKED}\r\n{chunks}"


def get(line: str) -> str:
    return f"{line}\r\nhost: {HERE}\r\n\r\n"


HTTP1_REFUSED: dict[str, tuple[str, str]] = {
    "a length, then chunks": (f"{POST}content-length: 15\r\n{CHUNKED}\r\n{CHUNKS}", BAD),
    "chunks, then a length": (f"{POST}{CHUNKED}content-length: 0\r\n\r\n{CHUNKS}", BAD),
    "two lengths": (f"{POST}content-length: 5\r\ncontent-length: 0\r\n\r\nhello", BAD),
    "one length twice": (f"{POST}content-length: 5\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "a list of lengths": (long(" 5, 5"), BAD),
    "a length with a sign": (long(" +5"), BAD),
    "a length below zero": (long(" -5"), BAD),
    "a length in hexadecimal": (long(" 0x5"), BAD),
    "a length with a zero before it": (long(" 05"), BAD),
    "a length with an underscore": (long(" 0_5"), BAD),
    "a length that is empty": (long(""), BAD),
    "a length with a hard space": (long(" 5\xa0"), BAD),
    "a length that is a superscript": (long(" \xb5"), BAD),
    "a coding that is none": (coded(" xchunked"), BAD),
    "chunks that are not the last coding": (coded(" chunked, identity"), BAD),
    "chunks that are the last coding": (coded(" identity, chunked"), BAD),
    "chunks in gzip": (coded(" gzip, chunked"), BAD),
    "gzip without chunks": (coded(" gzip"), BAD),
    "chunks in chunks": (coded(" chunked, chunked"), BAD),
    "two codings": (coded(" chunked\r\ntransfer-encoding: identity"), BAD),
    "one coding twice": (coded(" chunked\r\nTransfer-Encoding: chunked"), BAD),
    "a coding with a parameter": (coded(" chunked;a=b"), BAD),
    "a coding in quotes": (coded(' "chunked"'), BAD),
    "a coding that is empty": (coded(""), BAD),
    "a coding with a NUL": (coded(" chunked\0"), BAD),
    "a coding on a folded line": (coded("\r\n chunked"), BAD),
    "a space before the colon of a coding": (coded(" chunked", "transfer-encoding :"), BAD),
    "a tab before the colon of a coding": (coded(" chunked", "transfer-encoding\t:"), BAD),
    "a space before a coding": (coded(" chunked", " transfer-encoding:"), BAD),
    "a coding after a folded line": (f"{POST}a: b\r\n {CHUNKED}\r\n{CHUNKS}", BAD),
    "chunks of HTTP/1.0": (coded(" chunked").replace("1.1", "1.0", 1), BAD),
    "a chunk in hexadecimal of C": (in_chunks("0x5\r\nhello\r\n0\r\n\r\n"), BAD),
    "a chunk with a sign": (in_chunks("+5\r\nhello\r\n0\r\n\r\n"), BAD),
    "a chunk below zero": (in_chunks("-5\r\nhello\r\n0\r\n\r\n"), BAD),
    "a space before the size of a chunk": (in_chunks(" 5\r\nhello\r\n0\r\n\r\n"), BAD),
    "an underscore in the size of a chunk": (in_chunks("0_5\r\nhello\r\n0\r\n\r\n"), BAD),
    "a chunk that is longer than it says": (in_chunks("4\r\nhello\r\n0\r\n\r\n"), BAD),
    "a chunk of all there is": (in_chunks("f" * 21 + "\r\nhello\r\n0\r\n\r\n"), BAD),
    "a size that ends with LF": (in_chunks("5\nhello\r\n0\r\n\r\n"), BAD),
    "an extension with LF": (in_chunks("5;a\nb\r\nhello\r\n0\r\n\r\n"), BAD),
    "a length in a trailer": (in_chunks("1\r\na\r\n0\r\ncontent-length: 3\r\n\r\n"), BAD),
    "a host in a trailer": (in_chunks(f"1\r\na\r\n0\r\nhost: {THERE}\r\n\r\n"), BAD),
    "a coding in a trailer": (in_chunks(f"1\r\na\r\n0\r\n{CHUNKED}\r\n"), BAD),
    "two hosts": (f"{POST}Host: {THERE}\r\n\r\n", BAD),
    "one host twice": (f"{POST}host: {HERE}\r\n\r\n", BAD),
    "a list of hosts": (f"GET / HTTP/1.1\r\nhost: {HERE}, {THERE}\r\n\r\n", "bad_authority"),
    "a host on a folded line": (f"GET / HTTP/1.1\r\nhost: {HERE}\r\n {THERE}\r\n\r\n", BAD),
    "a space before the host": (f"GET / HTTP/1.1\r\n host: {THERE}\r\nhost: {HERE}\r\n\r\n", BAD),
    "a space before the colon of the host": (f"GET / HTTP/1.1\r\nhost : {HERE}\r\n\r\n", BAD),
    "no host": ("GET / HTTP/1.1\r\na: b\r\n\r\n", "bad_authority"),
    "a host that is empty": ("GET / HTTP/1.1\r\nhost:\r\n\r\n", "bad_authority"),
    "a folded line": (f"{POST}a: b\r\n c\r\n\r\n", BAD),
    "a line folded with a tab": (f"{POST}a: b\r\n\tc\r\n\r\n", BAD),
    "a bare CR in a value": (f"{POST}a: b\rhost: {THERE}\r\n\r\n", BAD),
    "a bare CR in a name": (f"{POST}a\r: b\r\n\r\n", BAD),
    "a NUL in a value": (f"{POST}a: b\0c\r\n\r\n", BAD),
    "a control character in a value": (f"{POST}a: b\x07\r\n\r\n", BAD),
    "a space before a colon": (f"{POST}a : b\r\n\r\n", BAD),
    "a line without a colon": (f"{POST}a b\r\n\r\n", BAD),
    "a header without a name": (f"{POST}: b\r\n\r\n", BAD),
    "a name that is no token": (f"{POST}a(b): c\r\n\r\n", BAD),
    "a name that is no ASCII": (f"{POST}\xe9: c\r\n\r\n", BAD),
    "Connection names the length": (
        f"{POST}connection: close, Content-Length\r\ncontent-length: 5\r\n\r\nhello", BAD),
    "Connection names the host": (f"{POST}connection: host\r\n\r\n", BAD),
    "Connection names the credentials": (f"{POST}connection: a\r\nconnection: authorization,b\r\n"
                                         "\r\n", BAD),
    "two spaces in the first line": (get("GET  / HTTP/1.1"), BAD),
    "a tab in the first line": (get("GET\t/ HTTP/1.1"), BAD),
    "a space in the target": (get("GET /a b HTTP/1.1"), BAD),
    "a bare CR in the target": (get("GET /\rx HTTP/1.1"), BAD),
    "an LF in the target": (get("GET /\nx HTTP/1.1"), "not_http"),
    "a fragment": (get("GET /a#/../b HTTP/1.1"), BAD),
    "a target that is no path": (get("GET x HTTP/1.1"), BAD),
    "a target that is a query": (get("GET ?x HTTP/1.1"), BAD),
    "a star": (get("GET * HTTP/1.1"), BAD),
    "a space before the method": (get(" GET / HTTP/1.1"), BAD),
    "a method that is no token": (get("G(T / HTTP/1.1"), BAD),
    "a method in small letters": (get("delete / HTTP/1.1"), BAD),
    "a method in letters of both sizes": (get("Post / HTTP/1.1"), BAD),
    "a method with a long s": (get("PO\xc5\xbfT / HTTP/1.1"), BAD),
    "a version in small letters": (get("GET / http/1.1"), "not_http"),
    "an unknown version": (get("GET / HTTP/1.2"), BAD),
    "a version with more digits": (get("GET / HTTP/1.10"), BAD),
    "HTTP/0.9": ("GET /\r\n", "not_http"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code"), HTTP1_REFUSED.values(), ids=HTTP1_REFUSED)
def test_heads_of_http1(text: str, code: str, ground: Ground) -> None:
    ground.assert_denied(Sent(raw=text), code)


# They have one reading: what is sent on is written by the proxy.
HTTP1_PASSED: dict[str, tuple[str, str]] = {
    "a length": (long(" 5"), "content-length: 5\r\n\r\nhello"),
    "chunks": (coded(" chunked"), f"{CHUNKED}\r\n"),
    "chunks in capitals": (coded(" CHUNKED"), "transfer-encoding: CHUNKED\r\n\r\n"),
    "a bare CR before a value": (coded("\r chunked"), f"{CHUNKED}\r\n"),
    "chunks with an extension": (in_chunks("5;a=b\r\nhello\r\n0\r\n\r\n"), f"{CHUNKED}\r\n"),
    "lines that end with LF": (f"GET / HTTP/1.1\nhost: {HERE}\n\n", " HTTP/1.1\r\nhost: "),
    "a Connection of this hop": (f"{POST}connection: close, x\r\n\r\n", "connection: close"),
    "a method of its own": (get("PROPFIND / HTTP/1.1"), "PROPFIND / "),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reads"), HTTP1_PASSED.values(), ids=HTTP1_PASSED)
def test_heads_of_http1_with_one_reading(text: str, reads: str, ground: Ground) -> None:
    before = len(ground.web.requests)
    ground.watch.clear()
    told = ground.send(Sent(raw=text))
    assert (told.status, told.body) == (200, b"hello")
    assert ground.watch.lookups == [WEB_NAME]
    assert reads.encode() in ground.web.requests[before]


def test_what_compresses_the_transfer_hides_nothing(ground: Ground) -> None:
    hidden = gzip.compress(f"the key is {KEY}".encode())
    for coding, code in (("transfer-encoding: gzip, chunked", BAD),
                         (f"content-encoding: gzip\r\n{CHUNKED[:-2]}", "finding")):  # fmt: skip
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        ground.assert_denied(Sent(raw=f"{POST}{coding}\r\n\r\n".encode() + body), code)


def test_what_compresses_the_transfer_of_an_answer_hides_nothing(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = gzip.compress(b"hello")
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n" + chunk
    monkeypatch.setattr(ground.web, "answer", answer)
    told = ground.send(Sent())
    assert (told.status, told.problem["code"]) == (502, "malformed_answer")


def test_a_second_request_on_the_connection_is_judged_too(ground: Ground) -> None:
    before = len(ground.web.requests)
    hidden = f"GET /hidden HTTP/1.1\r\nhost: {THERE}\r\nconnection: close\r\n\r\n"
    for first in (POST + "\r\n", long(" 5")):
        with closing(ground.tunnel()) as sock:
            sock.sendall(ground.fill((first + hidden).encode(), ground.web.port))
            assert read_answer(sock).status == 200
            assert read_answer(sock).problem["code"] == "host_mismatch"
    assert len(ground.web.requests) == before + 2
    assert not any(b"/hidden" in request for request in ground.web.requests)


def head(*more: tuple[str, str], **named: str) -> tuple[tuple[str, str], ...]:
    """Return the head of a GET with *more* at its end, and other values for pseudo headers."""
    given = {"method": "GET", "scheme": "https", "path": "/", "authority": HERE, **named}
    return (*((f":{name}", value) for name, value in given.items()), *more)


FINE = head()
HTTP2_REFUSED: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "chunks": (head(("transfer-encoding", "chunked"), method="POST"), BAD),
    "a header of the connection": (head(("connection", "close")), BAD),
    "an upgrade": (head(("upgrade", "h2c")), BAD),
    "a transfer that may be compressed": (head(("te", "gzip")), BAD),
    "CR LF in a value": (head(("a", f"b\r\nhost: {THERE}")), BAD),
    "LF in a value": (head(("a", f"b\nhost: {THERE}")), BAD),
    "a bare CR in a value": (head(("a", "b\rc")), BAD),
    "a NUL in a value": (head(("a", "b\0")), BAD),
    "spaces around a value": (head(("a", " b ")), BAD),
    "a header within a name": (head((f"a: b\r\nhost: {THERE}\r\nc", "d")), BAD),
    "capitals in a name": (head(("A", "b")), BAD),
    "a space in a name": (head(("a b", "c")), BAD),
    "a colon in a name": (head(("a:b", "c")), BAD),
    "a name that is empty": (head(("", "b")), BAD),
    "a request within the path": (
        head(path=f"/ HTTP/1.1\r\nhost: {THERE}\r\n\r\nGET /hidden"), BAD),
    "a space in the path": (head(path="/ HTTP/1.1"), BAD),
    "a tab in the path": (head(path="/a\tb"), BAD),
    "a path that is empty": (head(path=""), BAD),
    "a path that is none": (head(path="x"), BAD),
    "a path that names a host": (head(path=f"https://{THERE}/"), BAD),
    "a fragment": (head(path="/a#/../b"), BAD),
    "a request within the method": (head(method="GET / HTTP/1.1\r\na: b\r\n\r\nGET"), BAD),
    "a path within the method": (head(method="GET /hidden"), BAD),
    "a method that is empty": (head(method=""), BAD),
    "a method in small letters": (head(method="delete"), BAD),
    "a header within the authority": (head(authority=f"{HERE}\r\na: b"), BAD),
    "two authorities": ((*FINE, (":authority", THERE)), BAD),
    "two paths": ((*FINE, (":path", "/hidden")), BAD),
    "two methods": ((*FINE, (":method", "DELETE")), BAD),
    "another scheme": (head(scheme="ftp"), BAD),
    "a host within the scheme": (head(scheme=f"https://{THERE}/?"), BAD),
    "an unknown pseudo header": ((*FINE, (":a", "b")), BAD),
    "a pseudo header after others": ((*FINE[:3], ("a", "b"), FINE[3]), BAD),
    "another Host": (head(("host", THERE)), "host_mismatch"),
    "two Hosts": (head(("host", HERE), ("host", HERE)), BAD),
    "two Hosts, one of them another": (head(("host", HERE), ("host", THERE)), "host_mismatch"),
    "no authority, and another Host": ((*FINE[:3], ("host", THERE)), "host_mismatch"),
    "no authority at all": ((*FINE[:3], ("a", "b")), "bad_authority"),
    "a length without its body": (head(("content-length", "5"), method="POST"), BAD),
    "two lengths": (head(("content-length", "0"), ("content-length", "0"), method="POST"), BAD),
    "a length with a sign": (head(("content-length", "+0"), method="POST"), BAD),
    "two types": (head(("content-type", "a/b"), ("content-type", "c/d")), BAD),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "code"), HTTP2_REFUSED.values(), ids=HTTP2_REFUSED)
def test_heads_of_http2(fields: tuple[tuple[str, str], ...], code: str, ground: Ground) -> None:
    ground.assert_denied(Sent(fields=fields), code, HTTP2)


@pytest.mark.parametrize("fields", [FINE, head(("host", HERE)), head(scheme="http"),
                                    (*FINE[:3], ("host", HERE))])  # fmt: skip
def test_heads_of_http2_with_one_reading(
    fields: tuple[tuple[str, str], ...], ground: Ground
) -> None:
    read = ground.assert_arrives(Sent(fields=fields), HTTP2)
    assert read.lower().count(b"\r\nhost: ") == 1
    # What the client calls the scheme is not what its connection is.
    assert ground.running.pipeline.hub.rows[-1].endpoint.startswith("https://")


PATHS = f"""\
version: 1
network: {{allow_private: [127.0.0.0/8]}}
egress:
  rules:
    - {{id: api, host: {WEB_NAME}, ports: [TLS, PLAIN], paths: /v1, then: allow}}
    - {{id: no-admin, host: {OTHER_NAME}, ports: [TLS, PLAIN], paths: /admin, then: deny}}
    - {{id: rest, host: {OTHER_NAME}, ports: [TLS, PLAIN], then: allow}}
"""
# To some server each of them is /admin.
TRICKS: dict[str, str] = {
    "two dots": "/v1/../admin",
    "escaped dots": "/v1/%2e%2e/admin",
    "one escaped dot": "/v1/.%2E/admin",
    "dots and an escaped slash": "/v1/..%2fadmin",
    "an escaped slash before dots": "/v1%2f../admin",
    "all of it escaped": "/v1%2f%2e%2e%2fadmin",
    "escaped twice": "/v1/%252e%252e/admin",
    "escaped three times": "/v1/%25252e%25252e%25252fadmin",
    "dots with a parameter": "/v1/..;/admin",
    "dots with a parameter that has a value": "/v1/..;a=b/admin",
    "a backslash": "/v1/..\\admin",
    "backslashes": "/v1\\..\\admin",
    "an escaped backslash": "/v1/..%5cadmin",
    "two slashes": "/v1//../admin",
    "two slashes at the start": "//v1/../admin",
    "one dot, then two": "/v1/./../admin",
    "overlong dots": "/v1/%c0%ae%c0%ae/admin",
    "an overlong slash": "/v1/..%c0%afadmin",
    "wide dots": "/v1/%ef%bc%8e%ef%bc%8e/../admin",
    "a NUL": "/v1/..%00/../admin",
    "an escape that is none": "/v1/%2e%2/../admin",
    "IIS escapes": "/v1/%u002e%u002e/admin",
    "dots and a space": "/v1/..%20/../admin",
    "more dots than there are folders": "/v1/../../../admin",
    "dots at the end": "/v1/../admin/x/..",
}  # fmt: skip


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("path", TRICKS.values(), ids=TRICKS)
def test_paths_that_lead_elsewhere(path: str, protocol: str, ground: Ground) -> None:
    with ground.ruled(PATHS):
        ground.assert_denied(Sent(target=path), "otherwise", protocol)
        told = ground.assert_denied(Sent(THERE, path, connect=THERE), "rule", protocol)
    assert told.problem["rule"] == "no-admin"


# To some server each of them is /admin, to others a path of its own.
NAMED: tuple[str, ...] = (
    "/admin", "/ADMIN", "/%61dmin", "/%2561dmin", "/admin/", "/admin;a=b", "/admin.", "/admin%20",
    "/admin?x", "/admin/x", "/./admin", "/x/../admin", "//admin", "/admin%2fx", "/admin%00",
    "/ａdmin".encode().decode("latin-1"), "/%EF%BD%81dmin",
)  # fmt: skip


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("path", NAMED)
def test_paths_that_a_rule_denies(path: str, protocol: str, ground: Ground) -> None:
    with ground.ruled(PATHS):
        ground.assert_denied(Sent(THERE, path, connect=THERE), "rule", protocol)
        ground.assert_denied(Sent(target=path), "otherwise", protocol)


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("path", ["/v1", "/v1/x", "/v1/x%20y", "/v1/a..b", "/v1?/../admin",
                                  "/v1/x;a=b", "/v1/x?u=https://a/b"])  # fmt: skip
def test_paths_below_a_prefix(path: str, protocol: str, ground: Ground) -> None:
    with ground.ruled(PATHS):
        assert f" {path} ".encode() in ground.assert_arrives(Sent(target=path), protocol)
        sent = Sent(THERE, path, connect=THERE)
        ground.assert_arrives(sent, protocol, OTHER_NAME)


METHODS = f"""\
version: 1
network: {{allow_private: [127.0.0.0/8]}}
egress:
  rules:
    - {{id: read, host: {WEB_NAME}, ports: [TLS, PLAIN], methods: [GET, POST], paths: /v1,
       then: allow}}
"""
# To some frameworks each of them is a DELETE, or of another path.
OVERRIDES: dict[str, tuple[str, str]] = {
    "X-HTTP-Method-Override": ("x-http-method-override", "DELETE"),
    "X-HTTP-Method": ("x-http-method", "DELETE"),
    "X-Method-Override": ("x-method-override", "DELETE"),
    "X_HTTP_Method_Override": ("x_http_method_override", "delete"),
    "X-Original-URL": ("x-original-url", "/admin"),
    "X-Rewrite-URL": ("x-rewrite-url", "/v1/../admin"),
}


@pytest.mark.parametrize("protocol", BOTH)
@pytest.mark.parametrize("header", OVERRIDES.values(), ids=OVERRIDES)
def test_headers_that_have_a_server_do_something_else(
    header: tuple[str, str], protocol: str, ground: Ground
) -> None:
    sent = Sent(target="/v1", method="POST", headers=(header,), body=b"hello")
    with ground.ruled(METHODS):
        ground.assert_denied(sent, "override_refused", protocol)
    # Where one rule is for both, there is nothing to get around.
    ground.assert_arrives(sent, protocol)
