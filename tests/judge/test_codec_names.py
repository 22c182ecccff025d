"""Names that rules are written for stay readable in a capture; what is drawn in them does not."""

from __future__ import annotations

import json

import pytest
from judging import post, scanner

from mitmgate.judge.codec import encode_input
from mitmgate.record.redact import Redactor

RANDOM = "q7Zt9XkVb2LmW4eRcTyUiOpAsDfGhJk"
HEX = "9f86d081884c7d659a2feaa0c55ad015"


def _redactor() -> Redactor:
    return Redactor(scanner(), key=b"key")


@pytest.mark.parametrize(
    ("offered", "shown"),
    [("mcp", "mcp"), (f"mcp, {RANDOM}", "mcp, "), (f"{RANDOM}, mcp", "mcp, ")],
)
def test_that_a_socket_offers_mcp_is_kept_and_no_other_offer(offered: str, shown: str) -> None:
    given = post({}, headers=(("sec-websocket-protocol", offered),))
    headers = dict(map(tuple, encode_input(given, _redactor())["head"]["headers"]))
    told = headers["sec-websocket-protocol"]
    assert str(told if isinstance(told, str) else told["text"]).startswith(shown)
    assert RANDOM not in json.dumps(headers)


def test_the_words_before_what_is_drawn_stay() -> None:
    params = {"name": f"hold_{RANDOM}", "arguments": {"branch": f"feature-{RANDOM}"}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    text = encode_input(post(call), _redactor())["body"]["text"]
    assert '"hold_0000000' in text
    assert '"feature-0000000' in text
    assert RANDOM not in text


def test_the_name_of_a_header_that_is_drawn_is_not_written() -> None:
    record = encode_input(post({}, headers=((f"x-{HEX}", "1"),)), _redactor())
    assert HEX not in json.dumps(record)
