"""Which rules of a policy a replay tried: those that decided, never did, or came too late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mitmgate.policy.call import Call, EgressCall
from mitmgate.policy.compiled import Policy
from mitmgate.policy.decide import mcp_miss
from mitmgate.policy.egress import egress_miss, is_usual_port
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.keys import KeyFolds
from mitmgate.policy.rules import McpRule
from mitmgate.record.lines import printable

type State = Literal["hit", "shadowed", "never hit"]
type Phase = Literal["call", "result", "egress"]
type _Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """How often a rule decided, and how often it matched when ``by`` had decided already.

    A rule in shadow mode decides where it would have. ``part`` is ``mcp`` or ``egress``, ``layer``
    the pack that the rule stands in, ``""`` for the policy.
    """

    part: str
    layer: str
    rule: str
    hits: int
    late: int
    by: str

    @property
    def state(self) -> State:
        """What there is to say of it in a word."""
        if self.hits:
            return "hit"
        return "shadowed" if self.late else "never hit"


class Coverage:
    """Watches one policy. The locked layer does not count: nothing in the policy changes it."""

    def __init__(self) -> None:
        self._rules: dict[_Key, McpRule | EgressRule] = {}
        self._hits: Counter[_Key] = Counter()
        self._late: dict[_Key, Counter[str]] = {}
        self._policy: Policy | None = None

    def watch(self, policy: Policy) -> None:
        """Begin to watch *policy*; called once."""
        for part, rules in (("mcp", policy.mcp_rules), ("egress", policy.egress_rules)):
            self._rules |= {(part, rule.layer, rule.id): rule for rule in rules}
        self._policy = policy
        policy.watchers.append(self._seen)

    @property
    def rules(self) -> list[RuleCoverage]:
        """Every rule, in the order of the policy."""
        return [self._of(key) for key in self._rules]

    @property
    def percent(self) -> float:
        """The rules that decided something, of all; 100 where there are none."""
        hit = sum(1 for key in self._rules if self._hits[key])
        return 100 * hit / len(self._rules) if self._rules else 100.0

    def text(self) -> Iterator[str]:
        """Yield the lines of the readable report."""
        rules = self.rules
        hit = sum(1 for rule in rules if rule.state == "hit")
        yield f"coverage: {hit} of {len(rules)} rules decided something ({self.percent:.0f} %)"
        for rule in rules:
            if rule.state != "hit":
                layer = f" of {printable(rule.layer)}" if rule.layer else ""
                after = f" by {printable(rule.by)}, {rule.late} times" if rule.late else ""
                yield f"  {rule.state}{after}: {rule.part} rule {printable(rule.rule)}{layer}"

    def record(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "percent": round(self.percent, 2),
            "rules": [
                {"part": r.part, "layer": r.layer, "rule": r.rule, "state": r.state,
                 "hits": r.hits, "late": r.late, "by": r.by or None}
                for r in self.rules
            ],
        }  # fmt: skip

    def _of(self, key: _Key) -> RuleCoverage:
        late = self._late.get(key, Counter())
        by = late.most_common(1)[0][0] if late else ""
        return RuleCoverage(*key, self._hits[key], late.total(), by)

    def _seen(self, call: Call | EgressCall, looked_at: Any, phase: Phase) -> None:
        policy = self._policy
        if policy is None:
            return
        if isinstance(call, EgressCall):
            self._count("egress", _egress_matches(policy, call))
        else:
            rules = policy.calls if phase == "call" else policy.results
            folds = KeyFolds()
            tried = ((r, mcp_miss(r, call, looked_at, folds)) for r in rules.candidates(call))
            self._count("mcp", tried)

    def _count(self, part: str, tried: Iterable[tuple[McpRule | EgressRule, str | None]]) -> None:
        decided: str | None = None
        for rule, miss in tried:
            key = part, rule.layer, rule.id
            if miss == "ambiguous" and not rule.effects.shadow:
                decided = decided or "ambiguous_key"
            elif miss is None and decided is not None:
                self._late.setdefault(key, Counter())[decided] += 1
            elif miss is None:
                self._hits[key] += 1
                decided = None if rule.effects.shadow else rule.id


def _egress_matches(policy: Policy, call: EgressCall) -> Iterator[tuple[EgressRule, str | None]]:
    usual = is_usual_port(policy, call.host, call.port)
    return ((rule, egress_miss(rule, call, usual=usual)) for rule in policy.egress_rules)
