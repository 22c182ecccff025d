"""Bodies as they are on the wire: what is MCP, of which revision, and what is something else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mitmgate.errors import WireError
from mitmgate.wire.body import decode_text
from mitmgate.wire.http import Headers
from mitmgate.wire.jsonrpc import Request, looks_like_jsonrpc, parse_message
from mitmgate.wire.methods import MCP_METHODS, MCP_NOTIFICATIONS
from mitmgate.wire.recognise import (
    Recognition,
    is_modern,
    protocol_version,
    recognise,
    target_name,
)

DEFINITE, CANDIDATE, NONE = Recognition.DEFINITE, Recognition.CANDIDATE, Recognition.NONE
VERSIONED = "io.modelcontextprotocol/protocolVersion"
MODERN = {"_meta": {VERSIONED: "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}


def rpc(method: str, params: Any = None, number: Any = 1) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "id": number, "method": method}
    return message if params is None else {**message, "params": params}


def note(method: str, params: Any = None) -> dict[str, Any]:
    message = {"jsonrpc": "2.0", "method": method}
    return message if params is None else {**message, "params": params}


def hello(version: Any, **more: Any) -> dict[str, Any]:
    info = {"name": "c", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": info, **more}
    return rpc("initialize", params, 0)


CALL = rpc("tools/call", {"name": "t", "arguments": {}})
SESSION = (("mcp-session-id", "s"), ("mcp-protocol-version", "2025-11-25"))

# Body, headers, recognition, revision, whether it is stateless, target.
MCP: dict[str, tuple[Any, Headers, Recognition, str | None, bool, str | None]] = {
    "initialize of 2024-10-07": (hello("2024-10-07"), (), DEFINITE, "2024-10-07", False, None),
    "initialize of 2024-11-05": (hello("2024-11-05"), (), DEFINITE, "2024-11-05", False, None),
    "initialize of 2025-03-26": (hello("2025-03-26"), (), DEFINITE, "2025-03-26", False, None),
    "initialize of 2025-06-18": (hello("2025-06-18"), (), DEFINITE, "2025-06-18", False, None),
    "initialize of 2025-11-25": (hello("2025-11-25"), (), DEFINITE, "2025-11-25", False, None),
    "initialize of a revision to come": (hello("2031-01-31"), (), DEFINITE, "2031-01-31", False,
                                         None),
    "initialize of a draft": (hello("DRAFT-2026-v1"), (), DEFINITE, "DRAFT-2026-v1", False, None),
    "initialize of no date": (hello("1.0"), (), CANDIDATE, "1.0", False, None),
    "initialize with a stranger's member": (hello("2025-11-25", processId=1), (), DEFINITE,
                                            "2025-11-25", False, None),
    "the probe of a modern client": (
        rpc("server/discover", MODERN, "server-discover-probe-1"),
        (("mcp-protocol-version", "2026-07-28"), ("mcp-method", "server/discover")),
        DEFINITE, "2026-07-28", True, None),
    "a modern call": (
        rpc("tools/call", {"name": "t", "arguments": {}, **MODERN}),
        (("mcp-method", "tools/call"), ("mcp-name", "t")), DEFINITE, "2026-07-28", True, "t"),
    "a modern call without its headers": (
        rpc("tools/call", {"name": "t", **MODERN}), (), DEFINITE, "2026-07-28", True, "t"),
    "a modern retry with answers": (
        rpc("tools/call", {"name": "t", "inputResponses": {"a": {}}, "requestState": "s",
                           **MODERN}),
        (), DEFINITE, "2026-07-28", True, "t"),
    "a modern method that nobody knows": (
        rpc("vendor/x", MODERN), (), DEFINITE, "2026-07-28", True, None),
    "a modern revision to come": (
        rpc("vendor/x", {"_meta": {VERSIONED: "2031-01-31"}}), (), DEFINITE, "2031-01-31", True,
        None),
    "a listening": (rpc("subscriptions/listen", {"notifications": {}, **MODERN}), (), DEFINITE,
                    "2026-07-28", True, None),
    "a call of 2024-11-05, without any header": (CALL, (), DEFINITE, None, False, "t"),
    "a call in a session": (CALL, SESSION, DEFINITE, "2025-11-25", False, "t"),
    "a call with id 0": ({**CALL, "id": 0}, (), DEFINITE, None, False, "t"),
    "a call with a string id": ({**CALL, "id": ""}, (), DEFINITE, None, False, "t"),
    "a call with a large id": ({**CALL, "id": 2**63 + 1}, (), DEFINITE, None, False, "t"),
    "a call with a negative id": ({**CALL, "id": -1}, (), DEFINITE, None, False, "t"),
    "a call without a name": (rpc("tools/call", {}), (), CANDIDATE, None, False, None),
    "a call whose name is a number": (rpc("tools/call", {"name": 1}), (), CANDIDATE, None, False,
                                      None),
    "a call with a task": (
        rpc("tools/call", {"name": "t", "task": {"ttl": 1}}), (), DEFINITE, None, False, "t"),
    "a batch with a call in it": ([note("x"), CALL], (), DEFINITE, None, False, None),
    "a batch of a call alone": ([CALL], (), DEFINITE, None, False, None),
    "a batch of answers": ([{"jsonrpc": "2.0", "id": 1, "result": {}}], (), CANDIDATE, None, False,
                           None),
    "a batch of answers in a session": (
        [{"jsonrpc": "2.0", "id": 1, "result": {}}], SESSION, DEFINITE, "2025-11-25", False, None),
    "a task of 2025-11-25": (rpc("tasks/result", {"taskId": "7"}), (), CANDIDATE, None, False,
                             None),
    "a task of the extension": (
        rpc("tasks/get", {"taskId": "7", **MODERN}), (("mcp-name", "7"),), DEFINITE, "2026-07-28",
        True, None),
    "tasks of a known session": (rpc("tasks/list", {}), SESSION, DEFINITE, "2025-11-25", False,
                                 None),
    "a list of skills": (rpc("skills/list"), (), DEFINITE, None, False, None),
    "a skill": (rpc("skills/get", {"uri": "skill://x/SKILL.md"}), (), DEFINITE, None, False,
                "skill://x/SKILL.md"),
    "a directory of skills": (rpc("resources/directory/read", {"uri": "skill://x"}), (), DEFINITE,
                              None, False, "skill://x"),
    "a list of events": (rpc("events/list"), (), CANDIDATE, None, False, None),
    "an event": (note("notifications/events/x", {"data": 1}), (), CANDIDATE, None, False, None),
    "a question to the model": (
        rpc("sampling/createMessage", {"messages": [], "maxTokens": 1}), (), DEFINITE, None, False,
        None),
    "a form": (rpc("elicitation/create", {"message": "m", "requestedSchema": {}}), (), DEFINITE,
               None, False, None),
    "a page to open": (
        rpc("elicitation/create", {"mode": "url", "message": "m", "url": "u",
                                   "elicitationId": "e"}),
        (), DEFINITE, None, False, None),
    "a question for roots": (rpc("roots/list"), (), DEFINITE, None, False, None),
    "a ping": (rpc("ping"), (), CANDIDATE, None, False, None),
    "a ping in a session": (rpc("ping"), SESSION, DEFINITE, "2025-11-25", False, None),
    "an answer of a client": ({"jsonrpc": "2.0", "id": 1, "result": {"roots": []}}, (), CANDIDATE,
                              None, False, None),
    "an answer of a client in a session": (
        {"jsonrpc": "2.0", "id": 1, "result": {}}, SESSION, DEFINITE, "2025-11-25", False, None),
    "an error without an id": (
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": ""}}, (), CANDIDATE,
        None, False, None),
    "an unknown method in a session": (rpc("vendor/x"), SESSION, DEFINITE, "2025-11-25", False,
                                       None),
    "an unknown method with a method header": (
        rpc("vendor/x"), (("mcp-method", "vendor/x"),), DEFINITE, None, False, None),
    "an unknown method with a version header": (
        rpc("vendor/x"), (("mcp-protocol-version", "2025-11-25"),), NONE, "2025-11-25", False,
        None),
    "an app's view": (rpc("resources/read", {"uri": "ui://x"}), (), DEFINITE, None, False, "ui://x"),
    "a completion": (
        rpc("completion/complete", {"ref": {"type": "ref/prompt", "name": "p"},
                                    "argument": {"name": "a", "value": ""}}),
        (), DEFINITE, None, False, "p"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("body", "headers", "kind", "version", "modern", "target"), MCP.values(), ids=MCP
)
def test_mcp(
    body: Any,
    headers: Headers,
    kind: Recognition,
    version: str | None,
    modern: bool,
    target: str | None,
) -> None:
    message = parse_message(json.dumps(body))
    assert recognise(message, headers) is kind
    assert protocol_version(message, headers) == version
    assert is_modern(message, headers) is modern
    found = target_name(message.method, message.params) if isinstance(message, Request) else None
    assert found == target


def test_no_method_of_mcp_is_taken_for_something_else() -> None:
    shaped = {"name": "x", "uri": "x", "ref": {}, "messages": [], "message": "x", "level": "info",
              "taskId": "7"}  # fmt: skip
    for method in MCP_METHODS:
        assert recognise(parse_message(json.dumps(rpc(method, shaped))), ()) is not NONE
        assert (
            recognise(parse_message(json.dumps(rpc(method, {**shaped, **MODERN}))), ()) is DEFINITE
        )
    for method in MCP_NOTIFICATIONS:
        assert recognise(parse_message(json.dumps(note(method))), ()) is DEFINITE


TEXT = json.dumps(CALL)
SPELLINGS: dict[str, tuple[bytes, str]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + TEXT.encode(), "application/json"),
    "blanks and line ends around it": (f"\r\n\t {TEXT} \n".encode(), "application/json"),
    "blanks inside it": (json.dumps(CALL, indent=4).encode(), "application/json"),
    "another type": (TEXT.encode(), "text/plain"),
    "no type": (TEXT.encode(), ""),
    "UTF-16": (TEXT.encode("utf-16-le"), "application/json; charset=utf-16le"),
    "UTF-16 with a mark": (TEXT.encode("utf-16"), "application/json; charset=utf-16"),
    "a name in escapes": (TEXT.replace("tools", "\\u0074ools").encode(), "application/json"),
    "an escaped slash": (TEXT.replace("tools/call", "tools\\/call").encode(), "application/json"),
    "a key in escapes": (TEXT.replace("method", "\\u006dethod").encode(), "application/json"),
    "an array around it": (f"[{TEXT}]".encode(), "application/json"),
}


@pytest.mark.parametrize(("body", "content_type"), SPELLINGS.values(), ids=SPELLINGS)
def test_no_spelling_hides_a_call(body: bytes, content_type: str) -> None:
    assert recognise(parse_message(decode_text(body, content_type or None)), ()) is DEFINITE


A2A = {"message": {"role": "user", "parts": [{"kind": "text", "text": "hi"}], "messageId": "m"}}
LSP = {"processId": 1, "clientInfo": {"name": "vim"}, "rootUri": None, "capabilities": {}}
# JSON-RPC of others. A candidate could be MCP's as well: its endpoint has to show it first.
NEIGHBOURS: dict[str, tuple[Any, Headers, Recognition]] = {
    "LSP initialize": (rpc("initialize", LSP), (), NONE),
    "LSP initialize without a process": (
        rpc("initialize", {**LSP, "processId": None, "workspaceFolders": []}), (), NONE),
    "LSP initialized": (note("initialized", {}), (), NONE),
    "LSP didOpen": (note("textDocument/didOpen", {"textDocument": {"uri": "f", "text": "x"}}), (),
                    NONE),
    "LSP completion": (rpc("textDocument/completion", {"position": {}}), (), NONE),
    "LSP command": (rpc("workspace/executeCommand", {"command": "x"}), (), NONE),
    "LSP message": (note("window/logMessage", {"type": 1, "message": "x"}), (), NONE),
    "LSP cancel": (note("$/cancelRequest", {"id": 1}), (), NONE),
    "LSP shutdown": (rpc("shutdown"), (), NONE),
    "ACP initialize": (rpc("initialize", {"protocolVersion": 1, "clientCapabilities": {},
                                          "clientInfo": {"name": "zed"}}), (), NONE),
    "ACP session": (rpc("session/new", {"cwd": "/", "mcpServers": [{"name": "x"}]}), (), NONE),
    "ACP prompt": (rpc("session/prompt", {"sessionId": "s", "prompt": []}), (), NONE),
    "ACP update": (note("session/update", {"sessionId": "s", "update": {}}), (), NONE),
    "ACP file": (rpc("fs/read_text_file", {"sessionId": "s", "path": "/x"}), (), NONE),
    "BSP initialize": (rpc("build/initialize", {"bspVersion": "2.0.0", "capabilities": {}}), (),
                       NONE),
    "A2A 0.3 send": (rpc("message/send", A2A), (), NONE),
    "A2A 0.3 stream": (rpc("message/stream", A2A), (), NONE),
    "A2A 0.3 get": (rpc("tasks/get", {"id": "7", "historyLength": 1}), (), NONE),
    "A2A 0.3 cancel": (rpc("tasks/cancel", {"id": "7"}), (), NONE),
    "A2A 0.3 resubscribe": (rpc("tasks/resubscribe", {"id": "7"}), (), NONE),
    "A2A 0.3 push": (rpc("tasks/pushNotificationConfig/set", {"taskId": "7"}), (), NONE),
    "A2A 0.3 list": (rpc("tasks/list", {"contextId": "c", "pageSize": 5}), (), CANDIDATE),
    "A2A 0.3 card": (rpc("agent/getAuthenticatedExtendedCard"), (), NONE),
    "A2A 1.0 send": (rpc("SendMessage", A2A), (("a2a-version", "1.0"),), NONE),
    "A2A 1.0 stream": (rpc("SendStreamingMessage", A2A), (("a2a-version", "1.0"),), NONE),
    "A2A 1.0 get": (rpc("GetTask", {"id": "7"}), (("a2a-version", "1.0"),), NONE),
    "A2A 1.0 list": (rpc("ListTasks", {}), (("a2a-version", "1.0"),), NONE),
    "A2A's answer": ({"jsonrpc": "2.0", "id": 1, "result": {"kind": "task", "id": "7"}}, (),
                     CANDIDATE),
    "a call of somebody's own": (rpc("add", {"a": 1, "b": 2}), (), NONE),
    "a batch of others": ([rpc("eth_chainId", {}), rpc("add", {})], (), NONE),
    "a method of MCP in other letters": (rpc("Tools/Call", {"name": "t"}), (), NONE),
    "MCP inside of another's params": (rpc("relay", {"message": CALL}), (), NONE),
}  # fmt: skip


@pytest.mark.parametrize(("body", "headers", "kind"), NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_neighbours(body: Any, headers: Headers, kind: Recognition) -> None:
    assert recognise(parse_message(json.dumps(body)), headers) is kind


TOOL = {"type": "function", "function": {"name": "tools/call", "parameters": {"type": "object"}}}
# No message of MCP at all: what is said to whoever asks whether a parser could see one.
OTHERS: dict[str, tuple[Any, str, bool]] = {
    "Ethereum": (rpc("eth_call", [{"to": "0x0"}, "latest"]), "bad_params", False),
    "Ethereum's batch": ([rpc("net_version", []), rpc("web3_clientVersion", [])], "bad_params",
                         False),
    "Solana": (rpc("getAccountInfo", ["x", {"encoding": "base58"}]), "bad_params", False),
    "aria2": (rpc("aria2.addUri", ["token:x", ["https://x.test/"]], "q"), "bad_params", False),
    "aria2's batch": (rpc("system.multicall", [[{"methodName": "aria2.pause", "params": []}]]),
                      "bad_params", False),
    "JSON-RPC 1.0": ({"id": 1, "method": "getinfo", "params": []}, "not_jsonrpc", False),
    "MCP's method with params in a row": (rpc("tools/call", ["t"]), "bad_params", True),
    "MCP's method without a version": ({"id": 1, "method": "tools/call", "params": {}},
                                       "not_jsonrpc", True),
    "OpenAI chat": (
        {"model": "gpt", "messages": [{"role": "user", "content": TEXT}], "tools": [TOOL]},
        "not_jsonrpc", False),
    "OpenAI responses": (
        {"model": "gpt", "input": "hi", "tools": [{"type": "mcp", "server_url": "https://x.test/"}]},
        "not_jsonrpc", False),
    "Anthropic messages": (
        {"model": "claude", "max_tokens": 1, "messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": TEXT}]}],
         "tools": [{"name": "t", "input_schema": {"type": "object"}}]},
        "not_jsonrpc", False),
    "GraphQL": ({"query": "query Q { tools { name } }", "operationName": "Q", "variables": {}},
                "not_jsonrpc", False),
    "GraphQL's batch": ([{"query": "{ a }"}, {"query": "{ b }"}], "not_jsonrpc", False),
    "plain JSON": ({"id": 1, "name": "x", "result": {}}, "not_jsonrpc", False),
    "a list of numbers": ([1, 2], "not_jsonrpc", False),
    "an empty list": ([], "empty_batch", False),
    "an empty object": ({}, "not_jsonrpc", False),
    "a string": ("tools/call", "not_jsonrpc", False),
    "a package manifest": ({"name": "x", "version": "1", "dependencies": {"jsonrpc": "2.0"}},
                           "not_jsonrpc", False),
    "OAuth registration": ({"client_name": "x", "redirect_uris": ["http://127.0.0.1/"]},
                           "not_jsonrpc", False),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code", "suspect"), OTHERS.values(), ids=OTHERS)
def test_what_is_no_message(body: Any, code: str, suspect: bool) -> None:
    text = json.dumps(body)
    with pytest.raises(WireError) as refusal:
        parse_message(text)
    assert refusal.value.code == code
    assert looks_like_jsonrpc(text) is suspect
