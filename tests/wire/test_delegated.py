"""MCP servers that a request hands to its receiver: every provider's way, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.wire.delegated import MOST_SERVERS, cuts, delegations, endpoint_of
from mitmgate.wire.edit import apply_edits

URL = "https://mcp.example/mcp"
OPENAI = {"type": "mcp", "server_label": "docs", "server_url": URL}
ANTHROPIC = {"type": "url", "url": URL, "name": "docs", "authorization_token": "t"}
TOOL = {"type": "function", "name": "f"}
LEFT = {"model": "m", "input": "hi"}

# What a request holds beside LEFT, what of it names the server, and what is left without it.
WAYS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "OpenAI Responses": ({"tools": [OPENAI, TOOL]}, "/tools/0", {"tools": [TOOL]}),
    "OpenAI with a choice of its tool": (
        {"tools": [TOOL, OPENAI], "tool_choice": {"type": "mcp", "server_label": "docs"}},
        "/tools/1", {"tools": [TOOL]}),
    "OpenAI with a choice among tools": (
        {"tools": [TOOL, OPENAI], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools":
            [{"type": "mcp", "server_label": "docs"}, {"type": "function", "name": "f"}]}},
        "/tools/1", {"tools": [TOOL]}),
    "OpenAI where no tool is left to choose": (
        {"tools": [OPENAI], "tool_choice": "required"}, "/tools/0", {}),
    "OpenAI Realtime session": (
        {"session": {"type": "realtime", "tools": [OPENAI]}}, "/session/tools/0",
        {"session": {"type": "realtime"}}),
    "OpenAI Realtime response": (
        {"response": {"tools": [OPENAI], "a": 1}}, "/response/tools/0", {"response": {"a": 1}}),
    "Anthropic": (
        {"mcp_servers": [ANTHROPIC], "tools": [
            {"type": "mcp_toolset", "mcp_server_name": "docs"}, {"name": "f"}]},
        "/mcp_servers/0", {"tools": [{"name": "f"}]}),
    "Anthropic batches": (
        {"requests": [{"custom_id": "1", "params": {"a": 1, "mcp_servers": [ANTHROPIC]}}]},
        "/requests/0/params/mcp_servers/0",
        {"requests": [{"custom_id": "1", "params": {"a": 1}}]}),
    "Gemini": (
        {"tools": [{"mcpServers": [{"name": "docs", "streamableHttpTransport": {"url": URL}}]}]},
        "/tools/0/mcpServers/0", {}),
    "Gemini Interactions": (
        {"tools": [{"type": "mcp_server", "name": "docs", "url": URL}, TOOL]}, "/tools/0",
        {"tools": [TOOL]}),
    "LM Studio": (
        {"integrations": [{"type": "ephemeral_mcp", "server_label": "docs", "server_url": URL}]},
        "/integrations/0", {}),
    "a server below the tool": (
        {"tools": [{"type": "mcp", "name": "docs", "server": {"url": URL}}]}, "/tools/0", {}),
    "a table of servers": (
        {"mcpServers": {"docs": {"url": URL}}}, "/mcpServers/docs", {}),
    "a list of URLs": ({"mcp_servers": [URL]}, "/mcp_servers/0", {}),
    "the keys in another spelling": (
        {"Tools": [{"Type": "MCP", "server-label": "docs", "serverUrl": URL}]}, "/Tools/0", {}),
    "no type at all": ({"tools": [{"server_url": URL, "name": "docs"}]}, "/tools/0", {}),
}  # fmt: skip


@pytest.mark.parametrize(("given_", "pointer", "left"), WAYS.values(), ids=WAYS)
def test_the_server_is_found_and_can_be_taken_out(
    given_: dict[str, Any], pointer: str, left: dict[str, Any]
) -> None:
    text = json.dumps(LEFT | given_)
    found = delegations(text)
    [one] = found.servers
    assert (one.pointer, one.url) == (pointer, URL)
    assert one.label in ("docs", URL)
    assert json.loads(apply_edits(text, cuts(found.value, found.servers))) == LEFT | left


CONNECTORS: dict[str, tuple[dict[str, Any], str]] = {
    "OpenAI": ({"tools": [{"type": "mcp", "connector_id": "connector_x"}]}, "connector_x"),
    "Mistral": ({"tools": [{"type": "connector", "connector_id": "x"}]}, "x"),
    "Azure": ({"tools": [{"type": "mcp", "project_connection_id": "x"}]}, "x"),
    "a label alone": ({"tools": [{"type": "mcp", "server_label": "x"}]}, "x"),
    "nothing alone": ({"tools": [{"type": "mcp"}]}, "mcp"),
    "LM Studio": ({"integrations": ["mcp/x"]}, "mcp/x"),
    "LM Studio's plugins": ({"integrations": [{"type": "plugin", "id": "mcp/x"}]}, "mcp/x"),
    "ids of servers": ({"mcp_server_ids": ["x"]}, "x"),
}


@pytest.mark.parametrize(("value", "name"), CONNECTORS.values(), ids=CONNECTORS)
def test_a_connector_has_no_url_and_is_found_all_the_same(value: Any, name: str) -> None:
    [one] = delegations(json.dumps(value)).servers
    assert (one.url, one.connector) == (None, name)


BESIDE: dict[str, dict[str, Any]] = {
    "a program": {"mcpServers": {"a": {"command": "npx"}, "b": {"url": URL}}},
    "a command": {"mcp_servers": [{**ANTHROPIC, "command": "npx"}]},
    "a command and a connector": {"mcp_servers": [{"command": "npx", "connector_id": "x"}]},
    "a kind and a command": {"tools": [{"type": "mcp", "command": "npx"}]},
    "what a tool was told": {"tools": [OPENAI], "input": [
        {"type": "function_call", "arguments": {"tools": [OPENAI]}}]},
    "a type in two spellings": {"input": [
        {"type": "tool_use", "Type": "x", "input": {"mcp_servers": [ANTHROPIC]}}]},
    "a type of what is no item": {"type": "tool_use", "input": {"mcp_servers": [ANTHROPIC]}},
}  # fmt: skip


@pytest.mark.parametrize("value", BESIDE.values(), ids=BESIDE)
def test_a_server_is_not_hidden_by(value: Any) -> None:
    assert len(delegations(json.dumps(value)).servers) == 1


NOTHING: dict[str, Any] = {
    "text that speaks of it": {"messages": [{"role": "user", "content": json.dumps(OPENAI)}]},
    "a function": {"tools": [TOOL, {"name": "mcp__docs__read", "input_schema": {}}]},
    "a parameter of that name": {"tools": [{"name": "f", "input_schema": {"properties": {
        "mcp_servers": {"type": "array", "items": {"type": "string"}}}}}]},
    "what a provider has called": {"input": [
        {"type": "mcp_list_tools", "server_label": "docs", "tools": [{"name": "read"}]},
        {"type": "mcp_call", "server_label": "docs", "name": "read", "arguments": "{}"}]},
    "a record of another kind": {"type": "mcp", "name": "startup"},
    "integrations of another kind": {"integrations": ["slack", {"type": "web", "id": "x"}]},
    "settings of a client": {"settings": {"mcpServers": {
        "fs": {"command": "npx", "args": ["x"]}, "git": {"type": "stdio", "command": "git"}}}},
    "names of servers that a client has": {"events": [{"mcp_servers": ["github", "jira"]}]},
    "connectors of another kind": {"items": [{"type": "connector", "url": URL}],
                                   "connectors": [{"id": "1", "serverUrl": URL}]},
    "what a tool was told and said": {"messages": [
        {"role": "assistant", "content": [
            {"type": "tool_use", "name": "f", "input": {"mcpServers": {"x": {"url": URL}}}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": [{"tools": [OPENAI]}]}]}]},
    "what a function was told and said": {"input": [
        {"type": "function_call", "arguments": {"mcp_servers": [ANTHROPIC]}},
        {"type": "function_call_output", "output": [{"tools": [OPENAI]}]}]},
    "what Ollama's functions were told": {"messages": [{"tool_calls": [
        {"function": {"name": "f", "arguments": {"tools": [OPENAI]}}}]}]},
    "what Gemini's functions were told and said": {"contents": [{"parts": [
        {"functionCall": {"args": {"mcpServers": [{"url": URL}]}}},
        {"functionResponse": {"response": {"tools": [OPENAI]}}}]}]},
    "a choice of a tool": {"tool_choice": {"type": "mcp", "server_label": "docs"}},
}  # fmt: skip


@pytest.mark.parametrize("value", NOTHING.values(), ids=NOTHING)
def test_nothing_is_handed_over_by(value: Any) -> None:
    assert delegations(json.dumps(value)).servers == ()


def test_letters_written_as_escapes_hide_nothing() -> None:
    text = json.dumps({"tools": [OPENAI]}).replace('"mcp"', '"\\u006dcp"')
    text = text.replace("server_", "s\\u0065rver\\u005f")
    assert len(delegations(text).servers) == 1


def test_lines_of_json_are_read_one_by_one() -> None:
    line = json.dumps({"custom_id": "1", "body": {"tools": [OPENAI]}})
    found = delegations(f'--x\r\ncontent-type: application/jsonl\r\n\r\n{line}\n{{"a": 1}}\n--x--')
    assert [one.url for one in found.servers] == [URL]
    assert found.value is None


PRETTY = json.dumps({"model": "m", "tools": [OPENAI]}, indent=1)
SEVERAL: dict[str, str] = {
    "a line behind a document": f'{PRETTY}\n{{"type": "mcp"}}\n',
    "a document behind another": f"{{}}\n{PRETTY}",
    "lines of which one names it": f'{json.dumps({"tools": [OPENAI]})}\n[]\n{{"a": 1}}\n\n',
    "a text sequence": f"\x1e{{}}\n\x1e{PRETTY}\n",
}


@pytest.mark.parametrize("json_type", [True, False], ids=["JSON", "text"])
@pytest.mark.parametrize("text", SEVERAL.values(), ids=SEVERAL)
def test_of_several_documents_none_hides_another(text: str, json_type: bool) -> None:
    found = delegations(text, json_type=json_type)
    assert [one.url for one in found.servers] == [URL]
    assert found.value is None


@pytest.mark.parametrize("rest", ["x", "\nx", '\n{"type": "mcp"}\nx', "\n}", ' {"a":'])
@pytest.mark.parametrize("json_type", [True, False], ids=["JSON", "text"])
def test_what_stands_behind_a_document_does_not_hide_it(rest: str, json_type: bool) -> None:
    with pytest.raises(WireError) as refusal:
        delegations(PRETTY + rest, json_type=json_type)
    assert refusal.value.code == "ambiguous_delegation"


def test_lines_are_read_though_they_hold_too_many_values_for_one_document() -> None:
    line = json.dumps({"a": [0] * 400_000})
    text = "\n".join([line, line, line, json.dumps({"tools": [OPENAI]})])
    assert len(delegations(text).servers) == 1
    with pytest.raises(WireError) as refusal:
        delegations(f"{text}\nx", json_type=False)
    assert refusal.value.code == "ambiguous_delegation"


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_text_that_declares_no_utf_16_is_refused(codec: str) -> None:
    for text in (PRETTY, f"  {PRETTY}"):
        with pytest.raises(WireError) as refusal:
            delegations(text.encode(codec).decode(), json_type=False)
        assert refusal.value.code == "ambiguous_delegation"
    assert delegations('{"a": 1}'.encode(codec).decode()).servers == ()


def test_a_byte_order_mark_hides_nothing_and_leaves_nothing_to_edit() -> None:
    found = delegations(f"\ufeff{PRETTY}")
    assert (len(found.servers), found.value) == (1, None)


AMBIGUOUS: dict[str, str] = {
    "a key twice": '{"tools": [{"type": "mcp", "server_url": "a", "server_url": "b"}]}',
    "a key in two spellings": '{"tools": [{"type": "mcp", "server_url": "a", "serverUrl": "b"}]}',
    "what is no JSON to us": '{"tools": [{"type": "mcp", "server_url": "a",}]}',
    "too many of them": json.dumps({"tools": [OPENAI] * (MOST_SERVERS + 1)}),
    "a key twice in a line": 'x\n{"type": "mcp", "server_url": "a", "server_url": "b"}',
}


@pytest.mark.parametrize("text", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_two_parsers_could_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(WireError) as refusal:
        delegations(text)
    assert refusal.value.code == "ambiguous_delegation"


ODD_URLS = ["mcp.example/mcp", "https://good.example@evil.example/", "https://evil.example\\.x/",
            "file:///etc/passwd", "https://2130706433/", "https:///mcp", "https://x y/",
            "https://ex\nample/", "{{url}}", "https://" + "a" * 9000 + ".example/"]  # fmt: skip


@pytest.mark.parametrize("url", ODD_URLS)
def test_a_url_with_two_readings_is_refused(url: str) -> None:
    with pytest.raises(WireError) as refusal:
        endpoint_of(url)
    assert refusal.value.code == "ambiguous_delegation"


def test_a_url_is_shown_without_its_query() -> None:
    endpoint, shown = endpoint_of("HTTPS://MCP.Example.:8443/a?key=1#b")
    assert (endpoint.host, endpoint.port, endpoint.path) == ("mcp.example", 8443, "/a")
    assert shown == "https://mcp.example:8443/a"


NAMES = st.sampled_from(["tools", "mcp_servers", "mcpServers", "type", "url", "server_url", "name",
                         "tool_choice", "integrations", "session", "id", "server"])  # fmt: skip
LEAVES = st.sampled_from(["mcp", "url", URL, "docs", "mcp_toolset", 1, None])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)
)


@given(value=st.dictionaries(NAMES, VALUES, max_size=4))
def test_whatever_is_found_can_be_taken_out(value: Any) -> None:
    text = json.dumps(value)
    try:
        found = delegations(text)
    except WireError as refusal:
        assert refusal.code == "ambiguous_delegation"
        return
    changes = cuts(found.value, found.servers)
    left = apply_edits(text, changes)
    try:
        again = delegations(left).servers
    except WireError:
        return
    assert again == () or not found.servers
