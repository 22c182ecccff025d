"""Which tools, prompts and resources an agent must not know of.

A name is hidden where a rule with ``hide`` is the first that is sure to decide its calls, and
no rule above that one might let some of them through: what can be called is listed, what is
not listed cannot be called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from mitmgate.policy.call import Call
from mitmgate.policy.compiled import Policy
from mitmgate.policy.globs import Glob, GlobSet
from mitmgate.policy.rules import McpRule, RuleSet
from mitmgate.policy.verdict import Verdict

LISTED = {
    "tools/list": "tools/call",
    "prompts/list": "prompts/get",
    "resources/list": "resources/read",
    "resources/templates/list": "resources/read",
}
"""The lists that are filtered, and the method that each one's entries are for."""

# No glob holds a control character, so that only a star can match what stands for a variable.
_VARIABLE = "\0"


def hidden_names(policy: Policy, call: Call) -> Callable[[str], bool] | None:
    """Return the test for names that the agent of *call*, a list, must not see in its answer.

    None where nothing can be hidden, which costs next to nothing to find out. Names are those
    of tools and prompts, the URIs of resources, and the URI templates (RFC 6570) of templates.
    """
    asked = LISTED.get(call.method)
    if asked is None:
        return None
    calls = replace(call, method=asked, tool=None, params=None, housekeeping=False)
    layers = [
        rules
        for layer in (policy.calls, policy.locked_calls)
        if (rules := _rules_for(layer, calls, locked=layer is policy.locked_calls))
    ]
    if not layers:
        return None
    test = _hides_template if call.method == "resources/templates/list" else _hides
    return partial(_any_hides, test, layers)


def is_hidden(policy: Policy, call: Call) -> bool:
    """Say whether the target of *call* must be unknown to its agent."""
    name = call.tool
    if name is None:
        return False
    return any(
        _hides(_rules_for(layer, call, locked=layer is policy.locked_calls), name)
        for layer in (policy.calls, policy.locked_calls)
    )


def _any_hides(
    test: Callable[[tuple[McpRule, ...], str], bool],
    layers: list[tuple[McpRule, ...]],
    name: str,
) -> bool:
    return any(test(rules, name) for rules in layers)


def _rules_for(layer: RuleSet, call: Call, *, locked: bool) -> tuple[McpRule, ...]:
    """Return the rules of *layer* that are for *call*, its target apart; none if nothing hides."""
    if not any(_is_for(rule, call, locked=locked) for rule in layer.hiding):
        return ()
    return tuple(rule for rule in layer.rules if _is_for(rule, call, locked=locked))


def _is_for(rule: McpRule, call: Call, *, locked: bool) -> bool:
    return (
        (locked or not rule.effects.shadow)
        and rule.is_for_server(call.server)
        and rule.is_for_method(call.method, housekeeping=call.housekeeping)
        and (rule.revisions is None or call.revision in rule.revisions)
        and (rule.transports is None or call.transport in rule.transports)
        and rule.circumstances.miss(call) is None
    )


def _is_sure(rule: McpRule) -> bool:
    """Say whether *rule* matches every call of its targets, whatever the arguments are."""
    return not rule.where and rule.annotations is None


def _hides(rules: tuple[McpRule, ...], name: str) -> bool:
    for rule in rules:
        if rule.tools is not None and not rule.tools.matches(name):
            continue
        if _is_sure(rule):
            return rule.hide
        if rule.verdict is not Verdict.DENY:
            return False  # some arguments may be let through
    return False


def _hides_template(rules: tuple[McpRule, ...], template: str) -> bool:
    """Say whether every URI that *template* can give is hidden."""
    literals = _literals(template)
    for rule in rules:
        if rule.tools is None or _covers(rule.tools, literals):
            if _is_sure(rule):
                return rule.hide
            if rule.verdict is not Verdict.DENY:
                return False
        elif _may_meet(rule.tools, literals):
            hidden = rule.hide or (not _is_sure(rule) and rule.verdict is Verdict.DENY)
            if not hidden:
                return False
    return False


def _literals(template: str) -> list[str]:
    """Return the texts around the ``{variables}`` of *template*."""
    found: list[str] = []
    rest = template
    while True:
        literal, opened, inner = rest.partition("{")
        found.append(literal)
        if not opened:
            return found
        _, closed, rest = inner.partition("}")
        if not closed:
            return [*found, ""]


def _covers(globs: GlobSet, literals: list[str]) -> bool:
    """Say whether *globs* surely match whatever the variables between *literals* become."""
    if len(literals) == 1:
        return globs.matches(literals[0])
    text = _VARIABLE.join(literals)
    return any("?" not in glob.text and glob.matches(text) for glob in globs.globs)


def _may_meet(globs: GlobSet, literals: list[str]) -> bool:
    """Say whether *globs* might match something that begins and ends as *literals* do."""
    head, tail = literals[0], literals[-1]
    if any(text.startswith(head) and text.endswith(tail) for text in globs.exact):
        return True
    return any(_ends_meet(glob, head, tail) for glob in globs.globs)


def _ends_meet(glob: Glob, head: str, tail: str) -> bool:
    start = glob.pieces[0].partition("?")[0]
    end = glob.pieces[-1].rpartition("?")[2]
    starts = head.startswith(start) or start.startswith(head)
    return starts and (tail.endswith(end) or end.endswith(tail))
