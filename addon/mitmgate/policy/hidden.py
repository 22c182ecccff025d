"""Which tools, prompts and resources an agent must not know of.

A name is hidden where a rule with ``hide`` is the first that is sure to decide its calls, and
no rule above that one might let some of them through: what can be called is listed, what is
not listed cannot be called.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mitmgate.policy.compiled import McpRule, Policy
from mitmgate.policy.globs import Glob, GlobSet
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


def hidden_names(
    policy: Policy,
    server: str | None,
    agent: str,  # noqa: ARG001 - so far a rule is for every agent
    method: str,
) -> Callable[[str], bool] | None:
    """Return the test for names that *agent* must not see in the answer to *method*, a list.

    None where nothing can be hidden, which costs next to nothing to find out. Names are those
    of tools and prompts, the URIs of resources, and the URI templates (RFC 6570) of templates.
    """
    asked = LISTED.get(method)
    if asked is None or not _may_hide(policy, server, asked):
        return None
    rules = _rules_for(policy, server, asked, housekeeping=False)
    return partial(_hides_template if method == "resources/templates/list" else _hides, rules)


def is_hidden(
    policy: Policy, server: str | None, method: str, name: str | None, *, housekeeping: bool
) -> bool:
    """Say whether the target *name* of a call of *method* must be unknown to an agent."""
    if name is None or not _may_hide(policy, server, method):
        return False
    return _hides(_rules_for(policy, server, method, housekeeping=housekeeping), name)


def _may_hide(policy: Policy, server: str | None, method: str) -> bool:
    return any(
        rule.is_for_server(server) and rule.is_for_method(method, housekeeping=False)
        for rule in policy.hide_rules
    )


def _rules_for(
    policy: Policy, server: str | None, method: str, *, housekeeping: bool
) -> tuple[McpRule, ...]:
    return tuple(
        rule
        for rule in policy.mcp_rules
        if rule.is_for_server(server) and rule.is_for_method(method, housekeeping=housekeeping)
    )


def _hides(rules: tuple[McpRule, ...], name: str) -> bool:
    for rule in rules:
        if rule.tools is not None and not rule.tools.matches(name):
            continue
        if not rule.where:
            return rule.hide
        if rule.verdict is not Verdict.DENY:
            return False  # some arguments may be let through
    return False


def _hides_template(rules: tuple[McpRule, ...], template: str) -> bool:
    """Say whether every URI that *template* can give is hidden."""
    literals = _literals(template)
    for rule in rules:
        if rule.tools is None or _covers(rule.tools, literals):
            if not rule.where:
                return rule.hide
            if rule.verdict is not Verdict.DENY:
                return False
        elif _may_meet(rule.tools, literals):
            hidden = rule.hide or (bool(rule.where) and rule.verdict is Verdict.DENY)
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
