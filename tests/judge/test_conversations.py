"""Messages whose answers come another way: HTTP+SSE, resumed streams, sessions, batches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import (
    INJECTION,
    JSON,
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
    text_result,
    with_scan,
)

from mitmgate.judge.inputs import AnswerInput, EndInput, EventInput, MessageInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.http import AnswerHead, Headers

STREAM: Headers = (("accept", "text/event-stream"),)
SOCKET: Headers = (
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "mcp"),
)
ALLOWED, ASKED, DENIED = Verdict.ALLOW, Verdict.ASK, Verdict.DENY


def stopped(judge: Judge, given: Any, text: str = "no") -> Any:
    """Judge *given*, expect a denial, and return the JSON that goes on in its place."""
    prepared = judge.prepare(given)
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    assert outcome.verdict is DENIED, outcome
    instead = judge.stop(outcome, prepared, text)
    return None if instead is None else json.loads(instead)


def passed(judge: Judge, given: Any) -> Any:
    """Judge *given*, expect that it passes, and return what it is edited to, None: as it came."""
    prepared = judge.prepare(given)
    outcome = judge.conclude(prepared, now=0.0)
    assert outcome is not None
    assert outcome.verdict is ALLOWED, outcome
    text = judge.edited(outcome, prepared)
    return None if text is None else json.loads(text)


# HTTP+SSE (2024-11-05)


def opened_channel(judge: Judge, data: str = "/messages?session_id=1", **rest: Any) -> Outcome:
    stream = request("GET", headers=STREAM, exchange="stream", **rest)
    assert decide(judge, stream).verdict is ALLOWED
    return decide(judge, event(data, kind="endpoint", exchange="stream"))


def posted(value: object, exchange: str = "p", query: str = "session_id=1") -> RequestInput:
    return post(value, target=f"/messages?{query}", exchange=exchange)


def tool(name: str, number: Any = 1, **arguments: Any) -> dict[str, Any]:
    return message("tools/call", {"name": name, "arguments": arguments}, number=number)


def test_the_endpoint_event_makes_its_url_part_of_the_server() -> None:
    judge = make_judge()
    told = opened_channel(judge)
    assert (told.verdict, told.code, told.subject.server) == (ALLOWED, "endpoint", "files")
    outcome = decide(judge, posted(tool("get_x")))
    assert (outcome.verdict, outcome.rule) == (ALLOWED, "reads")
    assert outcome.subject.server == "files"


@pytest.mark.parametrize(
    "data",
    ["/messages?session_id=1", "messages?session_id=1",
     "https://files.example/messages?session_id=1",
     "https://FILES.example:443/messages?session_id=1"],
)  # fmt: skip
def test_relative_and_absolute_urls_of_the_same_origin_are_learned(data: str) -> None:
    judge = make_judge()
    assert opened_channel(judge, data).verdict is ALLOWED
    assert decide(judge, posted(tool("get_x"))).subject.server == "files"


@pytest.mark.parametrize(
    "data",
    ["https://evil.example/messages", "http://files.example/messages",
     "https://files.example:8443/messages", "//evil.example/m", "https://u@files.example/m",
     "https://[::1/m", "", "javascript:alert(1)", "/m\x00", "/" + "x" * 9000],
)  # fmt: skip
def test_an_endpoint_of_another_origin_is_denied(data: str) -> None:
    outcome = opened_channel(make_judge(), data)
    assert (outcome.verdict, outcome.code) == (DENIED, "foreign_endpoint")


def test_a_message_to_another_conversations_url_is_not_of_this_one() -> None:
    judge = make_judge()
    opened_channel(judge)
    decide(judge, posted(tool("get_x"), query="session_id=2"))
    late = decide(judge, event(text_result("hi"), exchange="stream"))
    assert (late.verdict, late.code) == (DENIED, "unmatched_answer")


def test_the_answer_on_the_stream_belongs_to_the_posted_request() -> None:
    judge = make_judge()
    opened_channel(judge)
    decide(judge, posted(tool("get_x")))
    assert decide(judge, answer(b"Accepted", status=202, headers=(), exchange="p")).verdict is (
        ALLOWED
    )
    judge.conclude(EndInput("p"), now=0.0)
    outcome = decide(judge, event(text_result("hi"), exchange="stream"))
    assert (outcome.verdict, outcome.subject.method) == (ALLOWED, "tools/call")
    again = decide(judge, event(text_result("hi"), exchange="stream"))
    assert (again.verdict, again.code) == (DENIED, "unmatched_answer")


def test_a_denied_request_goes_on_as_ping_and_its_answer_is_the_denial() -> None:
    judge = make_judge()
    opened_channel(judge)
    instead = stopped(judge, posted(tool("rm", 7)), "no such luck")
    assert instead == {"jsonrpc": "2.0", "id": 7, "method": "ping"}
    swapped = passed(judge, event(result({}, 7), exchange="stream"))
    assert swapped == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {"content": [{"type": "text", "text": "no such luck"}], "isError": True},
    }


def test_an_error_in_answer_to_the_ping_becomes_the_denial_too() -> None:
    judge = make_judge()
    opened_channel(judge)
    stopped(judge, posted(tool("rm", "a")), "no")
    error = {"jsonrpc": "2.0", "id": "a", "error": {"code": -32601, "message": INJECTION}}
    swapped = passed(judge, event(error, exchange="stream"))
    assert swapped["result"]["isError"] is True


def test_a_denied_notification_simply_goes_nowhere() -> None:
    judge = make_judge(
        ("then: ask}\n    - {id: no-sampling", "then: deny}\n    - {id: no-sampling")
    )
    opened_channel(judge)
    note = message("notifications/progress", {"progressToken": 1, "progress": 1}, number=None)
    assert stopped(judge, posted(note)) is None


def test_definitions_on_the_stream_are_scanned_as_definitions() -> None:
    judge = make_judge(with_scan("{injection: {definitions: deny, results: log}}"))
    opened_channel(judge)
    decide(judge, posted(message("tools/list")))
    tools = {"tools": [{"name": "get", "description": INJECTION, "inputSchema": {}}]}
    outcome = decide(judge, event(result(tools), exchange="stream"))
    assert (outcome.verdict, outcome.rule) == (DENIED, "scan.injection")
    assert {finding.surface.value for finding in outcome.findings} == {"definitions"}


def test_a_stream_of_another_protocol_with_such_an_event_stays_what_it_was() -> None:
    judge = make_judge()
    stream = request("GET", "docs.example", "/feed", headers=STREAM, exchange="stream")
    assert decide(judge, stream).subject.channel == "egress"
    later = EventInput("stream", 1, "endpoint", '{"id": "a b"}', AnswerHead(200))
    assert decide(judge, later).subject.channel == "egress"


def test_an_unknown_server_on_an_allowed_host_is_asked_about_at_its_endpoint_event() -> None:
    judge = make_judge()
    stream = request("GET", "docs.example", "/sse", headers=STREAM, exchange="stream")
    assert decide(judge, stream).subject.channel == "egress"
    outcome = decide(judge, event("/messages", kind="endpoint", exchange="stream"))
    assert (outcome.verdict, outcome.code) == (ASKED, "unknown_server")
    assert outcome.question is not None
    judge.apply_resolution(outcome, "allow")
    call_ = post(tool("get_x"), "docs.example", target="/messages", exchange="p")
    assert decide(judge, call_).code != "unknown_server"


# Sessions of streamable HTTP


def with_session(value: object, session: str, exchange: str) -> RequestInput:
    return post(value, headers=(*JSON, ("mcp-session-id", session)), exchange=exchange)


def resumed(session: str) -> RequestInput:
    headers = (*STREAM, ("mcp-session-id", session), ("last-event-id", "4"))
    return request("GET", headers=headers, exchange="get")


def test_a_resumed_stream_answers_the_request_of_its_session() -> None:
    judge = make_judge()
    decide(judge, with_session(tool("get_x", 5), "s1", "post"))
    judge.conclude(EndInput("post"), now=0.0)
    decide(judge, resumed("s1"))
    outcome = decide(judge, event(text_result("late", 5), exchange="get"))
    assert (outcome.verdict, outcome.subject.method) == (ALLOWED, "tools/call")


def test_a_resumed_stream_does_not_answer_for_another_session() -> None:
    judge = make_judge()
    decide(judge, with_session(tool("get_x", 5), "s1", "post"))
    decide(judge, resumed("s2"))
    outcome = decide(judge, event(text_result("late", 5), exchange="get"))
    assert (outcome.verdict, outcome.code) == (DENIED, "unmatched_answer")


def test_a_session_id_that_changes_names_the_same_conversation() -> None:
    judge = make_judge()
    decide(judge, with_session(tool("get_x", 5), "s1", "a"))
    decide(judge, with_session(tool("get_y", 6), "s1", "b"))
    renamed = AnswerInput("a", AnswerHead(200, (*JSON, ("mcp-session-id", "s2"))),
                          json.dumps(text_result("x", 5)).encode())  # fmt: skip
    assert decide(judge, renamed).verdict is ALLOWED
    decide(judge, resumed("s2"))
    assert decide(judge, event(text_result("y", 6), exchange="get")).verdict is ALLOWED


def test_a_deleted_session_answers_nothing_any_more() -> None:
    judge = make_judge()
    decide(judge, with_session(tool("get_x", 5), "s1", "post"))
    delete = request("DELETE", headers=(("mcp-session-id", "s1"),), exchange="end")
    assert decide(judge, delete).subject.method == "session/end"
    decide(judge, answer(b"", status=204, headers=(), exchange="end"))
    decide(judge, resumed("s1"))
    outcome = decide(judge, event(text_result("late", 5), exchange="get"))
    assert outcome.code == "unmatched_answer"


# Requests of the server


def sampling(number: Any = 9) -> dict[str, Any]:
    return message("sampling/createMessage", {"messages": [], "maxTokens": 1}, number=number)


def asked_by_server(judge: Judge, value: dict[str, Any]) -> Any:
    decide(judge, with_session(tool("get_x", 5), "s1", "post"))
    return stopped(judge, event(value, exchange="post"), "not here")


def test_a_denied_sampling_goes_on_as_ping_and_its_answer_is_a_refusal() -> None:
    judge = make_judge()
    assert asked_by_server(judge, sampling()) == {"jsonrpc": "2.0", "id": 9, "method": "ping"}
    swapped = passed(judge, with_session(result({}, 9), "s1", "reply"))
    assert swapped == {"jsonrpc": "2.0", "id": 9, "error": {"code": -1, "message": "not here"}}


def test_a_denied_elicitation_is_declined() -> None:
    judge = make_judge(("method: elicitation/create, then: ask",
                        "method: elicitation/create, then: deny"))  # fmt: skip
    ask = message("elicitation/create", {"message": "Name?"}, number="e")
    assert asked_by_server(judge, ask)["method"] == "ping"
    swapped = passed(judge, with_session(result({}, "e"), "s1", "reply"))
    assert swapped["result"] == {"action": "decline"}


def test_the_answer_to_a_request_that_was_never_made_is_refused() -> None:
    outcome = decide(make_judge(), with_session(result({"roots": []}, 3), "s1", "reply"))
    assert (outcome.verdict, outcome.code) == (DENIED, "unmatched_answer")


ANSWERS: dict[str, dict[str, Any]] = {
    "a result": result({"action": "accept", "content": {"k": KEY}}, 4),
    "an error": {"jsonrpc": "2.0", "id": 4, "error": {"code": 1, "message": KEY}},
}


@pytest.mark.parametrize("given", ANSWERS.values(), ids=ANSWERS)
def test_a_clients_answer_with_a_secret_becomes_a_refusal(given: dict[str, Any]) -> None:
    judge = make_judge(("method: elicitation/create, then: ask",
                        "method: elicitation/create, then: allow"),
                       with_scan("{secrets: {arguments: deny}}"))  # fmt: skip
    decide(judge, with_session(tool("get_x", 5), "s1", "post"))
    ask = message("elicitation/create", {"message": "Key?"}, number=4)
    assert decide(judge, event(ask, exchange="post")).verdict is ALLOWED
    told = with_session(given, "s1", "reply")
    assert decide(make_judge(), told).code == "unmatched_answer"
    assert stopped(judge, told)["result"] == {"action": "decline"}


@pytest.mark.parametrize(
    ("method", "params", "verdict", "rule"),
    [("sampling/createMessage", {"messages": []}, DENIED, "no-sampling"),
     ("elicitation/create", {"message": "Name?"}, ASKED, "elicit"),
     ("roots/list", None, ALLOWED, "answer")],
)  # fmt: skip
def test_what_a_result_asks_of_the_client_falls_under_the_rules(
    method: str, params: Any, verdict: Verdict, rule: str
) -> None:
    judge = make_judge()
    decide(judge, call("get_x"))
    ask = {"method": method} if params is None else {"method": method, "params": params}
    value = {"resultType": "input_required", "inputRequests": {"one": ask}}
    outcome = decide(judge, answer(result(value)))
    assert (outcome.verdict, outcome.rule) == (verdict, rule)


# Batches


def test_each_message_of_a_batch_is_judged_and_the_strictest_decides() -> None:
    judge = make_judge()
    outcome = decide(judge, post([tool("get_x", 1), tool("rm", 2), tool("push", 3)]))
    assert (outcome.verdict, outcome.subject.method) == (DENIED, "batch")
    parts = [(part.verdict, part.rule, part.subject.tool) for part in outcome.parts]
    assert parts == [(ALLOWED, "reads", "get_x"), (DENIED, "otherwise", "rm"),
                     (ASKED, "pushes", "push")]  # fmt: skip
    assert "message 2 of 3 (rm)" in outcome.reason


def test_a_refused_batch_gets_one_denial_for_each_request() -> None:
    judge = make_judge()
    given = post([tool("get_x", 1), message("notifications/initialized", number=None),
                  message("prompts/get", {"name": "p"}, number="two")])  # fmt: skip
    outcome = decide(judge, given)
    reply = judge.reply(outcome, "no", judge.stop(outcome, judge.prepare(given), "no"))
    body = json.loads(reply.body)
    assert reply.status == 200
    assert [item["id"] for item in body] == [1, "two"]
    assert body[0]["result"]["isError"] is True
    assert body[1]["error"]["code"] == -31000


def test_an_allowed_batch_passes_unchanged_and_so_do_its_answers() -> None:
    judge = make_judge()
    assert passed(judge, post([tool("get_x", 1), tool("get_y", 2)])) is None
    assert passed(judge, answer([text_result("x", 1), text_result("y", 2)])) is None


def test_a_secret_in_a_batch_is_redacted_in_its_own_message_only() -> None:
    judge = make_judge(with_scan("{secrets: {arguments: redact}}"))
    edited = passed(judge, post([tool("get_x", 1, q="plain"), tool("get_y", 2, q=f"k {KEY}")]))
    assert edited[0]["params"]["arguments"] == {"q": "plain"}
    assert KEY not in edited[1]["params"]["arguments"]["q"]


def test_a_stopped_answer_of_a_batch_is_replaced_and_the_others_stay() -> None:
    judge = make_judge(with_scan("{injection: {results: deny}}"))
    decide(judge, post([tool("get_x", 1), tool("get_y", 2)]))
    instead = stopped(judge, answer([text_result("fine", 1), text_result(INJECTION, 2)]))
    assert instead[0] == text_result("fine", 1)
    assert instead[1]["result"]["isError"] is True
    assert "has run" in instead[1]["result"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("batch", "code"),
    [([tool("get_x", 1), tool("get_y", 1)], "duplicate_id"),
     ([tool("get_x", number) for number in range(1001)], "batch_too_large")],
    ids=["one id twice", "a thousand and one"],
)  # fmt: skip
def test_a_batch_that_cannot_be_told_apart_is_refused(batch: list[Any], code: str) -> None:
    outcome = decide(make_judge(), post(batch))
    assert (outcome.verdict, outcome.code) == (DENIED, code)


# WebSocket


def socket_opened(judge: Judge, host: str = "files.example") -> Outcome:
    return decide(judge, request("GET", host, headers=SOCKET, exchange="ws"))


def frame(value: object, number: int, *, from_client: bool) -> MessageInput:
    data = value if isinstance(value, str | bytes) else json.dumps(value)
    return MessageInput("ws", number, from_client, data)


def test_a_websocket_to_a_server_passes_message_by_message() -> None:
    judge = make_judge()
    assert socket_opened(judge).subject.method == "websocket"
    assert passed(judge, frame(tool("get_x", 1), 0, from_client=True)) is None
    assert passed(judge, frame(text_result("hi", 1), 1, from_client=False)) is None
    again = frame(text_result("hi", 1), 2, from_client=False)
    assert decide(judge, again).code == "unmatched_answer"


def test_a_denied_call_on_a_websocket_is_swapped_for_a_ping() -> None:
    judge = make_judge()
    socket_opened(judge)
    assert stopped(judge, frame(tool("rm", 1), 0, from_client=True))["method"] == "ping"
    swapped = passed(judge, frame(result({}, 1), 1, from_client=False))
    assert swapped["result"]["isError"] is True


def test_nothing_waits_on_a_websocket() -> None:
    judge = make_judge()
    socket_opened(judge)
    outcome = decide(judge, frame(tool("push", 1), 0, from_client=True))
    assert (outcome.verdict, outcome.rule) == (DENIED, "pushes")
    assert "ask is deny" in outcome.reason


@pytest.mark.parametrize(
    ("data", "code", "rule"),
    [(b"\x00", "binary_message", "binary_message"), ("{", "parse_error", "not_json"),
     ("hello", "parse_error", "parse_error")],
)  # fmt: skip
@pytest.mark.parametrize("from_client", [True, False], ids=["client", "server"])
def test_what_is_no_message_is_stopped_in_both_directions(
    data: str | bytes, code: str, rule: str, from_client: bool
) -> None:
    judge = make_judge()
    socket_opened(judge)
    outcome = decide(judge, frame(data, 0, from_client=from_client))
    assert (outcome.verdict, outcome.code, outcome.rule) == (DENIED, code, rule)


def test_a_websocket_of_an_unknown_server_is_asked_about() -> None:
    outcome = socket_opened(make_judge(), "new.example")
    assert (outcome.verdict, outcome.code) == (ASKED, "unknown_server")


@pytest.mark.parametrize(
    "headers",
    [(*SOCKET[:1], ("upgrade", "h2c"), *SOCKET[1:]),
     tuple(("upgrade", "h2c") if h[0] == "upgrade" else h for h in SOCKET)],
    ids=["two upgrades", "h2c"],
)  # fmt: skip
def test_other_upgrades_of_unknown_hosts_are_refused(headers: Headers) -> None:
    outcome = decide(make_judge(), request("GET", "new.example", headers=headers))
    assert (outcome.verdict, outcome.code) == (DENIED, "upgrade_refused")
