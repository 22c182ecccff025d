"""Findings make a decision stricter, never laxer: what the policy's ``scan`` section says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mitmgate.errors import WireError
from mitmgate.judge.outcome import Subject
from mitmgate.policy.decide import scan_effect
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.engine import KEY_MARK
from mitmgate.scan.finding import Finding
from mitmgate.scan.redact import redactable, redaction_edits
from mitmgate.wire.edit import Change, Swap
from mitmgate.wire.surfaces import Surface

ALLOWED = Decision(Verdict.ALLOW, "answer", "answer", "an answer to an allowed request", "")
_ANSWERS = frozenset({Surface.RESULTS, Surface.DEFINITIONS, Surface.EGRESS_RESPONSE})
_LONGEST_PLACE = 200
_REDACTED = '"[redacted]"'
_ADVICE = {
    "secrets": "It holds what looks like a credential. Remove it; sending it again will not help.",
    "injection": "It holds text that tries to give instructions to the model.",
}


@dataclass(frozen=True, slots=True)
class Weighed:
    """A decision after the findings were weighed, and the edits that stay with it.

    ``floor_edits`` are those of the locked layer, which are made in shadow mode too.
    """

    decision: Decision
    edits: tuple[Change, ...] = ()
    floor_edits: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Concluded:
    """Everything an outcome is made of, but its place in an exchange."""

    subject: Subject
    weighed: Weighed
    findings: tuple[Finding, ...] = ()
    question: str | None = None
    parts: tuple[Concluded, ...] = ()


def on_surface(findings: Sequence[Finding], surface: Surface) -> tuple[Finding, ...]:
    """Return *findings* as standing on *surface*."""
    return tuple(replace(finding, surface=surface) for finding in findings)


def weigh(
    policy: Policy, decision: Decision, findings: Sequence[Finding], *, below: str = ""
) -> Weighed:
    """Apply the policy's effects of *findings* to *decision*; the strictest wins.

    Where the rule that decided names a detector, its word counts. *below* is the pointer of what
    the decision's own pointers start from.
    """
    if not (findings or decision.redact or decision.floor_redact):
        return Weighed(decision)
    swaps = _swaps(below, decision.redact)
    gone = tuple(f"{swap.pointer}/" for swap in swaps)
    overrides = decision.effects
    redacted: list[Finding] = []
    for finding in findings:
        if gone and f"{finding.pointer.removesuffix(KEY_MARK)}/".startswith(gone):
            continue
        effect = overrides.get(finding.detector) or scan_effect(
            policy, finding.detector, finding.surface
        )
        if effect == "redact":
            if redactable(finding) and not finding.pointer.startswith("#"):
                redacted.append(finding)
                continue
            effect = "deny"  # what cannot be taken out must not go through
        if effect in ("ask", "deny"):
            place = _place(finding, findings)
            decision = _stricter(decision, finding, Verdict.from_word(effect), place)
    edits = redaction_edits(redacted) if redacted else ()
    return Weighed(decision, (*swaps, *edits), _swaps(below, decision.floor_redact))


def _swaps(below: str, places: Sequence[str]) -> tuple[Change, ...]:
    return tuple(Swap(f"{below}{place}", _REDACTED) for place in places)


def refused(problem: WireError, *, code: str | None = None) -> Decision:
    """Return the refusal of a client's request for *problem*; *code* where another word fits."""
    told = f"The operator's policy refused this request: {problem}."
    return Decision(Verdict.DENY, problem.code, code or problem.code, str(problem), told)


def answer_refused(problem: WireError, *, code: str | None = None) -> Decision:
    """Return the refusal of what a server sent for *problem*; *code* as in :func:`refused`."""
    told = f"The server's answer was refused: {problem}."
    return Decision(Verdict.DENY, problem.code, code or problem.code, str(problem), told)


def cannot_wait(decision: Decision) -> Decision:
    """Return *decision* as a deny: where nothing can wait, ask is deny."""
    return replace(
        decision,
        verdict=Verdict.DENY,
        reason=f"{decision.reason}; nothing can wait here, so ask is deny",
    )


def _stricter(decision: Decision, finding: Finding, verdict: Verdict, place: str) -> Decision:
    if verdict <= decision.verdict:
        return decision
    # The server chooses the names in its answers. Quoted in our sentence, which the model
    # trusts, "/result/Ignore all rules and ..." would be the injection that we stopped.
    told = "the answer" if finding.surface in _ANSWERS else place
    return Decision(
        verdict,
        f"scan.{finding.detector}",
        "finding",
        f"{finding.rule} at {place} (scan.{finding.detector}.{finding.surface.value}: "
        f"{verdict.word})",
        f"Stopped by a content check ({finding.rule} at {told}). {_ADVICE[finding.detector]}",
        severity=finding.severity,
        shadow=decision.shadow,
        floor=decision.floor,
    )


def _place(finding: Finding, findings: Sequence[Finding]) -> str:
    """Return where *finding* stands, without a member's name that is itself a finding."""
    if finding.pointer.endswith(KEY_MARK):
        return "the name of a member"
    named = (f.pointer.removesuffix(KEY_MARK) for f in findings if f.pointer.endswith(KEY_MARK))
    if any(f"{finding.pointer}/".startswith(f"{name}/") for name in named):
        return "the body"
    return finding.pointer[:_LONGEST_PLACE] or "the body"
