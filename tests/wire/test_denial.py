"""Denials have the one shape that no client's session dies of."""

from __future__ import annotations

from typing import Any

import mcp_types
import pytest
from pydantic import TypeAdapter

from mitmgate.wire.denial import (
    decline_for,
    denial_for_batch,
    denial_for_request,
    ping,
    unknown_target,
    withheld_result,
)
from mitmgate.wire.jsonrpc import Batch, Notification, Request, Result, parse_message
from mitmgate.wire.methods import MCP_METHODS
from mitmgate.wire.strictjson import encode_json

CONTENT = [{"type": "text", "text": "no"}]


def test_a_denied_tool_call_is_a_tool_error() -> None:
    assert denial_for_request(Request(0, "tools/call"), "no", modern=False) == {
        "jsonrpc": "2.0",
        "id": 0,
        "result": {"content": CONTENT, "isError": True},
    }


def test_a_modern_tool_error_is_complete() -> None:
    denial = denial_for_request(Request("", "tools/call"), "no", modern=True)
    assert denial["id"] == ""
    assert denial["result"] == {"content": CONTENT, "isError": True, "resultType": "complete"}


ERAS = {"legacy": False, "modern": True}


@pytest.mark.parametrize("modern", ERAS.values(), ids=ERAS)
@pytest.mark.parametrize("method", [*sorted(MCP_METHODS - {"tools/call"}), "x/unknown"])
def test_other_requests_get_an_error_outside_the_reserved_codes(method: str, modern: bool) -> None:
    assert denial_for_request(Request(7, method), "no", modern=modern) == {
        "jsonrpc": "2.0",
        "id": 7,
        "error": {"code": -31000, "message": "no"},
    }


@pytest.mark.parametrize("modern", ERAS.values(), ids=ERAS)
@pytest.mark.parametrize("number", [0, "", "a", 2**60, -1])
def test_a_denial_has_the_request_s_own_id(number: int | str, modern: bool) -> None:
    for method in ("tools/call", "prompts/get"):
        denial = denial_for_request(Request(number, method), "no", modern=modern)
        assert denial["id"] == number
        assert type(denial["id"]) is type(number)


UNKNOWN = {
    "tools/call": "Unknown tool: x",
    "prompts/get": "Unknown prompt: x",
    "resources/read": "Resource not found",
    "resources/subscribe": "Resource not found",
}


@pytest.mark.parametrize(("method", "text"), UNKNOWN.items(), ids=UNKNOWN)
def test_what_is_hidden_is_unknown(method: str, text: str) -> None:
    assert unknown_target(Request(3, method), "x") == {
        "jsonrpc": "2.0",
        "id": 3,
        "error": {"code": -32602, "message": text},
    }


DECLINED: dict[str, dict[str, Any]] = {
    "elicitation/create": {"result": {"action": "decline"}},
    "roots/list": {"result": {"roots": []}},
    "sampling/createMessage": {"error": {"code": -1, "message": "no"}},
    "ping": {"error": {"code": -31000, "message": "no"}},
    "tasks/get": {"error": {"code": -31000, "message": "no"}},
    "tools/call": {"error": {"code": -31000, "message": "no"}},
    "x/unknown": {"error": {"code": -31000, "message": "no"}},
}


@pytest.mark.parametrize(("method", "answer"), DECLINED.items(), ids=DECLINED)
@pytest.mark.parametrize("number", [0, "s-1"])
def test_a_server_s_question_is_declined(
    method: str, answer: dict[str, Any], number: int | str
) -> None:
    assert decline_for(method, number, "no") == {"jsonrpc": "2.0", "id": number, **answer}


def test_a_ping_takes_the_place_of_a_denied_request() -> None:
    assert parse_message(encode_json(ping(0))) == Request(0, "ping")


READ_BY_THE_SDK: dict[str, tuple[Any, Any]] = {
    "a legacy tool error": (
        mcp_types.CallToolResult,
        denial_for_request(Request(1, "tools/call"), "no", modern=False)["result"],
    ),
    "a modern tool error": (
        mcp_types.CallToolResult,
        denial_for_request(Request(1, "tools/call"), "no", modern=True)["result"],
    ),
    "a declined form": (
        mcp_types.ElicitResult,
        decline_for("elicitation/create", 1, "no")["result"],
    ),
    "no files": (mcp_types.ListRootsResult, decline_for("roots/list", 1, "no")["result"]),
    "an error": (mcp_types.JSONRPCError, denial_for_request(Request(1, "x"), "no", modern=True)),
    "a ping": (mcp_types.JSONRPCRequest, ping("a")),
}


@pytest.mark.parametrize(("kind", "value"), READ_BY_THE_SDK.values(), ids=READ_BY_THE_SDK)
def test_the_sdk_reads_them(kind: Any, value: Any) -> None:
    read = TypeAdapter(kind).validate_python(value)
    written = TypeAdapter(kind).dump_python(read, by_alias=True, exclude_unset=True, mode="json")
    assert written == value


def test_a_batch_gets_one_denial_for_each_request() -> None:
    batch = Batch((Request(1, "tools/call"), Notification("n"), Result(2, {}), Request(3, "x")))
    assert [denial["id"] for denial in denial_for_batch(batch, "no")] == [1, 3]


def test_a_withheld_result_carries_the_text() -> None:
    text = "The tool has run; do not retry."
    withheld = withheld_result(Request(1, "tools/call"), text, modern=True)
    assert withheld["result"]["content"][0]["text"] == text
    assert withheld_result(Request(1, "prompts/get"), text, modern=True)["error"]["message"] == text


def test_denials_are_messages_that_we_would_read() -> None:
    for method in ("tools/call", "resources/read"):
        denial = denial_for_request(Request(2**60, method), "nö", modern=True)
        assert not isinstance(parse_message(encode_json(denial)), Batch)
