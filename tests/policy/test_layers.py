"""Conditions of rules beyond tools, what comes with a decision, and how layers compose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from mitmgate.errors import ConfigError
from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.decide import decide, decide_result, with_remembered
from mitmgate.policy.egress import decide_egress
from mitmgate.policy.load import Policy, load_policy
from mitmgate.policy.trace import trace, trace_egress
from mitmgate.policy.verdict import Verdict

ALLOW, ASK, DENY = Verdict.ALLOW, Verdict.ASK, Verdict.DENY
NOON = 1_772_452_800.0  # Monday, 2026-03-02T12:00:00Z
HEAD = 'version: 1\nservers: {s: {url: "https://s.example/mcp"}}\n'
CALL = Call("ci", "s", "tools/call", "get", {"name": "get", "arguments": {}}, now=NOON)


def policy_of(*rules: str, more: str = "", otherwise: str = "ask") -> Policy:
    lines = "".join(f"    - {rule}\n" for rule in rules)
    section = f"mcp:\n  otherwise: {otherwise}\n" + (f"  rules:\n{lines}" if rules else "")
    return load_policy(f"{HEAD}{more}{section}", file="p.yaml")


def calling(**changes: Any) -> Call:
    return replace(CALL, **changes)


CIRCUMSTANCES: dict[str, tuple[str, Call, bool]] = {
    "the agent by name": ("agent: ci", CALL, True),
    "the agent by glob": ("agent: [x, c*]", CALL, True),
    "another agent": ("agent: ci-2", CALL, False),
    "an address is the name of an agent without credentials": (
        "agent: 10.0.0.*", calling(agent="10.0.0.7"), True),
    "a group of the agent": ("group: bots", calling(groups=frozenset({"bots"})), True),
    "one of two groups": ("group: [a, b]", calling(groups=frozenset({"b"})), True),
    "no group": ("group: bots", CALL, False),
    "within the hours": ('time: {from: "09:00", to: "17:00"}', CALL, True),
    "the end is outside": ('time: {from: "09:00", to: "12:00"}', CALL, False),
    "the start is inside": ('time: {from: "12:00", to: "13:00"}', CALL, True),
    "in another zone": ('time: {from: "13:00", to: "14:00", zone: Europe/Berlin}', CALL, True),
    "on another day": ('time: {from: "09:00", to: "17:00", days: [tue, wed]}', CALL, False),
    "over midnight, in the evening": (
        'time: {from: "22:00", to: "06:00", days: mon}', calling(now=NOON + 11 * 3600), True),
    "over midnight, in the morning after": (
        'time: {from: "22:00", to: "06:00", days: mon}', calling(now=NOON + 17 * 3600), True),
    "over midnight, in the morning of that day": (
        'time: {from: "22:00", to: "06:00", days: mon}', calling(now=NOON - 8 * 3600), False),
    "the whole day": ('time: {from: "00:00", to: "24:00", days: mon}', CALL, True),
    "the revision": ('revision: "2026-07-28"', calling(revision="2026-07-28"), True),
    "another revision": ('revision: "2026-07-28"', calling(revision="2025-11-25"), False),
    "no revision known": ('revision: "2026-07-28"', CALL, False),
    "the transport": ("transport: [websocket, sse]", calling(transport="sse"), True),
    "another transport": ("transport: websocket", CALL, False),
    "a hint that the server gives": (
        "annotations: {readOnlyHint: true}", calling(annotations={"readOnlyHint": True}), True),
    "a hint that the server denies": (
        "annotations: {readOnlyHint: true}", calling(annotations={"readOnlyHint": False}), False),
    "read-only is not the default": (
        "annotations: {readOnlyHint: true}", calling(annotations={}), False),
    "destructive is the default": (
        "annotations: {destructiveHint: true}", calling(annotations={}), True),
    "all hints must be so": (
        "annotations: {readOnlyHint: true, openWorldHint: false}",
        calling(annotations={"readOnlyHint": True}), False),
    "of a tool in no list an allow is not sure": (
        "annotations: {destructiveHint: true}", CALL, False),
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "call", "matches"), CIRCUMSTANCES.values(), ids=CIRCUMSTANCES
)
def test_circumstances(condition: str, call: Call, matches: bool) -> None:
    policy = policy_of(f"{{id: a, {condition}, then: allow}}")
    decision = decide(policy, call)
    assert (decision.rule == "a") is matches
    assert (trace(policy, call)[0].why == "every condition holds") is matches


def test_of_a_tool_in_no_list_a_deny_is_careful() -> None:
    policy = policy_of("{id: a, annotations: {destructiveHint: true}, then: deny}")
    assert decide(policy, CALL).rule == "a"


def test_egress_rules_know_agents_and_times_too() -> None:
    text = HEAD + "egress: {rules: [{id: a, host: x.example, agent: ci, then: allow}]}\n"
    policy = load_policy(text, file="p.yaml")
    for agent, rule in (("ci", "a"), ("other", "otherwise")):
        call = EgressCall(agent, "x.example", 443, "GET", "/")
        assert decide_egress(policy, call).rule == rule
        tried = trace_egress(policy, call)[0]
        assert tried.matched == (agent == "ci"), tried.why


# What comes with a decision


def test_a_note_is_for_the_operator_and_a_reason_for_the_agent() -> None:
    policy = policy_of("{id: a, then: deny, reason: No., note: see ticket 7, severity: high}")
    decision = decide(policy, CALL)
    assert (decision.reason, decision.agent_reason) == ("rule a: see ticket 7", "No.")
    assert decision.severity == "high"


REDACTED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "a member": ("/arguments/token", {"token": "x"}, ("/arguments/token",)),
    "nothing where nothing is": ("/arguments/token", {}, ()),
    "every item": ("/arguments/l/*", {"l": [1, "b"]}, ("/arguments/l/0", "/arguments/l/1")),
    "a member of every item": ("/arguments/l/*/k", {"l": [{"k": 1}, {}]}, ("/arguments/l/0/k",)),
    "keys with slashes": ("/arguments/*", {"a/b": 1}, ("/arguments/a~1b",)),
}


@pytest.mark.parametrize(("pointer", "arguments", "places"), REDACTED.values(), ids=REDACTED)
def test_what_is_redacted(pointer: str, arguments: dict[str, Any], places: tuple[str, ...]) -> None:
    policy = policy_of(f'{{id: a, then: allow, redact: "{pointer}"}}')
    call = calling(params={"name": "get", "arguments": arguments})
    assert decide(policy, call).redact == places


def test_of_nested_places_the_outer_is_redacted() -> None:
    policy = policy_of("{id: a, then: allow, redact: [/arguments/a, /arguments/a/b]}")
    call = calling(params={"name": "get", "arguments": {"a": {"b": 1}}})
    assert decide(policy, call).redact == ("/arguments/a",)


def test_a_rule_may_say_what_findings_do() -> None:
    policy = policy_of("{id: a, then: allow, scan: {injection: log}, redact: secrets}")
    assert dict(decide(policy, CALL).effects) == {"injection": "log", "secrets": "redact"}


# Results


def test_results_fall_under_rules_of_their_phase_alone() -> None:
    policy = policy_of(
        "{id: big, phase: result, tool: get, where: {/content: {min_length: 2}}, then: deny}",
        "{id: a, tool: get, then: allow}",
    )
    assert decide(policy, CALL).rule == "a"
    decision = decide_result(policy, CALL, {"content": [1, 2]})
    assert decision is not None
    assert (decision.verdict, decision.rule) == (DENY, "big")
    assert decide_result(policy, CALL, {"content": [1]}) is None


def test_a_result_can_be_redacted() -> None:
    policy = policy_of("{id: a, phase: result, then: allow, redact: /structuredContent/key}")
    decision = decide_result(policy, CALL, {"structuredContent": {"key": 1}})
    assert decision is not None
    assert decision.redact == ("/structuredContent/key",)


# Shadow


SHADOW: dict[str, tuple[tuple[str, ...], str, str | None]] = {
    "a rule in shadow mode is told of, and the next decides": (
        ("{id: new, mode: shadow, then: deny}", "{id: a, then: allow}"), "a", "new"),
    "otherwise decides where no other rule matches": (
        ("{id: new, mode: shadow, then: deny}",), "otherwise", "new"),
    "what would have been the same is not told": (
        ("{id: new, mode: shadow, then: allow}", "{id: a, then: allow}"), "a", None),
    "only the first of them would have decided": (
        ("{id: n1, mode: shadow, then: deny}", "{id: n2, mode: shadow, then: ask}",
         "{id: a, then: allow}"), "a", "n1"),
    "one that comes later would not have decided": (
        ("{id: a, then: allow}", "{id: new, mode: shadow, then: deny}"), "a", None),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "rule", "shadow"), SHADOW.values(), ids=SHADOW)
def test_shadow(rules: tuple[str, ...], rule: str, shadow: str | None) -> None:
    decision = decide(policy_of(*rules), CALL)
    assert decision.rule == rule
    assert (decision.shadow and decision.shadow.rule) == shadow


# Layers


def written(folder: Path, name: str, *rules: str, more: str = "") -> Path:
    lines = "".join(f"    - {rule}\n" for rule in rules)
    path = folder / name
    path.write_text(f"version: 1\n{more}mcp:\n  rules:\n{lines}")
    return path


def extended(folder: Path, *rules: str, packs: str, locked: Path | None = None) -> Policy:
    lines = "".join(f"    - {rule}\n" for rule in rules)
    section = f"mcp:\n  otherwise: ask\n  rules:\n{lines}" if rules else ""
    text = f"{HEAD}extends: {packs}\n{section}"
    return load_policy(text, file=str(folder / "p.yaml"), base=folder, locked=locked)


def test_the_policy_comes_before_its_packs_and_these_before_otherwise(tmp_path: Path) -> None:
    written(tmp_path, "one.yaml", "{id: p1, tool: get, then: deny}", "{id: p2, then: deny}")
    written(tmp_path, "two.yaml", "{id: p3, then: allow}")
    policy = extended(tmp_path, "{id: own, tool: get, then: allow}", packs="[./one.yaml, two.yaml]")
    assert [rule.id for rule in policy.mcp_rules] == ["own", "p1", "p2", "p3"]
    assert decide(policy, CALL).rule == "own"
    other = calling(tool="put")
    assert decide(policy, other).rule == "p2"
    assert [step.layer for step in trace(policy, other)] == ["", "./one.yaml", "./one.yaml"]


def test_a_pack_may_extend_others_each_once(tmp_path: Path) -> None:
    written(tmp_path, "a.yaml", "{id: a, then: deny}", more="extends: [./b.yaml, ./c.yaml]\n")
    written(tmp_path, "b.yaml", "{id: b, then: deny}", more="extends: ./c.yaml\n")
    written(tmp_path, "c.yaml", "{id: c, then: deny}")
    policy = extended(tmp_path, packs="./a.yaml")
    assert [rule.id for rule in policy.mcp_rules] == ["a", "b", "c"]


REFUSED: dict[str, tuple[str, str]] = {
    "a file that is not there": ("./no.yaml", "no such file"),
    "a pack that nobody ships": ("destructive-comands", "there is no pack destructive-comands"),
    "a circle": ("./x.yaml", "extends itself"),
    "a file with mistakes": ("./bad.yaml", "unknown key (did you mean then?)"),
    "an id that is taken": ("./same.yaml", "own is already the id of the rule on line 7"),
    "a server that the policy does not name": ("./servers.yaml", "no server is named other"),
}


@pytest.mark.parametrize(("packs", "told"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, packs: str, told: str) -> None:
    written(tmp_path, "x.yaml", "{id: x, then: deny}", more="extends: ./y.yaml\n")
    written(tmp_path, "y.yaml", "{id: y, then: deny}", more="extends: ./x.yaml\n")
    written(tmp_path, "bad.yaml", "{id: bad, than: deny}")
    written(tmp_path, "same.yaml", "{id: own, then: deny}")
    written(tmp_path, "servers.yaml", "{id: srv, server: other, then: deny}")
    with pytest.raises(ConfigError) as caught:
        extended(tmp_path, "{id: own, then: ask}", packs=packs)
    assert any(told in str(problem) for problem in caught.value.problems), caught.value


LOCKED: dict[str, tuple[str, str, Verdict, str, str]] = {
    "a stricter locked rule decides": (
        "{id: own, then: allow}", "{id: floor, then: deny}", DENY, "floor", "locked"),
    "a laxer one changes nothing": (
        "{id: own, then: deny}", "{id: floor, then: ask}", DENY, "own", "rule"),
    "of two that say the same the locked one decides": (
        "{id: own, then: ask}", "{id: floor, then: ask}", ASK, "floor", "locked"),
    "one that does not match sets no floor": (
        "{id: own, then: allow}", "{id: floor, tool: put, then: deny}", ALLOW, "own", "rule"),
    "the first of them decides there too": (
        "{id: own, then: allow}", "{id: fine, tool: get, then: allow}", ALLOW, "own", "rule"),
    "it knows no shadow": (
        "{id: own, then: allow}", "{id: floor, mode: shadow, then: deny}", DENY, "floor", "locked"),
}  # fmt: skip


@pytest.mark.parametrize(("own", "floor", "verdict", "rule", "code"), LOCKED.values(), ids=LOCKED)
def test_the_locked_layer_is_a_floor(
    tmp_path: Path, own: str, floor: str, verdict: Verdict, rule: str, code: str
) -> None:
    locked = written(tmp_path, "locked.yaml", floor)
    decision = decide(extended(tmp_path, own, packs="[]", locked=locked), CALL)
    assert (decision.verdict, decision.rule, decision.code) == (verdict, rule, code)


def test_housekeeping_and_results_have_a_floor_too(tmp_path: Path) -> None:
    locked = written(
        tmp_path, "locked.yaml", "{id: no-lists, method: tools/list, then: deny}",
        "{id: no-errors, phase: result, where: {/isError: {equals: true}}, then: deny}",
        "{id: hush, phase: result, then: allow, redact: /secret}",
    )  # fmt: skip
    policy = extended(tmp_path, "{id: own, then: allow}", packs="[]", locked=locked)
    listing = calling(method="tools/list", tool=None, housekeeping=True)
    assert decide(policy, listing).rule == "no-lists"
    for result, rule in (({"isError": True}, "no-errors"), ({"secret": 1}, "hush")):
        decision = decide_result(policy, CALL, result)
        assert decision is not None
        assert decision.rule == rule


def test_every_layer_counts_in_the_hash(tmp_path: Path) -> None:
    hashes = set()
    for verdict in ("deny", "ask"):
        written(tmp_path, "a.yaml", f"{{id: a, then: {verdict}}}")
        hashes.add(extended(tmp_path, packs="./a.yaml").hash)
    locked = written(tmp_path, "locked.yaml", "{id: floor, then: deny}")
    hashes.add(extended(tmp_path, packs="./a.yaml", locked=locked).hash)
    assert len(hashes) == 3


def test_the_locked_layer_is_for_servers_without_a_name_too(tmp_path: Path) -> None:
    locked = written(
        tmp_path, "locked.yaml", "{id: floor, tool: get, then: deny}",
        "{id: named, server: s, then: deny}",
    )  # fmt: skip
    policy = extended(tmp_path, "{id: own, then: allow}", packs="[]", locked=locked)
    assert decide(policy, calling(server=None)).rule == "floor"
    assert decide(policy, calling(server=None, tool="put")).rule == "otherwise"
    assert decide(policy, calling(tool="put")).rule == "named"


REMEMBERED: dict[str, tuple[str, Literal["allow", "deny"] | None, Verdict]] = {
    "nothing changes nothing": ("ask", None, ASK),
    "an allow answers an ask": ("ask", "allow", ALLOW),
    "an allow does not lift a deny": ("deny", "allow", DENY),
    "a deny answers an ask": ("ask", "deny", DENY),
    "a deny holds where the policy allows now": ("allow", "deny", DENY),
}


@pytest.mark.parametrize(("says", "answer", "verdict"), REMEMBERED.values(), ids=REMEMBERED)
def test_what_an_operator_answered_before(
    says: str, answer: Literal["allow", "deny"] | None, verdict: Verdict
) -> None:
    decision = decide(policy_of(otherwise=says), CALL)
    assert with_remembered(decision, answer).verdict is verdict


def test_the_locked_layer_counts_after_what_was_remembered(tmp_path: Path) -> None:
    locked = written(tmp_path, "locked.yaml", "{id: floor, then: deny}")
    policy = extended(tmp_path, "{id: own, then: ask}", packs="[]", locked=locked)
    assert with_remembered(decide(policy, CALL), "allow").verdict is DENY
