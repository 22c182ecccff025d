"""Why each rule was or was not the one: for people who ask, never on the hot path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.policy.decide import Miss, mcp_miss, why_ambiguous
from mitmgate.policy.egress import egress_miss, is_too_large, is_usual_port
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.globs import GlobSet
from mitmgate.policy.keys import KeyFolds
from mitmgate.policy.rules import McpRule
from mitmgate.policy.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that was tried, whether it decided, and why (for the operator only).

    ``layer`` is the pack that it stands in, ``locked`` for the locked layer, ``""`` for the policy.
    """

    rule: str
    matched: bool
    why: str
    layer: str = ""


def trace(policy: Policy, call: Call) -> list[Step]:
    """Return each rule that was tried for *call*, in order, the deciding one last.

    The rules of the locked layer, if there are any, come behind it.
    """
    steps = _tried(policy.calls.rules, call, call.params)
    if not any(step.matched for step in steps):
        last = "housekeeping" if call.housekeeping else "otherwise"
        more = ", and the method is housekeeping" if call.housekeeping else ""
        steps.append(Step(last, True, f"no rule matched{more}"))
    locked = _tried(policy.locked_calls.rules, call, call.params, locked=True)
    return [*steps, *locked]


def trace_egress(policy: Policy, call: EgressCall) -> list[Step]:
    """Return each egress rule that was tried for *call*, as :func:`trace` does."""
    usual = is_usual_port(policy, call.host, call.port)
    steps = _tried_egress(policy.egress_rules, call, usual=usual)
    if not any(step.matched for step in steps):
        steps.append(Step("otherwise", True, "no rule matched"))
    return [*steps, *_tried_egress(policy.locked_egress, call, usual=usual, locked=True)]


def _tried(
    rules: Iterable[McpRule], call: Call, looked_at: Any, *, locked: bool = False
) -> list[Step]:
    steps: list[Step] = []
    folds = KeyFolds()
    for rule in rules:
        layer = "locked" if locked else rule.layer
        miss = mcp_miss(rule, call, looked_at, folds)
        if miss is None and rule.effects.shadow and not locked:
            steps.append(Step(rule.id, False, _shadowed(rule), layer))
        elif miss is None:
            steps.append(Step(rule.id, True, "every condition holds", layer))
            return steps
        elif miss == "ambiguous":
            why = why_ambiguous(rule, looked_at, folds)
            steps.append(Step("ambiguous_key", True, why, layer))
            return steps
        else:
            steps.append(Step(rule.id, False, why_missed(rule, call, looked_at, miss), layer))
    return steps


def _tried_egress(
    rules: Iterable[EgressRule], call: EgressCall, *, usual: bool, locked: bool = False
) -> list[Step]:
    steps: list[Step] = []
    for rule in rules:
        layer = "locked" if locked else rule.layer
        miss = egress_miss(rule, call, usual=usual)
        if miss is None and rule.effects.shadow and not locked:
            steps.append(Step(rule.id, False, _shadowed(rule), layer))
        elif miss is None:
            steps.append(Step(rule.id, True, f"every condition holds{_more(rule, call)}", layer))
            return steps
        else:
            steps.append(Step(rule.id, False, why_no_egress(rule, miss), layer))
    return steps


def _more(rule: EgressRule, call: EgressCall) -> str:
    if is_too_large(rule, call):
        return ", but the body is larger than its max_request"
    return _INSPECTED.get(rule.inspect, "")


_INSPECTED: Final = {
    "headers": ", and of a body above 32 MiB only the head is read",
    "none": ", and TLS is not opened where CONNECT and TLS name this host",
}


def _shadowed(rule: McpRule | EgressRule) -> str:
    return f"every condition holds, but it is in shadow mode: it would {rule.verdict.word}"


def why_missed(rule: McpRule, call: Call, looked_at: Any, miss: Miss) -> str:
    """Return in a sentence the condition *miss* of *rule* that *call* does not meet."""
    if call.server is None and not rule.anywhere:
        return "rules are for named servers, and this one has no name"
    wanted = {
        "server": sorted(rule.servers or ()),
        "tool": rule.tools.texts if rule.tools else (),
        "revision": sorted(rule.revisions or ()),
        "transport": sorted(rule.transports or ()),
    }
    if miss in wanted:
        return f"the {miss} is not {listed(wanted[miss])}"
    if miss == "annotations":
        hints = (
            f"{hint}: {str(value).lower()}" for hint, value in (rule.annotations or {}).items()
        )
        return f"the tool has not {' and '.join(hints)}"
    if miss == "where":
        allowing = rule.verdict is Verdict.ALLOW
        texts = [one.text for one in rule.where if not one.holds(looked_at, allowing=allowing)]
        return f"where does not hold: {'; '.join(texts)}"
    if miss == "method":
        return _why_no_method(rule.methods, rule.tools)
    return _why_circumstances(rule, miss)


def _why_no_method(methods: GlobSet | None, tools: GlobSet | None) -> str:
    if methods is not None:
        return f"the method is not {listed(methods.texts)}"
    if tools is not None:
        return "a rule without method is for tools/call"
    return "a rule without method is not for housekeeping"


def why_no_egress(rule: EgressRule, miss: Miss) -> str:
    """Return in a sentence the condition *miss* that a request does not meet."""
    wanted = {
        "method": sorted(rule.methods or ()),
        "protocol": sorted(rule.protocols or ()),
        "port": [str(port) for port in sorted(rule.ports or ())],
    }
    if miss == "host":
        return "the host is another"
    if miss == "port" and rule.ports is None:
        return "the port is no web port, and the rule names none"
    if miss in wanted:
        return f"the {miss} is not {listed(wanted[miss])}"
    if miss == "path":
        paths = listed([path or "/" for path in rule.paths or ()])
        return f"the path is not below {paths}, or can be read in two ways"
    return _why_circumstances(rule, miss)


def _why_circumstances(rule: McpRule | EgressRule, miss: Miss) -> str:
    given = rule.circumstances
    if miss == "agent":
        return f"the agent is not {listed(given.agents.texts if given.agents else ())}"
    if miss == "group":
        return f"the agent is not of {listed(sorted(given.groups or ()))}"
    return f"it is not {given.window.text if given.window else 'the time'}"


def listed(texts: Sequence[str]) -> str:
    """Return *texts* as an enumeration that is not too long to read."""
    shown = texts if len(texts) <= 8 else [*texts[:7], f"{len(texts) - 7} more"]
    return " or ".join(shown)
