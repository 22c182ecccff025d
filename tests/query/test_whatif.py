"""What another policy would have said of records that hold no bodies: sure, or not told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from audit_rows import NOW, READS, changed_policy, judged, recorded
from judging import KEY, call, make_judge, request

from mitmgate.judge.inputs import RequestInput
from mitmgate.policy.compiled import ScanPack
from mitmgate.query.changes import MOST_GROUPS, Change, Side, Tally, change_of
from mitmgate.query.records import Damage
from mitmgate.query.whatif import WhatIf, tally_records

type Edits = tuple[tuple[str, str], ...]

CALLS: dict[str, RequestInput] = {
    "force": call("push", {"force": True}),
    "push": call("push", {"force": False}),
    "read": call("get_x", {"path": "a"}),
    "secret": call("get_x", {"path": KEY}),
    "other": call("drop", {}),
    "unknown": call("get_x", {}, host="new.example"),
    "docs": request("GET", "docs.example", "/a"),
    "elsewhere": request("GET", "evil.example", "/a"),
    "paste": request("POST", "paste.example", "/a", b"text"),
}


def changed(name: str, *edits: tuple[str, str], **more: Any) -> Change | None:
    """Return what becomes of the recorded call *name* under the policy with *edits*."""
    return WhatIf(changed_policy(), changed_policy(*edits)).change(recorded(CALLS[name]) | more)


OTHERWISE, ASKED = "  otherwise: deny\negress", "  otherwise: ask\negress"
OPENED = "  otherwise: allow\negress"
PASTE = "host: paste.example, then: ask"


def big(tool: str) -> tuple[str, str]:
    """Return the change that puts a rule with ``where`` before the one for reads."""
    where = "{/arguments/n: {gt: 1}}"
    return READS, f"- {{id: big, tool: {tool}, where: {where}, then: deny}}\n    {READS}"


PUSHES = "- {id: first, tool: push, then: ask}"
FORCE = "{/arguments/force: {equals: true}}, then: deny"
# sentence: the call, the edits, the change (None: none) and the rule
CHANGES: dict[str, tuple[str, Edits, str | None, str]] = {
    "an allow that asks": ("read", ((READS, READS.replace("allow", "ask")),), "asked", "reads"),
    "an allow that denies": ("read", ((READS, READS.replace("allow", "deny")),), "denied", "reads"),
    "a rule that is gone": ("read", ((READS, ""),), "denied", "reads"),
    "an ask that allows": (
        "push", (("tool: push, then: ask", "tool: push, then: allow"),), "allowed", "pushes"),
    "a where that did not hold then does not now": (
        "push", ((FORCE, FORCE.replace("deny", "allow")),), None, ""),
    "a where that held then holds now": (
        "force", ((FORCE, FORCE.replace("deny", "allow")),), "allowed", "no-force"),
    "a new where may hold": (
        "read", (big("get_x"),), "undecidable", "big"),
    "a new where that decides the same makes no difference": (
        "other", (big("drop"),), None, ""),
    "what only other tools meet": ("read", ((OTHERWISE, ASKED),), None, ""),
    "what no rule is for": (
        "other", ((OTHERWISE, OPENED),), "allowed", "otherwise"),
    "a server without a name": (
        "unknown", (("unknown_servers: ask", "unknown_servers: deny"),), "denied",
        "unknown_servers"),
    "a server that gets a name": (
        "unknown", (('{url: "https://files.example/mcp"}',
                     '{url: "https://files.example/mcp"}\n  new: {url: "https://new.example/**"}'),),
        "allowed", "reads"),
    "a finding that is let be": (
        "secret", (("hold:", "scan: {secrets: {arguments: log}}\nhold:"),), "?", ""),
    "a finding that stops": (
        "secret", (("hold:", "scan: {secrets: {arguments: deny}}\nhold:"),), "?", ""),
    "a host that is denied": (
        "docs", (("host: docs.example", "host: other.example"),), "denied", "docs"),
    "a host that is opened": (
        "elsewhere", (("host: docs.example", "host: evil.example"),), "allowed", "docs"),
    "a size that is not known": (
        "docs", (("methods: [GET, PUT, POST]", "max_request: 1KB"),), "undecidable", "docs"),
    "a rule that names a path": (
        "docs", (("methods: [GET, PUT, POST]", "paths: /b"),), "denied", "docs"),
    "a method that is not opened any more": (
        "paste", ((PASTE, PASTE.replace("then", "methods: GET, then")),),
        "denied", "paste"),
    "a policy that enforces nothing any more": (
        "other", (("version: 1", "version: 1\nmode: shadow"),), "allowed", "otherwise"),
    "a rule gets another name": ("read", ((READS, READS.replace("reads", "looks")),), None, ""),
    "a rule with a where gets another name": (
        "force", (("id: no-force", "id: never-force"),), None, ""),
    "the rule below comes first": (
        "force", (("    - {id: no-force", f"    {PUSHES}\n    - {{id: no-force"),),
        "asked", "first"),
    "the rule below comes first, and says the same": (
        "push", (("    - {id: no-force", f"    {PUSHES}\n    - {{id: no-force"),), None, ""),
    "a rule decides nothing any more": (
        "read", ((READS, READS.replace("then", "mode: shadow, then")),), "denied", "reads"),
    "a rule that decides nothing is new": (
        "read", ((READS, f"- {{id: try, tool: get*, mode: shadow, then: deny}}\n    {READS}"),),
        None, ""),
    "a host rule that decides nothing is new": (
        "docs", (("- {id: docs", "- {id: try, host: docs.example, mode: shadow, then: deny}"
                  "\n    - {id: docs"),), None, ""),
    "a host rule comes before another one": (
        "docs", (("- {id: docs", "- {id: first, host: docs.example, then: ask}\n    - {id: docs"),),
        "asked", "first"),
    "a comment": ("read", (("version: 1", "version: 1  # now"),), None, ""),
}  # fmt: skip


@pytest.mark.parametrize("sentence", CHANGES)
def test_what_changes_and_by_which_rule(sentence: str) -> None:
    name, edits, kind, rule = CHANGES[sentence]
    found = changed(name, *edits)
    real = really(name, *edits)
    if kind == "?":  # the shipped defaults say what a finding does
        assert (None if found is None else found.kind) == real
        return
    assert (None if found is None else found.kind, "" if found is None else found.rule) == (
        kind, rule)  # fmt: skip
    if kind != "undecidable":
        assert kind == real


def really(name: str, *edits: tuple[str, str]) -> str | None:
    """Return what a judge with the body says of the change."""
    sides = []
    for judge in (make_judge(), make_judge(*edits)):
        outcome = judged(judge, CALLS[name])
        cut = tuple(f"Edit {edit.pointer}" for edit in outcome.effective_edits)
        sides.append(Side(outcome.effective, outcome.rule, cut))
    found = change_of(*sides)
    return None if found is None else found.kind


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("sentence", CHANGES)
def test_what_is_told_without_a_body_is_what_a_body_tells(sentence: str, name: str) -> None:
    edits = CHANGES[sentence][1]
    found = changed(name, *edits)
    if found is None or found.kind != "undecidable":
        assert (None if found is None else found.kind) == really(name, *edits)


# sentence: what stands otherwise in the record of a read, what is told
HELD: dict[str, tuple[dict[str, Any], str | None]] = {
    "of another policy": ({"policy": "sha256:other"}, "denied"),
    "refused for what it is": (
        {"verdict": "deny", "rule": "parse_error", "code": "parse_error"}, None),
    "a batch": ({"method": "batch", "tool": None}, "undecidable"),
    "an address": ({"verdict": "deny", "rule": "private_address", "code": "private_address",
                    "kind": "dial"}, None),
    "approved before": ({"grant": "g1", "rule": "remembered", "code": "remembered"}, "denied"),
    "denied before": (
        {"verdict": "deny", "grant": "g1", "rule": "remembered", "code": "remembered"}, None),
    "a decision that the record cannot explain": ({"rule": "scan.poisoning"}, "undecidable"),
    "without its findings": ({"findings": None}, "undecidable"),
    "with a port that is none": ({"port": "443"}, "undecidable"),
    "with a time that is none": ({"time": "soon"}, "undecidable"),
    "with a verdict that is none": ({"verdict": "maybe"}, "undecidable"),
}  # fmt: skip


@pytest.mark.parametrize("sentence", HELD)
def test_records_that_say_something_else(sentence: str) -> None:
    more, kind = HELD[sentence]
    found = changed("read", (READS, ""), **more)
    assert (None if found is None else found.kind) == kind


PRIVATE = {"verdict": "deny", "rule": "private_address", "code": "private_address", "kind": "dial"}
UNKNOWN = {"verdict": "deny", "rule": "agent_required", "code": "agent_required"}
AGENTS = ("network:", "agents: {ci: {}}\nnetwork:\n  require_agents: true")
# sentence: what stands in the record, the edit, what is told
SETTINGS: dict[str, tuple[dict[str, str], tuple[str, str], str | None]] = {
    "a private network is opened": (PRIVATE, ("10.1.0.0/16", "10.0.0.0/8"), "undecidable"),
    "an address, and a rule is gone": (PRIVATE, (READS, ""), None),
    "agents have to show who they are": ({}, AGENTS, "denied"),
    "an agent that showed nothing, and agents change": (UNKNOWN, AGENTS, "undecidable"),
    "an agent that showed nothing, and a rule is gone": (UNKNOWN, (READS, ""), None),
}


@pytest.mark.parametrize("sentence", SETTINGS)
def test_settings_that_are_no_rules(sentence: str) -> None:
    more, edit, kind = SETTINGS[sentence]
    found = changed("read", edit, **more)
    assert (None if found is None else found.kind) == kind


def test_other_scanner_rules_leave_open_what_would_be_found() -> None:
    other = changed_policy(("version: 1", "version: 1 #"))
    after = replace(other, packs=(ScanPack("f", "rules: []"),))
    asked = WhatIf(changed_policy(), after)
    told = asked.change(recorded(CALLS["read"]))
    assert told is not None
    assert (told.kind, "scanner rules" in told.why) == ("undecidable", True)
    assert asked.change(recorded(CALLS["other"])) is None, "denied in any case"


def tally(*records: Any, since: str = "") -> Tally:
    found = Tally(NOW - 7 * 86_400, NOW)
    asked = WhatIf(changed_policy(), changed_policy((READS, READS.replace("allow", "ask"))))
    tally_records(asked, records, found, since=since, known=lambda one: one["exchange"] == "seen")
    return found


def test_the_same_question_is_asked_once_and_the_days_count_from_the_first_record() -> None:
    read = recorded(CALLS["read"])
    found = tally(read, read, Damage(3, "bad"), Damage(4, "torn", noted=True),
                  read | {"exchange": "seen"}, {"type": "note", "time": "x"})  # fmt: skip
    assert (found.decisions, found.damaged, found.counts["asked"]) == (2, 1, 2)
    assert found.days == 1.0
    assert found.approvals_a_day == 2.0
    assert found.exit_code == 1
    one = next(iter(found.groups()))
    assert (one.count, one.examples) == (2, [read["id"]])
    asked = Change("asked", "a", "b", "unknown_servers")
    for _ in range(3):
        found.add(asked, "x", question=("ci", "h"))
    assert found.counts["asked"] == 3


def test_records_before_the_time_are_left_out() -> None:
    assert tally(recorded(CALLS["read"]), since="2999").decisions == 0


def test_kinds_of_change_are_bounded() -> None:
    found = Tally(0, 1)
    for number in range(MOST_GROUPS + 50):
        found.add(Change("denied", "a", "b", f"r{number}"), "id")
    groups = list(found.groups())
    assert len(groups) == MOST_GROUPS + 1
    assert sum(group.count for group in groups) == MOST_GROUPS + 50


def test_an_exit_code_says_whether_more_gets_through() -> None:
    codes = {kind: Tally(0, 1) for kind in ("allowed", "unredacted", "asked", "undecidable")}
    for kind, one in codes.items():
        one.add(Change(kind, "", "", ""), "id")  # type: ignore[arg-type]
    assert {kind: one.exit_code for kind, one in codes.items()} == {
        "allowed": 3, "unredacted": 3, "asked": 1, "undecidable": 1}  # fmt: skip
    assert Tally(0, 1).exit_code == 0


LIMIT = ("methods: [GET, PUT, POST]", "max_session: 1KB")
ABOVE = ("{id: docs", "{id: above, host: docs.example, paths: /b, then: deny}\n    - {id: docs")
# sentence: the edits after, what is told of a request that a budget counts
BUDGETS: dict[str, tuple[Edits, str | None]] = {
    "the same budget by another name": ((LIMIT, ("id: docs", "id: papers")), None),
    "another limit": (((LIMIT[0], "max_session: 2KB"),), "undecidable"),
    "less is counted for it: a rule above takes some": ((LIMIT, ABOVE), "undecidable"),
    "more is counted for it": (
        (LIMIT, ("host: docs.example", "host: [docs.example, more.example]")),
        "undecidable",
    ),
}


@pytest.mark.parametrize("sentence", BUDGETS)
def test_what_a_budget_has_counted_by_then(sentence: str) -> None:
    after, kind = BUDGETS[sentence]
    row = recorded(CALLS["docs"], LIMIT)
    found = WhatIf(changed_policy(LIMIT), changed_policy(*after)).change(row)
    assert (None if found is None else found.kind) == kind
