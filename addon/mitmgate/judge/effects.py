"""Findings make a decision stricter, never laxer: what the policy's ``scan`` section says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mitmgate.judge.outcome import Subject
from mitmgate.policy.decide import scan_effect
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.scan.redact import redactable, redaction_edits
from mitmgate.wire.edit import Edit
from mitmgate.wire.surfaces import Surface

_ADVICE = {
    "secrets": "It holds what looks like a credential. Remove it; sending it again will not help.",
    "injection": "It holds text that tries to give instructions to the model.",
}


@dataclass(frozen=True, slots=True)
class Weighed:
    """A decision after the findings were weighed, and the edits that stay with it."""

    decision: Decision
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class Concluded:
    """Everything an outcome is made of, but its place in an exchange."""

    subject: Subject
    weighed: Weighed
    findings: tuple[Finding, ...] = ()
    question: str | None = None


def on_surface(findings: Sequence[Finding], surface: Surface) -> tuple[Finding, ...]:
    """Return *findings* as standing on *surface*."""
    return tuple(replace(finding, surface=surface) for finding in findings)


def weigh(policy: Policy, decision: Decision, findings: Sequence[Finding]) -> Weighed:
    """Apply the policy's effects of *findings* to *decision*; the strictest wins."""
    redacted: list[Finding] = []
    for finding in findings:
        effect = scan_effect(policy, finding.detector, finding.surface)
        if effect == "redact":
            if redactable(finding) and not finding.pointer.startswith("#"):
                redacted.append(finding)
                continue
            effect = "deny"  # what cannot be taken out must not go through
        if effect in ("ask", "deny"):
            decision = _stricter(decision, finding, Verdict.from_word(effect))
    edits = redaction_edits(redacted) if redacted else ()
    return Weighed(decision, tuple(edits))


def _stricter(decision: Decision, finding: Finding, verdict: Verdict) -> Decision:
    if verdict <= decision.verdict:
        return decision
    place = finding.pointer or "the body"
    return Decision(
        verdict,
        f"scan.{finding.detector}",
        "finding",
        f"{finding.rule} at {place} (scan.{finding.detector}.{finding.surface.value}: "
        f"{verdict.word})",
        f"Stopped by a content check ({finding.rule} at {place}). {_ADVICE[finding.detector]}",
    )
