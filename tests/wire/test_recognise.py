"""MCP is recognised by its messages, and its neighbours are not taken for it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.http import Headers
from mitmgate.wire.jsonrpc import Batch, Failure, Message, Notification, Request, Result
from mitmgate.wire.recognise import (
    HOUSEKEEPING_METHODS,
    MCP_METHODS,
    Recognition,
    is_housekeeping,
    is_modern,
    protocol_version,
    recognise,
    target_name,
)

VERSION = "io.modelcontextprotocol/protocolVersion"
META = {"_meta": {VERSION: "2026-07-28"}}
HELLO: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "c"},
}
DEFINITE, CANDIDATE, NONE = Recognition.DEFINITE, Recognition.CANDIDATE, Recognition.NONE

MESSAGES: dict[str, tuple[Message | Batch, Recognition]] = {
    "a full initialize": (Request(0, "initialize", HELLO), DEFINITE),
    "an initialize of a draft": (
        Request(0, "initialize", {**HELLO, "protocolVersion": "DRAFT-2026-v1"}),
        DEFINITE,
    ),
    "an initialize with a strange version": (
        Request(0, "initialize", {**HELLO, "protocolVersion": "1.0"}),
        CANDIDATE,
    ),
    "an initialize without a name": (
        Request(0, "initialize", {**HELLO, "clientInfo": {}}),
        CANDIDATE,
    ),
    "an initialize with nothing": (Request(0, "initialize"), CANDIDATE),
    "an initialize of a language server": (
        Request(0, "initialize", {"processId": 1, "rootUri": None, "capabilities": {}}),
        NONE,
    ),
    "an initialize of the agent client protocol": (
        Request(0, "initialize", {**HELLO, "protocolVersion": 1}),
        NONE,
    ),
    "any method with a modern mark": (Request(0, "whatever", META), DEFINITE),
    "a notification with a modern mark": (Notification("whatever", META), DEFINITE),
    "a tool call": (Request(0, "tools/call", {"name": "x"}), DEFINITE),
    "a tool call without a name": (Request(0, "tools/call", {"tool": "x"}), CANDIDATE),
    "a list without params": (Request(0, "tools/list"), DEFINITE),
    "a resource read": (Request(0, "resources/read", {"uri": "x"}), DEFINITE),
    "a sampling request": (Request(0, "sampling/createMessage", {"messages": []}), DEFINITE),
    "a known notification": (Notification("notifications/initialized"), DEFINITE),
    "an unknown notification": (Notification("notifications/x"), CANDIDATE),
    "a ping": (Request(0, "ping"), CANDIDATE),
    "a bare result": (Result(0, {}), CANDIDATE),
    "a bare failure": (Failure(None, {}), CANDIDATE),
    "a task of MCP": (Request(0, "tasks/get", {"taskId": "1"}), CANDIDATE),
    "a task of A2A": (Request(0, "tasks/get", {"id": "1"}), NONE),
    "another task method of A2A": (Request(0, "tasks/resubscribe", {"id": "1"}), NONE),
    "a message of A2A": (Request(0, "message/send", {"message": {}}), NONE),
    "an Ethereum call": (Request(0, "eth_call", {}), NONE),
    "a document of a language server": (Notification("textDocument/didOpen", {}), NONE),
    "a batch with one call in it": (
        Batch((Request(0, "eth_call"), Request(1, "tools/call", {"name": "x"}))),
        DEFINITE,
    ),
    "a batch of answers": (Batch((Result(0, {}), Request(1, "eth_call"))), CANDIDATE),
}


@pytest.mark.parametrize(("message", "kind"), MESSAGES.values(), ids=MESSAGES)
def test_recognises(message: Message | Batch, kind: Recognition) -> None:
    assert recognise(message, ()) is kind


@pytest.mark.parametrize("name", ["mcp-method", "mcp-session-id"])
def test_an_mcp_header_on_any_message_is_proof(name: str) -> None:
    assert recognise(Request(0, "eth_call"), ((name, "x"),)) is DEFINITE


def test_the_version_header_alone_proves_nothing() -> None:
    headers = (("mcp-protocol-version", "2025-11-25"),)
    assert recognise(Request(0, "eth_call"), headers) is NONE


HOUSEKEEPING = {
    "initialize": True,
    "server/discover": True,
    "ping": True,
    "tools/list": True,
    "resources/templates/list": True,
    "logging/setLevel": True,
    "subscriptions/listen": True,
    "notifications/anything": True,
    "tasks/get": True,
    "tasks/update": False,
    "tools/call": False,
    "prompts/get": False,
    "resources/read": False,
    "completion/complete": False,
    "sampling/createMessage": False,
    "elicitation/create": False,
    "tools/list ": False,
    "Ping": False,
    "unknown/method": False,
}


@pytest.mark.parametrize(("method", "housekeeping"), HOUSEKEEPING.items())
def test_housekeeping(method: str, housekeeping: bool) -> None:
    assert is_housekeeping(method) is housekeeping


def test_the_tables_agree() -> None:
    assert all(is_housekeeping(method) for method in HOUSEKEEPING_METHODS)
    assert {method for method in MCP_METHODS if is_housekeeping(method)} <= HOUSEKEEPING_METHODS


VERSIONS: dict[str, tuple[Message | Batch, Headers, str | None]] = {
    "the body's mark": (Request(0, "x", META), (), "2026-07-28"),
    "the body beats the header": (
        Request(0, "x", META),
        (("mcp-protocol-version", "2025-11-25"),),
        "2026-07-28",
    ),
    "of initialize": (Request(0, "initialize", HELLO), (), "2025-11-25"),
    "of the header": (Request(0, "x"), (("mcp-protocol-version", " 2025-06-18"),), "2025-06-18"),
    "an argument of that name is none": (
        Request(0, "tools/call", {"protocolVersion": "1"}),
        (),
        None,
    ),
    "of no one": (Result(0, {}), (), None),
    "a mark that is no string": (Request(0, "x", {"_meta": {VERSION: 1}}), (), None),
}


@pytest.mark.parametrize(("message", "headers", "version"), VERSIONS.values(), ids=VERSIONS)
def test_protocol_version(message: Message | Batch, headers: Headers, version: str | None) -> None:
    assert protocol_version(message, headers) == version


def test_modern_is_a_matter_of_shape_or_header() -> None:
    assert is_modern(Request(0, "x", {"_meta": {VERSION: "2030-01-01"}}), ())
    assert is_modern(Request(0, "x"), (("mcp-protocol-version", "2026-07-28"),))
    assert not is_modern(Request(0, "x"), (("mcp-protocol-version", "2025-11-25"),))
    assert not is_modern(Request(0, "x", {"_meta": {"progressToken": 1}}), ())


TARGETS: dict[str, tuple[str, dict[str, Any] | None, str | None]] = {
    "a tool": ("tools/call", {"name": "t"}, "t"),
    "a prompt": ("prompts/get", {"name": "p"}, "p"),
    "a resource": ("resources/read", {"uri": "u"}, "u"),
    "a completion's prompt": ("completion/complete", {"ref": {"name": "p"}}, "p"),
    "a task id stays hidden": ("tasks/get", {"taskId": "secret"}, None),
    "a name that is no string": ("tools/call", {"name": 1}, None),
    "no params": ("tools/call", None, None),
    "a list has no target": ("tools/list", {"name": "x"}, None),
}


@pytest.mark.parametrize(("method", "params", "name"), TARGETS.values(), ids=TARGETS)
def test_target_name(method: str, params: dict[str, Any] | None, name: str | None) -> None:
    assert target_name(method, params) == name


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["_meta", VERSION, "name", "uri", "ref", "protocolVersion", "clientInfo"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(
    st.sampled_from(sorted(MCP_METHODS)) | st.text(max_size=8),
    JSON.filter(lambda value: value is None or isinstance(value, dict)),
    st.lists(st.tuples(st.sampled_from(["mcp-name", "mcp-method", "x"]), st.text(max_size=20))),
)
def test_all_questions_have_answers(
    method: str, params: Any, headers: list[tuple[str, str]]
) -> None:
    message = Request(0, method, params)
    heads = tuple(headers)
    assert recognise(message, heads) in Recognition
    assert isinstance(is_modern(message, heads), bool)
    assert isinstance(protocol_version(message, heads), (str, type(None)))
    assert isinstance(target_name(method, params), (str, type(None)))
