"""Servers that claim what is not theirs: URLs, ids, answers, states, places to hide a request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import (
    INJECTION,
    KEY,
    answer,
    call,
    decide,
    event,
    make_judge,
    message,
    post,
    request,
    result,
    scanner,
    text_result,
)

from mitmgate.judge.inputs import EndInput, EventInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.load import load_policy
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.http import AnswerHead, Headers

STREAM: Headers = (("accept", "text/event-stream"),)
HOST = "shared.example"
SHARED = """\
version: 1
servers:
  loose: {url: "https://shared.example/a/sse"}
  strict: {url: "https://shared.example/b/sse"}
  exact: {url: "https://shared.example/c/mcp"}
mcp:
  unknown_servers: ask
  rules:
    - {id: loose, server: loose, then: allow}
    - {id: strict-reads, server: strict, tool: "get*", then: allow}
    - {id: no-sampling, method: sampling/createMessage, then: deny}
  otherwise: deny
egress:
  rules:
    - {id: pages, host: shared.example, methods: [GET], then: allow}
    - {id: feeds, host: feeds.example, methods: [GET, POST], then: allow}
  otherwise: deny
hold: {wait: 30s, unattended: wait}
"""
ALLOWED, ASKED, DENIED = Verdict.ALLOW, Verdict.ASK, Verdict.DENY


def shared_origin(*changes: tuple[str, str]) -> Judge:
    text = SHARED
    for old, new in changes:
        text = text.replace(old, new)
    return Judge(load_policy(text, file="p.yaml"), scanner())


def streams(judge: Judge, path: str, data: str, *, host: str = HOST) -> Outcome:
    """Open the stream at *path*; its first event, an ``endpoint``, names *data*."""
    decide(judge, request("GET", host, path, headers=STREAM, exchange=path))
    return decide(judge, event(data, kind="endpoint", exchange=path))


def tool_at(
    target: str, name: str = "rm", *, host: str = HOST, exchange: str = "p"
) -> RequestInput:
    params = {"name": name, "arguments": {}}
    return post(message("tools/call", params), host, target=target, exchange=exchange)


# URLs


def test_a_stream_cannot_take_over_the_url_of_another_servers_stream() -> None:
    judge = shared_origin()
    assert streams(judge, "/b/sse", "/b/messages?sid=1").verdict is ALLOWED
    outcome = streams(judge, "/a/sse", "/b/messages?sid=1")
    assert (outcome.verdict, outcome.code) == (DENIED, "foreign_endpoint")
    denied = decide(judge, tool_at("/b/messages?sid=1"))
    assert (denied.verdict, denied.subject.server) == (DENIED, "strict")


def test_a_page_cannot_take_the_url_of_a_servers_stream_either() -> None:
    judge = shared_origin()
    streams(judge, "/b/sse", "/b/messages?sid=1")
    outcome = streams(judge, "/user/page", "/b/messages?sid=1")
    assert (outcome.verdict, outcome.code) == (DENIED, "foreign_endpoint")
    assert decide(judge, tool_at("/b/messages?sid=1", "get_x")).verdict is ALLOWED


@pytest.mark.parametrize(
    "path", ["/c/mcp", "/c/mcp/", "/c/%6dcp", "/c//mcp", "/c/x/%2e%2e/mcp", "/c/mcp;x", "/b/sse"]
)
def test_a_stream_cannot_name_another_servers_url_in_any_spelling(path: str) -> None:
    judge = shared_origin()
    outcome = streams(judge, "/a/sse", path)
    assert (outcome.verdict, outcome.code) == (DENIED, "foreign_endpoint")
    assert decide(judge, tool_at(path)).verdict is not ALLOWED


@pytest.mark.parametrize("path", ["/a/sse", "/a/messages", "/a/messages/?sid=a%20b", "/m~1.x_y"])
def test_a_stream_may_name_a_url_that_is_nobodys(path: str) -> None:
    judge = shared_origin()
    assert streams(judge, "/a/sse", path).verdict is ALLOWED
    assert decide(judge, tool_at(path)).rule == "loose"


def test_a_url_dies_with_its_stream() -> None:
    judge = shared_origin()
    streams(judge, "/b/sse", "/m")
    judge.conclude(EndInput("/b/sse"), now=0.0)
    assert decide(judge, tool_at("/m", "get_x")).code == "unknown_server"
    assert streams(judge, "/a/sse", "/m").verdict is ALLOWED
    assert decide(judge, tool_at("/m", "get_x")).rule == "loose"


def test_an_endpoint_event_that_was_denied_teaches_nothing() -> None:
    judge = shared_origin(("unknown_servers: ask", "unknown_servers: deny"))
    upload = request("POST", "feeds.example", "/v1/upload", b"hello", (), exchange="u")
    assert decide(judge, upload).rule == "feeds"
    outcome = streams(judge, "/feed", "/v1/upload", host="feeds.example")
    assert (outcome.verdict, outcome.code) == (DENIED, "unknown_server")
    assert decide(judge, upload).rule == "feeds"


def test_an_approved_stream_does_not_lift_a_persons_denial_of_what_it_names() -> None:
    judge = shared_origin()
    asked = decide(judge, tool_at("/y/mcp", host="feeds.example"))
    judge.apply_resolution(asked, "deny")
    outcome = streams(judge, "/x/sse", "/y/mcp", host="feeds.example")
    assert (outcome.verdict, outcome.code) == (DENIED, "unknown_server")
    assert decide(judge, tool_at("/y/mcp", host="feeds.example")).verdict is DENIED


def test_an_endpoint_event_counts_wherever_it_stands_in_a_stream() -> None:
    judge = shared_origin()
    decide(judge, request("GET", "feeds.example", "/f", headers=STREAM, exchange="s"))
    hello = event("x", kind="hello", exchange="s")
    assert decide(judge, hello).subject.channel == "egress"
    late = EventInput("s", 1, "endpoint", "/m", AnswerHead(200))
    outcome = decide(judge, late)
    assert (outcome.verdict, outcome.code) == (ASKED, "unknown_server")


def test_a_stream_that_speaks_mcp_unannounced_is_an_unknown_server() -> None:
    judge = shared_origin()
    decide(judge, request("GET", "feeds.example", "/f", headers=STREAM, exchange="s"))
    asks = message("sampling/createMessage", {"messages": [], "maxTokens": 1})
    outcome = decide(judge, event(asks, exchange="s"))
    assert (outcome.verdict, outcome.code) == (DENIED, "unknown_server")


# Requests that hide inside something else


ASKS = {"k": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}}}


@pytest.mark.parametrize(
    "params",
    [{"taskId": "t", "status": "input_required", "inputRequests": ASKS},
     {"taskId": "t", "result": {"inputRequests": ASKS}}],
)  # fmt: skip
def test_what_a_notification_asks_for_is_judged(params: dict[str, Any]) -> None:
    judge = make_judge()
    decide(judge, request("GET", headers=STREAM, exchange="s"))
    outcome = decide(judge, event(message("notifications/tasks", params, number=None),
                                  exchange="s"))  # fmt: skip
    assert (outcome.verdict, outcome.rule) == (DENIED, "no-sampling")


# Ids


def with_session(value: object, exchange: str) -> RequestInput:
    return post(value, headers=(("content-type", "application/json"), ("mcp-session-id", "s")),
                exchange=exchange)  # fmt: skip


@pytest.mark.parametrize("named", [True, False], ids=["session", "no session"])
def test_an_id_left_open_does_not_make_a_definition_of_a_result(named: bool) -> None:
    judge = make_judge()
    send = with_session if named else lambda value, exchange: post(value, exchange=exchange)
    decide(judge, send(message("prompts/list", number=2), "first"))
    judge.conclude(EndInput("first"), now=0.0)
    decide(judge, send(message("tools/call", {"name": "get", "arguments": {}}, number=2), "second"))
    headers = (*STREAM, ("mcp-session-id", "s")) if named else STREAM
    decide(judge, request("GET", headers=headers, exchange="resumed"))
    outcome = decide(judge, event(text_result(INJECTION, 2), exchange="resumed"))
    assert (outcome.verdict, outcome.rule) == (ASKED, "scan.injection")
    assert {finding.surface.value for finding in outcome.findings} == {"results"}


def test_an_answer_on_another_stream_names_the_tool_that_was_called() -> None:
    judge = make_judge()
    decide(judge, with_session(message("tools/call", {"name": "get_x"}), "first"))
    headers = (*STREAM, ("mcp-session-id", "s"))
    decide(judge, request("GET", headers=headers, exchange="resumed"))
    outcome = decide(judge, event(text_result("hi"), exchange="resumed"))
    assert (outcome.subject.method, outcome.subject.tool) == ("tools/call", "get_x")


def stops(judge: Judge, given: Any) -> Any:
    """Judge *given*, expect a denial, and return the JSON that goes on in its place."""
    prepared = judge.prepare(given)
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    assert outcome.verdict is DENIED
    instead = judge.stop(outcome, prepared, "no")
    return None if instead is None else json.loads(instead)


def test_of_two_server_requests_with_one_id_only_the_denied_one_is_refused() -> None:
    judge = make_judge()
    decide(judge, request("GET", headers=STREAM, exchange="s"))
    decide(judge, event(message("roots/list", number=5), exchange="s"))
    sampling = message("sampling/createMessage", {"messages": []}, number=5)
    assert stops(judge, event(sampling, exchange="s"))["method"] == "ping"
    for value, swapped in ((result({}, 5), True), (result({"roots": []}, 5), False)):
        outcome = decide(judge, post(value, exchange="p"))
        assert (outcome.code == "ping_swap") == swapped


def test_a_denied_batch_still_tells_the_server_what_became_of_its_request() -> None:
    judge = make_judge()
    decide(judge, request("GET", headers=STREAM, exchange="s"))
    decide(judge, event("/messages", kind="endpoint", exchange="s"))
    sampling = message("sampling/createMessage", {"messages": []}, number=5)
    stops(judge, event(sampling, exchange="s"))
    batch = [result({}, 5), message("tools/call", {"name": "rm"}, number=6)]
    refusal, swapped = stops(judge, post(batch, target="/messages", exchange="p"))
    assert (refusal["id"], refusal["error"]["code"]) == (5, -1)
    assert (swapped["id"], swapped["method"]) == (6, "ping")


# requestState


def test_a_state_that_no_server_gave_is_scanned_as_any_argument() -> None:
    params = {"name": "get_x", "arguments": {}, "requestState": KEY}
    outcome = decide(make_judge(), post(message("tools/call", params)))
    assert (outcome.verdict, outcome.rule) == (DENIED, "scan.secrets")


def test_the_state_that_a_server_gave_goes_back_unscanned_to_it_alone() -> None:
    judge = make_judge(('/mcp"}', '/mcp"}\n  other: {url: "https://other.example/mcp"}'))
    asked = result({"resultType": "input_required", "inputRequests": {}, "requestState": KEY})
    decide(judge, call("get_x"), event(asked))
    params = {"name": "get_x", "arguments": {}, "requestState": KEY}
    again = post(message("tools/call", params, number=2), exchange="y")
    assert decide(judge, again).verdict is ALLOWED
    elsewhere = post(message("tools/call", params, number=2), "other.example", exchange="z")
    assert decide(judge, elsewhere).rule == "scan.secrets"


def test_a_ref_names_what_its_type_says() -> None:
    judge = make_judge()
    ref = {"type": "ref/resource", "name": "ok", "uri": "x://denied"}
    params = {"ref": ref, "argument": {"name": "a", "value": "b"}}
    outcome = decide(judge, post(message("completion/complete", params)))
    assert outcome.subject.tool == "x://denied"


def test_the_ping_for_a_denied_call_does_not_carry_a_secret_id_on() -> None:
    judge = make_judge()
    decide(judge, request("GET", headers=STREAM, exchange="s"))
    decide(judge, event("/messages", kind="endpoint", exchange="s"))
    for number, sent in ((KEY, None), (7, "ping")):
        called = message("tools/call", {"name": "rm"}, number=number)
        instead = stops(judge, post(called, target="/messages", exchange=f"p{number}"))
        assert (instead and instead["method"]) == sent


@pytest.mark.parametrize("number", ["x" * 1025, 10**1300], ids=["text", "digits"])
def test_an_id_that_would_fill_the_memory_is_refused(number: Any) -> None:
    judge = make_judge()
    decide(judge, request("GET", headers=STREAM, exchange="s"))
    outcome = decide(judge, event(message("ping", number=number), exchange="s"))
    assert (outcome.verdict, outcome.rule) == (DENIED, "bad_id")


def test_an_answer_that_hides_a_stream_is_denied_under_the_id_that_waits() -> None:
    judge = make_judge()
    decide(judge, call("get_x", number=7))
    odd = (("content-type", "application/json;x=text/event-stream"),)
    assert stops(judge, answer(text_result("hi", KEY), headers=odd))["id"] == 7
