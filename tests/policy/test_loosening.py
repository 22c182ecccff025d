"""What a changed policy may let through, in sentences; none where it surely tightens."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.allowances import Allowance
from mitmgate.policy.compiled import Policy
from mitmgate.policy.compiling import compile_policy
from mitmgate.policy.conditions import Condition
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.load import load_policy
from mitmgate.policy.loosening import loosened
from mitmgate.policy.loosening_rules import MAX_PAIRS, longest_rising
from mitmgate.policy.models import PolicyFile, RulesFile
from mitmgate.policy.remembered import RememberedRule
from mitmgate.policy.rules import Circumstances, Effects, McpRule
from mitmgate.policy.scan_models import SecretsEffects

type Document = dict[str, Any]

SERVERS = """\
version: 1
servers: {a: {url: "https://a.example/mcp"}, b: {url: "https://b.example/mcp"}}
"""


def rules(*entries: str, otherwise: str = "ask") -> str:
    """Return a policy with MCP rules of these *entries*."""
    lines = "".join(f"    - {{{entry}}}\n" for entry in entries)
    return f"{SERVERS}mcp:\n  otherwise: {otherwise}\n  rules:\n{lines or '    []'}\n"


ALLOW_GET = 'id: reads, tool: "get_*", then: allow'
NO_RM = "id: no-rm, tool: rm, then: deny"
HIDE = "id: no-admin, tool: admin, then: deny, hide: true"
FORCE = "id: force, tool: push, where: {/arguments/force: {equals: true}}"
NOTHING: tuple[str, ...] = ()

RULES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "nothing changed": (rules(NO_RM), rules(NO_RM), NOTHING),
    "words for people decide nothing": (
        rules(NO_RM), rules(f"{NO_RM}, reason: No., note: why, severity: high"), NOTHING),
    "samples decide nothing": (
        rules(NO_RM), rules(f"{NO_RM}, samples: {{match: [{{tool: rm}}]}}"), NOTHING),
    "a new deny only tightens": (rules(ALLOW_GET), rules(NO_RM, ALLOW_GET), NOTHING),
    "a new deny with conditions only tightens": (
        rules(ALLOW_GET), rules(f"{FORCE}, then: deny", ALLOW_GET), NOTHING),
    "a new allow loosens": (
        rules(), rules(ALLOW_GET), ("rule reads is new and allows",)),
    "a new allow where everything else is allowed": (
        rules(otherwise="allow"), rules(ALLOW_GET, otherwise="allow"), NOTHING),
    "a new allow below one that matches all of it is told all the same": (
        rules('id: all, tool: "*", then: deny'),
        rules('id: all, tool: "*", then: deny', ALLOW_GET), ("rule reads is new and allows",)),
    "a new ask above a deny loosens what both match": (
        rules(NO_RM), rules("id: doubt, tool: r*, then: ask", NO_RM),
        ("rule doubt is new and asks, above no-rm",)),
    "a new ask above a deny of other tools": (
        rules(NO_RM), rules("id: doubt, tool: [mv, cp*], then: ask", NO_RM), NOTHING),
    "a new ask above a deny of another server": (
        rules(f"{NO_RM}, server: a"),
        rules("id: doubt, server: b, then: ask", f"{NO_RM}, server: a"), NOTHING),
    "a new ask above a deny of other methods": (
        rules(NO_RM), rules("id: doubt, method: resources/read, then: ask", NO_RM), NOTHING),
    "a new ask for agents that a deny is not for": (
        rules(f"{NO_RM}, agent: ci"),
        rules("id: doubt, agent: dev, then: ask", f"{NO_RM}, agent: ci"), NOTHING),
    "a new ask below a deny": (
        rules(NO_RM), rules(NO_RM, "id: doubt, tool: r*, then: ask"), NOTHING),
    "a new ask where otherwise denies": (
        rules(otherwise="deny"), rules("id: doubt, tool: x, then: ask", otherwise="deny"),
        ("rule doubt is new and asks",)),
    "a new ask for housekeeping, which passed": (
        rules(otherwise="deny"),
        rules("id: doubt, method: tools/list, then: ask", otherwise="deny"), NOTHING),
    "a new ask above an allow that denied ambiguous keys": (
        rules(f"{FORCE}, then: allow"),
        rules("id: doubt, tool: push, then: ask", f"{FORCE}, then: allow"),
        ("rule doubt is new and asks, above force, which denies ambiguous keys",)),
    "a deny that is gone": (rules(NO_RM), rules(), ("rule no-rm is gone, it denied",)),
    "a deny that is gone where all is denied": (
        rules(NO_RM, otherwise="deny"), rules(otherwise="deny"), NOTHING),
    "a deny for housekeeping that is gone": (
        rules("id: lists, method: tools/list, then: deny", otherwise="deny"),
        rules(otherwise="deny"), ("rule lists is gone, it denied",)),
    "a deny that another one replaces": (
        rules(NO_RM), rules('id: all, tool: "*", then: deny'), ("rule no-rm is gone, it denied",)),
    "a deny below one that matches all of it": (
        rules('id: all, tool: "*", then: deny', NO_RM), rules('id: all, tool: "*", then: deny'),
        ("rule no-rm is gone, it denied",)),
    "an allow that is gone": (rules(ALLOW_GET), rules(), NOTHING),
    "an allow that is gone, which denied ambiguous keys": (
        rules(f"{FORCE}, then: allow"), rules(), ("rule force is gone, it denied ambiguous keys",)),
    "an allow that is gone, which redacted": (
        rules(f"{ALLOW_GET}, redact: /arguments/token"), rules(),
        ("rule reads is gone, it redacted",)),
    "an allow that is gone, above one that is lax about findings": (
        rules(ALLOW_GET, 'id: all, tool: "*", then: allow, scan: {secrets: log}'),
        rules('id: all, tool: "*", then: allow, scan: {secrets: log}'),
        ("rule reads is gone, it was stricter about findings",)),
    "a verdict that is stricter": (
        rules("id: rm, tool: rm, then: ask"), rules("id: rm, tool: rm, then: deny"), NOTHING),
    "a verdict that is laxer": (
        rules("id: rm, tool: rm, then: deny"), rules("id: rm, tool: rm, then: ask"),
        ("rule rm: ask, was deny",)),
    "an ask with conditions matches more than an allow did": (
        rules(f"{FORCE}, then: allow", otherwise="deny"),
        rules(f"{FORCE}, then: ask", otherwise="deny"),
        ("rule force matches more than before and asks",)),
    "a deny with conditions matches more than an allow did": (
        rules(f"{FORCE}, then: allow", otherwise="deny"),
        rules(f"{FORCE}, then: deny", otherwise="deny"), NOTHING),
    "a deny for more tools": (rules(NO_RM), rules(NO_RM.replace("rm, then", '"*", then')), NOTHING),
    "a deny for fewer tools": (
        rules("id: nope, tool: [rm, mv], then: deny"), rules("id: nope, tool: rm, then: deny"),
        ("rule nope matches less than before, it denied",)),
    "an allow for fewer tools": (
        rules("id: some, tool: [rm, mv], then: allow"), rules("id: some, tool: rm, then: allow"),
        NOTHING),
    "an allow for more tools": (
        rules("id: some, tool: rm, then: allow"), rules("id: some, tool: [rm, mv], then: allow"),
        ("rule some matches more than before and allows",)),
    "an allow for less of the day": (
        rules(ALLOW_GET), rules(f'{ALLOW_GET}, time: {{from: "09:00", to: "17:00"}}'), NOTHING),
    "a deny for less of the day": (
        rules(NO_RM), rules(f'{NO_RM}, time: {{from: "09:00", to: "17:00"}}'),
        ("rule no-rm matches less than before, it denied",)),
    "true is not one": (
        rules(f"{FORCE}, then: deny"), rules(f"{FORCE.replace('true', '1')}, then: deny"),
        ("rule force matches less than before, it denied",)),
    "another value in an allow": (
        rules(f"{FORCE}, then: allow"), rules(f"{FORCE.replace('true', 'false')}, then: allow"),
        ("rule force looks at something else and allows",)),
    "a deny that looks at less": (
        rules(f"{FORCE}, then: deny"), rules("id: force, tool: push, then: deny"), NOTHING),
    "a deny that moved up": (
        rules(ALLOW_GET, NO_RM), rules(NO_RM, ALLOW_GET), NOTHING),
    "an allow that moved above a deny": (
        rules('id: deny, tool: "*", then: deny', ALLOW_GET),
        rules(ALLOW_GET, 'id: deny, tool: "*", then: deny'),
        ("rule reads moved above deny",)),
    "rules that have nothing in common change places": (
        rules(NO_RM, ALLOW_GET, 'id: x, tool: x, then: allow'),
        rules('id: x, tool: x, then: allow', NO_RM, ALLOW_GET), NOTHING),
    "a deny that moved below an allow": (
        rules('id: all, tool: "*", then: deny', ALLOW_GET, "id: b, tool: get_b, then: allow"),
        rules(ALLOW_GET, "id: b, tool: get_b, then: allow", 'id: all, tool: "*", then: deny'),
        ("rule all moved below reads",)),
    "a rule that moved down and matches less": (
        rules('id: all, tool: "*", then: deny', ALLOW_GET, "id: b, tool: get_b, then: allow"),
        rules(ALLOW_GET, "id: b, tool: get_b, then: allow", 'id: all, tool: "g*", then: deny'),
        ("rule all moved and changed, it denied",)),
    "a rule that moved up and allows": (
        rules(ALLOW_GET, "id: b, tool: b, then: ask", "id: c, tool: c, then: deny"),
        rules("id: c, tool: c, then: allow", ALLOW_GET, "id: b, tool: b, then: ask"),
        ("rule c moved and changed, it denied", "rule c moved, changed and allows, above c")),
    "a rule that goes into shadow mode": (
        rules(NO_RM), rules(f"{NO_RM}, mode: shadow"),
        ("rule no-rm is in shadow mode, it denied",)),
    "an allow that goes into shadow mode": (
        rules(ALLOW_GET), rules(f"{ALLOW_GET}, mode: shadow"), NOTHING),
    "a deny that comes out of shadow mode": (
        rules(f"{NO_RM}, mode: shadow"), rules(NO_RM), NOTHING),
    "an allow that comes out of shadow mode": (
        rules(f"{ALLOW_GET}, mode: shadow"), rules(ALLOW_GET),
        ("rule reads is no longer in shadow mode and allows",)),
    "rules in shadow mode decide nothing": (
        rules(f"{NO_RM}, mode: shadow"), rules(f"{ALLOW_GET}, mode: shadow"), NOTHING),
    "a rule that hides, at the top": (rules(ALLOW_GET), rules(HIDE, ALLOW_GET), NOTHING),
    "a template may become names that no rule is for": (
        rules('id: h, method: resources/read, tool: "a*b*c", then: deny, hide: true'),
        rules("id: nope, method: resources/read, tool: axc, then: deny",
              'id: h, method: resources/read, tool: "a*b*c", then: deny, hide: true'),
        ("rule nope is new and shows what h hides",)),
    "a rule that hides no longer": (
        rules(HIDE), rules(HIDE.replace(", hide: true", "")), ("rule no-admin no longer hides",)),
    "a rule that hid is gone": (
        rules(HIDE, otherwise="deny"), rules(otherwise="deny"),
        ("rule no-admin is gone, it hid what it denied",)),
    "a plain deny above one that hides shows the name": (
        rules(HIDE), rules("id: nope, tool: adm*, then: deny", HIDE),
        ("rule nope is new and shows what no-admin hides",)),
    "a deny with conditions above one that hides leaves the name hidden": (
        rules(HIDE), rules(f"{FORCE}, then: deny", HIDE), NOTHING),
    "an allow that redacts less": (
        rules(f"{ALLOW_GET}, redact: [/arguments/a, /arguments/b]"),
        rules(f"{ALLOW_GET}, redact: [/arguments/a]"), ("rule reads redacts less",)),
    "what is redacted is not scanned": (
        rules(ALLOW_GET), rules(f"{ALLOW_GET}, redact: /arguments/a"),
        ("rule reads redacts what findings stopped",)),
    "an effect of findings that is laxer": (
        rules(ALLOW_GET), rules(f"{ALLOW_GET}, scan: {{secrets: redact}}"),
        ("rule reads is laxer about findings",)),
    "an effect of findings that is stricter": (
        rules(ALLOW_GET), rules(f"{ALLOW_GET}, scan: {{injection: deny}}"), NOTHING),
    "to ask is not stricter than to redact": (
        rules(f"{ALLOW_GET}, scan: {{secrets: redact}}"),
        rules(f"{ALLOW_GET}, scan: {{secrets: ask}}"), ("rule reads is laxer about findings",)),
    "a deny for results": (
        rules(), rules("id: nope, phase: result, then: deny"), NOTHING),
    "a deny for results that is gone": (
        rules("id: nope, phase: result, then: deny"), rules(), ("rule nope is gone, it denied",)),
    "a rule that is for results now": (
        rules(NO_RM), rules(f"{NO_RM}, phase: result"), ("rule no-rm is gone, it denied",)),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentences"), RULES.values(), ids=RULES)
def test_changes(old: str, new: str, sentences: tuple[str, ...]) -> None:
    before, after = load_policy(old, file="old.yaml"), load_policy(new, file="new.yaml")
    assert loosened(before, after) == sentences
    assert loosened(before, before) == loosened(after, after) == ()


def built(document: Document, locked: Document | None = None) -> Policy:
    """Return the policy of *document* under the rules of *locked*."""
    floor = [] if locked is None else [
        ("locked.yaml", RulesFile.model_validate_json(json.dumps({"version": 1, **locked})))
    ]  # fmt: skip
    file = PolicyFile.model_validate_json(json.dumps({"version": 1, **document}))
    return compile_policy(file, "", (), floor)


def locked_rules(*entries: Document) -> Document:
    return {"mcp": {"rules": list(entries)}}


# Found secrets are only logged, unless a rule says otherwise.
QUIET: Document = {
    "scan": {"secrets": dict.fromkeys((*SecretsEffects.model_fields,), "log")},
}
NO_X = {"id": "no-x", "tool": "x", "then": "deny"}
LOCKED: dict[str, tuple[Document, Document, tuple[str, ...]]] = {
    "a locked rule that is gone": (
        locked_rules(NO_X), {}, ("locked rule no-x is gone, it denied",)),
    "a new locked rule": ({}, locked_rules(NO_X), NOTHING),
    "a new locked allow above a locked deny": (
        locked_rules(NO_X), locked_rules({"id": "x", "tool": "x", "then": "allow"}, NO_X),
        ("locked rule x is new and allows, above no-x",)),
    "shadow mode means nothing in the locked layer": (
        locked_rules(NO_X), locked_rules({**NO_X, "mode": "shadow"}), NOTHING),
    "what it says of findings counts before the rule that decides": (
        {}, locked_rules({"id": "x", "tool": "x", "then": "ask", "scan": {"secrets": "redact"}}),
        ("locked rule x is new and is laxer about findings",)),
    "what it says of findings, as strict as can be": (
        {}, locked_rules({"id": "x", "tool": "x", "then": "ask", "scan": {"secrets": "deny"}}),
        NOTHING),
    "a locked egress rule that is gone": (
        {"egress": {"rules": [{"id": "e", "host": "e.example", "then": "deny"}]}}, {},
        ("locked rule e is gone, it denied",)),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentences"), LOCKED.values(), ids=LOCKED)
def test_locked_layer(old: Document, new: Document, sentences: tuple[str, ...]) -> None:
    assert loosened(built(QUIET, old), built(QUIET, new)) == sentences


def _fields(*types: type) -> dict[str, list[str]]:
    return {one.__name__: [each.name for each in dataclasses.fields(one)] for one in types}


def test_nothing_that_a_policy_says_is_forgotten() -> None:
    # A new field is a new way to loosen: look at it in loosening.py, and then add it here.
    known = {
        "Policy": "hash mode static_names private_networks server_urls servers_by_host "
        "unknown_servers agents require_agents mcp_rules calls results locked_calls "
        "locked_results mcp_otherwise egress_rules locked_egress egress_otherwise effects "
        "allowances packs hold_wait unattended ticket allow_for deny_for base remembered delegated "
        "auth_hosts contact decided watchers",
        "McpRule": "id servers tools methods where effects circumstances annotations revisions "
        "transports phase hide redact overrides layer anywhere",
        "EgressRule": "id hosts methods oauth effects circumstances layer ports paths protocols "
        "max_request max_session websocket dns inspect",
        "Allowance": "words value rules surfaces pointers servers tools hosts",
        "Effects": "verdict reason note severity shadow wait",
        "Circumstances": "agents groups window",
        "Condition": "pointer tokens entry wholes parts _test",
        "RememberedRule": "id then covers agent server origin method tool prefix call url values "
        "reason note by made outcome",
    }
    found = _fields(
        Policy, McpRule, EgressRule, Allowance, Effects, Circumstances, Condition, RememberedRule
    )
    assert found == {name: words.split() for name, words in known.items()}


@given(st.lists(st.integers(), unique=True, max_size=8))
def test_a_longest_rising_run(numbers: list[int]) -> None:
    places = longest_rising(numbers)
    run = [numbers[place] for place in places]
    assert places == sorted(places)
    assert run == sorted(run)
    longest = 0
    for chosen in range(1 << len(numbers)):
        picked = [number for at, number in enumerate(numbers) if chosen >> at & 1]
        longest = max(longest, len(picked) if picked == sorted(picked) else 0)
    assert len(run) == longest


def test_many_rules_take_bounded_time() -> None:
    def many(name: str, then: str) -> Policy:
        entries = [
            {"id": f"{name}{number}", "tool": f"t{number}", "then": then,
             "where": {"/arguments/a": {"equals": number}}}
            for number in range(3000)
        ]  # fmt: skip
        return built({"mcp": {"rules": entries, "otherwise": "deny"}})

    allowed, denied = many("a", "allow"), many("b", "deny")
    assert MAX_PAIRS < 3000 * 3000
    # To compare all pairs is too much; what was not compared is told as if it loosened.
    assert loosened(denied, allowed)[-1] == "rule a2999 is new and allows"
    assert len(loosened(denied, allowed)) == 3000
    assert loosened(denied, denied) == ()
