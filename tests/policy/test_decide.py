"""Decisions: precedence line by line, and what an agent may read of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.call import EgressCall
from mitmgate.policy.decide import Call, decide, decide_unknown, scan_effect
from mitmgate.policy.egress import connect_denied, decide_egress
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.load import Policy, load_policy
from mitmgate.policy.rules import RuleSet
from mitmgate.policy.trace import trace
from mitmgate.policy.verdict import Decision, Verdict

TEXT = """\
version: 1
network: {resolve: {demo.test: 127.0.0.1, far.test: 10.0.0.1}}
servers:
  github: {url: "https://api.githubcopilot.com/mcp/**"}
  fs: {url: "https://fs.example:9443/mcp"}
mcp:
  rules:
    - id: no-force-push
      tool: push_*
      where: {/arguments/force: {equals: true}}
      then: deny
      reason: Force pushes need a person at the keyboard.
    - id: both
      tool: merge
      where: {/arguments/a: {equals: 1}, /arguments/b: {equals: 2}}
      then: deny
    - {id: read-file, server: fs, tool: read_file, then: allow}
    - {id: no-fs-lists, server: fs, method: tools/list, then: deny}
    - {id: reads, server: [github], tool: [get_*, list_*], then: allow}
    - {id: prompts, method: prompts/get, tool: review, then: allow}
    - {id: fs-rest, server: fs, then: deny}
  otherwise: ask
egress:
  rules:
    - {id: no-writes, host: "*.example.org", methods: [POST], then: deny}
    - {id: docs, host: [docs.example.org, docs.python.org], methods: [GET, HEAD], then: allow}
    - {id: no-org, host: "*.example.org", then: deny, reason: Not this organisation.}
    - {id: no-fs, host: fs.example, then: deny}
    - {id: no-posts, host: late.example, methods: [POST], then: deny}
  otherwise: deny
"""
POLICY = load_policy(TEXT, file="p.yaml")


def tool_call(server: str | None, tool: str, **arguments: Any) -> Call:
    return Call("agent", server, "tools/call", tool, {"name": tool, "arguments": arguments})


CASES: dict[str, tuple[Call, Verdict, str]] = {
    "a rule without server is for every named server": (
        tool_call("fs", "push_it", force=True), Verdict.DENY, "no-force-push"),
    "the condition must hold": (
        tool_call("github", "push_it", force=False), Verdict.ASK, "otherwise"),
    "a missing argument does not match": (
        tool_call("github", "push_it"), Verdict.ASK, "otherwise"),
    "one is not true": (
        tool_call("github", "push_it", force=1), Verdict.ASK, "otherwise"),
    "all conditions must hold": (
        tool_call("github", "merge", a=1), Verdict.ASK, "otherwise"),
    "all conditions hold": (
        tool_call("github", "merge", a=1.0, b=2), Verdict.DENY, "both"),
    "first match wins, so the narrow rule comes first": (
        tool_call("fs", "read_file"), Verdict.ALLOW, "read-file"),
    "globs are case sensitive": (
        tool_call("github", "GET_me"), Verdict.ASK, "otherwise"),
    "a glob is the whole name": (
        tool_call("github", "forget_me"), Verdict.ASK, "otherwise"),
    "a rule of one server is not for another": (
        tool_call("github", "read_file"), Verdict.ASK, "otherwise"),
    "a rule without tool and method is for all but housekeeping": (
        Call("agent", "fs", "resources/read", "file:///x"), Verdict.DENY, "fs-rest"),
    "housekeeping passes": (
        Call("agent", "github", "initialize", housekeeping=True), Verdict.ALLOW, "housekeeping"),
    "housekeeping passes a rule for everything": (
        Call("agent", "fs", "ping", housekeeping=True), Verdict.ALLOW, "housekeeping"),
    "a rule with method may stop housekeeping": (
        Call("agent", "fs", "tools/list", housekeeping=True), Verdict.DENY, "no-fs-lists"),
    "a rule with tool is for tools/call only": (
        Call("agent", "github", "prompts/get", "get_x"), Verdict.ASK, "otherwise"),
    "a rule with method and tool is for that method": (
        Call("agent", "github", "prompts/get", "review"), Verdict.ALLOW, "prompts"),
    "a call without tool does not match a tool": (
        Call("agent", "github", "tools/call"), Verdict.ASK, "otherwise"),
    "a rule without server is never for an unknown one": (
        tool_call(None, "push_it", force=True), Verdict.ASK, "otherwise"),
    "housekeeping of an unknown server passes once it may be spoken to": (
        Call("agent", None, "initialize", housekeeping=True), Verdict.ALLOW, "housekeeping"),
    "a server that the policy does not know matches no named rule": (
        tool_call("other", "get_me"), Verdict.ASK, "otherwise"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "verdict", "rule"), CASES.values(), ids=CASES)
def test_calls(call: Call, verdict: Verdict, rule: str) -> None:
    decision = decide(POLICY, call)
    assert (decision.verdict, decision.rule) == (verdict, rule)
    built_in = {"otherwise": "otherwise", "housekeeping": "housekeeping"}
    assert decision.code == built_in.get(rule, "rule")
    steps = trace(POLICY, call)
    assert steps[-1].rule == rule
    assert [step.matched for step in steps] == [False] * (len(steps) - 1) + [True]


EGRESS = {
    "an allowed read": ("docs.example.org", "GET", Verdict.ALLOW, "docs"),
    "a method above decides first": ("docs.example.org", "POST", Verdict.DENY, "no-writes"),
    "a rule of other methods does not match": (
        "docs.python.org",
        "POST",
        Verdict.DENY,
        "otherwise",
    ),
    "methods are case sensitive": ("docs.python.org", "get", Verdict.DENY, "otherwise"),
    "a rule without methods is for all": ("x.example.org", "GET", Verdict.DENY, "no-org"),
    "no rule": ("evil.example", "GET", Verdict.DENY, "otherwise"),
}


@pytest.mark.parametrize(("host", "method", "verdict", "rule"), EGRESS.values(), ids=EGRESS)
def test_egress(host: str, method: str, verdict: Verdict, rule: str) -> None:
    decision = decide_egress(POLICY, EgressCall("agent", host, 443, method, "/"))
    assert (decision.verdict, decision.rule) == (verdict, rule)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_unknown_servers(verdict: Verdict) -> None:
    policy = dataclasses.replace(POLICY, unknown_servers=verdict)
    decision = decide_unknown(policy, "https://x.example/mcp")
    assert (decision.verdict, decision.rule, decision.code) == (
        verdict, "unknown_servers", "unknown_server")  # fmt: skip


CONNECT: dict[str, tuple[str, int, str | None]] = {
    "a host with no rule is decided later": ("evil.example", 443, None),
    "a host denied outright": ("x.example.org", 443, "no-org"),
    "a rule with methods does not deny outright": ("late.example", 443, None),
    "an earlier rule may allow the request": ("docs.example.org", 443, None),
    "a host of a server is not denied outright": ("fs.example", 443, None),
    "a web port": ("evil.example", 8080, None),
    "no web port": ("evil.example", 22, "connect_port"),
    "the port of a server": ("fs.example", 9443, None),
    "the port of a server at another host": ("evil.example", 9443, "connect_port"),
    "a static name on loopback": ("demo.test", 51234, None),
    "a static name elsewhere": ("far.test", 51234, "connect_port"),
}


@pytest.mark.parametrize(("host", "port", "rule"), CONNECT.values(), ids=CONNECT)
def test_connect(host: str, port: int, rule: str | None) -> None:
    decision = connect_denied(POLICY, host, port)
    assert (decision and decision.rule) == rule
    if decision is not None:
        assert decision.verdict is Verdict.DENY


def test_the_agent_reads_the_reason_of_the_rule() -> None:
    decision = decide(POLICY, tool_call("github", "push_it", force=True))
    assert decision.agent_reason == "Force pushes need a person at the keyboard."
    assert decision.reason.startswith("rule no-force-push: ")


def _told(policy: Policy) -> list[Decision]:
    return [
        *(decide(policy, call) for call, _, _ in CASES.values()),
        *(
            decide_egress(policy, EgressCall("agent", host, 443, method, "/"))
            for host, method, _, _ in EGRESS.values()
        ),
        decide_unknown(policy, "https://x.example/mcp"),
    ]


def test_the_agent_learns_nothing_else_of_the_policy() -> None:
    hidden = ["push_", "get_", "example", "github", "fs", "/arguments", "docs", "p.yaml", "rule "]
    for decision in _told(POLICY):
        assert decision.agent_reason
        assert not [text for text in hidden if text in decision.agent_reason]


class _Broken(GlobSet):
    def matches(self, name: str) -> bool:
        raise RuntimeError(name)


def test_a_bug_while_deciding_denies() -> None:
    rule = dataclasses.replace(POLICY.mcp_rules[0], tools=_Broken(frozenset({"secret-name"}), ()))
    egress = dataclasses.replace(POLICY.egress_rules[0], hosts=None)  # type: ignore[arg-type]
    broken = dataclasses.replace(POLICY, calls=RuleSet([rule]), egress_rules=(egress,))
    decisions = [
        decide(broken, tool_call("github", "secret-name")),
        decide_egress(broken, EgressCall("agent", "a.example", 443, "GET", "/")),
        connect_denied(broken, "a.example", 443),
    ]
    for decision in decisions:
        assert decision is not None
        assert (decision.verdict, decision.code) == (Verdict.DENY, "policy_error")
        assert "secret-name" not in decision.reason


def test_scan_effects() -> None:
    assert scan_effect(POLICY, "secrets", "results") == "redact"
    assert scan_effect(POLICY, "injection", "egress_response") == "ask"
    assert scan_effect(POLICY, "unheard-of", "results") == "deny"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.sampled_from([None, "github", "fs", "x"]),
    st.text() | st.sampled_from(["tools/call", "tools/list"]),
    st.none() | st.text() | st.sampled_from(["push_it", "merge"]),
    st.none() | st.dictionaries(st.text() | st.just("arguments"), _JSON),
    st.booleans(),
)
def test_every_call_gets_a_decision(
    server: str | None, method: str, tool: str | None, params: Any, housekeeping: bool
) -> None:
    call = Call("agent", server, method, tool, params, housekeeping)
    decision = decide(POLICY, call)
    assert decision.code != "policy_error"
    assert trace(POLICY, call)[-1].rule == decision.rule
    assert decide(POLICY, call) == decision
