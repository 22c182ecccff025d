"""Sessions of a realtime API hand over MCP servers in the messages of their WebSocket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import INJECTION, decide, make_judge, request

from mitmgate.judge.inputs import MessageInput

HEAD = (
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "a" * 24),
    ("sec-websocket-version", "13"),
)
OPEN = (
    "{id: model, host: api.openai.com, then: allow}",
    "{id: model, host: api.openai.com, websocket: text, then: allow}",
)
TOOL = {"type": "mcp", "server_label": "notes", "server_url": "https://files.example/mcp"}
SESSION: dict[str, Any] = {"type": "realtime", "tools": [TOOL]}
UPDATE = {"type": "session.update", "session": SESSION}
VERDICTS = {"allow": "allow", "ask": "deny", "deny": "deny", "strip": "allow"}


@pytest.mark.parametrize(("word", "verdict"), VERDICTS.items(), ids=VERDICTS)
def test_a_session_hands_over_what_the_policy_lets_it(word: str, verdict: str) -> None:
    judge = make_judge(OPEN, ("unknown_servers: ask", f"unknown_servers: ask\n  delegated: {word}"))
    opened = decide(judge, request("GET", "api.openai.com", "/v1/realtime", b"", HEAD))
    assert opened.verdict.word == "allow"
    prepared = judge.prepare(MessageInput("x", 0, True, json.dumps(UPDATE)))
    told = judge.conclude(prepared, now=1.0)
    assert told is not None
    assert (told.verdict.word, told.question) == (verdict, None)
    if word == "strip":
        edited = judge.edited(told, prepared)
        assert edited is not None
        assert json.loads(edited) == {"type": "session.update", "session": {"type": "realtime"}}


@pytest.mark.parametrize(("word", "verdict"), (VERDICTS | {"strip": "deny"}).items(), ids=VERDICTS)
@pytest.mark.parametrize("tail", [b"", b"\xff"], ids=["text", "bytes"])
def test_a_binary_message_hands_over_no_more_and_is_not_edited(
    word: str, verdict: str, tail: bytes
) -> None:
    any_kind = (OPEN[0], OPEN[1].replace("text", "any"))
    says = ("unknown_servers: ask", f"unknown_servers: ask\n  delegated: {word}")
    judge = make_judge(any_kind, says)
    decide(judge, request("GET", "api.openai.com", "/v1/realtime", b"", HEAD))
    data = json.dumps(UPDATE).encode().replace(b"realtime", b"real" + tail)
    told = decide(judge, MessageInput("x", 0, True, data))
    assert (told.verdict.word, told.edits) == (verdict, ())


def test_what_a_server_said_there_is_scanned_as_its_result() -> None:
    judge = make_judge(OPEN)
    decide(judge, request("GET", "api.openai.com", "/v1/realtime", b"", HEAD))
    said = {"item": {"type": "mcp_call", "output": INJECTION}}
    told = decide(judge, MessageInput("x", 0, False, json.dumps(said)))
    assert told.verdict.word == "deny"
    assert {finding.surface.value for finding in told.findings} == {"results"}
