"""Denials have the one shape that no client's session dies of."""

from __future__ import annotations

from mitmgate.wire.denial import (
    denial_for_batch,
    denial_for_request,
    error_message,
    withheld_result,
)
from mitmgate.wire.jsonrpc import Batch, Notification, Request, Result, parse_message
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


def test_other_requests_get_an_error_outside_the_reserved_codes() -> None:
    for modern in (False, True):
        denial = denial_for_request(Request(7, "prompts/get"), "no", modern=modern)
        assert denial == error_message(7, -31000, "no")


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
