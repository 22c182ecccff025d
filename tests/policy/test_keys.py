"""Keys that a rule reads, in spellings that some servers take for them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.call import Call
from mitmgate.policy.decide import decide
from mitmgate.policy.keys import MAX_KEYS, MAX_ODD_LETTERS, KeyFolds
from mitmgate.policy.load import load_policy
from mitmgate.policy.trace import trace
from mitmgate.policy.verdict import Verdict

POLICY = load_policy(
    """\
version: 1
servers:
  git: {url: "https://git.example/mcp"}
  fs: {url: "https://fs.example/mcp"}
mcp:
  rules:
    - {id: early, tool: push_early, then: allow}
    - id: no-force
      server: git
      tool: push*
      where: {/arguments/force: {equals: true}, /arguments/to/branch: {equals: main}}
      then: deny
    - id: safe
      tool: migrate
      where: {/arguments/steps/0/dry run: {equals: true}}
      then: allow
    - id: whole
      tool: whole
      where: {/arguments/options: {equals: {mode: [{k: 1}], size: 2}}}
      then: deny
    - {id: late, tool: push_late, where: {/arguments/late: {equals: 1}}, then: ask}
  otherwise: allow
""",
    file="p.yaml",
)


def call(tool: str, arguments: Any, server: str = "git") -> Call:
    return Call("agent", server, "tools/call", tool, {"name": tool, "arguments": arguments})


FORCE = {"force": True, "to": {"branch": "main"}}

# sentence: the tool, its arguments, the rule that decides, the verdict
CASES: dict[str, tuple[str, Any, str, Verdict]] = {
    "the exact keys": ("push", FORCE, "no-force", Verdict.DENY),
    "other keys": ("push", {"forced": True, "_force": 1, "": 0}, "otherwise", Verdict.ALLOW),
    "another case": ("push", {"Force": True}, "ambiguous_key", Verdict.DENY),
    "another case beside the exact key": (
        "push", FORCE | {"FORCE": False}, "ambiguous_key", Verdict.DENY),
    "another case before the exact key": (
        "push", {"fORCE": False} | FORCE, "ambiguous_key", Verdict.DENY),
    "a NUL behind the key": ("push", {"force\0": True}, "ambiguous_key", Verdict.DENY),
    "a NUL in the key": ("push", {"fo\0rce": True}, "ambiguous_key", Verdict.DENY),
    "spaces around it": ("push", {" force ": True}, "ambiguous_key", Verdict.DENY),
    "letters of full width": ("push", {"ｆorce": True}, "ambiguous_key", Verdict.DENY),
    "a soft hyphen in the key": ("push", {"fo\u00adrce": True}, "ambiguous_key", Verdict.DENY),
    "the second condition, where the first does not hold": (
        "push", {"force": False, "to": {"Branch": "main"}}, "ambiguous_key", Verdict.DENY),
    "an object on the way": (
        "push", {"force": False, "TO": {}}, "ambiguous_key", Verdict.DENY),
    "the same key elsewhere": (
        "push", {"force": False, "to": {"FORCE": 1}}, "otherwise", Verdict.ALLOW),
    "a tool that no rule reads arguments of": (
        "pull", {"Force": True}, "otherwise", Verdict.ALLOW),
    "a rule above decides before anything is read": (
        "push_early", {"Force": True}, "early", Verdict.ALLOW),
    "a key that only a later rule reads": (
        "push_late", {"force": True, "to": {}, "LATE": 1}, "ambiguous_key", Verdict.DENY),
    "a key that a rule below the deciding one reads": (
        "push_late", FORCE | {"LATE": 1}, "no-force", Verdict.DENY),
    "an object in a list": (
        "migrate", {"steps": [{"dry run": True, "Dry Run": False}]}, "ambiguous_key",
        Verdict.DENY),
    "another object in the list": (
        "migrate", {"steps": [{"dry run": True}, {"DRY RUN": 1}]}, "safe", Verdict.ALLOW),
    "an allowing rule is not satisfied by it either": (
        "migrate", {"STEPS": [], "steps": [{"dry run": True}]}, "ambiguous_key", Verdict.DENY),
    "inside the value that is compared": (
        "whole", {"options": {"Mode": [{"k": 1}], "size": 2}}, "ambiguous_key", Verdict.DENY),
    "deep inside the value that is compared": (
        "whole", {"options": {"mode": [{"K": 1}], "size": 2}}, "ambiguous_key", Verdict.DENY),
    "the value that is compared": (
        "whole", {"options": {"mode": [{"k": 1}], "size": 2}}, "whole", Verdict.DENY),
    "another key with a NUL, which ends the key for some": (
        "push", {"for\0ce": 1}, "ambiguous_key", Verdict.DENY),
    "something else in its place": ("whole", {"options": "Mode"}, "otherwise", Verdict.ALLOW),
    "as many keys as are looked through": (
        "push", dict.fromkeys(map(str, range(MAX_KEYS))), "otherwise", Verdict.ALLOW),
    "more keys than are looked through": (
        "push", dict.fromkeys(map(str, range(MAX_KEYS + 1))), "ambiguous_key", Verdict.DENY),
    "as many odd letters as are looked through": (
        "push", {"é" * (MAX_ODD_LETTERS - 1): 1, "ä": 1}, "otherwise", Verdict.ALLOW),
    "more odd letters than are looked through": (
        "push", {"é" * MAX_ODD_LETTERS: 1, "\0": 1}, "ambiguous_key", Verdict.DENY),
    "plain letters may be many": ("push", {"e" * 1_000_000: 1}, "otherwise", Verdict.ALLOW),
    "many keys where no rule looks": (
        "pull", dict.fromkeys(map(str, range(MAX_KEYS + 1))), "otherwise", Verdict.ALLOW),
    "no arguments": ("push", None, "otherwise", Verdict.ALLOW),
    "arguments that are a list": ("push", [{"Force": True}], "otherwise", Verdict.ALLOW),
}  # fmt: skip


@pytest.mark.parametrize(("tool", "arguments", "rule", "verdict"), CASES.values(), ids=CASES)
def test_keys(tool: str, arguments: Any, rule: str, verdict: Verdict) -> None:
    one = call(tool, arguments)
    decision = decide(POLICY, one)
    assert (decision.rule, decision.verdict) == (rule, verdict)
    assert (decision.code == "ambiguous_key") is (rule == "ambiguous_key")
    assert trace(POLICY, one)[-1].rule == rule


def test_a_rule_of_another_server_reads_nothing() -> None:
    assert decide(POLICY, call("push", {"Force": True}, server="fs")).rule == "otherwise"


def test_the_operator_is_told_where_and_nobody_is_told_the_key() -> None:
    decision = decide(POLICY, call("push", {"FoRcE": "hunter2", "to": {"branch": "x"}}))
    assert decision.reason.startswith("rule no-force looks at /arguments/force, and")
    assert trace(POLICY, call("push", {"FoRcE": 1}))[-1].why == decision.reason
    for text in (decision.reason, decision.agent_reason):
        assert "FoRcE" not in text
        assert "hunter2" not in text
    assert "force" not in decision.agent_reason


def test_all_pointers_in_doubt_are_told() -> None:
    decision = decide(POLICY, call("push", {"Force": 1, "to": {"BRANCH": 1}}))
    assert "looks at /arguments/force and /arguments/to/branch, and" in decision.reason


_KEYS = st.text("aAb\u017fskK\u212a\xdf\x1f ", max_size=4)


@given(_KEYS, st.sets(_KEYS))
def test_doubles_are_the_other_keys_alone(key: str, others: set[str]) -> None:
    without = dict.fromkeys(others - {key})
    folds = KeyFolds()
    assert folds.doubled(without, key) is folds.doubled(without | {key: None}, key)
    assert not KeyFolds().doubled({key: None}, key)
