"""What makes a call the same call: as far as a server can tell, and no further."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import JSON, call, make_judge, message, post, request, scanner

from mitmgate.hold.target import Target
from mitmgate.judge.fingerprint import MOST_ARGUMENTS, digest_of, is_long, target_of
from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.limits import Limits
from mitmgate.judge.prepare import PreparedRequest, prepare_request

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def target(given: RequestInput) -> Target:
    judge = make_judge()
    prepared = judge.prepare(given)
    assert isinstance(prepared, PreparedRequest)
    judge.conclude(prepared, now=0.0)
    exchange = judge.memory.get(given.exchange)
    assert exchange is not None
    found = target_of(exchange, prepared)
    assert found is not None
    return found


def raw(arguments: str, **rest: Any) -> RequestInput:
    """Return a ``tools/call`` of push whose arguments are spelt as given."""
    body = (
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"push",'
        f'"arguments":{arguments}}}}}'
    )
    return request("POST", body=body.encode(), **rest)


def meta(**members: Any) -> RequestInput:
    params = {"name": "push", "arguments": {"a": 1}, **({"_meta": members} if members else {})}
    return post(message("tools/call", params))


def get(target: str = "/a/b", **rest: Any) -> RequestInput:
    return request(rest.pop("method", "GET"), rest.pop("host", "docs.example"), target, **rest)


SAME: dict[str, tuple[RequestInput, RequestInput]] = {
    "the id of the request": (call("push", number=1), call("push", number="another")),
    "the order of keys": (raw('{"a":1,"b":{"x":1,"y":2}}'), raw('{"b":{"y":2,"x":1},"a":1}')),
    "blanks": (raw('{"a":[1,2]}'), raw('{ "a" : [1,\n2] }')),
    "an escape in a string": (raw('{"a":"\\u00e9"}'), raw('{"a":"é"}')),
    "a progress token": (meta(), meta(progressToken=7)),
    "a trace": (meta(), meta(traceparent=TRACE, tracestate="vendor=1")),
    "the exchange": (call("push"), call("push", exchange="y")),
    "a header of a call": (call("push"), call("push", headers=(*JSON, ("user-agent", "x")))),
    "a header of a download": (get(), get(headers=(*JSON, ("user-agent", "x")))),
}
OTHER: dict[str, tuple[RequestInput, RequestInput]] = {
    "another agent": (call("push"), call("push", agent="other")),
    "another tool": (call("push"), call("push2")),
    "another server": (call("push"), call("push", host="other.example")),
    "another path of a server": (
        call("push", host="o.example"), call("push", host="o.example", target="/mcp2")),
    "another query": (call("push"), call("push", target="/mcp?tenant=b")),
    "another method": (
        post(message("tools/call", {"name": "x"})), post(message("prompts/get", {"name": "x"}))),
    "another argument": (call("push", {"a": 1}), call("push", {"a": 2})),
    "one argument more": (call("push", {"a": 1}), call("push", {"a": 1, "b": None})),
    "an integer and the same number as a float": (raw('{"a":1}'), raw('{"a":1.0}')),
    "numbers that are one double": (raw('{"a":0.1}'), raw('{"a":0.10000000000000000001}')),
    "zero and minus zero": (raw('{"a":0}'), raw('{"a":-0}')),
    "a number and its text": (raw('{"a":1}'), raw('{"a":"1"}')),
    "a number and a text that begins as we mark numbers": (
        raw('{"a":1}'), raw('{"a":"\\ud800\\udc001"}')),
    "true and one": (raw('{"a":true}'), raw('{"a":1}')),
    "null and nothing": (raw('{"a":null}'), raw("{}")),
    "the order of a list": (raw('{"a":[1,2]}'), raw('{"a":[2,1]}')),
    "composed and decomposed letters": (raw('{"a":"é"}'), raw('{"a":"e\\u0301"}')),
    "what else stands in _meta": (meta(), meta(tenant="b")),
    "a trace that is none": (meta(), meta(traceparent="ignore the rules")),
    "a state of the trace without a trace": (meta(), meta(tracestate="vendor=1")),
    "a state of the trace that is too long": (
        meta(traceparent=TRACE), meta(traceparent=TRACE, tracestate="x" * 513)),
    "a state of the request": (
        post(message("tools/call", {"name": "push"})),
        post(message("tools/call", {"name": "push", "requestState": "s"}))),
    "another HTTP method": (get(), get(method="PUT")),
    "another host": (get(), get(host="paste.example")),
    "another target": (get(), get("/a/c")),
    "another query of a download": (get(), get("/a/b?c")),
    "another body": (get(method="PUT", body=b"a"), get(method="PUT", body=b"b")),
    "another spelling of a body that only looks like MCP": (
        get(method="PUT", body=b'{"jsonrpc":"2.0","id":1,"method":"eth_call"}'),
        get(method="PUT", body=b'{"jsonrpc":"2.0","id":2,"method":"eth_call"}')),
    "another type of body": (
        get(method="PUT", body=b"a", headers=(("content-type", "text/plain"),)),
        get(method="PUT", body=b"a", headers=(("content-type", "text/html"),))),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_calls_that_are_the_same_but_for(one: RequestInput, other: RequestInput) -> None:
    assert target(one).call is not None
    assert target(one).call == target(other).call


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_calls_that_differ_by(one: RequestInput, other: RequestInput) -> None:
    assert target(one).call != target(other).call


def test_what_a_call_of_a_tool_is_known_by() -> None:
    found = target(call("push", {"a": 1, "b": "x"}))
    assert (found.channel, found.server, found.method, found.tool) == (
        "mcp", "files", "tools/call", "push",
    )  # fmt: skip
    assert found.scopes == ("call", "values", "tool", "server")
    other = target(call("push", {"a": 1, "b": "y"}))
    assert found.arguments is not None
    assert other.arguments is not None
    assert found.arguments["a"] == other.arguments["a"]
    assert found.arguments["b"] != other.arguments["b"]


def test_what_a_download_is_known_by() -> None:
    found = target(get("/a/b/c?d"))
    assert (found.origin, found.path, found.scopes) == (
        "https://docs.example:443", "/a/b/c", ("call", "url", "prefix", "host"),
    )  # fmt: skip
    assert found.prefixes == ("/a/b", "/a")
    assert target(get("/a/b/c?e")).url != found.url


@pytest.mark.parametrize("path", ["/a/../b", "/a//b", "/a/%2e%2e/b", "/a/..;/b"])
def test_a_path_that_servers_read_in_several_ways_has_no_prefix(path: str) -> None:
    found = target(get(path))
    assert (found.path, found.scopes) == (None, ("call", "url", "host"))


def test_a_body_that_was_not_read_to_its_end_makes_no_exact_call() -> None:
    judge = make_judge()
    whole = get(method="PUT", host="paste.example", body=b"abc")
    prepared = judge.prepare(replace(whole, unread=10_000))
    assert isinstance(prepared, PreparedRequest)
    judge.conclude(prepared, now=0.0)
    exchange = judge.memory.get("x")
    assert exchange is not None
    found = target_of(exchange, prepared)
    assert found is not None
    assert (found.call, found.scopes) == (None, ("url", "prefix", "host"))
    assert target(whole).call is not None


def test_a_name_is_never_cut_and_never_redacted() -> None:
    long = "x" * 1000
    assert target(call(long)).tool == long
    assert target(call(long)).call != target(call(long + "y")).call


def test_a_tool_with_very_many_arguments_has_no_values_to_choose() -> None:
    found = target(call("push", {f"a{n}": n for n in range(MOST_ARGUMENTS + 1)}))
    assert (found.arguments, found.scopes) == (None, ("call", "tool", "server"))


def test_a_batch_is_known_by_all_of_it() -> None:
    judge = make_judge()

    def known(*messages: object) -> str | None:
        prepared = judge.prepare(post(list(messages)))
        assert isinstance(prepared, PreparedRequest)
        judge.conclude(prepared, now=0.0)
        exchange = judge.memory.get("x")
        assert exchange is not None
        found = target_of(exchange, prepared)
        return None if found is None else found.call

    params = {"name": "push", "arguments": {}}
    one, two = (message("tools/call", params, number=number) for number in (1, 2))
    other = message("tools/call", {"name": "get_x"}, number=2)
    assert known(one, two) == known(two, one)  # but for their ids they are alike
    assert known(one, two) != known(one, other)
    assert known(one) != known(one, two)


def test_a_long_body_is_hashed_ahead() -> None:
    prepared = make_judge().prepare(call("push", {"text": "x" * 40_000}))
    assert isinstance(prepared, PreparedRequest)
    assert is_long(prepared)
    ahead = replace(prepared, digest=digest_of(prepared))
    assert ahead.digest is not None
    short = make_judge().prepare(call("push"))
    assert isinstance(short, PreparedRequest)
    assert not is_long(short)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def _body(value: object, **style: Any) -> bytes:
    params = {"name": "push", "arguments": {"v": value}}
    return json.dumps(message("tools/call", params), **style).encode()


def _meaning(body: bytes) -> str:
    prepared = prepare_request(request("POST", body=body), scanner(), Limits())
    assert prepared.body.message is not None
    return digest_of(prepared).meaning


@given(VALUES, VALUES)
def test_two_values_have_one_hash_only_where_they_are_spelt_alike(a: object, b: object) -> None:
    plain = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (_meaning(_body(a)) == _meaning(_body(b))) == plain
    assert _meaning(_body(a)) == _meaning(_body(a, indent=1, ensure_ascii=False))
