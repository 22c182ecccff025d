"""A tool's schema says which arguments its calls repeat in headers; the headers must agree."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map

from mitmgate.wire.http import Headers
from mitmgate.wire.jsonrpc import Request
from mitmgate.wire.mirror import MOST_PARAMS, header_mismatch, param_headers

META = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}


def heads(**more: str) -> Headers:
    values = {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "t",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    return tuple(values.items())


def packed(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


PARAMS = {
    "mcp-param-region": "/region",
    "mcp-param-size": "/size",
    "mcp-param-dry": "/dry",
    "mcp-param-zone": "/place/zone",
}


def call(**arguments: Any) -> Request:
    return Request(1, "tools/call", {"name": "t", "arguments": arguments, **META})


PARAM_MISMATCHES: dict[str, tuple[Request, Headers, str | None]] = {
    "a string": (call(region="eu"), heads(mcp_param_region="eu"), None),
    "a string that differs": (call(region="eu"), heads(mcp_param_region="us"), "differs"),
    "a string of another case": (call(region="eu"), heads(mcp_param_region="EU"), "differs"),
    "a header that is missing": (call(region="eu"), heads(), "Mcp-Param-region is missing"),
    "no argument, no header": (call(), heads(), None),
    "a header without its argument": (call(), heads(mcp_param_region="eu"), "no argument"),
    "null has no header": (call(region=None), heads(), None),
    "a header for null": (call(region=None), heads(mcp_param_region="null"), "no argument"),
    "an array has no header": (call(region=["eu"]), heads(), None),
    "a header for an array": (call(region=["eu"]), heads(mcp_param_region="eu"), "no argument"),
    "an empty string has a header": (call(region=""), heads(mcp_param_region=""), None),
    "an empty string without its header": (call(region=""), heads(), "missing"),
    "a packed string": (call(region="é "), heads(mcp_param_region=packed("é ")), None),
    "a packed string that differs": (
        call(region="é "), heads(mcp_param_region=packed("é")), "differs"),
    "raw characters beyond ASCII": (call(region="é"), heads(mcp_param_region="é"), "differs"),
    "packing without its end is plain text": (
        call(region="=?base64?ZXU="), heads(mcp_param_region="=?base64?ZXU="), None),
    "packing in bad base64": (
        call(region="eu"), heads(mcp_param_region="=?base64?ZXU?="), "differs"),
    "an integer": (call(size=-7), heads(mcp_param_size="-7"), None),
    "an integer written as a decimal": (call(size=42), heads(mcp_param_size="42.0"), None),
    "a decimal that is an integer": (call(size=42.0), heads(mcp_param_size="42"), None),
    "a large integer": (call(size=10**30), heads(mcp_param_size=str(10**30)), None),
    "a large integer off by one": (
        call(size=10**30), heads(mcp_param_size=str(10**30 + 1)), "differs"),
    "another integer": (call(size=42), heads(mcp_param_size="43"), "differs"),
    "an integer with an exponent": (call(size=100), heads(mcp_param_size="1e2"), "differs"),
    "an integer in other digits": (call(size=4), heads(mcp_param_size="٤"), "differs"),
    "a string is no number": (call(size="42"), heads(mcp_param_size="42.0"), "differs"),
    "a truth": (call(dry=True), heads(mcp_param_dry="true"), None),
    "a truth is no number": (call(dry=True), heads(mcp_param_dry="1"), "differs"),
    "a truth in capitals": (call(dry=True), heads(mcp_param_dry="True"), "differs"),
    "an argument inside an object": (call(place={"zone": "a"}), heads(mcp_param_zone="a"), None),
    "an argument inside what is no object": (
        call(place="a"), heads(mcp_param_zone="a"), "no argument"),
    "no arguments at all": (
        Request(1, "tools/call", {"name": "t", **META}), heads(mcp_param_zone="a"), "no argument"),
    "a header twice": (
        call(region="eu"), (*heads(mcp_param_region="eu"), ("mcp-param-region", "eu")),
        "more than once"),
    "a header that nobody declared": (call(), heads(mcp_param_other="x"), None),
    "a header that nobody declared twice": (
        call(), (*heads(mcp_param_other="x"), ("mcp-param-other", "x")), "more than once"),
    "a list of tools has no parameters": (
        Request(1, "tools/list", META), heads(mcp_method="tools/list", mcp_param_region="eu"),
        None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "headers", "problem"), PARAM_MISMATCHES.values(), ids=PARAM_MISMATCHES
)
def test_parameter_headers(request_: Request, headers: Headers, problem: str | None) -> None:
    found = header_mismatch(request_, headers, PARAMS)
    assert (found is None) if problem is None else (found is not None and problem in found)


def test_without_a_schema_parameter_headers_pass_but_not_twice() -> None:
    wrong = heads(mcp_param_region="us")
    assert header_mismatch(call(region="eu"), wrong) is None
    twice = (*wrong, ("mcp-param-region", "us"))
    assert "more than once" in str(header_mismatch(call(region="eu"), twice))


def test_legacy_calls_have_no_parameter_headers() -> None:
    legacy = Request(1, "tools/call", {"name": "t", "arguments": {"region": "eu"}})
    assert header_mismatch(legacy, (("mcp-param-region", "us"),), PARAMS) is None


def test_a_mismatch_never_shows_a_value() -> None:
    found = header_mismatch(call(region="hidden"), heads(mcp_param_region="shown"), PARAMS)
    assert found == "the header Mcp-Param-region differs from the body"


def schema(**properties: Any) -> dict[str, Any]:
    return {"name": "t", "inputSchema": {"type": "object", "properties": properties}}


def marked(token: Any, kind: Any = "string", **more: Any) -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": token, **more}


REGION = {"mcp-param-region": "/a"}
TOOLS: dict[str, tuple[Any, dict[str, str]]] = {
    "a string": (schema(a=marked("Region")), REGION),
    "an integer": (schema(a=marked("Region", "integer")), REGION),
    "a boolean": (schema(a=marked("REGION", "boolean")), REGION),
    "a number may not": (schema(a=marked("Region", "number")), {}),
    "an object may not": (schema(a=marked("Region", "object")), {}),
    "an array may not": (schema(a=marked("Region", "array")), {}),
    "null may not": (schema(a=marked("Region", "null")), {}),
    "a choice of types may not": (schema(a=marked("Region", ["string", "null"])), {}),
    "no type may not": (schema(a={"x-mcp-header": "Region"}), {}),
    "inside an object": (
        schema(a={"type": "object", "properties": {"b/c": marked("Region")}}),
        {"mcp-param-region": "/a/b~1c"},
    ),
    "inside an array": (schema(a={"type": "array", "items": marked("Region")}), {}),
    "inside a choice": (schema(a={"anyOf": [marked("Region")]}), {}),
    "inside a condition": (schema(a={"if": {"properties": {"b": marked("Region")}}}), {}),
    "inside a definition": (schema(a={"$defs": {"b": marked("Region")}}), {}),
    "at the root": ({"inputSchema": marked("Region", "object")}, {}),
    "one bad mark spoils the tool": (schema(a=marked("Region"), b=marked("Size", "number")), {}),
    "a default that looks like a mark": (
        schema(a=marked("Region", default={"x-mcp-header": ""}), b={"const": marked("")}), REGION),
    "a property of that name": (
        schema(**{"x-mcp-header": {"type": "string"}}, a=marked("Region")), REGION),
    "no token": (schema(a=marked("")), {}),
    "a token with a blank": (schema(a=marked("My Region")), {}),
    "a token with a colon": (schema(a=marked("Region:1")), {}),
    "a token with a line end": (schema(a=marked("Region\r\nX: y")), {}),
    "a token beyond ASCII": (schema(a=marked("Région")), {}),
    "a token that is ASCII in lower case": (schema(a=marked("\u212aey")), {}),
    "a token that is no string": (schema(a=marked(1)), {}),
    "an endless token": (schema(a=marked("x" * 300)), {}),
    "two of one name": (schema(a=marked("Region"), b=marked("region")), {}),
    "two names": (schema(a=marked("Region"), b=marked("Size")),
                  {"mcp-param-region": "/a", "mcp-param-size": "/b"}),
    "more than anybody sends": (
        schema(**{f"p{n}": marked(f"h{n}") for n in range(MOST_PARAMS + 1)}), {}),
    "no schema": ({"name": "t"}, {}),
    "a schema that is none": ({"inputSchema": [1]}, {}),
    "properties that are none": ({"inputSchema": {"properties": [marked("Region")]}}, {}),
}  # fmt: skip


@pytest.mark.parametrize(("tool", "params"), TOOLS.values(), ids=TOOLS)
def test_param_headers(tool: Any, params: dict[str, str]) -> None:
    assert param_headers(tool) == params


NAMES = st.sampled_from(["a", "b", "x/y", "~"])
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "integer", "boolean", "number", "object"])},
        optional={"x-mcp-header": st.sampled_from(["A", "a", "B", "c d", ""])},
    ),
    lambda inner: st.fixed_dictionaries(
        {"properties": st.dictionaries(NAMES, inner, max_size=3)},
        optional={"items": inner, "anyOf": st.lists(inner, max_size=2), "default": inner},
    ),
    max_leaves=6,
)
ARGUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(SCHEMAS, ARGUMENTS)
def test_what_the_sdk_s_client_sends_is_what_we_expect(schema: Any, arguments: Any) -> None:
    params = param_headers({"inputSchema": schema})
    if find_invalid_x_mcp_header(schema) is not None:
        assert params == {}
        return
    arguments = arguments if isinstance(arguments, dict) else {}
    sent = mcp_param_headers(x_mcp_header_map(schema), arguments)
    headers = (*heads(), *((name.lower(), value) for name, value in sent.items()))
    assert header_mismatch(call(**arguments), headers, params) is None
    for name in sent:
        without = tuple(pair for pair in headers if pair[0] != name.lower())
        assert "missing" in str(header_mismatch(call(**arguments), without, params))
