"""Revision 2026-07-28 through the proxy: what is hidden, and headers that repeat the body.

The official SDK is client and server; where a client would not misbehave, bytes are.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from harness import MCP_NAME, OTHER_NAME
from mcp import MCPError
from modern import RULES, call, complete, connected, heads, message, post, said
from wires import KEY, MARK, OPEN, Wires, json_answer, sdk_client, text_of

pytest_plugins = ["wire_fixtures"]


# ----- what is hidden


async def test_a_hidden_tool_is_in_no_page_of_the_list(wires: Wires) -> None:
    async with connected(wires, RULES) as client:
        first = await client.list_tools()
        second = await client.list_tools(cursor=first.next_cursor)
        third = await client.list_tools(cursor=second.next_cursor)
    assert [tool.name for tool in first.tools] == ["read_note", "delete_note", "save_note"]
    assert (first.next_cursor, first.cache_scope, first.ttl_ms) == ("second", "private", 60_000)
    assert (second.tools, second.next_cursor, second.cache_scope) == ([], "third", "private")
    # Nothing on this page is hidden, but another agent could be shown more or less of it.
    assert third.cache_scope == "private"
    assert third.tools[0].name == "route_note"


async def test_a_hidden_tool_is_unknown_and_does_not_run(wires: Wires) -> None:
    async with connected(wires, RULES) as client:
        with pytest.raises(MCPError) as refused:
            await client.call_tool("admin_reset", {})
        assert (refused.value.error.code, refused.value.error.message) == (
            -32602, "Unknown tool: admin_reset",
        )  # fmt: skip
        assert text_of(await client.call_tool("read_note", {"title": "x"})) == "read_note is done."
    assert wires.server.called() == ["read_note"]
    [denied] = wires.gate(RULES).decisions(tool="admin_reset")
    assert (denied["rule"], denied["code"]) == ("no-admin", "hidden")


async def test_without_the_rule_the_tool_is_listed_for_all_and_runs(wires: Wires) -> None:
    async with connected(wires, OPEN) as client:
        page = await client.list_tools()
        assert [tool.name for tool in page.tools] == [
            "read_note", "admin_reset", "delete_note", "admin_drop", "save_note",
        ]  # fmt: skip
        assert page.cache_scope == "public"
        await client.call_tool("admin_reset", {})
    assert wires.server.ran() == [["admin_reset", {}]]


# ----- headers that repeat the body

REGIONS = {"as it is": ("", ""), "in base64": ("é ", "\t")}


@pytest.mark.parametrize(("before", "after"), REGIONS.values(), ids=list(REGIONS))
async def test_a_redacted_argument_is_redacted_in_the_header_that_repeats_it(
    wires: Wires, before: str, after: str
) -> None:
    async with connected(wires, RULES) as client:
        await client.list_tools(cursor="third")
        wires.server.lines()
        arguments = {"region": f"{before}{KEY}{after}", "text": "t"}
        result = await client.call_tool("route_note", arguments)
        assert (text_of(result), result.is_error) == ("route_note is done.", False)
    [came] = wires.server.arrived()
    region = f"{before}{MARK}{after}"
    assert came.message["params"]["arguments"] == {"region": region, "text": "t"}
    packed = f"=?base64?{base64.b64encode(region.encode()).decode()}?="
    assert came.headers["mcp-param-region"] == (packed if before else region)
    assert KEY not in str(came)


async def test_a_redacted_uri_is_redacted_in_the_name_header(wires: Wires) -> None:
    async with connected(wires, RULES) as client:
        read = await client.read_resource(f"note://{KEY}/page")
    assert getattr(read.contents[0], "text", "") == f"The text of note://{MARK}/page."
    [came] = wires.server.arrived()
    assert came.headers["mcp-name"] == came.message["params"]["uri"] == f"note://{MARK}/page"


READ = call("read_note", title="x")
NAMELESS = {**READ, "params": {**READ["params"], "_meta": {}}}
FITTING = heads("tools/call", "read_note")
MISMATCHES: dict[str, tuple[dict[str, Any], Any, int]] = {
    "another tool in the header": (READ, heads("tools/call", "delete_note"), -32020),
    "another case": (READ, heads("tools/call", "Read_note"), -32020),
    "another method in the header": (READ, heads("tools/list", "read_note"), -32020),
    "no name in the header": (READ, heads("tools/call"), -32020),
    "another revision in the header": (
        READ, heads("tools/call", "read_note", mcp_protocol_version="2025-11-25"), -32020),
    "a base64 name that is another": (
        READ, heads("tools/call", "=?base64?cmVhZF9ub3Rlcw==?="), -32020),
    "one parameter twice": (
        READ, [*FITTING.items(), ("mcp-param-a", "x"), ("mcp-param-a", "x")], -32020),
    "no revision in the body": (NAMELESS, FITTING, -32602),
    "nothing but a method in the body": (
        {"jsonrpc": "2.0", "id": 1, "method": "server/discover"}, heads("server/discover"), -32602),
}  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "code"), MISMATCHES.values(), ids=list(MISMATCHES))
def test_a_body_that_its_headers_contradict_never_arrives(
    wires: Wires, body: dict[str, Any], headers: Any, code: int
) -> None:
    refused = post(wires, OPEN, body, headers)
    assert (refused.status_code, refused.json()["id"]) == (400, 1)
    assert refused.json()["error"]["code"] == code
    assert wires.scripted.arrived == []


def test_a_name_that_stands_in_two_headers_never_arrives(wires: Wires) -> None:
    refused = post(wires, OPEN, READ, [*FITTING.items(), ("mcp-name", "read_note")])
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed_request")
    assert wires.scripted.arrived == []


FITS = {
    "plain": FITTING,
    "in base64": heads("tools/call", "=?base64?cmVhZF9ub3Rl?="),
    "beside a parameter nobody knows": heads("tools/call", "read_note", mcp_param_other="1"),
}


@pytest.mark.parametrize("headers", FITS.values(), ids=list(FITS))
def test_a_body_that_its_headers_repeat_arrives_as_it_is(
    wires: Wires, headers: dict[str, str]
) -> None:
    wires.scripted.answer = lambda _: [json_answer(said(1, "fine"))]
    body = json.dumps(READ, indent=1).encode()
    assert post(wires, OPEN, body, headers).json() == said(1, "fine")
    [came] = wires.scripted.arrived
    assert came.body == body
    assert headers.items() <= came.headers.items()


def test_a_parameter_header_is_compared_once_the_tools_were_listed(wires: Wires) -> None:
    region = {"type": "string", "x-mcp-header": "Zone"}
    tool = {"name": "zoned", "inputSchema": {"type": "object", "properties": {"zone": region}}}
    listed = complete(1, tools=[tool], ttlMs=0, cacheScope="public")
    wires.scripted.answer = lambda came: [
        json_answer(listed if came.rpc == "tools/list" else said(1, "fine"))
    ]
    post(wires, OPEN, message("tools/list", {}), heads("tools/list"))
    for zone, arrives in (("us", False), ("eu", True)):
        before = len(wires.scripted.arrived)
        headers = heads("tools/call", "zoned", mcp_param_zone=zone)
        answer = post(wires, OPEN, call("zoned", zone="eu"), headers)
        assert (answer.status_code, len(wires.scripted.arrived) - before) == (
            (200, 1) if arrives else (400, 0)
        )


# ----- beginnings, other methods, extensions


async def test_a_client_whose_discovery_is_denied_falls_back_to_a_session(wires: Wires) -> None:
    url = wires.server.url.replace(MCP_NAME, OTHER_NAME)
    async with sdk_client(wires.gate(RULES), url) as client:
        assert client.protocol_version == "2025-11-25"
        assert wires.server.arrived()[0].rpc == "initialize"


async def test_a_client_gets_no_tools_where_every_beginning_is_denied(wires: Wires) -> None:
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True, allow_unwrapped=True):
        async with sdk_client(wires.gate(RULES), wires.scripted.url("/shut")):
            raise AssertionError("connected")
    assert wires.scripted.arrived == []
    with pytest.RaisesGroup(MCPError, flatten_subgroups=True, allow_unwrapped=True):
        async with sdk_client(wires.gate(OPEN), wires.scripted.url("/shut")):
            raise AssertionError("connected")
    assert [came.rpc for came in wires.scripted.arrived] == ["server/discover", "initialize"]


def test_a_method_that_nobody_knows_passes_by_rule_or_otherwise(wires: Wires) -> None:
    wires.scripted.answer = lambda _: [json_answer(complete(1, done=True))]
    for policy, method, passes in (
        (RULES, "vendor/do", True),
        (RULES, "other/do", False),
        (OPEN, "other/do", True),
    ):
        before = len(wires.scripted.arrived)
        answer = post(wires, policy, message(method, {"x": [1.50]}), heads(method)).json()
        arrived = [came.rpc for came in wires.scripted.arrived[before:]]
        assert arrived == ([method] if passes else [])
        assert answer.get("result") == (complete(1, done=True)["result"] if passes else None)
        assert passes or answer["error"]["code"] == -31000
