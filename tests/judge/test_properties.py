"""Whatever peers send gets an outcome: never an exception, never a deny that is let through."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from judging import INJECTION, KEY, POLICY, SERVER, decide, make_judge, with_scan

from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    Input,
    RequestInput,
    Tunnel,
)
from mitmgate.judge.judge import Judge
from mitmgate.judge.limits import Limits
from mitmgate.judge.outcome import Subject
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.http import AnswerHead, Headers, RequestHead
from mitmgate.wire.jsonrpc import Request

_WORDS = st.sampled_from(
    [
        "tools/call",
        "tools/list",
        "initialize",
        "ping",
        "push",
        "get_x",
        KEY,
        INJECTION,
        "",
        "~",
        "\0",
    ]
)
_TEXT = _WORDS | st.text(max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(_TEXT | st.sampled_from(["name", "arguments", "uri", "_meta"]), inner,
                      max_size=3),
    max_leaves=6,
)  # fmt: skip
_MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.sampled_from(["2.0", "1.0", 2]),
        "id": st.integers(0, 3) | _TEXT | st.none() | st.booleans(),
        "method": _TEXT | st.integers(),
        "params": _VALUES,
        "result": _VALUES,
        "error": _VALUES,
        "Method": _TEXT,
    },
)
_JSON_BODIES = (_MESSAGES | st.lists(_MESSAGES, max_size=3) | _VALUES).map(
    lambda value: json.dumps(value).encode()
)
_ENCODED = st.tuples(_JSON_BODIES, st.sampled_from(["utf-16", "utf-32", "utf-8-sig"])).map(
    lambda pair: pair[0].decode().encode(pair[1])
)
_BODIES = _JSON_BODIES | _ENCODED | st.binary(max_size=60)
_LATIN = st.text(st.characters(max_codepoint=255), max_size=12)
_FIELDS = st.tuples(
    st.sampled_from(
        ["content-type", "content-encoding", "accept", "upgrade", "mcp-method", "mcp-session-id",
         "mcp-protocol-version", "authorization", "x"]
    ) | _LATIN,
    st.sampled_from(
        ["application/json", "text/event-stream", "gzip", "br", "2026-07-28", KEY,
         "application/json; charset=utf-16", "text/html; charset=nothing"]
    ) | _LATIN,
)  # fmt: skip
_HEADERS: st.SearchStrategy[Headers] = st.lists(_FIELDS, max_size=4).map(tuple)
_HOSTS = st.sampled_from([SERVER, "docs.example", "api.openai.com", "::1", "[::1]"]) | _TEXT
_EXCHANGES = st.sampled_from(["a", "b"])
_REQUEST_HEADS = st.builds(
    RequestHead,
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]) | _LATIN,
    st.sampled_from(["http", "https"]),
    _HOSTS,
    st.sampled_from([80, 443, 8443]),
    st.sampled_from(["/mcp", f"/mcp?k={KEY}", "/", "*", "https://x/"]) | _LATIN.map("/".__add__),
    _HEADERS,
)
_GOOD_HEADS = st.builds(
    RequestHead, st.sampled_from(["GET", "POST"]), st.just("https"), st.just(SERVER),
    st.just(443), st.just("/mcp"), _HEADERS,
)  # fmt: skip
_TUNNELS = st.none() | st.builds(Tunnel, st.none() | _HOSTS, st.none() | _HOSTS)
_ANSWER_HEADS = st.builds(AnswerHead, st.sampled_from([200, 202, 204, 302, 400, 500]), _HEADERS)
_INPUTS: st.SearchStrategy[Input] = st.one_of(
    st.builds(RequestInput, _EXCHANGES, st.just("agent"), _REQUEST_HEADS, st.none() | _HOSTS,
              _BODIES, _TUNNELS),
    st.builds(RequestInput, _EXCHANGES, st.just("agent"), _GOOD_HEADS, st.just(SERVER), _BODIES),
    st.builds(AnswerInput, _EXCHANGES, _ANSWER_HEADS, _BODIES),
    st.builds(EventInput, _EXCHANGES, st.integers(0, 9), st.sampled_from(["message", "", "ping"]),
              _TEXT | _MESSAGES.map(json.dumps), _ANSWER_HEADS),
    st.builds(ConnectInput, _EXCHANGES, st.just("agent"), _TEXT | st.just("a.example:443")),
    st.builds(DialInput, _EXCHANGES, st.just("agent"), _HOSTS, st.integers(0, 65535),
              st.lists(_TEXT | st.sampled_from(["10.0.0.1", "1.1.1.1"]), max_size=2).map(tuple)),
    st.builds(EndInput, _EXCHANGES),
)  # fmt: skip
_REDACT = with_scan(
    "{secrets: {arguments: redact, results: redact, egress_request: redact}, "
    "injection: {results: deny, definitions: ask}}"
)


def apply(judge: Judge, one: Input) -> None:
    """Judge *one* and do with the outcome everything that a proxy could do."""
    prepared = judge.prepare(one)
    outcome = judge.conclude(prepared, now=0.0)
    if outcome is None:
        assert isinstance(one, ConnectInput | DialInput | EndInput)
        return
    assert outcome.effective is (outcome.verdict if outcome.enforced else Verdict.ALLOW)
    if outcome.verdict is Verdict.DENY and outcome.enforced:
        assert outcome.effective is not Verdict.ALLOW
        assert outcome.agent_reason
    instead = None
    if outcome.effective is Verdict.DENY:
        instead = judge.stop(outcome, prepared, "no")
        assert instead is None or json.loads(instead)
    reply = judge.reply(outcome, "no", instead)
    assert reply.status in (200, 202, 400, 403, 405, 413, 421, 502)
    edited = judge.edited(outcome, prepared)
    if outcome.effective is Verdict.ALLOW and outcome.edits and outcome.enforced:
        assert edited is not None  # what was to be redacted never passes as it was
    if outcome.effective is Verdict.ASK:
        judge.apply_resolution(outcome, "allow")


@given(st.lists(_INPUTS, max_size=6), st.booleans(), st.booleans())
def test_every_input_gets_an_outcome(inputs: list[Input], shadow: bool, redact: bool) -> None:
    judge = make_judge(*([_REDACT] if redact else []), shadow=shadow)
    for one in inputs:
        apply(judge, one)


@given(st.lists(_INPUTS, min_size=1, max_size=4))
def test_the_same_inputs_give_the_same_outcomes(inputs: list[Input]) -> None:
    def run() -> list[Any]:
        judge = make_judge()
        return [judge.conclude(judge.prepare(one), now=0.0) for one in inputs]

    assert run() == run()


@given(st.lists(_INPUTS, min_size=1, max_size=4))
def test_shadow_decides_the_same_and_enforces_less(inputs: list[Input]) -> None:
    plain, shadow = make_judge(), make_judge(shadow=True)
    one = inputs[0]
    first = plain.conclude(plain.prepare(one), now=0.0)
    second = shadow.conclude(shadow.prepare(one), now=0.0)
    if first is None or second is None:
        assert first == second
        return
    assert (first.verdict, first.rule, first.code) == (second.verdict, second.rule, second.code)
    assert first.enforced
    assert second.effective <= first.effective


def exchange(memory: Memory, number: int, agent: str = "agent") -> Exchange:
    subject = Subject(agent, "mcp", SERVER, 443, "e", "ping")
    endpoint = Endpoint("https", SERVER, 443, "/mcp")
    session = memory.sessions.anonymous(agent, endpoint)
    return Exchange(subject, f"{number}", endpoint, (Request(number, "ping"),), session=session)


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory = Memory(Limits(exchanges=2, remembered=2))
    for number in range(5):
        opened = memory.open(exchange(memory, number, f"agent {number}"))
        memory.await_answers(opened)
        memory.remember(f"q{number}", "allow")
    kept = [False] * 3 + [True] * 2
    assert [memory.get(f"{n}") is not None for n in range(5)] == kept
    assert [memory.remembered(f"q{n}") for n in range(5)] == [None] * 3 + ["allow"] * 2
    late = [exchange(memory, n, f"agent {n}") for n in (4, 3)]
    assert [memory.settle(one, int(one.key)) is not None for one in late] == [True, True]
    assert memory.settle(exchange(memory, 0, "agent 0"), 0) is None


def test_one_id_may_be_awaited_so_many_times_and_not_more() -> None:
    memory = Memory(Limits())
    for _ in range(200):
        memory.await_answers(exchange(memory, 1))
    answers = [memory.settle(exchange(memory, 1), 1) for _ in range(200)]
    assert sum(answer is not None for answer in answers) == 64


def test_the_policy_of_these_tests_asks_allows_and_denies() -> None:
    assert all(f"then: {word}" in POLICY for word in ("allow", "ask", "deny"))
    assert decide(make_judge(), RequestInput("x", "a", RequestHead("GET", "https", "e.example", 443,
                  "/"), "e.example")).verdict is Verdict.DENY  # fmt: skip
