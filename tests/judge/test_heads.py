"""Heads that two parsers read differently, and names that disagree."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from judging import JSON, SERVER, decide, make_judge, request

from mitmgate.errors import WireError
from mitmgate.judge.heads import check_head, check_names
from mitmgate.judge.inputs import RequestInput, Tunnel
from mitmgate.wire.http import Headers, RequestHead


def head(**changes: Any) -> RequestInput:
    given = request("GET", headers=())
    return dataclasses.replace(given, head=dataclasses.replace(given.head, **changes))


def field(name: str, *values: str) -> RequestInput:
    return head(headers=tuple((name, value) for value in values))


MALFORMED: dict[str, tuple[RequestInput, str]] = {
    "an absolute target inside a tunnel": (
        head(target="https://evil.example/"), "the request target is not in origin form"),
    "an empty target": (head(target=""), "the request target is not in origin form"),
    "a target without its slash": (head(target="a"), "the request target is not in origin form"),
    "a star for anything but OPTIONS": (
        head(target="*"), "the request target is not in origin form"),
    "a space in the target": (
        head(target="/a b"), "the request target holds a control character or a space"),
    "a line break in the target": (
        head(target="/a\r\nhost: b"), "the request target holds a control character or a space"),
    "a DEL in the target": (
        head(target="/\x7f"), "the request target holds a control character or a space"),
    "no method": (head(method=""), "the method is not a token"),
    "a space in the method": (head(method="GET /x"), "the method is not a token"),
    "a letter beyond ASCII in the method": (head(method="G\xcbT"), "the method is not a token"),
    "a header without a name": (field("", "x"), "a header name is not a token"),
    "a space before the colon": (field("host ", "x"), "a header name is not a token"),
    "a letter beyond ASCII in a name": (field("h\xf6st", "x"), "a header name is not a token"),
    "a bare CR in a value": (
        field("a", "b\rc"), "header a holds a control character or a folded line"),
    "a NUL in a value": (field("a", "b\0c"), "header a holds a control character or a folded line"),
    "a folded line": (
        field("a", "b\r\n c"), "header a holds a control character or a folded line"),
    "a DEL in a value": (
        field("a", "b\x7f"), "header a holds a control character or a folded line"),
    **{
        f"a second {name}": (field(name, "1", "1"), f"header {name} occurs twice")
        for name in (
            "host", "content-length", "transfer-encoding", "content-type", "content-encoding",
            "authorization", "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name",
        )
    },
    "a length and chunks": (
        head(headers=(("content-length", "1"), ("transfer-encoding", "chunked"))),
        "both Content-Length and Transfer-Encoding"),
}  # fmt: skip

GOOD: dict[str, RequestInput] = {
    "a plain request": request("GET"),
    "a star for OPTIONS": head(method="OPTIONS", target="*"),
    "a method that nobody knows": head(method="M-SEARCH"),
    "two cookies": field("cookie", "a=b", "c=d"),
    "a tab in a value": field("a", "b\tc"),
    "latin letters in a value": field("a", "gr\xfc\xdfe\xa0"),
    "a length alone": field("content-length", "1"),
}


@pytest.mark.parametrize(("given", "reason"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_head(given: RequestInput, reason: str) -> None:
    with pytest.raises(WireError, match=reason) as caught:
        check_head(given)
    assert caught.value.code == "malformed_request"
    outcome = decide(make_judge(), given)
    assert (outcome.verdict.word, outcome.rule, outcome.subject.channel) == (
        "deny", "malformed_request", "egress",
    )  # fmt: skip


@pytest.mark.parametrize("given", GOOD.values(), ids=GOOD)
def test_a_good_head(given: RequestInput) -> None:
    check_head(given)


def names(
    authority: str | None, connect: str | None = None, sni: str | None = None, **changes: Any
) -> RequestInput:
    base = RequestHead("GET", "https", SERVER, 443, "/", JSON)
    where = dataclasses.replace(base, **changes)
    return RequestInput("x", "agent", where, authority, b"", Tunnel(connect, sni))


ALIKE: dict[str, RequestInput] = {
    "all the same": names(SERVER, f"{SERVER}:443", SERVER),
    "another case": names("FILES.example", "Files.Example:443", "FILES.EXAMPLE"),
    "a trailing dot": names(f"{SERVER}.", f"{SERVER}.:443", f"{SERVER}."),
    "the default port said": names(f"{SERVER}:443", SERVER, SERVER),
    "another port in all places": names(f"{SERVER}:8443", f"{SERVER}:8443", SERVER, port=8443),
    "plain HTTP has port 80": names(SERVER, None, None, scheme="http", port=80),
    "no server name in TLS": names(SERVER, f"{SERVER}:443"),
    "no tunnel": names(SERVER),
    "an international name in both spellings": names(
        "b\xfccher.example", "xn--bcher-kva.example:443", None, host="xn--bcher-kva.example"),
    "an IPv6 address": names("[::1]:443", "[0:0::1]:443", None, host="::1"),
    "an IPv4 address in IPv6": names("[::ffff:10.0.0.1]", None, None, host="10.0.0.1"),
    "nothing to compare in reverse mode": dataclasses.replace(
        names(None), tunnel=None),
}  # fmt: skip
OTHER: dict[str, tuple[RequestInput, str, str]] = {
    "another Host": (
        names("evil.example", f"{SERVER}:443", SERVER), "host_mismatch",
        "the Host header names another host than the connection"),
    "another port in Host": (
        names(f"{SERVER}:8443", f"{SERVER}:443", SERVER), "host_mismatch",
        "the Host header names another host than the connection"),
    "the port of the other scheme": (
        names(f"{SERVER}:80", f"{SERVER}:443", SERVER), "host_mismatch",
        "the Host header names another host than the connection"),
    "another CONNECT": (
        names(SERVER, "evil.example:443", SERVER), "host_mismatch",
        "CONNECT named another host than the request"),
    "another port in CONNECT": (
        names(SERVER, f"{SERVER}:8443", SERVER), "host_mismatch",
        "CONNECT named another host than the request"),
    "another server name in TLS": (
        names(SERVER, f"{SERVER}:443", "evil.example"), "host_mismatch",
        "the TLS server name is another than the request's host"),
    "a subdomain in TLS": (
        names(SERVER, f"{SERVER}:443", f"a.{SERVER}"), "host_mismatch",
        "the TLS server name is another than the request's host"),
    "an empty Host": (
        names("", f"{SERVER}:443", SERVER), "bad_authority",
        "the host is not usable: it is empty"),
    "user information in Host": (
        names(f"{SERVER}@evil.example"), "bad_authority",
        "the host is not usable: user information is not allowed"),
    "two names in one": (
        names(f"{SERVER},evil.example"), "bad_authority",
        "the host is not usable: a label holds letters, digits, and hyphens inside"),
    "a number for an address": (
        names("2130706433", host="127.0.0.1"), "bad_authority",
        "the host is not usable: an IPv4 address is four plain decimal numbers"),
}  # fmt: skip


@pytest.mark.parametrize("given", ALIKE.values(), ids=ALIKE)
def test_names_that_are_one(given: RequestInput) -> None:
    check_names(given)


@pytest.mark.parametrize(("given", "code", "reason"), OTHER.values(), ids=OTHER)
def test_names_that_are_two(given: RequestInput, code: str, reason: str) -> None:
    for shadow in (False, True):
        outcome = decide(make_judge(shadow=shadow), given)
        assert (outcome.verdict.word, outcome.code, outcome.reason, outcome.enforced) == (
            "deny", code, reason, True,
        )  # fmt: skip


def test_a_second_host_is_refused_before_anything_else_is_asked() -> None:
    two: Headers = (("host", SERVER), ("host", "evil.example"))
    assert decide(make_judge(), head(headers=two)).code == "malformed_request"
