"""What becomes of requests: the channel, the rule that speaks, what findings add."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import (
    INJECTION,
    JSON,
    KEY,
    SERVER,
    answer,
    call,
    decide,
    make_judge,
    message,
    modern_call,
    post,
    request,
    result,
    settled,
    with_scan,
)

from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.wire.http import Headers, RequestHead

SSE: Headers = (("accept", "text/event-stream"),)
INIT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a"}}
PLAIN: Headers = (("content-type", "text/plain"),)
UTF16 = json.dumps(message("ping")).encode("utf-16")

# The request, then channel, verdict, rule and code.
CASES: dict[str, tuple[RequestInput, tuple[str, str, str, str]]] = {
    "a tool that a rule allows": (call("get_x"), ("mcp", "allow", "reads", "rule")),
    "a tool that a rule denies": (
        call("push", {"force": True}), ("mcp", "deny", "no-force", "rule")),
    "a tool that a rule asks for": (call("push"), ("mcp", "ask", "pushes", "rule")),
    "a tool that no rule names": (call("rm"), ("mcp", "deny", "otherwise", "otherwise")),
    "housekeeping of a named server": (
        post(message("tools/list")), ("mcp", "allow", "housekeeping", "housekeeping")),
    "initialize at a named server": (
        post(message("initialize", INIT)), ("mcp", "allow", "housekeeping", "housekeeping")),
    "a method that nobody knows at a named server": (
        post(message("x/y")), ("mcp", "deny", "otherwise", "otherwise")),
    "a notification of a named server": (
        post(message("notifications/initialized", number=None)),
        ("mcp", "allow", "housekeeping", "housekeeping")),
    "a notification cannot wait, so ask is deny": (
        post(message("notifications/progress", number=None)),
        ("mcp", "deny", "no-progress", "rule")),
    "a client's answer to what no server asked": (
        post(result({"action": "accept"})),
        ("mcp", "deny", "unmatched_answer", "unmatched_answer")),
    "a client's refusal of what no server asked": (
        post({"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no"}}),
        ("mcp", "deny", "unmatched_answer", "unmatched_answer")),
    "MCP at an endpoint that no server names": (
        call("get_x", host="other.example"), ("mcp", "ask", "unknown_servers", "unknown_server")),
    "MCP at a host with an egress rule": (
        call("get_x", host="docs.example"), ("mcp", "ask", "unknown_servers", "unknown_server")),
    "MCP in a PUT": (
        request("PUT", body=json.dumps(message("tools/call", {"name": "rm"})).encode()),
        ("mcp", "deny", "otherwise", "otherwise")),
    "MCP that says it is plain text": (
        post(message("tools/call", {"name": "rm"}), "docs.example", PLAIN),
        ("mcp", "ask", "unknown_servers", "unknown_server")),
    "MCP on another path of a named server's host": (
        call("get_x", target="/other"), ("mcp", "ask", "unknown_servers", "unknown_server")),
    "MCP behind dot segments of a named server's path": (
        call("get_x", target="/mcp/../mcp"), ("mcp", "ask", "unknown_servers", "unknown_server")),
    "a batch": (post([message("ping")]), ("mcp", "allow", "housekeeping", "housekeeping")),
    "a batch at an unknown endpoint": (
        post([message("tools/call", {"name": "get"})], "docs.example"),
        ("mcp", "ask", "unknown_servers", "unknown_server")),
    "a key twice at a named server": (
        request("POST", body=b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"x"}'),
        ("mcp", "deny", "duplicate_key", "parse_error")),
    "a key in another spelling at a named server": (
        post(message("tools/call", {"name": "get", "Name": "rm"})),
        ("mcp", "deny", "ambiguous_key", "parse_error")),
    "no JSON at a named server": (
        request("POST", body=b"hello"), ("mcp", "deny", "parse_error", "parse_error")),
    "no body at a named server": (
        request("POST"), ("mcp", "deny", "parse_error", "parse_error")),
    "a key twice at a host with an egress rule": (
        request("POST", "docs.example",
                body=b'{"jsonrpc":"2.0","id":1,"method":"tools/call","method":"x"}'),
        ("egress", "deny", "duplicate_key", "ambiguous_message")),
    "a key in another spelling at a host with an egress rule": (
        request("POST", "docs.example",
                body=b'{"Jsonrpc":"2.0","id":1,"method":"tools/call"}'),
        ("egress", "deny", "ambiguous_key", "ambiguous_message")),
    "a sloppy look at bytes that are no UTF-8": (
        request("POST", "docs.example",
                body=b'{"jsonrpc":"2.0","id":1,"method":"tools/call","x":"\xff"}'),
        ("egress", "deny", "not_utf8", "ambiguous_message")),
    "UTF-16 at a named server": (
        request("POST", body=UTF16,
                headers=(("content-type", "application/json; charset=utf-16"),)),
        ("mcp", "deny", "parse_error", "parse_error")),
    "an unknown content coding": (
        request("POST", body=b"x", headers=(("content-encoding", "rot13"),)),
        ("mcp", "deny", "unknown_encoding", "unknown_encoding")),
    "an unknown content coding for a host that is no server": (
        request("POST", "docs.example", body=b"x", headers=(("content-encoding", "rot13"),)),
        ("egress", "deny", "unknown_encoding", "unknown_encoding")),
    "plain HTTP to a port that is no web port": (
        RequestInput("x", "agent", RequestHead("GET", "http", "docs.example", 22, "/"),
                     "docs.example:22"), ("egress", "deny", "connect_port", "port")),
    "a call in UTF-16 that nothing announces, for a host that is no server": (
        request("POST", "docs.example",
                body=json.dumps(message("tools/call", {"name": "rm"})).encode("utf-16-be")),
        ("egress", "deny", "undeclared_charset", "ambiguous_message")),
    "JSON in a charset that nobody here reads": (
        request("POST", "docs.example", body=b"+AHs-",
                headers=(("content-type", "application/json; charset=utf-7"),)),
        ("egress", "deny", "bad_charset", "ambiguous_message")),
    "a comment before a call": (
        request("POST", "docs.example",
                body=b"/*x*/" + json.dumps(message("tools/call", {"name": "rm"})).encode()),
        ("egress", "deny", "undeclared_charset", "ambiguous_message")),
    "bytes that are no text, for an allowed host": (
        request("POST", "docs.example", body=b"\0\1\2\xff" * 99,
                headers=(("content-type", "application/octet-stream"),)),
        ("egress", "allow", "docs", "rule")),
    "a member that JSON-RPC does not know": (
        post({**message("tools/call", {"name": "get_x"}), "x": "y"}),
        ("mcp", "deny", "unknown_member", "parse_error")),
    "a modern call whose headers say the same": (
        modern_call("get_x"), ("mcp", "allow", "reads", "rule")),
    "a modern call whose header names another tool": (
        modern_call("rm", mcp_name="get_x"), ("mcp", "deny", "header_mismatch", "header_mismatch")),
    "a modern call whose header names another method": (
        modern_call("rm", mcp_method="ping"),
        ("mcp", "deny", "header_mismatch", "header_mismatch")),
    "a stream of a named server": (
        request("GET", headers=SSE), ("mcp", "allow", "housekeeping", "housekeeping")),
    "the end of a session of a named server": (
        request("DELETE", headers=(("mcp-session-id", "s"),)),
        ("mcp", "allow", "housekeeping", "housekeeping")),
    "a GET of a named server that is no stream": (
        request("GET", headers=()), ("egress", "deny", "otherwise", "otherwise")),
    "a DELETE of a named server without a session": (
        request("DELETE", headers=()), ("egress", "deny", "otherwise", "otherwise")),
    "an upgrade of an allowed host": (
        request("GET", "docs.example", headers=(("upgrade", "websocket"),)),
        ("egress", "deny", "upgrade_refused", "upgrade_refused")),
    "a WebSocket key alone": (
        request("GET", "docs.example", headers=(("sec-websocket-key", "k"),)),
        ("egress", "deny", "upgrade_refused", "upgrade_refused")),
    "an upgrade in the dress of a stream": (
        request("GET", headers=(*SSE, ("upgrade", "websocket"))),
        ("egress", "deny", "upgrade_refused", "upgrade_refused")),
    "an upgrade in the dress of a call": (
        call("get_x", headers=(*JSON, ("upgrade", "h2c"))),
        ("egress", "deny", "upgrade_refused", "upgrade_refused")),
    "egress that a rule allows": (
        request("GET", "docs.example", "/p"), ("egress", "allow", "docs", "rule")),
    "egress with a method that no rule has": (
        request("DELETE", "docs.example"), ("egress", "deny", "otherwise", "otherwise")),
    "egress that a rule asks for": (
        request("GET", "paste.example"), ("egress", "ask", "paste", "rule")),
    "egress to nobody": (
        request("GET", "evil.example"), ("egress", "deny", "otherwise", "otherwise")),
    "JSON-RPC of another protocol": (
        post({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": []}, "docs.example"),
        ("egress", "allow", "docs", "rule")),
    "metadata of a named server": (
        request("GET", target="/.well-known/oauth-protected-resource/mcp", headers=()),
        ("egress", "allow", "server-metadata", "housekeeping")),
    "metadata of a host that is no server": (
        request("GET", "evil.example", "/.well-known/oauth-protected-resource", headers=()),
        ("egress", "deny", "otherwise", "otherwise")),
    "metadata with a query": (
        request("GET", target="/.well-known/openid-configuration?x=1", headers=()),
        ("egress", "deny", "otherwise", "otherwise")),
    "metadata with a body": (
        request("GET", target="/.well-known/openid-configuration", body=b"x", headers=()),
        ("egress", "deny", "otherwise", "otherwise")),
    "metadata by POST": (
        request("PUT", target="/.well-known/openid-configuration", headers=()),
        ("egress", "deny", "otherwise", "otherwise")),
    "a path that only begins like metadata": (
        request("GET", target="/.well-known/openid-configuration-x", headers=()),
        ("egress", "deny", "otherwise", "otherwise")),
    "dot segments that lead out of metadata": (
        request("GET", target="/.well-known/openid-configuration/../../admin", headers=()),
        ("egress", "deny", "otherwise", "otherwise")),
    "encoded dot segments that lead out of metadata": (
        request("GET", target="/.well-known/openid-configuration/%2e%2e/%2e%2e/a", headers=()),
        ("egress", "deny", "otherwise", "otherwise")),
    "a credential in arguments": (
        call("get_x", {"q": KEY}), ("mcp", "deny", "scan.secrets", "finding")),
    "a credential in the name of an argument": (
        call("get_x", {KEY: 1}), ("mcp", "deny", "scan.secrets", "finding")),
    "a credential in the id of a call": (
        call("get_x", number=KEY), ("mcp", "deny", "scan.secrets", "finding")),
    "a credential in the method": (
        post(message(f"notifications/{KEY}", number=None)),
        ("mcp", "deny", "scan.secrets", "finding")),
    "a credential in the query of a call": (
        call("get_x", target=f"/mcp?q={KEY}"), ("mcp", "deny", "scan.secrets", "finding")),
    "a credential in a header of a call": (
        call("get_x", headers=(*JSON, ("x-note", KEY))),
        ("mcp", "deny", "scan.secrets", "finding")),
    "a credential where credentials belong": (
        call("get_x", headers=(*JSON, ("authorization", f"Bearer {KEY}"))),
        ("mcp", "allow", "reads", "rule")),
    "a credential in the query of a stream": (
        request("GET", target=f"/mcp?q={KEY}", headers=SSE),
        ("mcp", "deny", "scan.secrets", "finding")),
    "a credential in an egress body": (
        request("POST", "docs.example", body=KEY.encode(), headers=PLAIN),
        ("egress", "deny", "scan.secrets", "finding")),
    "a credential in an egress query": (
        request("GET", "docs.example", f"/?k={KEY}"),
        ("egress", "deny", "scan.secrets", "finding")),
    "a credential beside a byte that is no UTF-8": (
        request("POST", "docs.example", body=KEY.encode() + b"\xff", headers=PLAIN),
        ("egress", "deny", "scan.secrets", "finding")),
    "a credential in UTF-16 that nobody announced": (
        request("POST", "docs.example", body=KEY.encode("utf-16"), headers=PLAIN),
        ("egress", "deny", "scan.secrets", "finding")),
    "what is denied by a rule stays denied by the rule": (
        call("push", {"force": True, "q": KEY}), ("mcp", "deny", "no-force", "rule")),
}  # fmt: skip


def told(outcome: Outcome) -> tuple[str, str, str, str]:
    return outcome.subject.channel, outcome.verdict.word, outcome.rule, outcome.code


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_request(given: RequestInput, expected: tuple[str, str, str, str]) -> None:
    outcome = decide(make_judge(), given)
    assert told(outcome) == expected
    assert outcome.enforced
    assert KEY not in repr(outcome.subject) + outcome.reason + outcome.agent_reason
    if outcome.verdict.word != "allow":
        assert outcome.agent_reason


# The policy's unknown_servers, the operator's answer if one is asked for, and what comes of it.
UNKNOWN: dict[str, tuple[str, Any, tuple[str, str]]] = {
    "deny": ("deny", None, ("deny", "unknown_servers")),
    "allow: then otherwise speaks, rules are for named servers": (
        "allow", None, ("deny", "otherwise")),
    "ask": ("ask", None, ("ask", "unknown_servers")),
    "ask, allowed: the call itself is judged": ("ask", "allow", ("deny", "otherwise")),
    "ask, denied: stays denied": ("ask", "deny", ("deny", "unknown_servers")),
}  # fmt: skip


@pytest.mark.parametrize(("setting", "reply", "expected"), UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_server(setting: str, reply: Any, expected: tuple[str, str]) -> None:
    judge = make_judge(("unknown_servers: ask", f"unknown_servers: {setting}"))
    given = call("get_x", host="other.example")
    outcome = decide(judge, given) if reply is None else settled(judge, given, reply)
    assert (outcome.verdict.word, outcome.rule) == expected
    assert (outcome.question is None) == (outcome.rule == "otherwise")


# What is asked first and allowed, and what another request is told after it.
QUESTIONS: dict[str, tuple[RequestInput, str]] = {
    "the same endpoint": (call("rm", host="other.example"), "otherwise"),
    "another path": (call("rm", host="other.example", target="/b"), "unknown_servers"),
    "another host": (call("rm", host="third.example"), "unknown_servers"),
    "another agent": (call("rm", host="other.example", agent="b"), "unknown_servers"),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_counts_for_one_agent_and_endpoint(name: str) -> None:
    given, rule = QUESTIONS[name]
    judge = make_judge()
    settled(judge, call("rm", host="other.example"), "allow")
    assert decide(judge, given).rule == rule


SAME_FACE: dict[str, tuple[str, str]] = {
    "paths that are shown cut short": ("/" + "a" * 300 + "1", "/" + "a" * 300 + "2"),
    "paths that are shown redacted": (f"/{KEY}/a", f"/{KEY}/b"),
}


@pytest.mark.parametrize(("first", "second"), SAME_FACE.values(), ids=SAME_FACE)
def test_an_answer_to_one_path_is_none_to_another_that_looks_alike(first: str, second: str) -> None:
    judge = make_judge(with_scan("{secrets: {arguments: log}}"))
    one = settled(judge, call("rm", host="other.example", target=first), "allow")
    other = decide(judge, call("rm", host="other.example", target=second))
    assert one.rule == "otherwise"
    assert other.rule == "unknown_servers"


def test_an_endpoint_that_proved_to_be_mcp_needs_no_further_proof() -> None:
    judge = make_judge(("unknown_servers: ask", "unknown_servers: allow"))
    candidate = post(message("ping"), "docs.example")
    assert decide(judge, candidate).subject.channel == "egress"
    decide(judge, post(message("initialize", INIT), "docs.example", exchange="i"))
    decide(judge, answer(result({"capabilities": {}}), exchange="i"))
    for given in (candidate, request("GET", "docs.example", headers=SSE)):
        outcome = decide(judge, given)
        assert (outcome.subject.channel, outcome.rule) == ("mcp", "housekeeping")


def test_only_the_answer_proves_an_endpoint() -> None:
    judge = make_judge(("unknown_servers: ask", "unknown_servers: allow"))
    decide(judge, post(message("initialize", INIT), "docs.example", exchange="i"))
    error = {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "no"}}
    decide(judge, answer(error, exchange="i"))
    assert decide(judge, post(message("ping"), "docs.example")).subject.channel == "egress"


def redacted(judge: Judge, given: RequestInput) -> tuple[Outcome, str | None]:
    prepared = judge.prepare(given)
    assert isinstance(prepared, PreparedRequest)
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    return outcome, judge.edited(outcome, prepared)


def test_a_credential_for_a_model_is_redacted() -> None:
    chat = {"messages": [{"role": "user", "content": f"my key {KEY}!"}]}
    outcome, text = redacted(make_judge(), post(chat, "api.openai.com", target="/v1/chat"))
    assert (outcome.verdict.word, outcome.rule, len(outcome.edits)) == ("allow", "model", 1)
    assert text is not None
    assert json.loads(text)["messages"][0]["content"] == "my key [aws-access-key:1]!"


# Redaction is the effect everywhere; these places cannot be edited.
NO_EDIT: dict[str, RequestInput] = {
    "a query": call("get_x", target=f"/mcp?q={KEY}"),
    "a header": call("get_x", headers=(*JSON, ("x-note", KEY))),
    "the name of a member": call("get_x", {KEY: 1}),
    "the id of a call": call("get_x", number=KEY),
    "bytes that are no UTF-8": request("POST", "api.openai.com", body=KEY.encode() + b"\xff"),
    "the query of a model request": request("GET", "api.openai.com", f"/v1?k={KEY}"),
}


@pytest.mark.parametrize("given", NO_EDIT.values(), ids=NO_EDIT)
def test_what_cannot_be_taken_out_does_not_go_through(given: RequestInput) -> None:
    judge = make_judge(with_scan("{secrets: {arguments: redact, model_request: redact}}"))
    outcome, text = redacted(judge, given)
    assert (outcome.verdict.word, outcome.rule, text) == ("deny", "scan.secrets", None)


def test_redaction_of_arguments_keeps_the_verdict_of_the_rule() -> None:
    judge = make_judge(with_scan("{secrets: {arguments: redact}}"))
    outcome, text = redacted(judge, call("push", {"q": KEY}))
    assert (outcome.verdict.word, outcome.rule, len(outcome.edits)) == ("ask", "pushes", 1)
    assert text is not None
    assert KEY not in text


SHADOWED: dict[str, RequestInput] = {
    "a rule": call("push", {"force": True}),
    "a rule that asks": call("push"),
    "otherwise": call("rm"),
    "an unknown server": call("rm", host="other.example"),
    "a finding": call("get_x", {"q": KEY}),
    "an egress rule": request("GET", "evil.example"),
}
ENFORCED: dict[str, tuple[RequestInput, str]] = {
    "a key twice": (request("POST", body=b'{"a":1,"a":2}'), "parse_error"),
    "a batch with one id twice": (post([message("ping"), message("ping")]), "duplicate_id"),
    "headers that differ": (modern_call("rm", mcp_name="get_x"), "header_mismatch"),
    "an upgrade": (request("GET", headers=(("upgrade", "h2c"),)), "upgrade_refused"),
    "a folded header": (request("GET", headers=(("a", "b\r\n c"),)), "malformed_request"),
    "another host": (
        RequestInput("x", "agent", request("GET").head, "evil.example"), "host_mismatch"),
    "what a sloppy parser could run": (
        request("POST", "docs.example", body=b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}'),
        "ambiguous_message"),
}  # fmt: skip


@pytest.mark.parametrize("given", SHADOWED.values(), ids=SHADOWED)
def test_shadow_lets_pass(given: RequestInput) -> None:
    plain, shadow = decide(make_judge(), given), decide(make_judge(shadow=True), given)
    assert (shadow.verdict, shadow.rule, shadow.code) == (plain.verdict, plain.rule, plain.code)
    assert not shadow.enforced
    assert shadow.effective.word == "allow"


@pytest.mark.parametrize(("given", "code"), ENFORCED.values(), ids=ENFORCED)
def test_shadow_does_not_let_pass(given: RequestInput, code: str) -> None:
    outcome = decide(make_judge(shadow=True), given)
    assert (outcome.code, outcome.enforced, outcome.effective.word) == (code, True, "deny")


def test_shadow_edits_nothing() -> None:
    judge = make_judge(with_scan("{secrets: {arguments: redact}}"), shadow=True)
    outcome, text = redacted(judge, call("get_x", {"q": KEY}))
    assert (len(outcome.edits), outcome.enforced, text) == (1, False, None)


# What is shown of a call; never what a rule found in it.
TARGETS: dict[str, tuple[RequestInput, str | None]] = {
    "a tool": (call("get_x"), "get_x"),
    "a tool with a credential in its name": (call(f"get-{KEY}"), "[redacted]"),
    "a very long name": (call("g" * 500), "g" * 200),
    "a resource without its query and user": (
        post(message("resources/read", {"uri": "https://u:p@h/a?key=1"})),
        "https://h/a",
    ),
    "no name": (post(message("tools/call", {})), None),
    "a name that is no text": (post(message("tools/call", {"name": 1})), None),
    "a notification": (post(message("notifications/x", {"name": "y"}, number=None)), None),
}


@pytest.mark.parametrize(("given", "tool"), TARGETS.values(), ids=TARGETS)
def test_what_is_shown_of_a_call(given: RequestInput, tool: str | None) -> None:
    assert decide(make_judge(), given).subject.tool == tool


def test_the_endpoint_is_shown_without_query_and_without_a_credential() -> None:
    judge = make_judge()
    shown = decide(judge, request("GET", "docs.example", "/a?b=c")).subject.endpoint
    assert shown == "https://docs.example/a"
    hidden = decide(judge, request("GET", "docs.example", f"/{KEY}/a")).subject.endpoint
    assert hidden == "https://docs.example/[redacted]"


def test_an_injection_in_arguments_is_recorded_and_passes() -> None:
    outcome = decide(make_judge(), call("get_x", {"q": INJECTION}))
    assert outcome.verdict.word == "allow"
    assert outcome.findings[0].detector == "injection"
    assert outcome.subject.host == SERVER
