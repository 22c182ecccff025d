"""Decisions on calls of which only the target was kept: every decision that is possible.

A rule that looks at what was not kept may match or not. What is unknown is asked of
:class:`Unknowns`, and :func:`explore` tries every answer. One unknown thing has one answer in all
that is judged in one try, so that two policies with the same condition agree on it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.policy.conditions import WILDCARD, Condition
from mitmgate.policy.decide import agent_sentence, otherwise, rule_decision, stricter
from mitmgate.policy.egress import egress_miss, is_usual_port
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.rules import McpRule
from mitmgate.policy.truth import Truth
from mitmgate.policy.verdict import Decision, Verdict

MOST_TRIES: Final = 2_000
"""Answers that are tried for one call; what needs more cannot be told."""


class Unknowns:
    """Answers about what was not kept, one and the same for each thing in one try."""

    def __init__(self, prefix: Sequence[int] = ()) -> None:
        """Give the answers that *prefix* numbers to the first things that are asked."""
        self._prefix = prefix
        self._known: dict[Hashable, object] = {}
        self.asked: list[tuple[int, int]] = []

    def one_of[T](self, thing: Hashable, answers: Sequence[T]) -> T:
        """Return what is assumed of *thing*; equal things have equal *answers*."""
        if thing not in self._known:
            place = len(self.asked)
            number = self._prefix[place] if place < len(self._prefix) else 0
            self.asked.append((number, len(answers)))
            self._known[thing] = answers[number]
        found: T = self._known[thing]  # type: ignore[assignment]
        return found

    def holds(self, thing: Hashable) -> bool:
        """Return whether it is assumed that *thing* is so."""
        return self.one_of(thing, (False, True))


def explore[T](judge: Callable[[Unknowns], T], *, most: int = MOST_TRIES) -> Iterator[T]:
    """Yield what *judge* gives for every answer to what it asks; OverflowError after *most*."""
    prefix: list[int] = []
    for _ in range(most):
        unknowns = Unknowns(prefix)
        yield judge(unknowns)
        asked = unknowns.asked
        while asked and asked[-1][0] == asked[-1][1] - 1:
            asked.pop()
        if not asked:
            return
        prefix = [number for number, _ in asked]
        prefix[-1] += 1
    raise OverflowError(f"more than {most} answers to what is not known")


@dataclass(frozen=True, slots=True)
class KeptCall:
    """An MCP message as far as it was kept; *call* has neither params nor annotations.

    ``exact`` says that the tool of *call* is the very name; ``transport`` that its transport is
    known.
    """

    call: Call
    exact: bool = True
    transport: bool = False


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that is not MCP as far as it was kept; the size of its body is unknown.

    ``exact`` says that the path of *call* is the very path.
    """

    call: EgressCall
    exact: bool = True


def possible(policy: Policy, kept: KeptCall) -> frozenset[tuple[Verdict, str]]:
    """Return every verdict with its rule that *policy* may come to; OverflowError: too many."""
    tries = explore(lambda unknowns: decision_on(policy, kept, unknowns))
    return frozenset((one.verdict, one.rule) for one in tries)


def decision_on(policy: Policy, kept: KeptCall, unknowns: Unknowns) -> Decision:
    """Return what ``decide`` says of the call where *unknowns* are so."""
    noun = "tool" if kept.call.method == "tools/call" else "request"
    own = _first(policy.calls.rules, kept, unknowns, noun=noun)
    if own is None and kept.call.housekeeping:
        told = agent_sentence(Verdict.ALLOW, noun)
        own = Decision(Verdict.ALLOW, "housekeeping", "housekeeping", "", told)
    own = own or otherwise(policy.mcp_otherwise, "mcp", noun)
    return stricter(own, _first(policy.locked_calls.rules, kept, unknowns, noun=noun, locked=True))


def result_decision_on(policy: Policy, kept: KeptCall, unknowns: Unknowns) -> Decision | None:
    """Return what ``decide_result`` says of the result of the call where *unknowns* are so."""
    own = _first(policy.results.rules, kept, unknowns, noun="result")
    floor = _first(policy.locked_results.rules, kept, unknowns, noun="result", locked=True)
    return floor if own is None else stricter(own, floor)


def egress_decision_on(policy: Policy, kept: KeptRequest, unknowns: Unknowns) -> Decision:
    """Return what ``decide_egress`` says of the request where *unknowns* are so."""
    own = _egress(policy, policy.egress_rules, kept, unknowns)
    last = otherwise(policy.egress_otherwise, "egress", "host")
    first = last if own is None else _sized(own, unknowns)
    floor = _egress(policy, policy.locked_egress, kept, unknowns, locked=True)
    return stricter(first, None if floor is None else _sized(floor, unknowns, locked=True))


def egress_rules_on(
    policy: Policy, kept: KeptRequest, unknowns: Unknowns
) -> tuple[EgressRule | None, EgressRule | None]:
    """Return the policy's own rule and the locked one that decide on the request."""
    own = _egress(policy, policy.egress_rules, kept, unknowns)
    return own, _egress(policy, policy.locked_egress, kept, unknowns, locked=True)


def _first(
    rules: Iterable[McpRule],
    kept: KeptCall,
    unknowns: Unknowns,
    *,
    noun: str,
    locked: bool = False,
) -> Decision | None:
    for rule in rules:
        if rule.effects.shadow and not locked:
            continue
        matched = _matches(rule, kept, unknowns)
        if matched is None:
            return Decision(Verdict.DENY, "ambiguous_key", "ambiguous_key", "", "")
        if matched:
            decision = rule_decision(rule, noun=noun, locked=locked)
            return replace(decision, redact=rule.redact, effects=rule.overrides)
    return None


def _matches(rule: McpRule, kept: KeptCall, unknowns: Unknowns) -> bool | None:
    """Say whether *rule* matches where *unknowns* are so; None: its ``where`` is ambiguous."""
    return (
        _is_for(rule, kept, unknowns)
        and _has_circumstances(rule, kept, unknowns)
        and _has_annotations(rule, kept.call, unknowns)
        and _where(rule, unknowns)
    )


def _is_for(rule: McpRule, kept: KeptCall, unknowns: Unknowns) -> bool:
    call = kept.call
    if kept.exact or rule.tools is None:
        return rule.target_miss(call) is None
    return (
        rule.is_for_server(call.server)
        and rule.is_for_method(call.method, housekeeping=call.housekeeping)
        and call.tool is not None
        and unknowns.holds(("tool", rule.tools.texts))
    )


def _has_circumstances(rule: McpRule, kept: KeptCall, unknowns: Unknowns) -> bool:
    call = kept.call
    if rule.revisions is not None and call.revision not in rule.revisions:
        return False
    if rule.transports is not None:
        known = (*sorted(_TRANSPORTS),)
        spoken = call.transport if kept.transport else unknowns.one_of("transport", known)
        if spoken not in rule.transports:
            return False
    return rule.circumstances.miss(call) is None


_TRANSPORTS: Final = ("streamable_http", "sse", "websocket", "delegated")


def _has_annotations(rule: McpRule, call: Call, unknowns: Unknowns) -> bool:
    if rule.annotations is None:
        return True
    if call.method != "tools/call":
        return rule.meets_annotations(None)
    if not unknowns.holds("listed"):
        return rule.meets_annotations(None)
    hints = rule.annotations.items()
    return all(unknowns.holds(("hint", hint)) is wanted for hint, wanted in hints)


def _where(rule: McpRule, unknowns: Unknowns) -> bool | None:
    allowing = rule.verdict is Verdict.ALLOW
    things = [_thing(condition, allowing=allowing) for condition in rule.where]
    if any(unknowns.holds(("ambiguous", thing)) for thing in things):
        return None
    least = Truth.YES if allowing else Truth.UNSURE
    return all(
        unknowns.one_of(("where", thing), _truths(condition)) >= least
        for thing, condition in zip(things, rule.where, strict=True)
    )


_TRUTHS: Final = (Truth.NO, Truth.YES, Truth.UNSURE)
_SURE: Final = frozenset(
    {"equals", "in", "prefix", "suffix", "exists", "type", "min_length", "max_length"}
)
"""Operators that every value meets or does not meet, read in whatever way."""


def _truths(condition: Condition) -> tuple[Truth, ...]:
    sure = WILDCARD not in condition.tokens and condition.entry.given.keys() <= _SURE
    return _TRUTHS[:2] if sure else _TRUTHS


def _thing(condition: Condition, *, allowing: bool) -> Hashable:
    # Behind a wildcard a rule that allows wants all of the values, another one any of them.
    wild = WILDCARD in condition.tokens and condition.entry.match is None
    return condition.pointer, repr(condition.entry), wild and allowing


def _egress(
    policy: Policy,
    rules: Iterable[EgressRule],
    kept: KeptRequest,
    unknowns: Unknowns,
    *,
    locked: bool = False,
) -> EgressRule | None:
    call = kept.call
    usual = is_usual_port(policy, call.host, call.port)
    for rule in rules:
        if rule.effects.shadow and not locked:
            continue
        tried = rule if kept.exact else replace(rule, paths=None)
        if egress_miss(tried, call, usual=usual) is not None:
            continue
        if tried.paths is rule.paths or unknowns.one_of(
            ("path", rule.paths, rule.verdict is Verdict.ALLOW), (False, True)
        ):
            return rule
    return None


def _sized(rule: EgressRule, unknowns: Unknowns, *, locked: bool = False) -> Decision:
    decision = rule_decision(rule, noun="host", locked=locked)
    if rule.max_request is None or not unknowns.holds(("larger", rule.max_request)):
        return decision
    return replace(decision, verdict=Verdict.DENY, code="request_too_large")
