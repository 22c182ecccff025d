"""What clients get instead: shapes that their sessions survive (WIRE 2.8)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import (
    KEY,
    answer,
    call,
    decide,
    make_judge,
    message,
    modern_call,
    post,
    request,
    result,
    text_result,
)

from mitmgate.judge.inputs import ConnectInput, Input, RequestInput, Tunnel

TOOL = {"content": [{"type": "text", "text": "no"}], "isError": True}
JSON_TYPE, PROBLEM = "application/json", "application/problem+json"
SSE = (("accept", "text/event-stream"),)
EVIL = request("GET", "evil.example")


def error(number: Any, code: int = -31000) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": "no"}}


# What was denied, then status, content type and body (None: empty).
REPLIES: dict[str, tuple[Input, int, str | None, Any]] = {
    "a tool: an error that the model reads": (
        call("rm", number=0), 200, JSON_TYPE, result(TOOL, 0)),
    "a tool, asked for by an id that is a text": (
        call("rm", number="a"), 200, JSON_TYPE, result(TOOL, "a")),
    "a tool of the modern era": (
        modern_call("rm"), 200, JSON_TYPE, result({**TOOL, "resultType": "complete"})),
    "a prompt: a JSON-RPC error": (
        post(message("prompts/get", {"name": "p"})), 200, JSON_TYPE, error(1)),
    "an unknown method": (post(message("x/y")), 200, JSON_TYPE, error(1)),
    "a notification": (
        post(message("notifications/progress", number=None)), 202, None, None),
    "a client's answer": (post(result({"content": KEY})), 202, None, None),
    "headers that differ": (
        modern_call("rm", mcp_name="x"), 400, JSON_TYPE, error(1, -32020)),
    "what is no message": (request("POST", body=b"x"), 400, JSON_TYPE, error(None, -32600)),
    "a batch: an answer for each request": (
        post([message("ping"), message("x/y", number=None), message("x/y", number="b")]),
        200, JSON_TYPE, [error(1), error("b")]),
    "a batch without a request": (
        post([message("x/y", number=None)]), 202, None, None),
    "a body that cannot be decoded": (
        request("POST", body=b"x", headers=(("content-encoding", "gzip"),)),
        400, JSON_TYPE, error(None, -32600)),
    "a stream: there is none here": (
        request("GET", "files.example", f"/mcp?k={KEY}", headers=SSE), 405, None, None),
}  # fmt: skip


@pytest.mark.parametrize(("given", "status", "kind", "body"), REPLIES.values(), ids=REPLIES)
def test_a_denial_in_mcp(given: Input, status: int, kind: str | None, body: Any) -> None:
    judge = make_judge()
    outcome = decide(judge, given)
    assert outcome.verdict.word == "deny"
    reply = judge.reply(outcome, "no")
    assert (reply.status, reply.content_type) == (status, kind)
    assert reply.body == b"" if body is None else json.loads(reply.body) == body


PROBLEMS: dict[str, tuple[Input, int, str]] = {
    "egress": (EVIL, 403, "otherwise"),
    "another host": (
        RequestInput("x", "agent", EVIL.head, "other.example", b"", Tunnel()),
        421, "host_mismatch"),
    "a malformed head": (
        request("GET", "docs.example", headers=(("a", "b\rc"),)), 400, "malformed_request"),
    "a port": (ConnectInput("x", "agent", "a.example:22"), 403, "port"),
    "an upgrade": (
        request("GET", "docs.example", headers=(("upgrade", "h2c"),)), 403, "upgrade_refused"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "status", "code"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_denial_of_anything_else(given: Input, status: int, code: str) -> None:
    judge = make_judge()
    outcome = decide(judge, given)
    reply = judge.reply(outcome, "why")
    document = json.loads(reply.body)
    assert (reply.status, reply.content_type) == (status, PROBLEM)
    assert (document["status"], document["code"], document["detail"]) == (status, code, "why")
    assert (document["id"], document["rule"]) == (outcome.id, outcome.rule)


FAILURES: dict[str, int] = {
    "upstream_failed": 502, "upstream_certificate": 502, "internal_error": 502,
    "body_too_large": 413, "record_failed": 403,
}  # fmt: skip


@pytest.mark.parametrize(("code", "status"), FAILURES.items(), ids=FAILURES)
def test_a_failure(code: str, status: int) -> None:
    judge = make_judge(shadow=True)
    decide(judge, request("GET", "docs.example"))
    outcome = judge.failure("x", "dial", code, "it broke")
    assert (outcome.verdict.word, outcome.enforced, outcome.number) == ("deny", True, 1)
    assert judge.reply(outcome, "no").status == status
    decide(judge, call("get_x", exchange="y"))
    told = judge.reply(judge.failure("y", "dial", code, "it broke"), "no")
    assert (told.status, json.loads(told.body)) == (200, result(TOOL))


def test_a_failure_of_nothing_that_is_known() -> None:
    judge = make_judge()
    outcome = judge.failure("new", "request", "internal_error", "it broke")
    assert (outcome.subject.channel, judge.reply(outcome, "no").status) == ("egress", 502)


def test_no_denial_starts_a_login_or_ends_a_session() -> None:
    judge = make_judge()
    for given in (call("rm"), EVIL, post(message("x/y"))):
        assert judge.reply(decide(judge, given), "no").status not in (401, 404)


def test_a_withheld_answer_keeps_the_id_of_its_request() -> None:
    judge = make_judge()
    decide(judge, call("get_x", number="n"))
    outcome = decide(judge, answer(text_result("x", "other")))
    assert json.loads(judge.reply(outcome, "no").body)["id"] == "n"
