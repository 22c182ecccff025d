"""Lessons from the audit file: the narrowest rules, and what no rule is made of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.load import load_policy
from mitmgate.query.join import Entry
from mitmgate.query.learn import MAX_GROUPS, lessons, placed, proposals

POLICY = load_policy(
    "version: 1\nagents: {ci: {groups: [bots]}}\negress:\n  rules:\n"
    "    - {id: first, host: z.example, then: deny}\n"
    "    - {id: asks, host: a.example, then: ask}\n"
    "    - {id: opens, host: a.example, websocket: any, dns: true, then: ask}\n",
    file="p",
)


def seen(url: str = "https://a.example/v1/x", answer: str | None = None, **more: Any) -> Entry:
    """Return a decision of ``otherwise`` on *url*, and what a person said of it."""
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    record = {
        "channel": "egress", "kind": "request", "host": host, "port": 443, "endpoint": url,
        "method": "GET", "agent": "10.0.0.1", "verdict": "deny", "enforced": True,
        "rule": "otherwise", "code": "otherwise", **more,
    }  # fmt: skip
    if answer is None:
        return Entry(record)
    return Entry({**record, "verdict": "ask"}, {"answer": answer, "via": "console"})


def rules(*entries: Entry) -> list[dict[str, Any]]:
    return list(proposals(POLICY, lessons(entries), ["learned-taken.example"]))


def rule(then: str, **more: Any) -> dict[str, Any]:
    plain = {"id": "learned-a.example", "host": "a.example", "ports": [443], "paths": ["/v1/x"],
             "methods": ["GET"], "then": then}  # fmt: skip
    return {key: value for key, value in {**plain, **more}.items() if value is not None}


# sentence: the decisions, the rules
TAUGHT: dict[str, tuple[list[Entry], list[dict[str, Any]]]] = {
    "what a person approved": ([seen(answer="allow")], [rule("allow")]),
    "what a person denied": ([seen(answer="deny")], [rule("deny")]),
    "what no rule was for": ([seen()], [rule("ask")]),
    "what no rule was for, and was let through": ([seen(verdict="allow")], [rule("allow")]),
    "what would have been denied": ([seen(enforced=False)], [rule("allow")]),
    "approved twice": (
        [seen(answer="allow"), seen(answer="allow", method="POST")],
        [rule("allow", methods=["GET", "POST"])]),
    "several paths": (
        [seen(f"https://a.example/v1/{name}", "allow") for name in "xyx"],
        [rule("allow", paths=["/v1/x", "/v1/y"])]),
    "many paths": (
        [seen(f"https://a.example/v1/{name}", "allow") for name in "abcdefgh"],
        [rule("allow", paths=["/v1"])]),
    "many paths that have nothing in common": (
        [seen(f"https://a.example/{name}", "allow") for name in "abcdefgh"],
        [rule("allow", paths=None)]),
    "a path of which a part is hidden": (
        [seen("https://a.example/v1/[redacted]/y", "allow")], [rule("allow", paths=["/v1"])]),
    "a path that can be read in two ways": (
        [seen("https://a.example/v1/%2e%2e/y", "allow")], [rule("allow", paths=["/v1"])]),
    "a path that was cut": (
        [seen(f"https://a.example/v1/{'y' * 290}…", "allow")], [rule("allow", paths=["/v1"])]),
    "a WebSocket": (
        [seen(answer="allow", protocol="websocket")],
        [rule("allow", protocol=["websocket"], websocket="text")]),
    "a WebSocket that no rule was for": (
        [seen(protocol="websocket")], [rule("ask", protocol=["websocket"], websocket="text")]),
    "a WebSocket that was denied": (
        [seen(answer="deny", protocol="websocket")], [rule("deny", protocol=["websocket"])]),
    "what a rule had opened": (
        [seen(answer="allow", protocol="websocket", code="rule", rule="opens")],
        [rule("allow", protocol=["websocket"], websocket="any", dns=True)]),
    "what one of two rules had opened": (
        [seen(answer="allow", protocol="websocket", code="rule", rule=name)
         for name in ("opens", "asks")],
        [rule("allow", protocol=["websocket"], websocket="text")]),
    "the root": ([seen("https://a.example/", "allow")], [rule("allow", paths=None)]),
    "a hidden path that was denied": (
        [seen("https://a.example/[redacted]", "deny")], [rule("deny", paths=None)]),
    "another port": (
        [seen("https://a.example:9443/v1/x", "allow", port=9443)],
        [rule("allow", ports=[9443])]),
    "a protocol": (
        [seen(answer="allow", protocol="a2a")], [rule("allow", protocol=["a2a"])]),
    "an agent of the policy": (
        [seen(answer="allow", agent="ci")], [rule("allow", agent=["ci"])]),
    "an agent of the policy, and another": (
        [seen(answer="allow", agent="ci"), seen(answer="allow")], [rule("allow")]),
    "an id that is taken": (
        [seen("https://taken.example/v1/x", "allow")],
        [rule("allow", id="learned-taken.example-2", host="taken.example")]),
    "denials first": (
        [seen(), seen("https://a.example/v1/y", "allow"), seen("https://a.example/v1/z", "deny")],
        [rule("deny", paths=["/v1/z"]),
         rule("allow", paths=["/v1/y"], id="learned-a.example-2"),
         rule("ask", id="learned-a.example-3")]),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "expected"), TAUGHT.values(), ids=TAUGHT)
def test_what_is_learned(entries: list[Entry], expected: list[dict[str, Any]]) -> None:
    assert rules(*entries) == expected


# sentence: the decision, why nothing is made of it
LEFT: dict[str, tuple[Entry, list[str]]] = {
    "nobody answered": (seen(verdict="ask"), ["a.example: asked, and nobody answered"]),
    "time ran out": (
        Entry(seen(verdict="ask").decision, {"answer": "deny", "via": "timeout"}),
        ["a.example: asked, and nobody answered"]),
    "a rule denied it": (seen(code="rule", rule="first"), []),
    "a rule allowed it": (seen(code="rule", verdict="allow", rule="first"), []),
    "names that differ": (
        seen(code="host_mismatch"), ["a.example: decided by host_mismatch"]),
    "a finding, approved": (
        Entry(seen(verdict="ask", code="finding").decision, {"answer": "allow", "via": "console"}),
        ["a.example: decided by finding"]),
    "a carrier": (
        seen("https://pastebin.com/x", "allow"), ["pastebin.com: tagged carrier"]),
    "a method that no rule can name": (
        seen(method="get\n- x"), ["a.example: no rule can name this request"]),
    "a host that is none": (
        seen(host="a b", endpoint="https://a b/"), ["a b: no rule can name this request"]),
    "a host that is not that of the URL": (
        seen(host="b.example"), ["b.example: no rule can name this request"]),
    "a path that is hidden": (
        seen("https://a.example/[redacted]", "allow"),
        ["a.example: no rule can name the path of this request"]),
    "a path with a parameter": (
        seen("https://a.example/simple;v=1", "allow"),
        ["a.example: no rule can name the path of this request"]),
    "MCP": (seen(channel="mcp"), []),
    "an answer of a server": (seen(kind="response"), []),
}  # fmt: skip


@pytest.mark.parametrize(("entry", "told"), LEFT.values(), ids=LEFT)
def test_what_is_left_out(entry: Entry, told: list[str]) -> None:
    found = lessons([entry])
    assert found.groups == []
    assert list(found.left_out) == told


def test_a_carrier_may_be_denied() -> None:
    assert [one["then"] for one in rules(seen("https://pastebin.com/x", "deny"))] == ["deny"]


def test_a_new_rule_stands_above_the_one_that_decided() -> None:
    found = lessons([
        seen(answer="allow", rule="asks", code="rule"), seen("https://b.example/", "allow"),
    ])  # fmt: skip
    by_place = placed(POLICY, found, 2, [])
    ids = {place: [one["id"] for one in new] for place, new in by_place.items()}
    assert ids == {1: ["learned-a.example"], 2: ["learned-b.example"]}


def test_many_hosts_take_bounded_memory() -> None:
    found = lessons(seen(f"https://h{n}.example/") for n in range(2 * MAX_GROUPS))
    assert len(found.groups) == MAX_GROUPS
    assert found.left_out == {"too many hosts": MAX_GROUPS}
    asked = lessons(seen(f"https://h{n}.example/", verdict="ask") for n in range(2 * MAX_GROUPS))
    assert len(asked.left_out) == MAX_GROUPS + 1


@given(st.text(), st.text(), st.integers(-1, 70000))
def test_strangers_text_makes_no_other_rule(host: str, path: str, port: int) -> None:
    entry = seen(f"https://{host}/{path}", "allow", host=host, port=port)
    for one in rules(entry):
        assert one["host"] == host
        assert all(text.isascii() and text.isprintable() for text in one.get("paths", []))
