"""Calls that wait longer than their clients do: the answer begins, and the client waits on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from early_calls import ACCEPT, INJECTED, RESULT, SIGN, Talk, beginner, call, http_answer
from harness import InProcess, Web


@pytest.fixture
def start(run_proxy: Callable[..., InProcess], web: Web) -> Iterator[Callable[..., Talk]]:
    """Make a call that waits; its answer has begun when this returns."""
    with ExitStack() as stack:
        yield beginner(stack, run_proxy, web)


def test_the_client_hears_at_once_that_its_call_waits(start: Callable[..., Talk]) -> None:
    talk = start()
    assert (talk.answer.status_code, talk.answer.headers["content-type"]) == (
        200, "text/event-stream",
    )  # fmt: skip
    assert talk.until(3) == 3 * SIGN
    entry = talk.desk.waiting()
    assert 595 < entry["deadline"] - entry["since"] < 605
    assert talk.web.connections == 0
    talk.desk.decide(entry, "allow")
    assert talk.message() == RESULT


def test_an_approved_call_runs_once_and_its_json_is_one_event(start: Callable[..., Talk]) -> None:
    talk = start()
    assert talk.web.requests == []
    talk.desk.decide(talk.desk.waiting(), "allow")
    assert talk.message() == RESULT
    [request] = talk.web.requests
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == call()


def test_a_denied_call_gets_its_denial_and_the_connection_goes_on(
    start: Callable[..., Talk],
) -> None:
    talk = start()
    talk.desk.decide(talk.desk.waiting(), "deny", "not today")
    message = talk.message()
    assert (message["id"], message["result"]["isError"]) == ("c1", True)
    assert message["result"]["content"][0]["text"] == "The operator denied this: not today"
    assert talk.web.connections == 0
    again = talk.client.post(talk.answer.url, json=call("read_note"), headers=ACCEPT)
    assert again.json() == RESULT
    assert len(talk.web.requests) == 1


def test_a_call_that_asked_for_progress_gets_some_until_it_is_decided(
    start: Callable[..., Talk],
) -> None:
    talk = start(call(token="p7"))
    text = talk.until(3)
    talk.desk.decide(talk.desk.waiting(), "allow")
    events = (text + talk.rest()).replace(SIGN, b"").split(b"\n\n")
    *notes, last = [json.loads(e.partition(b"data: ")[2]) for e in events if e]
    assert last == RESULT
    assert {note["method"] for note in notes} == {"notifications/progress"}
    assert {note["params"]["progressToken"] for note in notes} == {"p7"}
    told = [note["params"]["progress"] for note in notes]
    assert (len(told) >= 3, told) == (True, sorted(set(told)))
    assert told[-1] < 1


def stream(*messages: dict[str, Any], mark: bytes = b"") -> bytes:
    return mark + b"".join(f"id: 5\r\ndata: {json.dumps(m)}\r\n\r\n".encode() for m in messages)


PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress",
            "params": {"progressToken": "x", "progress": 1}}  # fmt: skip


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "behind a mark"])
def test_the_events_of_the_server_go_on_as_they_came(
    mark: bytes, start: Callable[..., Talk]
) -> None:
    talk = start()
    talk.web.answer = http_answer(stream(PROGRESS, RESULT, mark=mark), b"text/event-stream")
    talk.desk.decide(talk.desk.waiting(), "allow")
    assert talk.rest() == stream(PROGRESS, RESULT)


@pytest.mark.parametrize("kind", [b"text/event-stream", b"application/json"])
def test_what_the_server_answers_is_judged(kind: bytes, start: Callable[..., Talk]) -> None:
    talk = start(injection="deny")
    bad = {**RESULT, "result": {"content": [{"type": "text", "text": INJECTED}]}}
    body = stream(PROGRESS, bad) if b"event" in kind else json.dumps(bad).encode()
    talk.web.answer = http_answer(body, kind)
    talk.desk.decide(talk.desk.waiting(), "allow")
    text = talk.rest()
    assert b"Ignore" not in text
    message = json.loads(text.rpartition(b"data: ")[2])
    assert (message["id"], message["result"]["isError"]) == ("c1", True)
    assert message["result"]["content"][0]["text"].startswith("The tool has run; its result was")


FAILURE = {"jsonrpc": "2.0", "id": "c1", "error": {"code": -32602, "message": "no such tool"}}
ANSWERS = {
    "an error with the call's id": (http_answer(json.dumps(FAILURE).encode()), FAILURE["error"]),
    "such an error under status 400": (
        http_answer(json.dumps(FAILURE).encode(), status=b"400 Bad Request"), FAILURE["error"]),
    "401": (http_answer(b"", status=b"401 Unauthorized"), "HTTP 401 (Unauthorized)"),
    "a page": (http_answer(b"<p>hello", b"text/html"), "HTTP 200 (OK)"),
    "500 with JSON of its own": (
        http_answer(b'{"oops": 1}', status=b"500 Internal Server Error"),
        "HTTP 500 (Internal Server Error)"),
    "a redirect": (http_answer(b"", status=b"307 Temporary Redirect"), "HTTP 307"),
    "a status that nobody knows": (http_answer(b"{}", status=b"599 What"), "HTTP 599 and no"),
}  # fmt: skip


@pytest.mark.parametrize("came", ANSWERS.values(), ids=list(ANSWERS))
def test_an_answer_that_is_no_result_is_an_error(
    came: tuple[bytes, Any], start: Callable[..., Talk]
) -> None:
    talk = start()
    talk.web.answer, wanted = came
    talk.desk.decide(talk.desk.waiting(), "allow")
    message = talk.message()
    assert (message["id"], "result" in message) == ("c1", False)
    if isinstance(wanted, str):
        assert message["error"]["code"] == -31000
        assert wanted in message["error"]["message"]
    else:
        assert message["error"] == wanted
    assert len(talk.web.requests) == 1


def test_json_of_several_lines_is_one_event(start: Callable[..., Talk]) -> None:
    talk = start()
    talk.web.answer = http_answer(json.dumps(RESULT, indent=1).replace("\n", "\r\n").encode())
    talk.desk.decide(talk.desk.waiting(), "allow")
    lines = talk.rest().decode().strip().split("\n")
    assert lines[0] == "event: message"
    assert all(line.startswith("data: ") for line in lines[1:])
    assert json.loads("\n".join(line.removeprefix("data: ") for line in lines[1:])) == RESULT
