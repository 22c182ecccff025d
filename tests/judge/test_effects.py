"""Findings make a decision stricter and never laxer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from judging import POLICY, call, message, post, scanner, with_scan

from mitmgate.judge.effects import on_surface, weigh
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Subject
from mitmgate.policy.load import Policy, load_policy
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.surfaces import Surface

BASE = 'version: 1\nservers:\n  a: {url: "https://a.example/mcp"}\nhold: {wait: 1s}\n'
SECRET = Finding("secrets", "secret.x", "high", Surface.ARGUMENTS, "/params/a", 2, 5, "h")
SECOND = dataclasses.replace(SECRET, pointer="/params/b", value_hash="i")
IN_KEY = dataclasses.replace(SECRET, pointer="/params/k~key")
BELOW_KEY = dataclasses.replace(SECRET, pointer="/params/k/0")
IN_URL = dataclasses.replace(SECRET, pointer="#url")
PLACE = Subject(
    "10.0.0.7", "mcp", "a.example", 443, "https://a.example/mcp", "tools/call", "a", "t"
)
WORDS = Finding("injection", "injection.x", "high", Surface.ARGUMENTS, "/params/w", 0, 3, "j")


def policy(secrets: str, injection: str) -> Policy:
    old, new = with_scan(f"{{secrets: {{arguments: {secrets}}}, "
                         f"injection: {{arguments: {injection}}}}}")  # fmt: skip
    return load_policy(BASE.replace(old, new), file="p.yaml")


# Effects of secrets and injection, the verdict before, the findings; then verdict, rule, edits.
CASES: dict[str, tuple[str, str, Verdict, list[Finding], tuple[str, str, int]]] = {
    "nothing found": ("deny", "deny", Verdict.ALLOW, [], ("allow", "r", 0)),
    "log changes nothing": ("log", "log", Verdict.ALLOW, [SECRET, WORDS], ("allow", "r", 0)),
    "deny": ("deny", "log", Verdict.ALLOW, [SECRET], ("deny", "scan.secrets", 0)),
    "ask": ("ask", "log", Verdict.ALLOW, [SECRET], ("ask", "scan.secrets", 0)),
    "redact leaves the verdict": ("redact", "log", Verdict.ALLOW, [SECRET], ("allow", "r", 1)),
    "redact of two": ("redact", "log", Verdict.ALLOW, [SECRET, SECOND], ("allow", "r", 2)),
    "redact keeps an ask": ("redact", "log", Verdict.ASK, [SECRET], ("ask", "r", 1)),
    "redact in a name is deny": (
        "redact", "log", Verdict.ALLOW, [IN_KEY], ("deny", "scan.secrets", 0)),
    "redact in a URL is deny": (
        "redact", "log", Verdict.ALLOW, [IN_URL], ("deny", "scan.secrets", 0)),
    "redact beside a deny keeps its edits": (
        "redact", "deny", Verdict.ALLOW, [SECRET, WORDS], ("deny", "scan.injection", 1)),
    "the strictest wins, whatever the order": (
        "ask", "deny", Verdict.ALLOW, [SECRET, WORDS], ("deny", "scan.injection", 0)),
    "the strictest wins in the other order": (
        "ask", "deny", Verdict.ALLOW, [WORDS, SECRET], ("deny", "scan.injection", 0)),
    "an ask does not soften a deny": ("ask", "log", Verdict.DENY, [SECRET], ("deny", "r", 0)),
    "an ask stays the rule's own": ("ask", "log", Verdict.ASK, [SECRET], ("ask", "r", 0)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("secrets", "injection", "before", "findings", "expected"), CASES.values(), ids=CASES
)
def test_weigh(
    secrets: str,
    injection: str,
    before: Verdict,
    findings: list[Finding],
    expected: tuple[str, str, int],
) -> None:
    weighed = weigh(policy(secrets, injection), Decision(before, "r", "c", "", ""), findings, PLACE)
    decision = weighed.decision
    assert (decision.verdict.word, decision.rule, len(weighed.edits)) == expected
    assert decision.verdict >= before
    assert decision.code == ("c" if decision.rule == "r" else "finding")


# The finding, all findings, and where the operator and the agent read that it stands.
PLACES: dict[str, tuple[Finding, list[Finding], str, str]] = {
    "a value": (SECRET, [SECRET], "/params/a", "/params/a"),
    "the name of a member is not quoted": (
        IN_KEY, [IN_KEY], "the name of a member", "the name of a member"),
    "nor is it on the way to what is below it": (
        BELOW_KEY, [BELOW_KEY, IN_KEY], "the body", "the body"),
    "a neighbour of such a name is": (
        SECRET, [SECRET, IN_KEY], "/params/a", "/params/a"),
    "a text without places": (
        dataclasses.replace(SECRET, pointer=""), [], "the body", "the body"),
    "an endless pointer is cut": (
        dataclasses.replace(SECRET, pointer="/" + "x" * 999), [], "/" + "x" * 199,
        "/" + "x" * 199),
    "the agent reads no name that a server chose": (
        dataclasses.replace(SECRET, surface=Surface.RESULTS), [], "/params/a", "the answer"),
    "nor one of a definition": (
        dataclasses.replace(SECRET, surface=Surface.DEFINITIONS), [], "/params/a", "the answer"),
    "nor one of a web page": (
        dataclasses.replace(SECRET, surface=Surface.EGRESS_RESPONSE), [], "/params/a",
        "the answer"),
}  # fmt: skip


@pytest.mark.parametrize(("first", "others", "operator", "agent"), PLACES.values(), ids=PLACES)
def test_where_it_stands(first: Finding, others: list[Finding], operator: str, agent: str) -> None:
    old, new = with_scan("{secrets: {arguments: deny, results: deny, definitions: deny, "
                         "egress_response: deny}}")  # fmt: skip
    strict = load_policy(BASE.replace(old, new), file="p.yaml")
    found = [first, *(finding for finding in others if finding is not first)]
    decision = weigh(strict, Decision(Verdict.ALLOW, "r", "c", "", ""), found, PLACE).decision
    assert decision.reason.startswith(f"secret.x at {operator} (scan.secrets.")
    assert f"(secret.x at {agent})." in decision.agent_reason


def test_on_surface() -> None:
    moved = on_surface([SECRET, WORDS], Surface.MODEL_REQUEST)
    assert {finding.surface for finding in moved} == {Surface.MODEL_REQUEST}
    assert [finding.rule for finding in moved] == ["secret.x", "injection.x"]


def test_the_locked_layer_is_enforced_in_shadow_mode_whatever_decided(tmp_path: Path) -> None:
    locked = tmp_path / "locked.yaml"
    locked.write_text(
        "version: 1\nmcp:\n  rules:\n"
        "    - {id: floor, tool: push, then: ask, redact: /arguments/token}\n"
        "    - {id: hush, tool: get_x, then: allow, redact: /arguments/token}\n"
    )
    policy = load_policy(f"mode: shadow\n{POLICY}", file="p.yaml", locked=locked)
    judge = Judge(policy, scanner())
    for tool, force, effective in (
        ("push", False, Verdict.ASK),  # the rule of the policy asks as well
        ("push", True, Verdict.ASK),  # it would deny, and that is shadowed
        ("get_x", False, Verdict.ALLOW),
        ("rm", False, Verdict.ALLOW),  # denied by otherwise, and that is shadowed
    ):
        given = call(tool, {"token": "t", "force": force})
        prepared = judge.prepare(given)
        outcome = judge.conclude(prepared, now=0.0)
        assert outcome is not None
        assert outcome.effective is effective, outcome
        edited = judge.edited(outcome, prepared)
        assert (edited is not None and "[redacted]" in edited) == (tool != "rm")


def test_in_a_batch_the_locked_layer_holds_for_each_message(tmp_path: Path) -> None:
    locked = tmp_path / "locked.yaml"
    locked.write_text(
        "version: 1\nmcp:\n  rules:\n    - {id: floor, tool: push, then: deny}\n"
        "    - {id: hush, tool: get_x, then: allow, redact: /arguments/token}\n"
    )
    judge = Judge(load_policy(f"mode: shadow\n{POLICY}", file="p.yaml", locked=locked), scanner())
    reads = message("tools/call", {"name": "get_x", "arguments": {"token": "t"}}, number=1)
    removes = message("tools/call", {"name": "rm", "arguments": {}}, number=2)
    pushes = message("tools/call", {"name": "push", "arguments": {}}, number=3)
    for batch, effective in (([reads, removes], Verdict.ALLOW), ([removes, pushes], Verdict.DENY)):
        prepared = judge.prepare(post(batch))
        outcome = judge.conclude(prepared, now=0.0)
        assert outcome is not None
        assert outcome.effective is effective
        edited = judge.edited(outcome, prepared)
        assert (edited is not None) == (reads in batch)
