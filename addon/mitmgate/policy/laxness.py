"""Which of two rules is laxer, where the new one decides on what the old one decided on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from mitmgate.net.domains import DomainSet
from mitmgate.policy.compiled import Policy, ScanEffect
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.guards import (
    egress_covers,
    egress_overlaps,
    mcp_covers,
    mcp_overlaps,
    same_where,
)
from mitmgate.policy.loosening_rules import Laxer
from mitmgate.policy.rules import Effects, McpRule
from mitmgate.policy.syntax import DETECTORS
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.methods import HOUSEKEEPING_REQUESTS, MCP_METHODS

_JUDGED: Final = MCP_METHODS - HOUSEKEEPING_REQUESTS
_SURFACES: Final = ("arguments", "results", "definitions")


def effect_holds(old: str, new: str) -> bool:
    """Say whether the effect *new* of a finding surely stops and edits as much as *old*."""
    # To ask is no more than to redact, nor less: who approves lets the secret through.
    return old in (new, "log") or new == "deny"


@dataclass(frozen=True, slots=True)
class McpKind:
    """Rules for MCP of one phase. *lasts* decide below them, on all but housekeeping.

    In the *locked* layer nothing is known of the rule that decides above, so that an effect that
    is not given may be any.
    """

    old_effects: Mapping[tuple[str, str], ScanEffect]
    new_effects: Mapping[tuple[str, str], ScanEffect]
    lasts: tuple[Verdict, Verdict]
    hiding: bool
    editing: bool
    locked: bool

    @classmethod
    def of(cls, old: Policy, new: Policy, rules: tuple[tuple[McpRule, ...], tuple[McpRule, ...]],
           *, lasts: tuple[Verdict, Verdict], locked: bool) -> McpKind:  # fmt: skip
        """Return how the old and the new *rules* of two policies are compared."""
        return cls(
            old.effects,
            new.effects,
            lasts,
            hiding=any(rule.hide for rule in rules[0]),
            editing=any(rule.redact or rule.overrides for rule in rules[1]),
            locked=locked,
        )

    def covers(self, broad: McpRule, narrow: McpRule, /) -> bool:
        """Say whether *broad* surely matches all that *narrow* does."""
        return mcp_covers(broad, narrow)

    def overlaps(self, one: McpRule, other: McpRule, /) -> bool:
        """Say whether both may match the same call, or the same entry of a list."""
        return mcp_overlaps(one, other, targets=not (one.hide or other.hide))

    def same(self, old: McpRule, new: McpRule, /) -> bool:
        """Say whether both do the same to the same calls."""
        return _bare(old) == _bare(new) and same_where(old, new)

    def laxer(self, old: McpRule, new: McpRule, /) -> Laxer | None:
        """Return what may be laxer where *new* decides on what *old* decided on, or None."""
        if new.verdict < old.verdict:
            return "verdict"
        if old.hide and not new.hide and not _is_passed_over(new):
            return "hide"
        if new.verdict is Verdict.DENY:
            return None  # nothing goes on
        if old.where and not same_where(old, new):
            return "ambiguous"
        if not set(old.redact) <= set(new.redact):
            return "redact"
        if not set(new.redact) <= set(old.redact) and self._stopped(old, new.verdict):
            return "stops"
        return None if all(self._holds(old, new, one) for one in DETECTORS) else "findings"

    def is_laxest(self, rule: McpRule, /) -> bool:
        """Say whether surely no new rule is laxer than *rule*."""
        plain = not (rule.redact or rule.overrides or rule.where)
        return rule.verdict is Verdict.ALLOW and plain and not self.editing

    def is_strictest(self, rule: McpRule, /) -> bool:
        """Say whether surely no old rule is stricter than *rule*."""
        seen = self.hiding and not rule.hide and not _is_passed_over(rule)
        return rule.verdict is Verdict.DENY and not seen

    def before(self, rule: McpRule, /) -> McpRule:
        """Return the strictest last word on what *rule* matches, of the old policy."""
        methods = rule.methods
        kept_going = methods and not methods.globs and methods.exact <= HOUSEKEEPING_REQUESTS
        return _last(Verdict.ALLOW if kept_going else self.lasts[0])

    def after(self, rule: McpRule, /) -> McpRule:
        """Return the laxest last word on what *rule* matches, of the new policy."""
        methods = rule.methods
        judged = methods is None or (not methods.globs and methods.exact <= _JUDGED)
        return _last(self.lasts[1] if judged else Verdict.ALLOW)

    def _stopped(self, old: McpRule, verdict: Verdict) -> bool:
        """Say whether findings may have stopped what *old* decided on more than *verdict* does.

        What is redacted is not looked at any more.
        """
        effects = {
            old.overrides.get(detector, self.old_effects.get((detector, surface), "deny"))
            for detector in DETECTORS
            for surface in _SURFACES
        }
        return self.locked or "deny" in effects or ("ask" in effects and verdict is Verdict.ALLOW)

    def _holds(self, old: McpRule, new: McpRule, detector: str) -> bool:
        before, now = old.overrides.get(detector), new.overrides.get(detector)
        if before == now:
            return True
        if self.locked:
            return before == "log" or now == "deny" or (
                before is not None and now is not None and effect_holds(before, now)
            )  # fmt: skip
        return all(
            effect_holds(before or self.old_effects[key], now or self.new_effects[key])
            for key in self.old_effects
            if key[0] == detector
        )


@dataclass(frozen=True, slots=True)
class EgressKind:
    """Rules for other traffic. *lasts* decide below them.

    *tunnels* says that a tunnel may lead to an MCP server, so that the refusal of a host, whatever
    the request is, is more than the denial of each request there; *opening*, that a new rule has
    ``oauth``, ``websocket``, ``dns`` or ``inspect``.
    """

    lasts: tuple[Verdict, Verdict]
    tunnels: bool
    opening: bool

    def covers(self, broad: EgressRule, narrow: EgressRule, /) -> bool:
        """Say whether *broad* surely matches all that *narrow* does."""
        return egress_covers(broad, narrow)

    def overlaps(self, one: EgressRule, other: EgressRule, /) -> bool:
        """Say whether both may match the same request."""
        return egress_overlaps(one, other)

    def same(self, old: EgressRule, new: EgressRule, /) -> bool:
        """Say whether both do the same to the same requests."""
        return _bare_egress(old) == _bare_egress(new)

    def laxer(self, old: EgressRule, new: EgressRule, /) -> Laxer | None:
        """Return what may be laxer where *new* decides on what *old* decided on, or None."""
        if new.verdict < old.verdict:
            return "verdict"
        if new.verdict is Verdict.DENY:
            # Below it another denial of some requests leaves the tunnel to the rules that follow.
            last = new is self.after(old)
            return "tunnel" if last and self.tunnels and _refuses_tunnels(old) else None
        return _opens(old, new) or ("limits" if _has_less_limits(old, new) else None)

    def is_laxest(self, rule: EgressRule, /) -> bool:
        """Say whether surely no new rule is laxer than *rule*."""
        limited = rule.max_request is not None or rule.max_session is not None
        return rule.verdict is Verdict.ALLOW and not limited and not self.opening

    def is_strictest(self, rule: EgressRule, /) -> bool:
        """Say whether surely no old rule is stricter than *rule*."""
        return rule.verdict is Verdict.DENY

    def before(self, rule: EgressRule, /) -> EgressRule:  # noqa: ARG002 - the same for all
        """Return the last word of the old policy."""
        return _LAST_EGRESS[self.lasts[0]]

    def after(self, rule: EgressRule, /) -> EgressRule:  # noqa: ARG002 - the same for all
        """Return the last word of the new policy."""
        return _LAST_EGRESS[self.lasts[1]]


def _is_passed_over(rule: McpRule) -> bool:
    """Say whether *rule*, though it decides on calls, leaves a list to the rules below."""
    return rule.verdict is Verdict.DENY and bool(rule.where or rule.annotations)


def _refuses_tunnels(rule: EgressRule) -> bool:
    return rule.is_outright and rule.verdict is Verdict.DENY


def opens_more(rule: EgressRule) -> bool:
    """Say whether *rule* opens what no rule opens that does not say so."""
    opens = rule.oauth or rule.dns or rule.websocket is not None
    return opens or rule.inspect != "body"


def _opens(old: EgressRule, new: EgressRule) -> Laxer | None:
    if new.oauth and not old.oauth:
        return "oauth"
    if _MESSAGES[new.websocket] > _MESSAGES[old.websocket]:
        return "websocket"
    if new.dns and not old.dns:
        return "dns"
    return "inspect" if _UNREAD[new.inspect] > _UNREAD[old.inspect] else None


_MESSAGES: Final = {None: 0, "text": 1, "any": 2}
_UNREAD: Final = {"body": 0, "headers": 1, "none": 2}


def _has_less_limits(old: EgressRule, new: EgressRule) -> bool:
    pairs = ((old.max_request, new.max_request), (old.max_session, new.max_session))
    return any(was is not None and (now is None or now > was) for was, now in pairs)


def _bare(rule: McpRule) -> McpRule:
    effects = Effects(rule.verdict, shadow=rule.effects.shadow)
    return replace(rule, where=(), layer="", effects=effects)


def _bare_egress(rule: EgressRule) -> EgressRule:
    return replace(rule, layer="", effects=Effects(rule.verdict, shadow=rule.effects.shadow))


def _last(verdict: Verdict) -> McpRule:
    return McpRule("otherwise", None, None, None, (), Effects(verdict))


_LAST_EGRESS: Final = {
    verdict: EgressRule("otherwise", DomainSet.of(()), None, oauth=False, effects=Effects(verdict))
    for verdict in Verdict
}
