"""How a call ends whose answer had begun: too late, left, failed, stopped, in any HTTP."""

from __future__ import annotations

import json
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from desk import Desk
from early_calls import ACCEPT, POLICY, RESULT, SIGN, Quick, Talk, beginner, call, http_answer
from harness import MCP_NAME, Gate, InProcess, Web
from http2_client import Http2Client, open_tls

from mitmgate.mitm.gate import Gate as GateAddon


@pytest.fixture
def start(run_proxy: Callable[..., InProcess], web: Web) -> Iterator[Callable[..., Talk]]:
    """Make a call that waits; its answer has begun when this returns."""
    with ExitStack() as stack:
        yield beginner(stack, run_proxy, web)


def test_a_server_that_cannot_be_reached_is_told_as_an_event(start: Callable[..., Talk]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        policy = POLICY.replace("MCP_PORT", str(taken.getsockname()[1]))
        talk = start(policy=policy, port=taken.getsockname()[1])
        talk.desk.decide(talk.desk.waiting(), "allow")
        message = talk.message()
    assert (message["id"], message["result"]["isError"]) == ("c1", True)
    assert "cannot be reached" in message["result"]["content"][0]["text"]


def test_a_server_that_breaks_off_is_told_as_an_event(start: Callable[..., Talk]) -> None:
    talk = start()
    talk.web.answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nbroken\r\n\r\n"
    talk.desk.decide(talk.desk.waiting(), "allow")
    message = talk.message()
    assert (message["id"], message["result"]["isError"]) == ("c1", True)


def test_nobody_answers_in_the_time_of_the_rule(start: Callable[..., Talk]) -> None:
    talk = start(policy=POLICY.replace("10m", "2s").replace("30s", "1s"))
    entry = talk.desk.waiting()
    message = talk.message()
    assert message["result"]["content"][0]["text"] == (
        f"Approval pending ({entry['id']}): retry with the same arguments once it is approved."
    )
    assert talk.web.connections == 0
    assert [one["detached"] for one in talk.desk.listed()] == [True]


def test_a_client_that_leaves_takes_its_call_with_it(start: Callable[..., Talk]) -> None:
    talk = start()
    talk.until(2)
    with talk.desk.events() as events:
        entry = next(e["pending"] for e in events if e["type"] == "snapshot")[0]
        talk.client.close()
        gone = next(e["resolved"] for e in events if e["type"] == "resolved")
    assert (gone["id"], gone["via"]) == (entry["id"], "client_left")
    assert talk.desk.listed() == []
    assert talk.desk.decide(entry, "allow") == 409
    assert talk.web.connections == 0


def test_calls_in_one_connection_follow_each_other(start: Callable[..., Talk]) -> None:
    talk = start()
    talk.desk.decide(talk.desk.waiting(), "allow")
    assert talk.message() == RESULT
    with talk.client.stream("POST", talk.answer.url, json=call(), headers=ACCEPT) as again:
        talk.desk.decide(talk.desk.waiting(), "deny")
        assert json.loads(again.read().rpartition(b"data: ")[2])["result"]["isError"] is True
    assert len(talk.web.requests) == 1


class FailingTurn(Quick):
    """A gate that fails while it keeps a client waiting."""

    async def kept_turn(self, _flow: Any) -> None:
        raise RuntimeError("on purpose")


class LosingTurn(Quick):
    """A gate that forgets what it was asked."""

    async def kept_turn(self, _flow: Any) -> None:
        return


@pytest.mark.parametrize("gate", [FailingTurn, LosingTurn])
def test_a_failure_while_a_client_waits_ends_its_stream_and_lets_nothing_by(
    gate: type[GateAddon], start: Callable[..., Talk]
) -> None:
    talk = start(make_gate=gate)
    message = talk.message()
    assert message["error"]["message"].startswith("The server answered with HTTP 502")
    assert talk.desk.listed() == []  # nobody decides what can no longer run
    assert talk.web.connections == 0


class FailingAnswer(Quick):
    """A gate that fails at the answer of the server."""

    async def _judge_answer(self, _flow: Any, _track: Any) -> None:
        raise RuntimeError("on purpose")


def test_a_failure_at_the_answer_lets_nothing_by(start: Callable[..., Talk]) -> None:
    talk = start(make_gate=FailingAnswer)
    talk.desk.decide(talk.desk.waiting(), "allow")
    message = talk.message()
    assert message["error"]["code"] == -31000
    assert len(talk.web.requests) == 1


@pytest.mark.parametrize(
    ("tool", "accept"),
    [("save_note", "application/json"), ("send_note", ACCEPT["accept"])],
    ids=["its client takes no events", "no rule lets it wait longer"],
)
def test_a_call_that_does_not_wait_long_has_an_answer_as_ever(
    tool: str, accept: str, start: Callable[..., Talk], web: Web
) -> None:
    talk = start(policy=POLICY.replace("30s", "1s"))
    talk.desk.decide(talk.desk.waiting(), "allow")
    assert talk.message() == RESULT  # the control: this one was kept
    headers = {**ACCEPT, "accept": accept}
    answer = talk.client.post(talk.answer.url, json=call(tool), headers=headers)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["result"]["content"][0]["text"].startswith("Approval pending")
    assert len(web.requests) == 1


def test_a_proxy_that_stops_tells_who_waits(start_gate: Callable[..., Gate], web: Web) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", str(web.port)))
    trust = ssl.create_default_context(cafile=gate.ready["ca"])
    where, url = f"http://127.0.0.1:{gate.port}", f"https://{MCP_NAME}:{web.port}/mcp"
    with (
        httpx.Client(proxy=where, verify=trust, trust_env=False, timeout=20) as client,
        client.stream("POST", url, json=call(), headers=ACCEPT) as answer,
    ):
        pieces = answer.iter_raw()
        assert next(pieces) == SIGN
        gate.process.send_signal(signal.SIGINT)
        message = json.loads(b"".join(pieces).rpartition(b"data: ")[2])
    assert message["result"]["isError"] is True
    assert message["result"]["content"][0]["text"] == "The proxy is shutting down."
    assert gate.end()[1] == 0
    assert web.connections == 0


def test_a_client_of_http_1_0_reads_to_the_end(start: Callable[..., Talk]) -> None:
    talk = start()
    talk.desk.decide(talk.desk.waiting(), "allow")
    assert talk.message() == RESULT
    with talk.tunnel() as old:
        body = json.dumps(call()).encode()
        old.sendall(
            f"POST /mcp HTTP/1.0\r\nhost: {MCP_NAME}:{talk.web.port}\r\n"
            f"accept: {ACCEPT['accept']}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        talk.desk.decide(talk.desk.waiting(), "allow")
        head, _, text = b"".join(iter(lambda: old.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert json.loads(text.rpartition(b"data: ")[2]) == RESULT


def test_calls_on_one_http_2_connection_wait_each_for_itself(
    run_proxy: Callable[..., InProcess], web: Web
) -> None:
    web.answer = http_answer(json.dumps(RESULT).encode())
    gate = run_proxy(Quick, port_of_mcp=web.port, policy=POLICY, http2=True)
    running, authority = gate.running, f"{MCP_NAME}:{web.port}"
    desk = Desk(running.control, running.operator_key)
    with open_tls(running.listen, str(running.authority.cert_path), authority) as connection:
        client = Http2Client(connection)
        entries: list[dict[str, Any]] = []
        numbers: list[int] = []
        with desk.events() as events:
            for title in ("first", "second"):
                body = json.dumps(call(title=title) | {"id": title}).encode()
                numbers.append(
                    client.send(authority, "/mcp", *ACCEPT.items(), method="POST", body=body)
                )
                entries.append(next(e["pending"] for e in events if e["type"] == "held"))
        desk.decide(entries[1], "deny", "not the second")
        client.wait(numbers[1])
        assert not client.answers[numbers[0]].ended
        desk.decide(entries[0], "deny", "nor the first")
        client.wait(numbers[0])
    for number, title, why in zip(numbers, ("first", "second"), ("nor", "not"), strict=True):
        answer = client.answers[number]
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        message = json.loads(answer.body.rpartition(b"data: ")[2])
        assert message["id"] == title
        assert f"denied this: {why} the" in message["result"]["content"][0]["text"]
    assert web.connections == 0
