"""Decisions on calls without their arguments: what really is decided is among the possible ones."""

from __future__ import annotations

import dataclasses
import random
import runpy
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.decide import decide, decide_result
from mitmgate.policy.egress import decide_egress
from mitmgate.policy.load import load_policy
from mitmgate.policy.unsure import (
    KeptCall,
    KeptRequest,
    egress_decision_on,
    explore,
    possible,
    result_decision_on,
)
from mitmgate.policy.verdict import Decision, Verdict

# Random policies and calls are made as they are where loosening is tested.
MADE = runpy.run_path(str(Path(__file__).with_name("test_loosening_soundness.py")))
built, some_files = MADE["built"], MADE["some_files"]
some_call, some_request = MADE["some_call"], MADE["some_request"]

type Said = tuple[Verdict, str]

RULES = """\
version: 1
servers: {files: {url: "https://files.example/mcp"}}
mcp:
  rules:
    - {id: force, tool: push, where: {/arguments/force: {equals: true}}, then: deny}
    - {id: small, tool: push, where: {/arguments/size: {le: 9}}, then: allow}
    - {id: known, tool: get, annotations: {readOnlyHint: true}, then: allow}
    - {id: socket, tool: list, transport: websocket, then: deny}
    - {id: drops, tool: drop, mode: shadow, then: allow}
  otherwise: ask
egress:
  rules:
    - {id: small-put, host: a.example, methods: PUT, max_request: 1KB, then: allow}
    - {id: docs, host: a.example, paths: /docs, then: allow}
  otherwise: deny
"""
AMBIGUOUS, OTHERWISE = ("deny", "ambiguous_key"), ("ask", "otherwise")
CALLS: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "each where before the end may match, or be ambiguous": (
        "push", {("deny", "force"), ("allow", "small"), AMBIGUOUS, OTHERWISE}),
    "what a server says of a tool is not known": ("get", {("allow", "known"), OTHERWISE}),
    "the transport is not known": ("list", {("deny", "socket"), OTHERWISE}),
    "a rule in shadow mode decides nothing": ("drop", {OTHERWISE}),
    "no rule is for it": ("other", {OTHERWISE}),
}  # fmt: skip


def said(decision: Decision) -> Said:
    return decision.verdict, decision.rule


@pytest.mark.parametrize("sentence", CALLS)
def test_what_a_call_without_arguments_may_be(sentence: str) -> None:
    tool, wanted = CALLS[sentence]
    policy = load_policy(RULES, file="p")
    found = possible(policy, KeptCall(Call("ci", "files", "tools/call", tool)))
    assert {(verdict.word, rule) for verdict, rule in found} == wanted


def test_a_tool_that_is_not_known_by_its_whole_name_may_be_meant_by_each_rule() -> None:
    policy = load_policy(RULES, file="p")
    call = Call("ci", "files", "tools/call", "[redacted]")
    rules = {rule for _, rule in possible(policy, KeptCall(call, exact=False))}
    assert rules == {"force", "small", "known", "socket", "ambiguous_key", "otherwise"}


def egress(call: EgressCall, *, exact: bool = True) -> set[tuple[str, str]]:
    policy, kept = load_policy(RULES, file="p"), KeptRequest(call, exact)
    tries = explore(lambda unknowns: egress_decision_on(policy, kept, unknowns))
    return {(one.verdict.word, one.code) for one in tries}


def test_the_size_and_a_cut_path_of_a_request_are_not_known() -> None:
    put = EgressCall("ci", "a.example", 443, "PUT", "/x")
    assert egress(put) == {("allow", "rule"), ("deny", "request_too_large")}
    get = EgressCall("ci", "a.example", 443, "GET", "/")
    assert egress(get) == {("deny", "otherwise")}
    assert egress(get, exact=False) == {("allow", "rule"), ("deny", "otherwise")}


def test_more_answers_than_the_limit_are_no_answer() -> None:
    with pytest.raises(OverflowError):
        list(explore(lambda unknowns: [unknowns.holds(n) for n in range(6)], most=63))
    assert len(list(explore(lambda unknowns: [unknowns.holds(n) for n in range(6)]))) == 64


def test_one_thing_has_one_answer_in_one_try() -> None:
    tries = list(explore(lambda unknowns: (unknowns.holds("x"), unknowns.holds("x"))))
    assert tries == [(False, False), (True, True)]


def misses(seed: int, count: int = 12) -> str | None:
    """Return a call whose decision is not among the possible ones."""
    draw = random.Random(seed)  # noqa: S311 - the same seed, the same policies
    policy = built(*some_files(draw))
    for _ in range(count):
        call = some_call(draw)
        if call.method != "tools/call":  # servers annotate nothing else
            call = dataclasses.replace(call, annotations=None)
        kept = KeptCall(dataclasses.replace(call, params=None, annotations=None))
        if said(decide(policy, call)) not in possible(policy, kept):
            return f"{call}: {decide(policy, call)}"
        results = explore(partial(result_decision_on, policy, kept))
        found = {None if one is None else said(one) for one in results}
        result = decide_result(policy, call, call.params)
        really = None if result is None or result.rule == "answer" else said(result)
        if really not in found:
            return f"result of {call}: {really}"
        request = some_request(draw)
        sent = KeptRequest(dataclasses.replace(request, size=0))
        ends = set(map(said, explore(partial(egress_decision_on, policy, sent))))
        if said(decide_egress(policy, request)) not in ends:
            return f"{request}: {decide_egress(policy, request)}"
    return None


@given(st.integers(0, 10**9))
def test_the_real_decision_is_among_the_possible_ones(seed: int) -> None:
    assert misses(seed) is None
