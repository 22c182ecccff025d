"""Warnings: what is reported is true; some things are not found."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmgate.policy.lint import lint
from mitmgate.policy.load import load_policy
from mitmgate.strictyaml import load

HEAD = """\
version: 1
servers:
  a: {url: "https://a.example/mcp"}
  b: {url: "https://b.example/mcp"}
"""


def warnings(body: str) -> list[str]:
    text = HEAD + body
    found = lint(load_policy(text, file="p"), load(text, file="p"))
    return [problem.message for problem in found]


# sentence: the first rule, the second rule, whether the second never decides
MCP = {
    "the same tool": ("tool: x", "tool: x", True),
    "a glob over a name": ("tool: get_*", "tool: get_me", True),
    "a glob over a glob": ("tool: g*", "tool: get_*", True),
    "a glob over a part of the names": ("tool: g*", "tool: [get_*, put]", False),
    "a narrow glob over a wide one": ("tool: get_*", "tool: g*", False),
    "a question mark over a star": ("tool: g?t", "tool: g*t", False),
    "every server over one": ("tool: x", "server: a, tool: x", True),
    "one server over every server": ("server: a, tool: x", "tool: x", False),
    "another server": ("server: a, tool: x", "server: b, tool: x", False),
    "no condition over a condition": ("tool: x", "tool: x, where: {/a: {equals: 1}}", True),
    "a condition over none": ("tool: x, where: {/a: {equals: 1}}", "tool: x", False),
    "true over one": (
        "tool: x, where: {/a: {equals: true}}", "tool: x, where: {/a: {equals: 1}}", False),
    "everything over a tool": ("server: [a, b]", "server: a, tool: x", True),
    "everything but housekeeping over a method": ("server: a", "server: a, method: ping", False),
    "the method of tools over a tool": ("method: tools/*", "tool: x", True),
    "a tool over its method": ("tool: x", "method: tools/call", False),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "never"), MCP.values(), ids=MCP)
def test_rules_that_never_decide(first: str, second: str, never: bool) -> None:
    found = warnings(
        f"mcp:\n  rules:\n    - {{id: one, then: deny, {first}}}\n"
        f"    - {{id: two, then: allow, {second}}}\n    - {{id: all, server: [a, b], then: ask}}\n"
    )
    assert any("rule two never decides: one" in message for message in found) is never


HIDE = "tool: x*, then: deny, hide: true"

# sentence: the first rule, the second rule, what is said of the second
HIDING = {
    "a rule that hides": ("tool: y, then: allow", HIDE, None),
    "a rule above that allows some arguments": (
        "tool: x*, where: {/a: {equals: 1}}, then: allow", HIDE,
        "rule two hides nothing: one, above it, may let through what it denies, and what can be "
        "called is listed"),
    "a rule above that asks about some arguments of everything": (
        "where: {/a: {equals: 1}}, then: ask", HIDE,
        "rule two hides nothing: one, above it, may let through what it denies, and what can be "
        "called is listed"),
    "a rule above that allows some arguments of one tool": (
        "tool: xy, where: {/a: {equals: 1}}, then: allow", HIDE, None),
    "a rule above that denies some arguments": (
        "tool: x*, where: {/a: {equals: 1}}, then: deny", HIDE, None),
    "a rule above that decides them all": (
        "tool: x*, then: ask", HIDE, "rule two never decides: one, above it, matches all that it "
        "matches"),
    "a method that has no list": (
        "tool: y, then: allow", f"method: completion/complete, {HIDE}",
        "rule two hides nothing: no list is of its methods"),
    "a method that has a list": ("tool: y, then: allow", f"method: prompts/*, {HIDE}", None),
    "a rule above that does the same": (
        HIDE, HIDE, "rule two never decides: one, above it, matches all that it matches"),
    "a denial below that does not hide": ("tool: y, then: deny", "tool: x*, then: deny", None),
    "a denial of no list that does not hide": (
        "tool: x*, where: {/a: {equals: 1}}, then: allow", "tool: x*, then: deny", None),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "said"), HIDING.values(), ids=HIDING)
def test_rules_that_hide_nothing(first: str, second: str, said: str | None) -> None:
    found = warnings(
        f"mcp:\n  rules:\n    - {{id: one, {first}}}\n    - {{id: two, {second}}}\n"
        "    - {id: all, server: [a, b], then: ask}\n"
    )
    assert found == ([] if said is None else [said])


EGRESS = {
    "a wildcard over a host": ("host: '*.x.example'", "host: a.x.example", True),
    "a wildcard over its apex": ("host: '*.x.example'", "host: x.example", False),
    "a wildcard over a narrower one": ("host: '*.x.example'", "host: '*.a.x.example'", True),
    "a host over a wildcard": ("host: a.x.example", "host: '*.x.example'", False),
    "all methods over some": ("host: a.example", "host: a.example, methods: GET", True),
    "some methods over all": ("host: a.example, methods: GET", "host: a.example", False),
    "all ports over some": ("host: a.example", "host: a.example, ports: 22", True),
    "some ports over all": ("host: a.example, ports: 443", "host: a.example", False),
    "a path over a deeper one": (
        "host: a.example, paths: /a", "host: a.example, paths: /a/b", True),
    "a path over one that begins alike": (
        "host: a.example, paths: /a", "host: a.example, paths: /ab", False),
    "one path over all": ("host: a.example, paths: /", "host: a.example", False),
    "every protocol over one": ("host: a.example", "host: a.example, protocol: a2a", True),
    "one protocol over every": ("host: a.example, protocol: a2a", "host: a.example", False),
    "another agent": ("host: a.example, agent: a", "host: a.example", False),
    "limits make no difference": (
        "host: a.example", "host: a.example, max_request: 1KB, websocket: any", True),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "never"), EGRESS.values(), ids=EGRESS)
def test_egress_rules_that_never_decide(first: str, second: str, never: bool) -> None:
    found = warnings(
        f"egress:\n  rules:\n    - {{id: one, then: deny, {first}}}\n"
        f"    - {{id: two, then: allow, {second}}}\nmcp: {{rules: [{{id: all, then: ask}}]}}\n"
    )
    assert any("rule two never decides: one" in message for message in found) is never


def _egress_pair(first: str, second: str, more: str = "") -> bool:
    found = warnings(
        f"egress:\n  rules:\n    - {{id: one, host: a.example, {first}}}\n"
        f"    - {{id: two, host: a.example, {second}}}\n{more}"
        "mcp: {rules: [{id: all, then: ask}]}\n"
    )
    return any("rule two never decides: one" in message for message in found)


def test_an_allow_above_a_denial_of_what_can_be_read_in_two_ways() -> None:
    assert _egress_pair("paths: /a, then: allow", "paths: /a/b, then: allow")
    assert not _egress_pair("paths: /a, then: allow", "paths: /a/b, then: deny")


def test_an_allow_without_ports_above_a_denial_of_every_port() -> None:
    opening = "    - {id: three, host: b.example, ports: 22, then: allow}\n"
    assert _egress_pair("then: allow", "then: deny")
    assert not _egress_pair("then: allow", "then: deny", opening)
    assert _egress_pair("then: allow", "ports: [80, 443], then: deny", opening)


def test_a_server_that_no_rule_is_for() -> None:
    assert warnings("mcp: {rules: [{id: one, server: a, then: allow}]}") == [
        "no rule is for server b: each of its calls gets mcp.otherwise, which is ask"
    ]


def test_a_rule_without_server_is_for_all() -> None:
    assert warnings("mcp: {rules: [{id: one, tool: x, then: allow}]}") == []


def test_a_misspelt_method_is_told_and_an_unheard_of_one_is_not() -> None:
    body = "mcp: {rules: [{id: one, method: [tool/call, events/list_all, x-own], then: deny}]}"
    assert warnings(body)[0] == "MCP has no method tool/call that we know of"
    assert warnings(body.replace("tool/call, events/list_all, ", "")) == []


NOBODY = {
    "an agent that there is": ("agent: ci", None),
    "an agent by glob": ("agent: x*", None),
    "an address": ("agent: 10.0.0.7", None),
    "an agent that there is not": ("agent: cy", "no agent is named cy"),
    "a group that there is": ("group: bots", None),
    "a group that there is not": ("group: robots", "no agent is of group robots"),
    "a revision that there is": ('revision: "2025-11-25"', None),
    "a revision that there is not": ('revision: "2025-11-26"', "no revision 2025-11-26 is known"),
}


@pytest.mark.parametrize(("condition", "said"), NOBODY.values(), ids=NOBODY)
def test_rules_for_nobody(condition: str, said: str | None) -> None:
    rule = f"{{id: r, {condition}, then: deny}}"
    body = f"agents: {{ci: {{groups: [bots]}}}}\nmcp: {{rules: [{rule}]}}\n"
    assert warnings(body) == ([said] if said else [])


# sentence: the condition, what is said of it
MATCHES = {
    "any of several": ("/arguments/*: {match: any, equals: 1}", None),
    "all of several inside of one": ("/arguments/a/*/b: {match: all, equals: 1}", None),
    "one value without match": ("/arguments/a: {equals: 1}", None),
    "any of one": ("/arguments/a: {match: any, equals: 1}", "match: any about a single value"),
    "all of one": ("/arguments/a: {match: all, equals: 1}", "match: all about a single value"),
    "a star inside of a name": ("/arguments/a*: {match: any, equals: 1}", "match: any about a"),
}


@pytest.mark.parametrize(("condition", "said"), MATCHES.values(), ids=MATCHES)
def test_match_is_about_several_values(condition: str, said: str | None) -> None:
    text = f"{HEAD}mcp:\n  rules:\n    - id: r\n      then: deny\n      where: {{{condition}}}\n"
    found = lint(load_policy(text, file="p"), load(text, file="p"))
    assert [str(one).startswith("p:9: mcp.rules.0.where./arguments/a") for one in found] == (
        [True] if said else []
    )
    assert all(said and said in one.message for one in found)


BROAD = {
    "every tool of every server": ("mcp", 'tool: "*", then: allow', True),
    "every tool of one server": ("mcp", 'server: a, tool: "*", then: allow', False),
    "every tool under a condition": (
        "mcp", 'tool: "*", where: {/a: {equals: 1}}, then: allow', False),
    "every tool denied": ("mcp", 'tool: "*", then: deny', False),
    "a top-level domain": ("egress", 'host: "*.com", then: allow', True),
    "a domain": ("egress", 'host: "*.example.com", then: allow', False),
    "a top-level domain denied": ("egress", 'host: "*.com", then: deny', False),
}  # fmt: skip


@pytest.mark.parametrize(("section", "rule", "told"), BROAD.values(), ids=BROAD)
def test_rules_that_are_too_broad(section: str, rule: str, told: bool) -> None:
    rest = "" if section == "mcp" else "mcp: {rules: [{id: all, then: deny}]}\n"
    found = warnings(f"{rest}{section}: {{rules: [{{id: r, {rule}}}]}}\n")
    assert any("rule r allows every" in one or "opens every" in one for one in found) is told


NO_GISTS = "{id: nope, host: gist.github.com, then: deny}, "
# sentence: the rules above, the rule, what is said of it
CARRIERS: dict[str, tuple[str, str, str | None]] = {
    "a paste": ("", "host: pastebin.com, then: allow", "pastebin.com (Pastebin)"),
    "a domain with gists": (
        "", 'host: "*.github.com", then: allow', "gist.github.com (GitHub Gist)"),
    "gists that a rule above denies": (NO_GISTS, 'host: "*.github.com", then: allow', None),
    "gists of which a rule above denies some": (
        NO_GISTS.replace("then", "methods: POST, then"), 'host: "*.github.com", then: allow',
        "gist.github.com (GitHub Gist)"),
    "a name below a tunnel": ("", "host: x.ngrok.io, then: allow", "*.ngrok.io (ngrok)"),
    "some paths of it": ("", "host: script.google.com, paths: /macros/ours, then: allow", None),
    "all paths of it": (
        "", "host: script.google.com, paths: /, then: allow", "script.google.com"),
    "a paste that is asked about": ("", "host: pastebin.com, then: ask", None),
    "another host": ("", "host: docs.example.com, then: allow", None),
}  # fmt: skip


@pytest.mark.parametrize(("above", "rule", "told"), CARRIERS.values(), ids=CARRIERS)
def test_rules_that_open_a_host_that_carries_data(above: str, rule: str, told: str | None) -> None:
    found = warnings(
        "mcp: {rules: [{id: all, then: deny}]}\n"
        f"egress: {{rules: [{above}{{id: r, {rule}}}]}}\n"
    )
    assert len(found) == (told is not None)
    assert all(told and f"rule r allows {told}" in one for one in found)


def test_rules_that_loosen_a_locked_layer(tmp_path: Path) -> None:
    locked = tmp_path / "locked.yaml"
    locked.write_text("version: 1\nmcp: {rules: [{id: floor, tool: [get, put], then: deny}]}\n")
    rules = "{id: own, tool: get, then: allow}, {id: fine, tool: other, then: allow}"
    text = f"{HEAD}mcp: {{rules: [{rules}]}}\n"
    found = lint(load_policy(text, file="p", locked=locked), load(text, file="p"))
    assert [problem.message for problem in found] == [
        "rule own says allow, and the locked rule floor says deny to all that it matches"
    ]
