"""What an operator said before: what it opens, what it never opens, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from judging import (
    JSON,
    KEY,
    POLICY,
    call,
    make_judge,
    message,
    modern_call,
    post,
    request,
    scanner,
    with_scan,
)

from mitmgate.hold.grants import Grant, Said, Scope
from mitmgate.hold.target import On, Target
from mitmgate.judge.fingerprint import target_of
from mitmgate.judge.inputs import Input, MessageInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.policy.load import load_policy

type Answer = Literal["allow", "deny"]
PASTE = request("POST", "paste.example", "/a/b", b"x")


def at(judge: Judge, given: Input, *, steady: float = 0.0) -> Outcome:
    outcome = judge.conclude(judge.prepare(given), now=1e9, steady=steady)
    assert outcome is not None
    return outcome


def target(judge: Judge, given: RequestInput) -> Target:
    prepared = judge.prepare(given)
    assert isinstance(prepared, PreparedRequest)
    judge.conclude(prepared, now=0.0)
    exchange = judge.memory.get(given.exchange)
    assert exchange is not None
    found = target_of(exchange, prepared)
    assert found is not None
    return found


def said(
    judge: Judge, given: RequestInput, answer: Answer, scope: Scope, until: float | None = None
) -> Grant:
    told = Said(answer, scope, "x.0", "eva", until)
    return judge.memory.grants.add(target(judge, given), told, now=0.0)


def word(outcome: Outcome) -> tuple[str, str]:
    return outcome.verdict.word, outcome.code


def test_an_approval_turns_an_ask_into_an_allow_and_names_who_gave_it() -> None:
    judge = make_judge()
    assert word(at(judge, call("push"))) == ("ask", "rule")
    grant = said(judge, call("push"), "allow", Scope("tool"))
    outcome = at(judge, call("push", {"a": 1}))
    assert word(outcome) == ("allow", "remembered")
    assert (outcome.rule, outcome.grant) == ("remembered", grant.id)
    assert outcome.reason == "eva approved this tool before (g1); rule pushes says ask"


STILL_STOPPED: dict[str, tuple[RequestInput, tuple[str, str]]] = {
    "what a rule denies": (call("push", {"force": True}), ("deny", "rule")),
    "another tool": (call("rm"), ("deny", "otherwise")),
    "another agent": (call("push", agent="other"), ("ask", "rule")),
    "a host that is denied": (request("POST", "evil.example", "/"), ("deny", "otherwise")),
}


@pytest.mark.parametrize(("given", "expected"), STILL_STOPPED.values(), ids=STILL_STOPPED)
def test_an_approval_does_not_open(given: RequestInput, expected: tuple[str, str]) -> None:
    judge = make_judge()
    said(judge, call("push"), "allow", Scope("tool"))
    said(judge, PASTE, "allow", Scope("host"))
    assert word(at(judge, given)) == expected


def test_an_approval_of_a_server_opens_nothing_that_a_rule_denies() -> None:
    judge = make_judge()
    said(judge, call("push"), "allow", Scope("server"))
    assert word(at(judge, call("push", {"force": True}))) == ("deny", "rule")
    assert word(at(judge, call("rm"))) == ("deny", "otherwise")
    assert word(at(judge, call("push"))) == ("allow", "remembered")


def test_a_finding_counts_after_an_approval() -> None:
    judge = make_judge(with_scan("{secrets: {arguments: deny}}"))
    said(judge, call("push"), "allow", Scope("tool"))
    outcome = at(judge, call("push", {"text": KEY}))
    assert (word(outcome), outcome.grant) == (("deny", "finding"), None)


def test_an_approval_never_passes_an_ask_of_the_locked_layer(tmp_path: Path) -> None:
    floor = tmp_path / "locked.yaml"
    floor.write_text("version: 1\nmcp:\n  rules:\n    - {id: floor, server: files, tool: push, "
                     "then: ask}\negress:\n  rules:\n    - {id: floor-paste, host: paste.example, "
                     "then: ask}\n")  # fmt: skip
    judge = Judge(load_policy(POLICY, file="p.yaml", locked=floor), scanner())
    for given, scope in ((call("push"), Scope("tool")), (PASTE, Scope("host"))):
        said(judge, given, "allow", scope)
        assert word(at(judge, given)) == ("ask", "locked")
        said(judge, given, "deny", scope)
        assert word(at(judge, given)) == ("deny", "remembered")


def test_a_live_answer_does_pass_an_ask_of_the_locked_layer(tmp_path: Path) -> None:
    floor = tmp_path / "locked.yaml"
    floor.write_text("version: 1\nmcp:\n  rules:\n    - {id: floor, server: files, tool: push, "
                     "then: ask}\n")  # fmt: skip
    judge = Judge(load_policy(POLICY, file="p.yaml", locked=floor), scanner())
    known = target(judge, call("push"))
    judge.memory.tickets.mint("agent", str(known.call), now=0.0)
    assert word(at(judge, call("push"))) == ("allow", "ticket")


DENIED: dict[str, tuple[RequestInput, Scope, RequestInput]] = {
    "an allowed call": (call("get_x", {"a": 1}), Scope("call"), call("get_x", {"a": 1})),
    "an allowed tool": (call("get_x"), Scope("tool"), call("get_x", {"b": 2})),
    "an allowed server": (call("get_x"), Scope("server"), call("get_y")),
    "an allowed call in a batch": (
        call("get_x", {"a": 1}), Scope("call"),
        post([message("tools/call", {"name": "get_x", "arguments": {"a": 1}})])),
    "a call of the modern era": (modern_call("get_x"), Scope("tool"), modern_call("get_x")),
    "an allowed page": (
        request("GET", "docs.example", "/a/b"), Scope("prefix", prefix="/a"),
        request("GET", "docs.example", "/a/c")),
    "an allowed page by an odd path": (
        request("GET", "docs.example", "/a/b"), Scope("prefix", prefix="/a"),
        request("GET", "docs.example", "/x/../a/c")),
    "an allowed host": (
        request("GET", "docs.example", "/a"), Scope("host"),
        request("PUT", "docs.example", "/z")),
}  # fmt: skip


@pytest.mark.parametrize(("made_for", "scope", "given"), DENIED.values(), ids=DENIED)
def test_a_denial_holds_against_an_allow(
    made_for: RequestInput, scope: Scope, given: RequestInput
) -> None:
    judge = make_judge()
    assert at(judge, given).verdict.word == "allow"
    said(judge, made_for, "deny", scope)
    outcome = at(judge, given)
    assert outcome.verdict.word == "deny"
    assert "eva denied" in outcome.reason
    assert "The operator denied this." in outcome.agent_reason


def test_a_denied_server_still_keeps_its_session_alive() -> None:
    judge = make_judge()
    said(judge, call("get_x"), "deny", Scope("server"))
    assert word(at(judge, post(message("ping")))) == ("allow", "housekeeping")
    assert word(at(judge, call("get_x"))) == ("deny", "remembered")


def test_a_denial_holds_on_a_websocket_too() -> None:
    judge = make_judge()
    upgrade = (("upgrade", "websocket"), ("sec-websocket-key", "x"))
    opening = request("GET", headers=(*upgrade, ("sec-websocket-protocol", "mcp")), exchange="w")
    assert at(judge, opening).verdict.word == "allow"
    body = call("get_x").body.decode()
    assert at(judge, MessageInput("w", 0, True, body)).verdict.word == "allow"
    said(judge, call("get_x"), "deny", Scope("call"))
    other = call("get_x", number=2).body.decode()
    assert word(at(judge, MessageInput("w", 1, True, other))) == ("deny", "remembered")


def test_an_approved_websocket_carries_messages() -> None:
    rules = (
        "egress:\n  rules:\n",
        ("egress:\n  rules:\n    - {id: asked, host: asked.example, then: ask, websocket: text}\n"),
    )
    judge = make_judge(rules)
    headers = (("upgrade", "websocket"), ("sec-websocket-key", "x"))
    opening = request("GET", "asked.example", "/live", headers=headers)
    said(judge, opening, "allow", Scope("host"))
    assert word(at(judge, opening)) == ("allow", "remembered")
    judge.conclude(judge.prepare(MessageInput("x", 0, True, "hello")), now=1e9)
    assert at(judge, MessageInput("x", 1, True, "hello again")).verdict.word == "allow"


def test_an_answer_for_a_time_ends_by_the_clock_that_nobody_sets() -> None:
    judge = make_judge()
    said(judge, call("push"), "allow", Scope("tool"), until=900.0)
    assert word(at(judge, call("push"), steady=899.0)) == ("allow", "remembered")
    assert word(at(judge, call("push"), steady=900.0)) == ("ask", "rule")


def test_an_answer_for_a_session_ends_with_it() -> None:
    judge = make_judge()

    def inside(session: str) -> RequestInput:
        params = {"name": "push", "arguments": {}}
        return post(message("tools/call", params), headers=(*JSON, ("mcp-session-id", session)))

    known = target(judge, inside("one"))
    told = Said("allow", Scope("tool", session=known.session), "x.0")
    judge.memory.grants.add(known, told, now=0.0)
    assert word(at(judge, inside("one"))) == ("allow", "remembered")
    assert word(at(judge, inside("two"))) == ("ask", "rule")
    assert word(at(judge, call("push"))) == ("ask", "rule")


def test_shadow_enforces_no_remembered_denial() -> None:
    judge = make_judge(shadow=True)
    said(judge, call("get_x"), "deny", Scope("tool"))
    outcome = at(judge, call("get_x"))
    assert (word(outcome), outcome.effective.word) == (("deny", "remembered"), "allow")


def test_a_ticket_is_used_by_nothing_that_passes_or_is_denied_anyway() -> None:
    judge = make_judge()
    for given in (call("get_x"), call("push", {"force": True})):
        known = target(judge, given)
        judge.memory.tickets.mint("agent", str(known.call), now=0.0)
        assert at(judge, given).code == "rule"
    assert len(judge.memory.tickets) == 2


def test_a_ticket_passes_a_finding_that_asks_since_a_person_saw_it() -> None:
    judge = make_judge(with_scan("{secrets: {arguments: ask}}"))
    given = call("get_x", {"text": KEY})
    assert word(at(judge, given)) == ("ask", "finding")
    known = target(judge, given)
    judge.memory.tickets.mint("agent", str(known.call), now=0.0)
    outcome = at(judge, given)
    assert word(outcome) == ("allow", "ticket")
    assert word(at(judge, given)) == ("ask", "finding")


@dataclass
class Told:
    """What the model of the machine below thinks that counts."""

    answer: Answer
    agent: str
    on: On
    value: int
    until: float | None


class Remembering(RuleBasedStateMachine):
    """Drive a judge with calls, answers, tickets, undo and time; a plain model says what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.judge = make_judge()
        self.now = 0.0
        self.told: dict[str, Told] = {}
        self.tickets: list[tuple[str, str, int, float]] = []
        self.number = 0

    def given(self, agent: str, value: int) -> RequestInput:
        self.number += 1
        return call("push", {"v": value}, agent=agent, exchange=f"e{self.number}",
                    number=self.number)  # fmt: skip

    def known(self, agent: str, value: int) -> Target:
        judge = make_judge()
        return target(judge, self.given(agent, value))

    @rule(
        answer=st.sampled_from(["allow", "deny"]),
        agent=st.sampled_from("ab"),
        on=st.sampled_from(["call", "values", "tool", "server"]),
        value=st.integers(0, 2),
        lasts=st.sampled_from([None, 10.0, 50.0]),
    )
    def say(self, answer: Answer, agent: str, on: On, value: int, lasts: float | None) -> None:
        until = None if lasts is None else self.now + lasts
        scope = Scope(on, ("v",) if on == "values" else ())
        made = self.judge.memory.grants.add(
            self.known(agent, value), Said(answer, scope, "x.0", None, until), now=self.now
        )
        same = (agent, on, value if on in ("call", "values") else None)
        for key, one in tuple(self.told.items()):
            if (one.agent, one.on, one.value if on in ("call", "values") else None) == same:
                del self.told[key]
        self.told[made.id] = Told(answer, agent, on, value, until)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.told)))
        late = self.told[key].until
        revoked = self.judge.memory.grants.revoke(key)
        assert revoked is not None or (late is not None and late <= self.now)
        del self.told[key]

    @rule(agent=st.sampled_from("ab"), value=st.integers(0, 2))
    def mint(self, agent: str, value: int) -> None:
        call_hash = str(self.known(agent, value).call)
        ticket = self.judge.memory.tickets.mint(agent, call_hash, now=self.now)
        self.tickets.append((ticket.id, agent, value, self.now + 600.0))

    @rule(passed=st.sampled_from([1.0, 10.0, 100.0, 600.0]))
    def wait(self, passed: float) -> None:
        self.now += passed

    @rule(agent=st.sampled_from("ab"), value=st.integers(0, 2))
    def call(self, agent: str, value: int) -> None:
        outcome = at(self.judge, self.given(agent, value), steady=self.now)
        answers = {
            one.answer
            for one in self.told.values()
            if one.agent == agent
            and (one.until is None or one.until > self.now)
            and (one.on in ("tool", "server") or one.value == value)
        }
        mine = [t for t in self.tickets if t[1:3] == (agent, value) and t[3] > self.now]
        if "deny" in answers:
            assert word(outcome) == ("deny", "remembered")
        elif "allow" in answers:
            assert word(outcome) == ("allow", "remembered")
        elif mine:
            assert (word(outcome), outcome.grant) == (("allow", "ticket"), mine[0][0])
            self.tickets.remove(mine[0])
        else:
            assert word(outcome) == ("ask", "rule")


TestRemembering = Remembering.TestCase
