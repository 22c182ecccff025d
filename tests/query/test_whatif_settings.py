"""A tightened ``network`` or ``agents`` part leaves no records: what may change is never none."""

from __future__ import annotations

from typing import Any

import pytest
from audit_rows import READS, changed_policy, recorded
from judging import call, request

from mitmgate.policy.agents import hash_token
from mitmgate.query.whatif import WhatIf

type Edits = tuple[tuple[str, str], ...]

PRIVATE, STATIC = "allow_private: [10.1.0.0/16]", "{static.example: 127.0.0.1}"
CLOSED, OPENED = (PRIVATE, "allow_private: []"), (PRIVATE, "allow_private: [10.0.0.0/8]")
NARROWED = (PRIVATE, "allow_private: [10.1.2.0/24]")
# sentence: the host, the edits before and after, what stands otherwise in the record, what is told
NETWORK: dict[str, tuple[str, Edits, Edits, dict[str, Any], str | None]] = {
    "the addresses of a name are not in the record": (
        "files.example", (), (CLOSED,), {}, "undecidable"),
    "a part of a network is closed": ("files.example", (), (NARROWED,), {}, "undecidable"),
    "an address in the record is closed": ("10.1.2.3", (), (CLOSED,), {}, "denied"),
    "an address in the record stays open": ("10.1.2.3", (), (NARROWED,), {}, None),
    "a public address in the record": ("93.184.215.14", (), (CLOSED,), {}, None),
    "an address in the record is opened": ("10.9.9.9", (), (OPENED,), {}, "asked"),
    "a network is opened: what it stopped has a record of its own": (
        "files.example", (), (OPENED,), {}, None),
    "the same network in two halves": (
        "files.example", ((PRIVATE, "allow_private: [10.1.0.0/17, 10.1.128.0/17]"),),
        (), {}, None),
    "a metadata address keeps only its own entry": (
        "files.example", ((PRIVATE, "allow_private: [169.254.169.254/32]"),),
        ((PRIVATE, "allow_private: [169.254.0.0/16]"),), {}, "undecidable"),
    "a name loses its fixed address": (
        "static.example", (), ((STATIC, "{}"),), {}, "undecidable"),
    "another name loses its fixed address": ("files.example", (), ((STATIC, "{}"),), {}, None),
    "a name gets a fixed address": (
        "files.example", (), ((STATIC, "{files.example: 127.0.0.1}"), CLOSED), {}, None),
    "another policy decided then": (
        "files.example", (), (CLOSED,), {"policy": "sha256:other"}, "undecidable"),
    "the policy in force has opened it": ("files.example", (CLOSED,), (), {}, "undecidable"),
    "a denial stays one": (
        "files.example", ((READS, ""),), ((READS, ""), CLOSED), {}, None),
    "an answer comes over what was dialled for its request": (
        "files.example", (), (CLOSED,), {"kind": "answer", "rule": "answer", "code": "answer"},
        None),
}  # fmt: skip


@pytest.mark.parametrize("sentence", NETWORK)
def test_the_network_part(sentence: str) -> None:
    host, before, after, more, kind = NETWORK[sentence]
    made_by = after if sentence == "the policy in force has opened it" else before
    row = recorded(call("get_x", {"path": "a"}, host=host), *made_by) | more
    found = WhatIf(changed_policy(*before), changed_policy(*after)).change(row)
    assert (None if found is None else found.kind) == kind
    if kind == "denied":
        assert found is not None
        assert found.rule == "private_address"


OLD, NEW = hash_token("old"), hash_token("new")


def agents(*tokens: str, more: str = "", require: bool = False) -> Edits:
    """Return the edits by which *tokens* are those of the agent ``ci``."""
    told = f"agents: {{ci: {{tokens: [{', '.join(tokens)}]}}{more}}}\nnetwork:"
    return (("network:", f"{told}\n  require_agents: true" if require else told),)


NAMES_CI: Edits = ((READS, f"- {{id: bots, tool: get*, agent: bot*, then: deny}}\n    {READS}"),)
CI: dict[str, str] = {"agent": "ci"}
NOBODY: dict[str, str] = {}
OTHER = {"policy": "sha256:other"}
# sentence: the edits before and after, what stands otherwise in the record, what is told
AGENTS: dict[str, tuple[Edits, Edits, dict[str, str], str | None]] = {
    "its only token is taken away": (agents(OLD), agents(), CI, "denied"),
    "its token is replaced": (agents(OLD), agents(NEW), CI, "denied"),
    "one of its two tokens is taken away": (agents(OLD, NEW), agents(NEW), CI, "undecidable"),
    "it gets a second token": (agents(OLD), agents(OLD, NEW), CI, None),
    "an older policy let it in with a token that nobody knows": (
        agents(OLD), agents(OLD, NEW), CI | OTHER, "undecidable"),
    "it is no agent any more, and another one is": (
        agents(OLD), (("network:", f"agents: {{bot: {{tokens: [{OLD}]}}}}\nnetwork:"),),
        CI, "denied"),
    "no agent is left, and no rule names one": (agents(OLD), (), CI, None),
    "no agent is left, and a rule names some": (agents(OLD), NAMES_CI, CI, "undecidable"),
    "agents have to show who they are, as it did": (
        agents(OLD), agents(OLD, require=True), CI, None),
    "agents have to show who they are, and it showed nothing": (
        agents(OLD), agents(OLD, require=True), NOBODY, "denied"),
    "credentials count from now on, and what was shown was ignored": (
        (), agents(OLD), NOBODY, "undecidable"),
    "agents have to show who they are from now on": (
        (), agents(OLD, require=True), NOBODY, "undecidable"),
    "agents have to show who they are, and nobody can": (
        (), agents(require=True), NOBODY, "denied"),
    "an agent more": (agents(OLD), agents(OLD, more=", bot: {}"), CI, None),
    "an agent more, and it showed nothing": (
        agents(OLD), agents(OLD, more=", bot: {}"), NOBODY, None),
}  # fmt: skip


@pytest.mark.parametrize("sentence", AGENTS)
def test_the_agents_part(sentence: str) -> None:
    before, after, more, kind = AGENTS[sentence]
    policies = changed_policy(*before), changed_policy(*after)
    row = recorded(call("get_x", {"path": "a"})) | {"policy": policies[0].hash} | more
    found = WhatIf(*policies).change(row)
    assert (None if found is None else found.kind) == kind
    if kind == "undecidable":
        assert found is not None
        assert "credentials of the agent" in found.why


OTHERWISE = "  otherwise: deny\nhold"
AUTH: Edits = (('mcp"}', 'mcp", auth: login.example}'),)
TOKEN = {"rule": "server-auth", "code": "housekeeping", "verdict": "allow", "protocol": "oauth"}
HANDED = {"tool": "delegate:files", "server": "files"}
STRIPS: Edits = (("unknown_servers: ask", "unknown_servers: ask\n  delegated: deny"),)
POSTED: Edits = (("{id: docs", "{id: logins, host: login.example, then: deny}\n    - {id: docs"),)
OPENED_ALL: Edits = ((OTHERWISE, "  otherwise: allow\nhold"),)
# sentence: the host, the edits before and after, what stands otherwise in the record, what is told
OTHERS: dict[str, tuple[str, Edits, Edits, dict[str, str], str | None]] = {
    "the auth of a server is taken away, and this went there": (
        "login.example", AUTH, (), TOKEN, "undecidable"),
    "the same auth, and a rule is gone": ("login.example", AUTH, (*AUTH, (READS, "")), TOKEN, None),
    "OAuth, and a rule denies its host": ("login.example", AUTH, (*AUTH, *POSTED), TOKEN, "denied"),
    "OAuth passes, and egress is opened": (
        "login.example", AUTH, (*AUTH, *OPENED_ALL), TOKEN, None),
    "a host becomes auth of a server": (
        "login.example", (), AUTH,
        {"verdict": "deny", "rule": "otherwise", "code": "otherwise"}, "undecidable"),
    "a server that a model API is handed is decided by another word": (
        "api.openai.com", (), STRIPS, HANDED, "undecidable"),
    "no server was handed over": ("api.openai.com", (), STRIPS, {}, None),
    "a server is handed over, and another rule is gone": (
        "api.openai.com", (), ((READS, ""),), HANDED, None),
}  # fmt: skip


@pytest.mark.parametrize("sentence", OTHERS)
def test_settings_that_decide_where_no_rule_does(sentence: str) -> None:
    host, before, after, more, kind = OTHERS[sentence]
    policies = changed_policy(*before), changed_policy(*after)
    given = request("POST", host, "/token", b"grant_type=x")
    row = recorded(given, *before) | {"policy": policies[0].hash} | more
    found = WhatIf(*policies).change(row)
    assert (None if found is None else found.kind) == kind


def results(rule: str) -> Edits:
    return ((READS, f"{READS}\n    - {{id: out, {rule}}}"),)


RESULT = "phase: result, tool: get*"
# sentence: the edits before and after, what stands otherwise in the record of a call, what is told
PASSED: dict[str, tuple[Edits, Edits, dict[str, str], str | None]] = {
    "results of a tool are denied": ((), results(f"{RESULT}, then: deny"), {}, "undecidable"),
    "some results of a tool are denied": (
        (), results(f"{RESULT}, where: {{/isError: {{equals: true}}}}, then: deny"), {},
        "undecidable"),
    "results of another tool are denied": (
        (), results("phase: result, tool: push, then: deny"), {}, None),
    "results that were denied pass: each has a record": (
        results(f"{RESULT}, then: deny"), (), {}, None),
    "the call was denied, so that nothing came": (
        (), results(f"{RESULT}, then: deny"),
        {"verdict": "deny", "rule": "otherwise", "code": "otherwise"}, None),
    "a notification is denied from now on": (
        (), results("method: notifications/message, then: deny"), {}, "undecidable"),
    "a notification of agents is denied: each has a record": (
        (), results("method: notifications/initialized, then: deny"), {}, None),
    "what a result may ask for is decided otherwise": (
        (), (("method: sampling/createMessage, then: deny",
              "method: sampling/createMessage, then: allow"),), {}, None),
    "what a result could ask for is denied from now on": (
        (("method: sampling/createMessage, then: deny",
          "method: sampling/createMessage, then: allow"),), (), {}, "undecidable"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", PASSED)
def test_what_came_back_and_simply_passed_has_no_record(sentence: str) -> None:
    before, after, more, kind = PASSED[sentence]
    row = recorded(call("get_x", {"path": "a"}), *before) | more
    if more:
        row |= {"policy": "sha256:other"}
    found = WhatIf(changed_policy(*before), changed_policy(*after)).change(row)
    assert (None if found is None else found.kind) == kind
