"""From what was concluded to an outcome: numbered, and enforced or only said."""

from __future__ import annotations

from mitmgate.judge.effects import Concluded
from mitmgate.judge.outcome import Kind, Outcome
from mitmgate.judge.state import Exchange
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Verdict

# Shadow covers rules and scanners only (DESIGN section 3): these decided nothing else.
_SHADOWED = frozenset(
    {
        "rule", "otherwise", "unknown_server", "housekeeping", "finding", "answer", "port",
        "hidden", "request_too_large", "session_budget", "dns_over_https", "websocket_refused",
        "binary_refused", "card_changed", "remembered",
    }
)  # fmt: skip


def outcome_of(
    kind: Kind, exchange: Exchange, concluded: Concluded, policy: Policy, *, shadow: bool
) -> Outcome:
    """Return the next outcome of *exchange*; *shadow*: rules and scanners stop nothing."""
    parts: tuple[Outcome, ...] = ()
    if concluded.parts:
        parts = tuple(
            outcome_of(kind, exchange, part, policy, shadow=shadow) for part in concluded.parts
        )
    weighed = concluded.weighed
    decision = weighed.decision
    touched = decision.verdict is not Verdict.ALLOW or bool(weighed.edits)
    return Outcome(
        exchange=exchange.key,
        number=exchange.next_number(),
        kind=kind,
        subject=concluded.subject,
        verdict=decision.verdict,
        rule=decision.rule,
        code=decision.code,
        reason=decision.reason,
        agent_reason=decision.agent_reason,
        policy=policy.hash,
        findings=concluded.findings,
        edits=weighed.edits,
        enforced=not (shadow and touched and decision.code in _SHADOWED),
        question=concluded.question,
        severity=decision.severity,
        shadow=decision.shadow,
        floor=decision.floor,
        floor_edits=weighed.floor_edits,
        parts=parts,
        grant=weighed.grant,
        wait=decision.wait,
    )
