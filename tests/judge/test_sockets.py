"""WebSockets that are not MCP: which open, what passes on them, what ends them."""

from __future__ import annotations

import json

import pytest
from judging import INJECTION, KEY, POLICY, decide, make_judge, message, request, with_scan

from mitmgate.judge.inputs import MessageInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.load import Policy, load_policy
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.http import Headers

SOCKET: Headers = (
    ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
)  # fmt: skip
RULES = """egress:
  rules:
    - {id: chat, host: chat.example, then: allow, websocket: text}
    - {id: audio, host: audio.example, then: allow, websocket: any}
    - {id: asked, host: asked.example, then: ask, websocket: text}
    - {id: small, host: small.example, then: allow, websocket: text, max_request: 10B}
    - {id: web-only, host: web.example, then: allow, protocol: http}
    - {id: sockets, host: web.example, then: allow, protocol: websocket, websocket: text}
    - {id: model-socket, host: api.openai.com, then: allow, websocket: text}
"""
SUBSCRIBE = json.dumps({"type": "subscribe", "channel": "news"})
CALL = json.dumps(message("tools/call", {"name": "get_x", "arguments": {}}))


def judge_with(*changes: tuple[str, str], shadow: bool = False) -> Judge:
    return make_judge(("egress:\n  rules:\n", RULES), *changes, shadow=shadow)


def changed(old: str, new: str) -> Policy:
    text = POLICY.replace("egress:\n  rules:\n", RULES)
    assert old in text
    return load_policy(text.replace(old, new), file="p.yaml")


def opening(host: str = "chat.example", headers: Headers = SOCKET) -> RequestInput:
    return request("GET", host, "/live", headers=headers)


def sent(data: str | bytes, *, from_client: bool = True) -> MessageInput:
    return MessageInput("x", 0, from_client, data)


def word(outcome: Outcome) -> tuple[str, str, str]:
    return outcome.verdict.word, outcome.rule, outcome.code


OPENINGS: dict[str, tuple[RequestInput, tuple[str, str, str]]] = {
    "by a rule with websocket": (opening(), ("allow", "chat", "rule")),
    "by a rule that asks": (opening("asked.example"), ("ask", "asked", "rule")),
    "by a rule without it": (opening("docs.example"), ("deny", "docs", "websocket_refused")),
    "by a rule that is for WebSockets only": (
        opening("web.example"), ("allow", "sockets", "rule")),
    "by no rule": (opening("evil.example"), ("deny", "otherwise", "otherwise")),
    "with a secret in its head": (
        opening(headers=(*SOCKET, ("x-note", KEY))), ("deny", "scan.secrets", "finding")),
    "and something else in one": (
        opening(headers=(*SOCKET, ("upgrade", "h2c"))),
        ("deny", "upgrade_refused", "upgrade_refused")),
}  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), OPENINGS.values(), ids=OPENINGS)
def test_a_websocket_opens(given: RequestInput, wanted: tuple[str, str, str]) -> None:
    outcome = decide(judge_with(), given)
    assert word(outcome) == wanted
    assert outcome.subject.channel == "egress"


def test_the_reason_names_the_key_that_is_missing() -> None:
    outcome = decide(judge_with(), opening("docs.example"))
    assert "websocket:" in outcome.reason
    assert outcome.subject.protocol == "websocket"


def test_otherwise_allow_opens_no_websocket() -> None:
    judge = judge_with(("  otherwise: deny\nhold", "  otherwise: allow\nhold"))
    assert word(decide(judge, opening("evil.example"))) == (
        "deny", "otherwise", "websocket_refused")  # fmt: skip


# The message, who sent it, and what becomes of it.
MESSAGES: dict[str, tuple[str, str | bytes, bool, tuple[str, str, str]]] = {
    "text of the client": ("chat.example", SUBSCRIBE, True, ("allow", "chat", "rule")),
    "text of the server": ("chat.example", "hello", False, ("allow", "chat", "rule")),
    "a secret from the client": (
        "chat.example", f"key {KEY}", True, ("deny", "scan.secrets", "finding")),
    "an injection from the server": (
        "chat.example", INJECTION, False, ("deny", "scan.injection", "finding")),
    "bytes where text is open": (
        "chat.example", b"\x00\xff", True, ("deny", "chat", "binary_refused")),
    "bytes of the server where text is open": (
        "chat.example", b"\x00\xff", False, ("deny", "chat", "binary_refused")),
    "bytes where any is open": ("audio.example", b"\x00\xff", True, ("allow", "audio", "rule")),
    "a secret among bytes": (
        "audio.example", b"\x00\xff " + KEY.encode() + b" \xfe", True,
        ("deny", "scan.secrets", "finding")),
    "a secret as bytes that are text": (
        "audio.example", KEY.encode(), True, ("deny", "scan.secrets", "finding")),
    "more than max_request": (
        "small.example", "x" * 11, True, ("deny", "small", "request_too_large")),
    "as much as max_request": ("small.example", "x" * 10, True, ("allow", "small", "rule")),
    "more than max_request from the server": (
        "small.example", "x" * 11, False, ("allow", "small", "rule")),
    "a call of MCP from the client": (
        "chat.example", CALL, True, ("deny", "unknown_servers", "unknown_server")),
    "a call of MCP from the server": (
        "chat.example", CALL, False, ("deny", "unknown_servers", "unknown_server")),
    "a call of MCP as bytes": (
        "audio.example", CALL.encode(), True, ("deny", "binary_message", "binary_message")),
    "a call that two parsers read differently": (
        "chat.example", CALL.replace('{"jsonrpc"', '{"method": "x", "jsonrpc"'), True,
        ("deny", "duplicate_key", "ambiguous_message")),
    "JSON-RPC that is not MCP": (
        "chat.example", json.dumps(message("eth_subscribe", ["logs"])), True,
        ("allow", "chat", "rule")),
}  # fmt: skip


@pytest.mark.parametrize(("host", "data", "from_client", "wanted"), MESSAGES.values(), ids=MESSAGES)
def test_a_message(
    host: str, data: str | bytes, from_client: bool, wanted: tuple[str, str, str]
) -> None:
    judge = judge_with()
    outcome = decide(judge, opening(host), sent(data, from_client=from_client))
    assert word(outcome) == wanted
    assert outcome.kind == "message"
    assert outcome.subject.protocol == "websocket"


def test_a_secret_is_cut_out_where_the_policy_says_so() -> None:
    judge = judge_with(with_scan("{secrets: {egress_request: redact}}"))
    prepared = judge.prepare(sent(f"key {KEY}"))
    decide(judge, opening())
    prepared = judge.prepare(sent(f"key {KEY}"))
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    edited = judge.edited(outcome, prepared)
    assert outcome.verdict is Verdict.ALLOW
    assert edited is not None
    assert edited.startswith("key ")
    assert KEY not in edited


def test_a_secret_in_bytes_is_never_cut_out_so_it_is_denied() -> None:
    judge = judge_with(with_scan("{secrets: {egress_request: redact}}"))
    outcome = decide(judge, opening("audio.example"), sent(KEY.encode()))
    assert word(outcome) == ("deny", "scan.secrets", "finding")


def test_what_a_person_let_open_goes_on_without_asking_again() -> None:
    judge = judge_with()
    given = opening("asked.example")
    outcome = decide(judge, given)
    judge.apply_resolution(outcome, "allow")
    assert word(decide(judge, sent("hello"))) == ("allow", "asked", "rule")


def test_a_rule_that_asks_from_now_on_stops_what_nobody_was_asked_about() -> None:
    judge = judge_with()
    decide(judge, opening())
    judge.policy = changed("chat.example, then: allow", "chat.example, then: ask")
    outcome = decide(judge, sent("hello"))
    assert word(outcome) == ("deny", "chat", "rule")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [("chat.example, then: allow, websocket: text", "chat.example, then: deny",
      ("deny", "chat", "rule")),
     (", then: allow, websocket: text}\n    - {id: audio", ", then: allow}\n    - {id: audio",
      ("deny", "chat", "websocket_refused"))],
    ids=["denied", "closed to WebSockets"],
)  # fmt: skip
def test_a_policy_that_tightens_counts_for_sockets_that_are_open(
    old: str, new: str, wanted: tuple[str, str, str]
) -> None:
    judge = judge_with()
    decide(judge, opening())
    judge.policy = changed(old, new)
    assert word(decide(judge, sent("hello"))) == wanted


def test_mcp_inside_is_judged_as_mcp_once_unknown_servers_are_let_in() -> None:
    judge = judge_with(("unknown_servers: ask", "unknown_servers: allow"))
    first = decide(judge, opening(), sent(json.dumps(message("tools/list"))))
    assert (first.subject.channel, first.code) == ("mcp", "housekeeping")
    assert word(decide(judge, sent(CALL))) == ("deny", "otherwise", "otherwise")
    assert word(decide(judge, sent("hello"))) == ("deny", "parse_error", "parse_error")


def test_mcp_inside_stands_in_the_inventory() -> None:
    judge = judge_with()
    decide(judge, opening(), sent(CALL))
    found = judge.inventory.seen()
    assert [(one.url, one.transports) for one in found] == [
        ("https://chat.example/live", ("websocket",))]  # fmt: skip


def test_shadow_mode_stops_none_of_it() -> None:
    judge = judge_with(shadow=True)
    for given in (opening("docs.example"), sent("hello"), sent(b"\x00"), sent(KEY)):
        outcome = decide(judge, given)
        assert (outcome.verdict.word, outcome.effective.word) == ("deny", "allow")


def test_a_message_of_no_websocket_is_denied() -> None:
    judge = judge_with()
    decide(judge, request("GET", "docs.example"))
    assert word(decide(judge, sent("hello"))) == (
        "deny", "unmatched_answer", "unmatched_answer")  # fmt: skip
