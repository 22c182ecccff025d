"""``assert_decision``: what a policy says of one call or request, as live traffic is judged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.load import load_policy
from mitmgate.testing import assert_decision, call, egress
from mitmgate.testing.decisions import Call, Egress

POLICY = """\
version: 1
agents:
  nightly: {groups: [bots]}
servers:
  files: {url: "https://files.example:8443/mcp/**"}
mcp:
  rules:
    - {id: bots-read, group: bots, tool: get, then: allow}
    - {id: at-night, tool: night, time: {from: "22:00", to: "06:00", zone: UTC}, then: allow}
    - {id: prompts, method: prompts/get, then: allow}
  otherwise: ask
egress:
  rules:
    - {id: docs, host: docs.example, methods: [GET], then: allow}
"""
type Word = Literal["allow", "ask", "deny"]
DECIDED: dict[str, tuple[Call | Egress, Word, str]] = {
    "an agent of a group is known by its name": (
        call("get", server="files", agent="nightly"), "allow", "bots-read"),
    "an agent without a name is in no group": (call("get", server="files"), "ask", "otherwise"),
    "a secret in an argument is found": (
        call("get", {"q": "AKIA" + "QYLPMN5HHHFPZAM2"}, server="files"), "deny", "scan.secrets"),
    "an answer is judged after its call": (
        call("get", server="files", answer="plain"), "allow", "answer"),
    "another method has its own rule": (
        call("weekly", server="files", method="prompts/get"), "allow", "prompts"),
    "a server that has no name": (
        call("get", url="https://other.example/mcp"), "ask", "unknown_servers"),
    "a page": (egress("https://docs.example/x?y=1"), "allow", "docs"),
    "a page with another method": (
        egress("https://docs.example/x", "POST", body="x"), "deny", "otherwise"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", DECIDED)
def test_a_decision_is_that_of_live_traffic(sentence: str) -> None:
    request, verdict, rule = DECIDED[sentence]
    policy = load_policy(POLICY, file="p.yaml")
    outcome = assert_decision(policy, request, verdict, rule=rule)
    assert outcome.verdict.word == verdict
    with pytest.raises(AssertionError, match=f"it is {verdict} by {rule}"):
        assert_decision(policy, request, rule="another")


def test_a_rule_with_a_time_is_asked_at_a_time() -> None:
    policy = load_policy(POLICY, file="p.yaml")
    late, noon = (datetime(2026, 1, 5, hour, tzinfo=UTC) for hour in (23, 12))
    night = call("night", server="files")
    assert_decision(policy, night, "allow", rule="at-night", at=late)
    assert_decision(policy, night, "ask", rule="otherwise", at=noon)


def test_a_server_that_the_policy_does_not_name_is_an_error_that_says_which_there_are() -> None:
    policy = load_policy(POLICY, file="p.yaml")
    with pytest.raises(ConfigError, match="one of files; or give url="):
        assert_decision(policy, call("get", server="mails"), "ask")


def test_no_answer_comes_to_a_call_that_is_denied() -> None:
    policy = load_policy(
        "version: 1\nservers: {files: {url: 'https://files.example/mcp'}}\n"
        "mcp: {rules: [{id: never, tool: drop, then: deny}], otherwise: allow}\n",
        file="p.yaml",
    )
    assert_decision(policy, call("get", server="files", answer="done"), "allow")
    with pytest.raises(AssertionError, match="no answer comes: the call is denied by never"):
        assert_decision(policy, call("drop", server="files", answer="done"), "allow")
