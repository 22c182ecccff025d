"""From mitmproxy's flows to what is judged: every byte as it came, every name in one form."""

from __future__ import annotations

import pytest
from mitmproxy import http
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow, tutils

from mitmgate.judge.inputs import RequestInput, Tunnel
from mitmgate.judge.replies import Reply
from mitmgate.mitm.convert import (
    answer_input,
    normalised,
    replace_body,
    request_input,
    response_from,
)


def make_flow(mode: str = "regular", sni: str | None = None, **changes: object) -> http.HTTPFlow:
    request = tutils.treq(
        scheme=b"https", host="files.example", port=443, authority=b"", path=b"/mcp?a=b",
        headers=http.Headers(((b"Host", b"files.example"), (b"X-A", b"gr\xfc\xdfe"))),
    )  # fmt: skip
    for name, value in changes.items():
        setattr(request.data, name, value)
    flow = tflow.tflow(req=request)
    flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    flow.client_conn.sni = sni
    return flow


def converted(flow: http.HTTPFlow, connect: str | None = "files.example:443") -> RequestInput:
    return request_input(flow, exchange="x", connect=connect)


def test_a_request_as_it_came() -> None:
    given = converted(make_flow(content=b"\x00body"))
    assert (given.exchange, given.agent, given.authority, given.body) == (
        "x", "127.0.0.1", "files.example", b"\x00body",
    )  # fmt: skip
    assert (given.head.method, given.head.url) == ("GET", "https://files.example/mcp?a=b")
    assert given.head.headers == (("host", "files.example"), ("x-a", "grüße"))


def test_the_names_of_the_tunnel() -> None:
    assert converted(make_flow(sni="a.example"), "b.example:1").tunnel == Tunnel(
        "b.example:1", "a.example"
    )


def test_reverse_mode_has_no_names_to_compare() -> None:
    given = converted(make_flow("reverse:https://files.example"), None)
    assert (given.authority, given.tunnel) == (None, None)


def test_an_absolute_target_in_a_tunnel_is_shown_to_the_judge() -> None:
    target = converted(make_flow(authority=b"evil.example")).head.target
    assert target == "https://evil.example/mcp?a=b"


def test_a_missing_host_header_is_an_empty_authority() -> None:
    assert converted(make_flow(headers=http.Headers())).authority == ""


HTTP2: dict[str, tuple[bytes, bytes | None, str]] = {
    "an authority alone": (b"a.example", None, "a.example"),
    "the same in both": (b"a.example", b"a.example", "a.example"),
    "two names, the authority is not dialled": (b"a.example", b"files.example", "a.example"),
    "two names, the Host is not dialled": (b"files.example", b"b.example", "b.example"),
    "two names, neither is dialled": (b"a.example", b"b.example", "a.example"),
    "two names, one that is none": (b"a@b.example", b"files.example", "a@b.example"),
    "a Host header alone": (b"", b"b.example", "b.example"),
}


@pytest.mark.parametrize(("authority", "host", "expected"), HTTP2.values(), ids=HTTP2)
def test_the_authority_of_http2(authority: bytes, host: bytes | None, expected: str) -> None:
    headers = http.Headers() if host is None else http.Headers(((b"host", host),))
    flow = make_flow(http_version=b"HTTP/2.0", authority=authority, headers=headers)
    assert converted(flow).authority == expected
    assert converted(flow).head.target == "/mcp?a=b"


# What a client wrote, and what policies compare: a deny rule must not miss another spelling.
HOSTS: dict[str, tuple[str, str]] = {
    "another case": ("Files.EXAMPLE", "files.example"),
    "a trailing dot": ("files.example.", "files.example"),
    "an international name": ("b\xfccher.example", "xn--bcher-kva.example"),
    "an IPv6 address": ("0:0:0:0:0:0:0:1", "::1"),
    "an IPv4 address in IPv6": ("::ffff:a00:1", "10.0.0.1"),
    "what has no such form stays as it is": ("a..b", "a..b"),
}


@pytest.mark.parametrize(("host", "expected"), HOSTS.values(), ids=HOSTS)
def test_a_host_in_one_form(host: str, expected: str) -> None:
    assert normalised(host) == expected
    assert converted(make_flow(host=host)).head.host == expected


def test_an_answer_as_it_came() -> None:
    flow = tflow.tflow(resp=True)
    flow.response = http.Response.make(201, b"\x1f\x8bnot decoded", {"Content-Encoding": "gzip"})
    flow.response.raw_content = b"\x1f\x8bnot decoded"
    given = answer_input(flow, exchange="x")
    assert (given.head.status, given.body) == (201, b"\x1f\x8bnot decoded")
    assert given.head.get("content-encoding") == "gzip"


def test_no_answer_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="no answer"):
        answer_input(tflow.tflow(), exchange="x")


def test_a_reply_as_mitmproxy_sends_it() -> None:
    sent = response_from(Reply(200, "application/json", b"{}"))
    assert (sent.status_code, sent.content, sent.headers["content-type"]) == (
        200, b"{}", "application/json",
    )  # fmt: skip
    assert "content-type" not in response_from(Reply(202, None, b"")).headers


def test_an_edited_body_has_headers_that_fit_it() -> None:
    request = make_flow(
        headers=http.Headers(((b"content-encoding", b"gzip"), (b"transfer-encoding", b"chunked")))
    ).request
    replace_body(request, "grüße")
    assert request.raw_content == "grüße".encode()
    assert dict(request.headers) == {"content-length": "7"}
