"""A policy and a call to a decision. Pure and total: every input gets one, none raises.

Precedence for MCP, first that applies:

1. rules from top to bottom, those of the policy and then those of the packs that it extends, on
   named servers only; the first whose conditions all hold decides. A rule without ``server``
   means every named server. A rule without ``method`` means ``tools/call`` if it has a ``tool``,
   else every method that is not housekeeping. A rule in shadow mode is noted, and the next ones
   decide.
2. housekeeping passes
3. ``mcp.otherwise``

The locked layer is a floor: where its first matching rule is stricter, that one decides.

Where a rule is tried whose server, method and tool are those of the call, and a server may find
another value than we do where its ``where`` looks, the call is denied as ambiguous. A denial of
a target that the agent must not know of says that there is none (``mitmgate.policy.hidden``).

Whether an endpoint that no server names may be spoken to at all is ``decide_unknown``, which
the caller asks before. Results fall under the rules of phase ``result`` alone. Precedence for
egress: rules from top to bottom, then ``egress.otherwise``; ``connect_denied`` is what can be
said before TLS (``mitmgate.policy.egress``). If evaluating fails, the answer is deny.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mitmgate.policy.call import Call
from mitmgate.policy.compiled import Policy, ScanEffect
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.hidden import hidden_names, is_hidden
from mitmgate.policy.keys import KeyFolds, is_ambiguous
from mitmgate.policy.places import places
from mitmgate.policy.rules import CircumstanceMiss, McpRule, RuleSet
from mitmgate.policy.verdict import Decision, ShadowMatch, Verdict

__all__ = [
    "Call",
    "Miss",
    "agent_sentence",
    "conceal_poisoned",
    "decide",
    "decide_result",
    "decide_unknown",
    "hidden_names",
    "mcp_miss",
    "rule_decision",
    "scan_effect",
    "strictest",
    "with_remembered",
]


type Miss = (
    Literal[
        "server", "method", "tool", "revision", "transport", "annotations", "ambiguous", "where",
        "host", "port", "path", "protocol",
    ]
    | CircumstanceMiss
)  # fmt: skip

_MOST_DECIDED = 4096
_UNKNOWN = object()


def decide(policy: Policy, call: Call) -> Decision:
    """Judge *call* by the MCP rules."""
    return fail_closed(lambda: _decide(policy, call))


def decide_result(policy: Policy, call: Call, result: Any) -> Decision | None:
    """Judge the *result* of *call* by the rules of phase ``result``; None: none is for it."""
    try:
        return _decide_result(policy, call, result)
    except Exception as error:  # noqa: BLE001 - whatever broke, the answer is deny
        return broken(error)


def decide_unknown(policy: Policy, endpoint: str) -> Decision:  # noqa: ARG001 - see below
    """Judge whether an agent may speak MCP to the URL *endpoint*, which no server names.

    So far all such endpoints are alike; the caller asks one question for each.
    """
    return fail_closed(lambda: _decide_unknown(policy))


def scan_effect(policy: Policy, detector: str, surface: str) -> ScanEffect:
    """Return what a finding of *detector* on *surface* does; deny for names nobody knows."""
    return policy.effects.get((str(detector), str(surface)), "deny")


def mcp_miss(rule: McpRule, call: Call, looked_at: Any, folds: KeyFolds) -> Miss | None:
    """Return the first condition of *rule* that *call* does not meet, or None: it matches.

    *looked_at* is what ``where`` is about: the params, or the result. ``ambiguous`` stands for a
    ``where`` that cannot be trusted, whether or not it holds.
    """
    return rule.target_miss(call) or _rest_miss(rule, call, looked_at, folds)


def _rest_miss(rule: McpRule, call: Call, looked_at: Any, folds: KeyFolds) -> Miss | None:
    if rule.revisions is not None and call.revision not in rule.revisions:
        return "revision"
    if rule.transports is not None and call.transport not in rule.transports:
        return "transport"
    miss = rule.circumstances.miss(call)
    if miss is not None:
        return miss
    if rule.annotations is not None and not rule.meets_annotations(call.annotations):
        return "annotations"
    return _where_miss(rule, looked_at, folds) if rule.where else None


def _where_miss(rule: McpRule, looked_at: Any, folds: KeyFolds) -> Miss | None:
    for condition in rule.where:
        if is_ambiguous(condition, looked_at, folds):
            return "ambiguous"
    allowing = rule.effects.verdict is Verdict.ALLOW
    for condition in rule.where:
        if not condition.holds(looked_at, allowing=allowing):
            return "where"
    return None


def rule_decision(rule: McpRule | EgressRule, *, noun: str, locked: bool = False) -> Decision:
    """Return the decision of *rule*; *noun* is what the agent is told about (tool, host)."""
    effects, word = rule.effects, rule.verdict.word
    why = effects.note or effects.reason
    reason = f"rule {rule.id}: {why}" if why else f"rule {rule.id} says {word}"
    told = effects.reason or agent_sentence(rule.verdict, noun)
    code = "locked" if locked else "rule"
    return Decision(rule.verdict, rule.id, code, reason, told, severity=effects.severity,
                    wait=effects.wait)  # fmt: skip


def agent_sentence(verdict: Verdict, noun: str) -> str:
    """Return what an agent may read about *verdict*: nothing that maps the policy for it."""
    match verdict:
        case Verdict.ALLOW:
            return f"The operator's policy allows this {noun}."
        case Verdict.ASK:
            return f"The operator's policy wants a person to approve this {noun} first."
        case Verdict.DENY:
            return (
                f"The operator's policy does not allow this {noun}. Do not retry; "
                "continue without it, or tell the user what you need it for."
            )


def fail_closed(judge: Callable[[], Decision]) -> Decision:
    """Return what *judge* does, a denial where it fails."""
    try:
        return judge()
    except Exception as error:  # noqa: BLE001 - whatever broke, the answer is deny
        return broken(error)


def broken(error: Exception) -> Decision:
    """Return the denial for a policy that could not be evaluated."""
    return Decision(
        Verdict.DENY,
        "policy_error",
        "policy_error",
        f"the policy could not be evaluated ({type(error).__name__}); report this as a bug",
        "The operator's policy could not be evaluated, so this was not allowed.",
    )


def _decide(policy: Policy, call: Call) -> Decision:
    for watcher in policy.watchers:
        watcher(call, call.params, "call")
    # Where nothing but these can make a difference, the answer is the same every time.
    key = (call.server, call.method, call.tool, call.housekeeping, call.revision, call.transport)
    known = policy.decided.get(key, _UNKNOWN)
    if isinstance(known, Decision):
        return known
    decision = _tried(policy, call)
    if known is _UNKNOWN:
        if len(policy.decided) >= _MOST_DECIDED:
            policy.decided.clear()
        plain = policy.calls.is_plain(call) and policy.locked_calls.is_plain(call)
        policy.decided[key] = decision if plain else None
    return decision


def _tried(policy: Policy, call: Call) -> Decision:
    noun = "tool" if call.method == "tools/call" else "request"
    looked = Looked(call.params)
    decision = first_match(policy.calls, call, looked, noun=noun)
    if decision is None or decision.rule == "":
        last = _last_word(policy, call, noun)
        decision = last if decision is None else replace(last, shadow=told(decision, last))
    floor = first_match(policy.locked_calls, call, looked, noun=noun, locked=True)
    return _concealed(policy, call, stricter(decision, floor))


def _last_word(policy: Policy, call: Call, noun: str) -> Decision:
    if call.housekeeping:
        return Decision(
            Verdict.ALLOW,
            "housekeeping",
            "housekeeping",
            "housekeeping passes unless a rule with method says otherwise",
            agent_sentence(Verdict.ALLOW, noun),
        )
    return otherwise(policy.mcp_otherwise, "mcp", noun)


def _decide_result(policy: Policy, call: Call, result: Any) -> Decision | None:
    for watcher in policy.watchers:
        watcher(call, result, "result")
    looked = Looked(result)
    decision = first_match(policy.results, call, looked, noun="result")
    if decision is not None and decision.rule == "":
        decision = replace(_PASSED, shadow=told(decision, _PASSED))
    floor = first_match(policy.locked_results, call, looked, noun="result", locked=True)
    return floor if decision is None else stricter(decision, floor)


_PASSED = Decision(Verdict.ALLOW, "answer", "answer", "an answer to an allowed request", "")


@dataclass(frozen=True, slots=True)
class Looked:
    """What ``where`` is about, the params or the result, and what its keys fold to."""

    value: Any
    folds: KeyFolds = field(default_factory=KeyFolds)


def first_match(
    rules: RuleSet, call: Call, looked: Looked, *, noun: str, locked: bool = False
) -> Decision | None:
    """Return the decision of the first of *rules* that matches, None where none does.

    Where only rules in shadow mode match, it is one without a rule that names the first of them.
    """
    shadow: ShadowMatch | None = None
    for rule in rules.candidates(call):
        miss = _rest_miss(rule, call, looked.value, looked.folds)
        if miss is None and rule.effects.shadow and not locked:
            shadow = shadow or ShadowMatch(rule.id, rule.verdict)
        elif miss is None:
            decision = rule_decision(rule, noun=noun, locked=locked)
            redact = tuple(places(rule.redact, looked.value)) if rule.redact else ()
            told = shadow if shadow and shadow.verdict is not decision.verdict else None
            return replace(decision, shadow=told, redact=redact, effects=rule.overrides)
        elif miss == "ambiguous" and not (rule.effects.shadow and not locked):
            return _ambiguous(why_ambiguous(rule, looked.value, looked.folds))
    if shadow is None:
        return None
    return Decision(shadow.verdict, "", "shadow", "", "", shadow=shadow)


def told(shadowed: Decision, decision: Decision) -> ShadowMatch | None:
    """Return the match of *shadowed*, None where it is what *decision* says anyway."""
    return shadowed.shadow if shadowed.verdict is not decision.verdict else None


def stricter(decision: Decision, floor: Decision | None) -> Decision:
    """Return *decision*, or the *floor* of the locked layer where that is stricter.

    What the floor redacts is redacted in any case.
    """
    if floor is None:
        return decision
    wins = floor.verdict >= decision.verdict and floor.verdict is not Verdict.ALLOW
    winner = floor if wins else decision
    redact = (*decision.redact, *(one for one in floor.redact if one not in decision.redact))
    effects = {**decision.effects, **floor.effects} if floor.effects else decision.effects
    return replace(
        winner,
        redact=redact,
        effects=effects,
        shadow=decision.shadow,
        floor=floor.verdict,
        floor_redact=floor.redact,
    )


def with_remembered(decision: Decision, answer: Literal["allow", "deny"] | None) -> Decision:
    """Return *decision* after an operator's earlier *answer* to the same question.

    An allow turns an ask into an allow and nothing else; a deny always holds.
    """
    if answer == "deny":
        return replace(decision, verdict=Verdict.DENY)
    if answer == "allow" and decision.verdict is Verdict.ASK:
        return replace(decision, verdict=Verdict.ALLOW)
    return decision


def strictest(decision: Decision, other: Decision) -> Decision:
    """Return the stricter of two; what comes with *decision* stays with it."""
    if other.verdict <= decision.verdict:
        return decision
    return replace(
        other,
        redact=decision.redact,
        effects=decision.effects,
        shadow=decision.shadow,
        floor=max(decision.floor, other.floor),
        floor_redact=decision.floor_redact,
    )


def _ambiguous(why: str) -> Decision:
    return Decision(
        Verdict.DENY,
        "ambiguous_key",
        "ambiguous_key",
        why,
        "A key of the request is spelt so that servers may take it for another one, so this was "
        "not allowed. Use the names that the schema gives, each once.",
    )


def _concealed(policy: Policy, call: Call, decision: Decision) -> Decision:
    """Return *decision* so that the agent does not learn of a target that is hidden from it."""
    if decision.verdict is not Verdict.DENY or not is_hidden(policy, call):
        return decision
    code = {"rule": "hidden", "locked": "locked_hidden"}.get(decision.code, decision.code)
    told = f"Unknown {_TARGETS.get(call.method, 'name')}."
    return replace(decision, code=code, agent_reason=told, hidden=True)


def conceal_poisoned(decision: Decision, method: str, rule: str) -> Decision:
    """Return the refusal of what was cut out of the agent's list because of the finding *rule*."""
    return replace(
        decision,
        verdict=Verdict.DENY,
        rule="scan.poisoning",
        code="hidden",
        reason=f"its definition was cut out of the list: {rule}",
        agent_reason=f"Unknown {_TARGETS.get(method, 'name')}.",
        hidden=True,
    )


_TARGETS = {"tools/call": "tool", "prompts/get": "prompt", "resources/read": "resource"}


def _decide_unknown(policy: Policy) -> Decision:
    verdict = policy.unknown_servers
    return Decision(
        verdict,
        "unknown_servers",
        "unknown_server",
        f"no server of the policy has this URL, and mcp.unknown_servers is {verdict.word}",
        agent_sentence(verdict, "MCP server"),
    )


def otherwise(verdict: Verdict, section: str, noun: str) -> Decision:
    """Return the decision where no rule of *section* matched."""
    reason = f"no rule matched, and {section}.otherwise is {verdict.word}"
    return Decision(verdict, "otherwise", "otherwise", reason, agent_sentence(verdict, noun))


def why_ambiguous(rule: McpRule, looked_at: Any, folds: KeyFolds) -> str:
    """Return why a ``where`` of *rule* cannot be trusted, for the operator."""
    # The key itself is the agent's text and stays out of records.
    pointers = [one.pointer for one in rule.where if is_ambiguous(one, looked_at, folds)]
    return (
        f"rule {rule.id} looks at {' and '.join(pointers)}, and on the way there is a key that "
        "some servers take for the one that is looked at (letter case, NUL or Unicode), or there "
        "are too many keys to tell"
    )
