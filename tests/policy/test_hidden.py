"""Hidden targets: what cannot be called for certain is not listed, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.decide import Call, decide, hidden_names
from mitmgate.policy.load import Policy, load_policy
from mitmgate.policy.trace import trace
from mitmgate.policy.verdict import Verdict

HEAD = """\
version: 1
servers:
  a: {url: "https://a.example/mcp"}
  b: {url: "https://b.example/mcp"}
mcp:
  otherwise: allow
  rules:
"""


def policy_of(*rules: str) -> Policy:
    lines = (f"    - {{id: r{number}, {rule}}}\n" for number, rule in enumerate(rules))
    return load_policy(HEAD + "".join(lines), file="p.yaml")


def call(tool: str, server: str | None = "a", **arguments: Any) -> Call:
    return Call("agent", server, "tools/call", tool, {"name": tool, "arguments": arguments})


def hides(policy: Policy, method: str, name: str, server: str | None = "a") -> bool:
    test = hidden_names(policy, Call("agent", server, method))
    return test is not None and test(name)


HIDE = "tool: x*, then: deny, hide: true"
IF_SAFE = "where: {/arguments/safe: {equals: true}}"

# sentence: the rules, is tool xy listed; what a call with safe=true gets, and one without
TOOLS: dict[str, tuple[list[str], bool, str, str]] = {
    "a rule that hides": ([HIDE], False, "hidden", "hidden"),
    "a rule that only denies": (["tool: x*, then: deny"], True, "rule", "rule"),
    "a rule above that allows": (["tool: xy, then: allow", HIDE], True, "rule", "rule"),
    "a rule above that denies and does not hide": (
        ["tool: xy, then: deny", HIDE], True, "rule", "rule"),
    "a rule above for another tool": (["tool: z, then: allow", HIDE], False, "hidden", "hidden"),
    "a rule above for another server": (
        ["server: b, tool: x*, then: allow", HIDE], False, "hidden", "hidden"),
    "a rule above for another method": (
        ["method: prompts/get, tool: x*, then: allow", HIDE], False, "hidden", "hidden"),
    "a rule above that is for everything": (["server: a, then: ask", HIDE], True, "rule", "rule"),
    "a rule below that allows": ([HIDE, "tool: xy, then: allow"], False, "hidden", "hidden"),
    "a rule above that allows some arguments": (
        [f"tool: xy, {IF_SAFE}, then: allow", HIDE], True, "rule", "rule"),
    "a rule above that asks about some arguments": (
        [f"tool: xy, {IF_SAFE}, then: ask", HIDE], True, "rule", "rule"),
    "a rule above that denies some arguments": (
        [f"tool: xy, {IF_SAFE}, then: deny", HIDE], False, "hidden", "hidden"),
    "some arguments of another tool": (
        [f"tool: z, {IF_SAFE}, then: allow", HIDE], False, "hidden", "hidden"),
    "a rule that hides on another server": ([f"server: b, {HIDE}"], True, "otherwise", "otherwise"),
    "a rule that hides prompts": (
        [f"method: prompts/get, {HIDE}"], True, "otherwise", "otherwise"),
    "a rule that hides everything there is": (
        ['method: "*", tool: "*", then: deny, hide: true'], False, "hidden", "hidden"),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "listed", "safe", "unsafe"), TOOLS.values(), ids=TOOLS)
def test_tools(rules: list[str], listed: bool, safe: str, unsafe: str) -> None:
    policy = policy_of(*rules)
    assert hides(policy, "tools/list", "xy") is not listed
    for one, code in ((call("xy", safe=True), safe), (call("xy"), unsafe)):
        decision = decide(policy, one)
        assert decision.code == code
        assert decision.hidden is not listed
        assert trace(policy, one)[-1].rule == decision.rule


@pytest.mark.parametrize("rule", ["r0", "r1"])
def test_a_call_to_a_hidden_tool_is_denied_as_if_it_were_unknown(rule: str) -> None:
    policy = policy_of(
        f"tool: xy, {IF_SAFE}, then: deny, reason: Never safely.", HIDE + ", reason: Not for you."
    )
    decision = decide(policy, call("xy", safe=rule == "r0"))
    assert (decision.verdict, decision.rule, decision.code) == (Verdict.DENY, rule, "hidden")
    assert decision.reason.startswith(f"rule {rule}: N")
    assert decision.agent_reason == "Unknown tool."


def test_keys_in_two_spellings_do_not_tell_of_a_hidden_tool() -> None:
    policy = policy_of(f"tool: xy, {IF_SAFE}, then: deny", HIDE)
    decision = decide(policy, call("xy", SAFE=True))
    assert (decision.verdict, decision.code) == (Verdict.DENY, "ambiguous_key")
    assert (decision.hidden, decision.agent_reason) == (True, "Unknown tool.")


# sentence: the list, the server, whether anything could be hidden there
LISTS: dict[str, tuple[str, str | None, bool]] = {
    "tools of a server with such a rule": ("tools/list", "a", True),
    "tools of a server without one": ("tools/list", "b", False),
    "tools of a server without a name": ("tools/list", None, False),
    "prompts": ("prompts/list", "a", True),
    "prompts of another server": ("prompts/list", "b", True),
    "resources": ("resources/list", "a", False),
    "templates of resources": ("resources/templates/list", "a", False),
    "tasks": ("tasks/list", "a", False),
    "no list": ("tools/call", "a", False),
}


@pytest.mark.parametrize(("method", "server", "some"), LISTS.values(), ids=LISTS)
def test_lists_where_nothing_is_hidden_need_no_look(
    method: str, server: str | None, some: bool
) -> None:
    policy = policy_of(f"server: a, {HIDE}", "method: prompts/get, tool: p, then: deny, hide: true")
    assert (hidden_names(policy, Call("agent", server, method)) is not None) is some


def test_prompts_and_resources_are_hidden_by_their_methods() -> None:
    policy = policy_of(
        "method: prompts/get, tool: p, then: deny, hide: true",
        'method: resources/*, tool: "file:///etc/*", then: deny, hide: true',
    )
    assert hides(policy, "prompts/list", "p")
    assert not hides(policy, "prompts/list", "q")
    assert hides(policy, "resources/list", "file:///etc/passwd")
    assert not hides(policy, "resources/list", "file:///tmp/x")
    for method, name, told in (
        ("prompts/get", "p", "Unknown prompt."),
        ("resources/read", "file:///etc/passwd", "Unknown resource."),
        ("resources/subscribe", "file:///etc/passwd", "Unknown name."),
    ):
        decision = decide(policy, Call("agent", "a", method, name, {}, method.endswith("be")))
        assert (decision.hidden, decision.code, decision.agent_reason) == (True, "hidden", told)
    assert not decide(policy, Call("agent", "a", "prompts/get", "q")).hidden


SECRET = 'method: resources/read, tool: "f:/s/*", then: deny, hide: true'


def _read(globs: str, then: str) -> str:
    return f"method: resources/read, tool: {globs}, then: {then}"


# sentence: the rules, the template, whether it is listed
TEMPLATES: dict[str, tuple[list[str], str, bool]] = {
    "all that it can give is hidden": ([SECRET], "f:/s/{name}", False),
    "a variable in the middle": ([SECRET], "f:/s/{name}/raw", False),
    "no variable at all": ([SECRET], "f:/s/one", False),
    "no variable, and the rule names it": (
        [_read("'f:/s/one'", "deny, hide: true")], "f:/s/one", False),
    "no variable, and a question mark": (
        [_read("'f:/s/on?'", "deny, hide: true")], "f:/s/one", False),
    "a variable may become something else": (
        [_read("'f:a*'", "deny, hide: true")], "f:{v}", True),
    "a question mark above allows one that begins so": (
        [_read("'f:/s/?k'", "allow"), SECRET], "f:/s/o{v}", True),
    "a question mark above allows one that ends so": (
        [_read("'*/k?'", "allow"), SECRET], "f:/s/{v}/kx", True),
    "a variable where the glob is fixed": ([SECRET], "f:/{+path}", True),
    "the glob fits the letters of the variable only": (
        [_read("'f:*secret*'", "deny, hide: true")], "f:{secret}", True),
    "one of them is allowed above": ([_read("'f:/s/ok'", "allow"), SECRET], "f:/s/{name}", True),
    "some of them may be allowed above": (
        [_read("'f:/s/*.txt'", "ask"), SECRET], "f:/s/{name}", True),
    "some are allowed above for certain arguments": (
        [_read("'f:/s/?'", "allow, where: {/safe: {equals: 1}}"), SECRET], "f:/s/{name}", True),
    "some are denied above and not hidden": (
        [_read("'f:/s/ok'", "deny"), SECRET], "f:/s/{name}", True),
    "some are denied above for certain arguments": (
        [_read("'f:/s/ok'", "deny, where: {/safe: {equals: 1}}"), SECRET], "f:/s/{name}", False),
    "none of them is allowed above": (
        [_read("['g:/*', 'f:/s/*/x', '*.md']", "allow"), SECRET], "f:/s/{name}/raw", False),
    "some are hidden above and all of them here": (
        [_read("'f:/s/a*'", "deny, hide: true"), SECRET], "f:/s/{name}", False),
    "a question mark is one character, a variable any number": (
        [_read("'f:/s/?'", "deny, hide: true")], "f:/s/{name}", True),
    "a brace that is not closed": ([SECRET], "f:/s/{name", False),
    "a brace that is not closed, allowed above": (
        [_read("'f:/s/*.md'", "allow"), SECRET], "f:/s/{name", True),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "template", "listed"), TEMPLATES.values(), ids=TEMPLATES)
def test_templates(rules: list[str], template: str, listed: bool) -> None:
    assert hides(policy_of(*rules), "resources/templates/list", template) is not listed


_NAMES = st.text("ab", max_size=3)
_GLOB = st.text("ab*?", min_size=1, max_size=4).filter(lambda text: "**" not in text)
_WHERE = "where: {/arguments/safe: {equals: true}}"


@st.composite
def _rules(draw: st.DrawFn, method: str) -> list[str]:
    found = []
    for _ in range(draw(st.integers(1, 5))):
        then = draw(st.sampled_from(["allow", "ask", "deny", "deny, hide: true"]))
        tool = f'tool: "{draw(_GLOB)}", '
        named = "hide" in then or draw(st.booleans())
        where = f"{_WHERE}, " if "hide" not in then and draw(st.booleans()) else ""
        found.append(f"method: {method}, {tool if named else ''}{where}then: {then}")
    return found


@given(_rules("tools/call"), _NAMES, st.none() | st.booleans())
def test_what_is_hidden_is_never_let_through_and_nothing_else_is_unknown(
    rules: list[str], name: str, safe: bool | None
) -> None:
    policy = policy_of(*rules)
    decision = decide(policy, call(name) if safe is None else call(name, safe=safe))
    hidden = hides(policy, "tools/list", name)
    assert decision.hidden is hidden
    assert decision.verdict is Verdict.DENY or not hidden


@given(_rules("resources/read"), st.lists(_NAMES, min_size=1, max_size=3), st.data())
def test_a_template_is_hidden_only_with_all_that_it_can_give(
    rules: list[str], literals: list[str], data: st.DataObject
) -> None:
    policy = policy_of(*rules)
    template = "{v}".join(literals)
    values = [data.draw(_NAMES) for _ in literals[1:]]
    given_name = literals[0] + "".join(map("".join, zip(values, literals[1:], strict=True)))
    if hides(policy, "resources/templates/list", template):
        assert hides(policy, "resources/list", given_name)
