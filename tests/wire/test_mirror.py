"""Headers that repeat the body agree with it, before an edit and after it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, encode_header_value

from mitmgate.wire.edit import Edit, apply_edits
from mitmgate.wire.http import Headers
from mitmgate.wire.jsonrpc import Batch, Message, Notification, Request
from mitmgate.wire.mirror import decode_value, encode_value, header_mismatch, mirrored, rewritten
from mitmgate.wire.surfaces import resolve_pointer

VERSION = "io.modelcontextprotocol/protocolVersion"
META = {"_meta": {VERSION: "2026-07-28"}}


def heads(**changed: str | None) -> Headers:
    values: dict[str, str | None] = {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "t",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return tuple((name, value) for name, value in values.items() if value is not None)


def packed(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


CALL = Request(0, "tools/call", {"name": "t", **META})
MISMATCHES: dict[str, tuple[Message | Batch, Headers, str | None]] = {
    "all alike": (CALL, heads(), None),
    "blanks around a value": (CALL, heads(mcp_name=" t\t"), None),
    "a packed name": (
        Request(0, "tools/call", {"name": "tö", **META}),
        heads(mcp_name=packed("tö")),
        None,
    ),
    "a packed name that differs": (CALL, heads(mcp_name=packed("u")), "Mcp-Name differs"),
    "a packed name that is no base64": (
        CALL,
        heads(mcp_name="=?base64?%%?="),
        "Mcp-Name differs",
    ),
    "a packing marker in capitals is a plain name": (
        CALL,
        heads(mcp_name=packed("t").replace("base64", "BASE64")),
        "Mcp-Name differs",
    ),
    "a missing name": (CALL, heads(mcp_name=None), "Mcp-Name is missing"),
    "a name of another case": (CALL, heads(mcp_name="T"), "Mcp-Name differs"),
    "two names": (CALL, (*heads(), ("mcp-name", "t")), "Mcp-Name is there 2 times"),
    "a missing method": (CALL, heads(mcp_method=None), "Mcp-Method is missing"),
    "another method": (CALL, heads(mcp_method="ping"), "Mcp-Method differs"),
    "two methods": (CALL, (*heads(), ("mcp-method", "ping")), "Mcp-Method is there 2 times"),
    "a missing version": (
        CALL,
        heads(mcp_protocol_version=None),
        "MCP-Protocol-Version is missing",
    ),
    "another version": (
        CALL,
        heads(mcp_protocol_version="2025-11-25"),
        "MCP-Protocol-Version differs",
    ),
    "a modern header on a body without a version": (
        Request(0, "tools/call", {"name": "t"}),
        heads(),
        "body does not name the protocol version",
    ),
    "a list needs no name": (
        Request(0, "tools/list", META),
        heads(mcp_method="tools/list", mcp_name=None),
        None,
    ),
    "a task's id is its name": (
        Request(0, "tasks/get", {"taskId": "7", **META}),
        heads(mcp_method="tasks/get", mcp_name="8"),
        "Mcp-Name differs",
    ),
    "a notification may mirror nothing": (Notification("n", META), (), None),
    "a notification that mirrors another method": (
        Notification("n", META),
        (("mcp-method", "m"),),
        "Mcp-Method differs",
    ),
    "a modern batch": (Batch((CALL,)), heads(), "no batches"),
    "a legacy request mirrors nothing": (
        Request(0, "tools/call", {"name": "t"}),
        (("mcp-protocol-version", "2025-11-25"), ("mcp-name", "other")),
        None,
    ),
}


@pytest.mark.parametrize(("message", "headers", "problem"), MISMATCHES.values(), ids=MISMATCHES)
def test_header_mismatch(message: Message | Batch, headers: Headers, problem: str | None) -> None:
    found = header_mismatch(message, headers)
    assert (found is None) if problem is None else (found is not None and problem in found)


PARAMS = {"mcp-param-region": "/region", "mcp-param-size": "/size"}


def call(**arguments: Any) -> Request:
    return Request(1, "tools/call", {"name": "t", "arguments": arguments, **META})


VALUES: dict[str, tuple[str, str]] = {
    "a plain word": ("us-west1", "us-west1"),
    "nothing": ("", ""),
    "blanks inside": ("us west 1", "us west 1"),
    "other scripts": ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
    "blanks around": (" padded ", "=?base64?IHBhZGRlZCA=?="),
    "a line end": ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
    "what looks packed": ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    "a tab": ("\tx", "=?base64?CXg=?="),
    "DEL": ("\x7f", "=?base64?fw==?="),
}


@pytest.mark.parametrize(("text", "value"), VALUES.values(), ids=VALUES)
def test_encodes_as_the_specification_shows(text: str, value: str) -> None:
    assert encode_value(text) == value
    assert decode_value(value) == text


@given(st.text())
def test_values_are_written_and_read_as_the_sdk_does(text: str) -> None:
    value = encode_value(text)
    assert decode_value(value) == text
    assert value.isascii()
    assert value.isprintable()
    assert decode_header_value(value) == text
    assert decode_value(encode_header_value(text)) == text


AMBIGUOUS = {
    "bad padding": "=?base64?SGVsbG8?=",
    "other characters": "=?base64?SGVs!!!bG8=?=",
    "stray bits": "=?base64?SGVsbG9=?=",
    "no UTF-8": "=?base64?/w==?=",
    "an end that is the beginning's": "=?base64?=",
    "raw UTF-8": "Ã©",
    "NUL": "a\0b",
}


@pytest.mark.parametrize("value", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_refuses_to_guess(value: str) -> None:
    assert decode_value(value) is None


ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "x/y", "~"]), inner, max_size=3),
    max_leaves=6,
)
ALL = {
    "mcp-protocol-version": f"/params/_meta/{VERSION.replace('/', '~1')}",
    "mcp-method": "/method",
}
MIRRORED: dict[str, tuple[Message | Batch, Headers, Any, dict[str, str]]] = {
    "a call": (CALL, heads(), None, {**ALL, "mcp-name": "/params/name"}),
    "a resource": (
        Request(1, "resources/read", {"uri": "u:é", **META}),
        (("mcp-name", packed("u:é")),), None, {"mcp-name": "/params/uri"}),
    "a task": (
        Request(1, "tasks/get", {"taskId": "7"}), (("mcp-name", "7"),), None,
        {"mcp-name": "/params/taskId"}),
    "another method with a name": (
        Request(1, "skills/get", {"name": "s"}), (("mcp-name", "s"),), None,
        {"mcp-name": "/params/name"}),
    "a name that differs": (CALL, (("mcp-name", "u"),), None, {}),
    "a name twice alike": (CALL, (("mcp-name", "t"), ("mcp-name", "t")), None,
                           {"mcp-name": "/params/name"}),
    "a name twice": (CALL, (("mcp-name", "t"), ("mcp-name", "u")), None, {}),
    "a version and method that differ": (
        CALL, (("mcp-method", "x"), ("mcp-protocol-version", "x"), ("mcp-session-id", "t")), None,
        {}),
    "a declared parameter": (
        call(region="eu", other="eu"), (("mcp-param-region", "eu"),), PARAMS,
        {"mcp-param-region": "/params/arguments/region"}),
    "a declared parameter that differs": (
        call(region="eu", other="us"), (("mcp-param-region", "us"),), PARAMS, {}),
    "an undeclared parameter of one value": (
        call(a={"b/c": "eu"}, d="us"), (("mcp-param-x", "eu"),), None,
        {"mcp-param-x": "/params/arguments/a/b~1c"}),
    "an undeclared parameter of two values": (
        call(a="eu", b="eu"), (("mcp-param-x", "eu"),), None, {}),
    "an undeclared parameter of no value": (call(a="eu"), (("mcp-param-x", "us"),), None, {}),
    "an undeclared number": (
        call(a=1, b=True), (("mcp-param-x", "1.0"),), None, {"mcp-param-x": "/params/arguments/a"}),
    "an undeclared truth": (
        call(a=1, b=True), (("mcp-param-x", "true"),), None,
        {"mcp-param-x": "/params/arguments/b"}),
    "an undeclared number and its string": (call(a=1, b="1"), (("mcp-param-x", "1"),), None, {}),
    "values in arrays have no header": (call(a=["eu"]), (("mcp-param-x", "eu"),), None, {}),
    "no arguments": (CALL, (("mcp-param-x", "eu"),), None, {}),
    "a notification": (Notification("n", META), heads(), None, {}),
    "a batch": (Batch((CALL,)), heads(), None, {}),
}  # fmt: skip


@pytest.mark.parametrize(("message", "headers", "params", "found"), MIRRORED.values(), ids=MIRRORED)
def test_mirrored(
    message: Message | Batch, headers: Headers, params: Any, found: dict[str, str]
) -> None:
    assert mirrored(message, headers, params) == found


def test_an_edit_goes_into_the_headers_too() -> None:
    text = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "t", "arguments": {"region": "key=abc", "size": 7}, **META}})  # fmt: skip
    headers = heads(mcp_param_region="key=abc", mcp_param_size="7")
    before = mirrored(call(region="key=abc", size=7), headers, PARAMS)
    edited = apply_edits(text, [Edit("/params/arguments/region", 4, 7, "•")])
    after = rewritten(before, edited)
    assert after == {**dict(headers), "mcp-param-region": packed("key=•")}
    assert header_mismatch(
        Request(1, "tools/call", json.loads(edited)["params"]), tuple(after.items()), PARAMS
    ) is None  # fmt: skip


@pytest.mark.parametrize("left", ["{}", '{"a":null}', '{"a":[]}'])
def test_a_value_that_is_gone_cannot_be_mirrored(left: str) -> None:
    with pytest.raises(ValueError, match="took away"):
        rewritten({"mcp-param-x": "/a"}, left)


@given(ARGUMENTS, st.text(max_size=4))
def test_a_mirrored_place_holds_what_the_header_says(arguments: Any, written: str) -> None:
    arguments = arguments if isinstance(arguments, dict) else {}
    found = mirrored(call(**arguments), (("mcp-param-x", encode_value(written)),))
    document = {"params": {"arguments": arguments}}
    for pointer in found.values():
        value = resolve_pointer(document, pointer)
        assert json.dumps(value) == written or value == written


@pytest.mark.timeout(20)
def test_many_headers_and_arguments_take_linear_time() -> None:
    arguments = {"k" * 1_000_000: {f"p{n}": f"v{n}" for n in range(20_000)}}
    headers = tuple((f"mcp-param-{n}", f"v{n}") for n in range(1_000))
    assert len(mirrored(call(**arguments), headers)) == 1_000


@given(
    st.sampled_from(["tools/call", "tasks/get", "resources/read", "x"]),
    st.dictionaries(st.sampled_from(["name", "uri", "taskId", "arguments", "_meta"]),
                    ARGUMENTS | st.just(META["_meta"])),
    st.lists(st.tuples(st.sampled_from(["mcp-name", "mcp-method", "mcp-protocol-version",
                                        "mcp-param-region", "mcp-param-x", "x"]),
                       st.text(max_size=12))),
)  # fmt: skip
def test_all_questions_have_answers(
    method: str, params: Any, headers: list[tuple[str, str]]
) -> None:
    message, pairs = Request(0, method, params), tuple(headers)
    for known in (None, PARAMS):
        assert isinstance(header_mismatch(message, pairs, known), (str, type(None)))
        assert all(pointer.startswith("/") for pointer in mirrored(message, pairs, known).values())
