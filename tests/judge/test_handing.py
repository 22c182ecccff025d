"""What a body hands over is read before ``conclude``, which runs where every agent waits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import answer, event, make_judge, post, request

from mitmgate.judge import handing
from mitmgate.judge.inputs import Input, MessageInput
from mitmgate.judge.judge import Judge

MODEL = "api.openai.com"
TOOL = {"type": "mcp", "server_label": "notes", "server_url": "https://other.example/mcp"}
ASK = {"model": "m", "tools": [TOOL]}
LINES = f'{{"a": 1}}\n{json.dumps(ASK)}\n'.encode()
PARTS = b'--b\r\ncontent-disposition: form-data; name="f"\r\n\r\n%b\r\n--b--\r\n' % LINES
UPGRADE = (("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-key", "a"))
SOCKET = ("id: model, host", "id: model, websocket: text, host")
LISTED = {"output": [{"type": "mcp_list_tools", "server_label": "notes", "tools": []}]}

# What came before, what is judged, and the code of its outcome.
READ: dict[str, tuple[tuple[Input, ...], Input, str]] = {
    "a request": ((), post(ASK, MODEL), "unknown_server"),
    "lines of JSON": (
        (), request("POST", MODEL, "/x", LINES, (("content-type", "application/jsonl"),)),
        "unknown_server"),
    "a part of a form": (
        (), request("POST", MODEL, "/x", PARTS,
                    (("content-type", "multipart/form-data; boundary=b"),)), "unknown_server"),
    "a text with two readings": (
        (), request("POST", MODEL, "/x", b'{"mcp_servers": [], "mcp_servers": []}'),
        "ambiguous_delegation"),
    "a message of a WebSocket": (
        (request("GET", MODEL, "/x", headers=UPGRADE), answer(b"", status=101)),
        MessageInput("x", 0, True, json.dumps({"type": "session.update", "session": ASK})),
        "unknown_server"),
    "an answer": ((post(ASK, MODEL),), answer(LISTED), "answer"),
    "an event": ((post(ASK, MODEL),), event({"response": LISTED}), "answer"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "given", "code"), READ.values(), ids=READ)
def test_conclude_parses_no_body(
    before: tuple[Input, ...], given: Input, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge: Judge = make_judge(SOCKET)
    for one in before:
        judge.conclude(judge.prepare(one), now=0.0)
    calls: list[str] = []
    for name in ("may_delegate", "delegations", "parse_json", "take_apart"):
        real = getattr(handing, name)

        def counted(*given: Any, _name: str = name, _real: Any = real, **more: Any) -> Any:
            calls.append(_name)
            return _real(*given, **more)

        monkeypatch.setattr(handing, name, counted)
    prepared = judge.prepare(given)
    assert calls
    calls.clear()
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    assert (outcome.code, calls) == (code, [])
