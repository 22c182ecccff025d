"""Agent2Agent: ruled by its own name, scanned, and its cards pinned."""

from __future__ import annotations

import json
from typing import Any

import pytest
from judging import (
    INJECTION,
    KEY,
    answer,
    decide,
    event,
    make_judge,
    message,
    post,
    request,
    settled,
)

from mitmgate.judge.judge import Judge
from mitmgate.wire.surfaces import Surface

HOST = "agent.example"
OPEN = (
    "- {id: model",
    "- {id: agents, host: agent.example, protocol: a2a, then: allow}\n    - {id: model",
)
PLAIN = (
    "- {id: model",
    "- {id: web, host: agent.example, protocol: http, then: allow}\n    - {id: model",
)
SENT = {"message": {"role": "user", "messageId": "1", "parts": [{"kind": "text", "text": "hi"}]}}
CARD: dict[str, Any] = {
    "name": "helper", "description": "Helps.", "url": f"https://{HOST}/a2a", "version": "1",
    "capabilities": {}, "skills": [{"id": "s", "name": "s", "description": "Does it."}],
}  # fmt: skip
PATH = "/.well-known/agent-card.json"


def sending(method: str = "message/send", params: Any = SENT, **rest: Any) -> Any:
    return post(message(method, params), HOST, target="/a2a", **rest)


A2A: dict[str, tuple[Any, str]] = {
    "JSON-RPC 0.3": (sending(), "message/send"),
    "JSON-RPC 1.0": (sending("SendMessage"), "SendMessage"),
    "REST": (post(SENT, HOST, target="/v1/message:send"), "message:send"),
    "a card": (request("GET", HOST, PATH, headers=()), "agent-card"),
}


@pytest.mark.parametrize(("given", "tool"), A2A.values(), ids=A2A)
def test_a_rule_may_be_for_it_alone(given: Any, tool: str) -> None:
    outcome = decide(make_judge(OPEN), given)
    assert (outcome.verdict.word, outcome.rule) == ("allow", "agents")
    subject = outcome.subject
    assert (subject.channel, subject.protocol, subject.tool) == ("egress", "a2a", tool)
    assert decide(make_judge(PLAIN), given).rule == "otherwise"


DENIED = (
    "- {id: model",
    "- {id: none, host: agent.example, protocol: a2a, then: deny}\n"
    "    - {id: web, host: agent.example, then: allow}\n    - {id: model",
)
SPELLED: dict[str, Any] = {
    "an escape": post(SENT, HOST, target="/v1/message%3Asend"),
    "a slash at its end": post(SENT, HOST, target="/v1/message:send/"),
    "where to tell of a task": post(SENT, HOST, target="/v1/tasks/1/pushNotificationConfigs"),
    "a batch": post([message("x/y", {}), message("message/send", SENT)], HOST, target="/a2a"),
}


@pytest.mark.parametrize("given", SPELLED.values(), ids=SPELLED)
def test_a_denial_holds_for_each_spelling(given: Any) -> None:
    outcome = decide(make_judge(DENIED), given)
    assert (outcome.verdict.word, outcome.rule) == ("deny", "none")


def test_other_traffic_to_the_same_host_is_not_let_through_by_it() -> None:
    page = request("GET", HOST, "/", headers=())
    assert decide(make_judge(OPEN), page).rule == "otherwise"
    plain = decide(make_judge(PLAIN), page)
    assert (plain.rule, plain.subject.protocol) == ("web", None)


def test_its_texts_are_scanned_where_they_stand() -> None:
    params = {"message": {"parts": [{"kind": "text", "text": f"use {KEY}"}]}}
    outcome = decide(make_judge(OPEN), sending(params=params))
    assert (outcome.verdict.word, outcome.rule) == ("deny", "scan.secrets")
    assert outcome.findings[0].pointer == "/params/message/parts/0/text"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "event"])
def test_its_answers_are_scanned_where_they_stand(stream: bool) -> None:
    judge = make_judge(OPEN)
    decide(judge, sending())
    value = {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {"kind": "message", "parts": [{"text": INJECTION}]},
    }
    outcome = decide(judge, event(value) if stream else answer(value))
    assert outcome.verdict.word == "ask"
    assert {f.pointer for f in outcome.findings} == {"/result/parts/0/text"}


# Cards


def fetched(
    judge: Judge, card: Any, *, agent: str = "agent", target: str = PATH, **more: Any
) -> Any:
    decide(judge, request("GET", HOST, target, headers=(), agent=agent))
    return decide(judge, answer(card, **more))


def test_a_card_is_a_definition() -> None:
    poisoned = {**CARD, "description": INJECTION}
    outcome = fetched(make_judge(OPEN), poisoned)
    assert (outcome.verdict.word, outcome.code) == ("deny", "finding")
    assert {f.surface for f in outcome.findings} == {Surface.DEFINITIONS}


def test_the_first_card_is_kept_and_another_one_asks() -> None:
    judge = make_judge(OPEN)
    assert fetched(judge, CARD).verdict.word == "allow"
    assert fetched(judge, dict(reversed(CARD.items()))).verdict.word == "allow"
    changed = {**CARD, "url": "https://elsewhere.example/"}
    asked = fetched(judge, changed, agent="another")
    assert (asked.verdict.word, asked.rule, asked.code) == ("ask", "agent_card", "card_changed")
    assert asked.severity == "high"
    assert fetched(judge, CARD).verdict.word == "allow"


def test_an_approval_keeps_the_new_card_and_the_old_one_asks_then() -> None:
    judge = make_judge(OPEN)
    changed = {**CARD, "version": "2"}
    fetched(judge, CARD)
    fetched(judge, changed)
    assert settled(judge, answer(changed), "allow").verdict.word == "allow"
    assert fetched(judge, changed).verdict.word == "allow"
    assert fetched(judge, CARD).code == "card_changed"


def test_a_denial_is_remembered_and_the_old_card_goes_on() -> None:
    judge = make_judge(OPEN)
    changed = {**CARD, "version": "2"}
    fetched(judge, CARD)
    fetched(judge, changed)
    assert settled(judge, answer(changed), "deny").verdict.word == "deny"
    assert fetched(judge, changed).verdict.word == "deny"
    assert fetched(judge, CARD).verdict.word == "allow"


def test_an_extended_card_is_kept_for_each_agent() -> None:
    judge, extended = make_judge(OPEN), {**CARD, "version": "x"}
    fetched(judge, CARD)
    for agent, card in (("one", CARD), ("two", extended)):
        assert (
            fetched(judge, card, agent=agent, target="/extendedAgentCard").verdict.word == "allow"
        )
    again = fetched(judge, extended, agent="one", target="/extendedAgentCard")
    assert again.code == "card_changed"


def test_a_card_that_was_refused_is_not_kept() -> None:
    judge = make_judge(OPEN)
    fetched(judge, {**CARD, "description": INJECTION})
    assert fetched(judge, CARD).verdict.word == "allow"
    assert judge.inventory.cards.all()[0][0] == f"https://{HOST}{PATH}"


def test_a_card_that_can_be_read_in_two_ways_is_refused() -> None:
    judge = make_judge(OPEN)
    twice = b'{"name": "a", "name": "b", "skills": [], "url": "x", "capabilities": {}}'
    outcome = fetched(judge, twice)
    assert (outcome.verdict.word, outcome.code) == ("deny", "parse_error")
    assert fetched(judge, b"<html>Not found</html>").verdict.word == "allow"


CHANGED = {**CARD, "url": "https://elsewhere.example/"}
UNTYPED = {"headers": (("content-type", "application/octet-stream"),)}
OTHERWISE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "another status": (CHANGED, {"status": 203}, "card_changed"),
    "without a member": (
        {key: value for key, value in CHANGED.items() if key != "capabilities"}, {},
        "card_changed"),
    "at an escaped path": (
        CHANGED, {"target": "/.well-known/agent%2Dcard.json"}, "card_changed"),
    "in capitals": (CHANGED, {"target": "/.well-known/Agent-Card.json"}, "card_changed"),
    "as no text": (CHANGED, UNTYPED, "parse_error"),
    "as no JSON": (b"// a card\n" + json.dumps(CHANGED).encode(), {}, "parse_error"),
    "in UTF-16": (json.dumps(CHANGED).encode("utf-16"), {}, "parse_error"),
}  # fmt: skip


@pytest.mark.parametrize(("card", "how", "code"), OTHERWISE.values(), ids=OTHERWISE)
def test_another_card_is_seen_however_it_is_served(
    card: Any, how: dict[str, Any], code: str
) -> None:
    judge = make_judge(OPEN)
    assert fetched(judge, CARD).verdict.word == "allow"
    assert fetched(judge, card, **how).code == code


@pytest.mark.parametrize("how", [{"status": 404}, {"status": 404, **UNTYPED}])
def test_what_says_that_there_is_no_card_passes(how: dict[str, Any]) -> None:
    assert fetched(make_judge(OPEN), {"error": "not found"}, **how).verdict.word == "allow"


def test_a_card_is_no_stream_of_events() -> None:
    judge = make_judge(OPEN)
    decide(judge, request("GET", HOST, PATH, headers=()))
    assert decide(judge, event(CARD)).code == "parse_error"


def test_a_card_without_its_members_is_a_definition_too() -> None:
    outcome = fetched(make_judge(OPEN), {"name": "x", "about": INJECTION})
    assert {f.surface for f in outcome.findings} == {Surface.DEFINITIONS}


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "batch"])
def test_a_card_that_a_method_gave_is_kept(batch: bool) -> None:
    judge = make_judge(OPEN)

    def told(card: Any, number: int) -> Any:
        asked = message("GetExtendedAgentCard", {}, number=number)
        sent = [message("message/send", SENT, number=0), asked] if batch else asked
        given: Any = {"jsonrpc": "2.0", "id": number, "result": card}
        decide(judge, post(sent, HOST, target="/a2a"))
        return decide(judge, answer([given] if batch else given))

    assert told(CARD, 1).verdict.word == "allow"
    assert told(CARD, 2).verdict.word == "allow"
    assert told({"name": "x"}, 3).code == "card_changed"
