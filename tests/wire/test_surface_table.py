"""Each text that an attacker may control, method by method, comes out of the walker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from mitmgate.wire.methods import MCP_METHODS, MCP_NOTIFICATIONS
from mitmgate.wire.surfaces import (
    Surface,
    Text,
    escape_token,
    walk_error,
    walk_head,
    walk_json,
    walk_params,
    walk_result,
)

ARGUMENTS, RESULTS, DEFINITIONS = Surface.ARGUMENTS, Surface.RESULTS, Surface.DEFINITIONS
M = "¶"  # stands in every field that a stranger may fill, as a value and as a key

ICONS = [{"src": M, "mimeType": M, "sizes": [M], "theme": M}]
NAMED = {"name": M, "title": M, "description": M, "icons": ICONS, "_meta": {M: M}}
SERVER = {**NAMED, "version": M, "websiteUrl": M}
SCHEMA = {
    "$schema": M,
    "$ref": M,
    "$comment": M,
    "type": "object",
    "required": [M],
    "properties": {
        M: {
            "type": "array",
            "title": M,
            "items": {
                "anyOf": [
                    {"const": M, "enum": [M, 1], "enumNames": [M]},
                    {"pattern": M, "default": {M: [M]}, "examples": [M], "description": M},
                    {"x-mcp-header": M, "format": M},
                ]
            },
        }
    },
    "$defs": {M: {"description": M}},
}
NOTES = {"audience": [M], "priority": 1, "lastModified": M}
CONTENT = [
    {"type": "text", "text": M, "annotations": NOTES, "_meta": {M: M}},
    {"type": "image", "data": M, "mimeType": M, "annotations": NOTES},
    {"type": "audio", "data": M, "mimeType": M},
    {"type": "resource_link", "uri": M, **NAMED, "mimeType": M},
    {"type": "resource", "resource": {"uri": M, "mimeType": M, "text": M, "_meta": {M: M}}},
    {"type": "resource", "resource": {"uri": M, "blob": M}},
    {"type": M, M: M},
]
CALLED = {
    "content": CONTENT,
    "structuredContent": {M: [{M: M}, M]},
    "isError": True,
    "resultType": M,
    "_meta": {M: M},
}
ASKS = {
    M: {"method": M, "params": {"message": M, "requestedSchema": SCHEMA}},
    "s": {"method": M, "params": {"messages": [{"role": M, "content": CONTENT}]}},
    "u": {"method": M, "params": {"mode": "url", "url": M, "elicitationId": M}},
}
TASK = {"taskId": M, "status": M, "statusMessage": M, "_meta": {M: M}}
ERROR = {"code": 1, "message": M, "data": {M: [M], "elicitations": [{"url": M, "message": M}]}}
SAMPLING = {
    "systemPrompt": M,
    "messages": [
        {"role": "user", "content": CONTENT},
        {"role": M, "content": {"type": "tool_use", "name": M, "input": {M: M}}},
        {"role": M, "content": {"type": "tool_result", "content": CONTENT}},
    ],
    "tools": [{**NAMED, "inputSchema": SCHEMA}],
    "stopSequences": [M],
    "metadata": {M: M},
    "modelPreferences": {"hints": [{"name": M}]},
}
SKILL = {"uri": M, "frontmatter": {"name": M, "allowed-tools": [M], M: M}, "resources": M}
NEXT = {"nextCursor": M, "cacheScope": M}

# What a server answers: method, result, surface.
ANSWERS: dict[str, tuple[str, Any, Surface]] = {
    "a legacy handshake": (
        "initialize",
        {"protocolVersion": M, "instructions": M, "serverInfo": SERVER, "capabilities": {
            "experimental": {M: {M: M}}, "extensions": {M: [M]}}},
        DEFINITIONS),
    "a modern handshake": (
        "server/discover",
        {"supportedVersions": [M], "instructions": M, "capabilities": {"extensions": {M: {M: M}}},
         "_meta": {"io.modelcontextprotocol/serverInfo": SERVER}},
        DEFINITIONS),
    "tools": (
        "tools/list",
        {"tools": [{**NAMED, "annotations": {"title": M, M: M}, "inputSchema": SCHEMA,
                    "outputSchema": SCHEMA, "execution": {"taskSupport": M},
                    "_meta": {"ui": {"resourceUri": M, "csp": {M: [M]}, "permissions": M}}}],
         **NEXT},
        DEFINITIONS),
    "a tool's answer": ("tools/call", CALLED, RESULTS),
    "a tool that asks back": (
        "tools/call", {"resultType": "input_required", "inputRequests": ASKS}, RESULTS),
    "a tool that became a task": (
        "tools/call",
        {"task": TASK, "_meta": {"io.modelcontextprotocol/model-immediate-response": M}}, RESULTS),
    "a tool that became a task of the extension": (
        "tools/call", {"resultType": "task", **TASK}, RESULTS),
    "prompts": ("prompts/list", {"prompts": [{**NAMED, "arguments": [NAMED]}], **NEXT},
                DEFINITIONS),
    "a prompt": (
        "prompts/get",
        {"description": M, "messages": [{"role": M, "content": item} for item in CONTENT]},
        RESULTS),
    "resources": ("resources/list", {"resources": [{**NAMED, "uri": M, "mimeType": M}], **NEXT},
                  DEFINITIONS),
    "resource templates": (
        "resources/templates/list",
        {"resourceTemplates": [{**NAMED, "uriTemplate": M, "mimeType": M}], **NEXT}, DEFINITIONS),
    "a resource": (
        "resources/read",
        {"contents": [{"uri": M, "mimeType": M, "text": M, "_meta": {"ui": {M: M}}},
                      {"uri": M, "blob": M}], **NEXT},
        RESULTS),
    "a directory": ("resources/directory/read", {"resources": [{**NAMED, "uri": M}], **NEXT},
                    RESULTS),
    "a subscription": ("resources/subscribe", {M: M}, RESULTS),
    "the end of a subscription": ("resources/unsubscribe", {M: M}, RESULTS),
    "completions": ("completion/complete", {"completion": {"values": [M, M]}}, RESULTS),
    "a logging level": ("logging/setLevel", {M: M}, RESULTS),
    "a ping": ("ping", {M: M}, RESULTS),
    "the end of a listening": ("subscriptions/listen", {"resultType": M, "_meta": {M: M}},
                               RESULTS),
    "a task": ("tasks/get", {**TASK, "result": CALLED, "error": ERROR, "inputRequests": ASKS},
               RESULTS),
    "a task's result": ("tasks/result", {**CALLED, "_meta": {M: {"taskId": M}}}, RESULTS),
    "tasks": ("tasks/list", {"tasks": [TASK], **NEXT}, RESULTS),
    "a cancelled task": ("tasks/cancel", TASK, RESULTS),
    "an updated task": ("tasks/update", TASK, RESULTS),
    "skills": ("skills/list", {"skills": [SKILL], **NEXT}, DEFINITIONS),
    "a skill": ("skills/get", {"skill": SKILL, "digest": M}, DEFINITIONS),
    "events": ("events/list", {"events": [{**NAMED, "inputSchema": SCHEMA}], **NEXT},
               DEFINITIONS),
    "polled events": ("events/poll", {"events": [{"data": {M: M}, "type": M}]}, RESULTS),
    "a method that nobody knows": ("x/y", {M: [M]}, RESULTS),
}  # fmt: skip

# What a client answers to a server: it leaves the house like an argument.
REPLIES: dict[str, tuple[str, Any]] = {
    "a model's words": (
        "sampling/createMessage",
        {"role": M, "model": M, "stopReason": M, "content": CONTENT}),
    "a person's words": ("elicitation/create", {"action": M, "content": {M: M, "n": [M]}}),
    "a client's files": ("roots/list", {"roots": [{"uri": M, "name": M, "_meta": {M: M}}]}),
}  # fmt: skip

CLIENT_INFO = {"_meta": {"io.modelcontextprotocol/clientInfo": SERVER, M: M}}
# What a client sends: method, params.
CALLS: dict[str, tuple[str, Any]] = {
    "a handshake": ("initialize", {"clientInfo": SERVER, "capabilities": {M: {M: M}}}),
    "a modern handshake": ("server/discover", CLIENT_INFO),
    "a call": ("tools/call", {"name": M, "arguments": {M: [M, {M: M}]}, "task": {M: M},
                              "inputResponses": {M: {"content": {M: M}}}, **CLIENT_INFO}),
    "a prompt": ("prompts/get", {"name": M, "arguments": {M: M}}),
    "a resource": ("resources/read", {"uri": M}),
    "a directory": ("resources/directory/read", {"uri": M, "cursor": M}),
    "a subscription": ("resources/subscribe", {"uri": M}),
    "a completion": ("completion/complete", {
        "ref": {"type": M, "name": M, "uri": M}, "argument": {"name": M, "value": M},
        "context": {"arguments": {M: M}}}),
    "a page": ("tools/list", {"cursor": M}),
    "a logging level": ("logging/setLevel", {"level": M}),
    "a listening": ("subscriptions/listen", {"notifications": {"taskIds": [M], M: M}}),
    "a task": ("tasks/get", {"taskId": M}),
    "a task's answers": ("tasks/update", {"taskId": M, "inputResponses": {M: {M: M}}}),
    "a skill": ("skills/get", {"uri": M}),
    "events": ("events/subscribe", {"name": M, "arguments": {M: M}, "webhook": {"url": M}}),
    "a cancellation": ("notifications/cancelled", {"requestId": M, "reason": M}),
    "progress": ("notifications/progress", {"progressToken": M, "message": M}),
    "a start": ("notifications/initialized", {"_meta": {M: M}}),
    "changed roots": ("notifications/roots/list_changed", {"_meta": {M: M}}),
    "a task of the client's": ("notifications/tasks/status", TASK),
}  # fmt: skip

# What a server sends of its own accord: method, params.
PUSHES: dict[str, tuple[str, Any]] = {
    "a question to the model": ("sampling/createMessage", SAMPLING),
    "a form": ("elicitation/create", {"message": M, "requestedSchema": SCHEMA, "mode": M}),
    "a link": ("elicitation/create", {"message": M, "mode": "url", "url": M, "elicitationId": M}),
    "a question for files": ("roots/list", {"_meta": {M: M}}),
    "a log line": ("notifications/message", {"level": M, "logger": M, "data": {M: [M]}}),
    "a log line of plain text": ("notifications/message", {"data": M}),
    "progress": ("notifications/progress", {"progressToken": M, "message": M}),
    "a cancellation": ("notifications/cancelled", {"requestId": M, "reason": M}),
    "an updated resource": ("notifications/resources/updated", {"uri": M, "title": M}),
    "changed tools": ("notifications/tools/list_changed", {"_meta": {M: M}}),
    "changed prompts": ("notifications/prompts/list_changed", {"_meta": {M: M}}),
    "changed resources": ("notifications/resources/list_changed", {"_meta": {M: M}}),
    "an answered form": ("notifications/elicitation/complete", {"elicitationId": M}),
    "a task's state": ("notifications/tasks/status", TASK),
    "a task of the extension": (
        "notifications/tasks",
        {**TASK, "result": CALLED, "error": ERROR, "inputRequests": ASKS}),
    "a listening that began": (
        "notifications/subscriptions/acknowledged", {"notifications": {M: M}, "_meta": {M: M}}),
    "an event": ("notifications/events/x", {"data": {M: [M]}, "description": M}),
}  # fmt: skip

# Documents that clients read before any message.
DOCUMENTS: dict[str, Any] = {
    "a server card": {**SERVER, "remotes": [{"url": M, "headers": [NAMED]}], "tools": [NAMED]},
    "protected resource metadata": {"resource": M, "resource_name": M, "authorization_servers": [M],
                                    "resource_documentation": M, "scopes_supported": [M]},
    "authorization server metadata": {"issuer": M, "authorization_endpoint": M, "jwks_uri": M,
                                      "service_documentation": M, M: M},
    "a client's metadata": {"client_id": M, "client_name": M, "logo_uri": M, "redirect_uris": [M]},
}  # fmt: skip


def marks(value: Any, pointer: str) -> Iterator[tuple[str, bool]]:
    """Yield the place of every mark in *value*, and whether it is a key."""
    if isinstance(value, dict):
        for key, child in value.items():
            place = f"{pointer}/{escape_token(key)}"
            if key == M:
                yield place, True
            yield from marks(child, place)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from marks(child, f"{pointer}/{index}")
    elif value == M:
        yield pointer, False


def check(texts: Iterable[Text], value: Any, root: str, surface: Surface) -> None:
    expected = sorted(marks(value, root))
    assert expected
    found = [text for text in texts if text.text == M]
    assert sorted((text.pointer, text.key) for text in found) == expected
    assert {text.surface for text in found} == {surface}


@pytest.mark.parametrize(("method", "result", "surface"), ANSWERS.values(), ids=ANSWERS)
def test_answers_of_a_server(method: str, result: Any, surface: Surface) -> None:
    check(walk_result(method, result), result, "/result", surface)
    check(walk_result(method, result, prefix="/7"), result, "/7/result", surface)


@pytest.mark.parametrize(("method", "result"), REPLIES.values(), ids=REPLIES)
def test_answers_of_a_client(method: str, result: Any) -> None:
    check(walk_result(method, result, surface=ARGUMENTS), result, "/result", ARGUMENTS)


@pytest.mark.parametrize(("method", "params"), CALLS.values(), ids=CALLS)
def test_what_a_client_sends(method: str, params: Any) -> None:
    check(walk_params(method, params), params, "/params", ARGUMENTS)


@pytest.mark.parametrize(("method", "params"), PUSHES.values(), ids=PUSHES)
def test_what_a_server_sends_of_its_own_accord(method: str, params: Any) -> None:
    check(walk_params(method, params, surface=RESULTS), params, "/params", RESULTS)


def test_errors() -> None:
    check(walk_error(ERROR), ERROR, "/error", RESULTS)
    check(walk_error({"code": 1, "data": M}), {"data": M}, "/error", RESULTS)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_documents(document: Any) -> None:
    check(walk_json(DEFINITIONS, document), document, "", DEFINITIONS)


def test_every_method_has_its_row() -> None:
    walked = {row[0] for table in (ANSWERS, REPLIES) for row in table.values()}
    assert walked >= MCP_METHODS
    sent = {row[0] for table in (CALLS, PUSHES) for row in table.values()}
    assert sent >= MCP_NOTIFICATIONS


HEADS = {
    "a challenge": ("www-authenticate", f'Bearer error_description="{M}"', True),
    "a proxy's challenge": ("proxy-authenticate", M, True),
    "a redirect": ("location", f"https://x.test/?q={M}", True),
    "a link": ("link", M, True),
    "a warning": ("warning", f'199 - "{M}"', True),
    "a file name": ("content-disposition", f'attachment; filename="{M}"', True),
    "a refresh": ("refresh", M, True),
    "a header of the server's own": ("x-anything", M, True),
    "a header of MCP's": ("mcp-param-x", M, True),
    "a session": ("mcp-session-id", M, False),
    "a cookie": ("set-cookie", M, False),
    "a type": ("content-type", M, False),
    "a mark of a cache": ("etag", M, False),
}


@pytest.mark.parametrize(("name", "value", "talks"), HEADS.values(), ids=HEADS)
def test_headers_of_an_answer(name: str, value: str, talks: bool) -> None:
    raw = value.encode().decode("latin-1")
    expected = [Text(RESULTS, f"#header/{name}", value)] if talks else []
    assert list(walk_head(((name, raw),), RESULTS)) == expected


def test_a_header_in_latin_1_is_read_too() -> None:
    (text,) = walk_head((("x-a", "caf\xe9"),), RESULTS)
    assert text.text == "café"
    assert not list(walk_head((("x-a", ""),), RESULTS))
