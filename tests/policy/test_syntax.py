"""The small languages of a policy: pointers, typed equality, URLs, durations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy import syntax
from mitmgate.policy.conditions import Condition, WhereEntry
from mitmgate.policy.syntax import json_equal, parse_pointer

EQUALITY: dict[str, tuple[Any, Any, bool]] = {
    "true is not one": (True, 1, False),
    "false is not zero": (False, 0, False),
    "one is one point zero": (1, 1.0, True),
    "one is not the text 1": (1, "1", False),
    "null is null": (None, None, True),
    "null is not false": (None, False, False),
    "null is not an empty text": (None, "", False),
    "text is compared as it is": ("a", "A", False),
    "lists keep their order": ([1, 2], [2, 1], False),
    "lists compare inside": ([True], [1], False),
    "mappings do not keep an order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    "mappings compare inside": ({"a": {"b": True}}, {"a": {"b": 1}}, False),
    "an extra key makes a difference": ({"a": 1}, {"a": 1, "b": None}, False),
    "a list is not a mapping": ([], {}, False),
}


@pytest.mark.parametrize(("left", "right", "same"), EQUALITY.values(), ids=EQUALITY)
def test_equality(left: Any, right: Any, same: bool) -> None:
    assert json_equal(left, right) is json_equal(right, left) is same


PARAMS = {"arguments": {"force": 0, "a/b": 1, "m~n": 2, "": 3, "none": None, "list": ["x", "y"]}}

POINTERS: dict[str, tuple[str, Any, bool]] = {
    "zero is a value": ("/arguments/force", 0, True),
    "zero is not false": ("/arguments/force", False, False),
    "a slash in a key is ~1": ("/arguments/a~1b", 1, True),
    "a tilde in a key is ~0": ("/arguments/m~0n", 2, True),
    "an empty key is a key": ("/arguments/", 3, True),
    "a missing key is not null": ("/arguments/other", None, False),
    "a null is null": ("/arguments/none", None, True),
    "a list is indexed from zero": ("/arguments/list/1", "y", True),
    "an index has no leading zero": ("/arguments/list/01", "y", False),
    "a negative index is no index": ("/arguments/list/-1", "y", False),
    "the place behind a list holds nothing": ("/arguments/list/-", None, False),
    "an index beyond the end holds nothing": ("/arguments/list/2", None, False),
    "a text has no inside": ("/arguments/list/0/0", "x", False),
    "digits of other scripts are no index": ("/arguments/list/١", "y", False),
}


def equal(pointer: str, value: Any) -> Condition:
    return Condition.of(pointer, WhereEntry.model_validate({"equals": value}))


@pytest.mark.parametrize(("pointer", "value", "holds"), POINTERS.values(), ids=POINTERS)
def test_pointers(pointer: str, value: Any, holds: bool) -> None:
    assert equal(pointer, value).holds(PARAMS, allowing=True) is holds


def test_no_params_hold_nothing() -> None:
    assert not equal("/a", None).holds(None, allowing=False)


@given(st.text())
def test_any_key_can_be_pointed_at(key: str) -> None:
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    assert equal(pointer, 1).holds({key: 1}, allowing=True)


REFUSED_POINTERS = {"without a slash": "arguments", "nothing": "", "a lone tilde": "/a~b",
                    "a tilde at the end": "/a~"}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED_POINTERS.values(), ids=REFUSED_POINTERS)
def test_refused_pointers(text: str) -> None:
    with pytest.raises(ValueError, match="JSON pointer"):
        parse_pointer(text)


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("45s", 45), ("10m", 600), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert syntax.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "45", "45 s", "4.5s", "-1s", "0s", "61m", "2h", "1d", "1H", "٣s", "1e1s"]
)
def test_refused_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"1s|45s"):
        syntax.parse_duration(text)


PATHS = {
    "a plain path": ("/mcp/x", True),
    "a dot in a name": ("/mcp/v1.2", True),
    "three dots are a name": ("/mcp/.../x", True),
    "an encoded letter": ("/%6dcp", True),
    "dots": ("/mcp/../x", False),
    "one dot": ("/mcp/./x", False),
    "dots at the end": ("/mcp/..", False),
    "encoded dots": ("/mcp/%2e%2E/x", False),
    "half encoded dots": ("/mcp/.%2e/x", False),
    "twice encoded dots": ("/mcp/%252e%252e/x", False),
    "dots encoded many times": ("/mcp/%252525252525252e./x", False),
    "dots encoded without end": ("/mcp/%" + "25" * 40_000 + "2e./x", False),
    "an encoded percent sign": ("/mcp/100%25", True),
    "an encoded slash after dots": ("/mcp/..%2fx", False),
    "dots with a parameter": ("/mcp/..;a=b/x", False),
    "a backslash": ("/mcp\\..\\x", False),
    "an encoded backslash": ("/mcp/%5c..", False),
    "an empty segment": ("/mcp//x", False),
    "no slash at the start": ("mcp", False),
    "an asterisk form": ("*", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("path", "plain"), PATHS.values(), ids=PATHS)
def test_plain_paths(path: str, plain: bool) -> None:
    assert syntax.is_plain_path(path) is plain


# sentence: the URL, one that means the same
SAME_URLS = {
    "http is https": ("http://example.com/mcp", "https://example.com/mcp"),
    "a WebSocket with TLS is https": ("wss://example.com/mcp", "https://example.com/mcp"),
    "a WebSocket without TLS is http": ("ws://example.com:80/mcp", "http://example.com/mcp"),
    "the port of TLS goes without saying": ("wss://example.com:443/mcp", "wss://example.com/mcp"),
    "a port of its own": ("wss://example.com:8443/mcp/**", "https://example.com:8443/mcp/**"),
    "the port of the other scheme is a port": (
        "ws://example.com:443/mcp", "http://example.com:443/mcp"),
    "and so it is with TLS": ("wss://example.com:80/mcp", "https://example.com:80/mcp"),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME_URLS.values(), ids=SAME_URLS)
def test_urls_that_mean_the_same(one: str, other: str) -> None:
    assert syntax.parse_server_url(one) == syntax.parse_server_url(other)


REFUSED_URLS = {
    "no scheme": "example.com/mcp",
    "another scheme": "ftp://example.com/mcp",
    "a scheme that only begins like one": "wssx://example.com/mcp",
    "a scheme in capitals": "HTTPS://example.com/mcp",
    "no host": "https:///mcp",
    "a wildcard host": "https://*.example.com/mcp",
    "user information": "https://u@example.com/mcp",
    "a bad port": "https://example.com:0/mcp",
    "a star in the middle": "https://example.com/*/mcp",
    "a star in a segment": "https://example.com/mcp*",
    "stars in a segment": "https://example.com/mcp**",
    "a single star at the end": "https://example.com/mcp/*",
    "a query": "https://example.com/mcp?x=1",
    "a query without path": "https://example.com?x=1",
    "a fragment": "https://example.com/mcp#x",
    "dots": "https://example.com/mcp/../x",
    "encoded dots": "https://example.com/mcp/%2e%2e/x",
    "a space": "https://example.com/m cp",
}


@pytest.mark.parametrize("text", REFUSED_URLS.values(), ids=REFUSED_URLS)
def test_refused_urls(text: str) -> None:
    with pytest.raises(ValueError, match=r"URL|host|path"):
        syntax.parse_server_url(text)


@given(st.text() | st.text("htps:/.*?[]@%a1"))
def test_every_syntax_gives_a_value_or_a_value_error(text: str) -> None:
    for parse in (
        syntax.parse_name, syntax.parse_rule_id, syntax.parse_reason, syntax.parse_duration,
        syntax.parse_pointer, syntax.parse_network, syntax.parse_static_name,
        syntax.parse_address, syntax.parse_http_method, syntax.parse_server_url,
    ):  # fmt: skip
        try:
            parse(text)
        except ValueError as error:
            assert str(error)
