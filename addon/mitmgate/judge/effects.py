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
from mitmgate.wire.edit import Change, Cut, Swap
from mitmgate.wire.surfaces import Surface

ALLOWED = Decision(Verdict.ALLOW, "answer", "answer", "an answer to an allowed request", "")
_ANSWERS = frozenset({Surface.RESULTS, Surface.DEFINITIONS, Surface.EGRESS_RESPONSE})
_LONGEST_PLACE = 200
_REDACTED = '"[redacted]"'
_LISTED = frozenset({"tools", "prompts", "resources", "resourceTemplates", "skills"})
_OPTIONAL = frozenset({"instructions", "_meta"})
_OPTIONAL_INFO = frozenset({"title", "description", "websiteUrl", "icons"})
_ADVICE = {
    "secrets": "It holds what looks like a credential. Remove it; sending it again will not help.",
    "injection": "It holds text that tries to give instructions to the model.",
    "poisoning": "It holds a definition that tries to steer the model.",
    "pii": "It holds what looks like personal data.",
    "canary": "It holds a credential that must not be used. Sending it again will not help.",
    "limits": "It takes too much work to check. Send it in smaller or plainer pieces.",
}


@dataclass(frozen=True, slots=True)
class Weighed:
    """A decision after the findings were weighed, and the edits that stay with it.

    ``floor_edits`` are those of the locked layer, which are made in shadow mode too. ``grant`` is
    the id of the remembered answer, or of the ticket, that made the decision.
    """

    decision: Decision
    edits: tuple[Change, ...] = ()
    floor_edits: tuple[Change, ...] = ()
    grant: str | None = None


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
    policy: Policy,
    decision: Decision,
    findings: Sequence[Finding],
    place: Subject,
    *,
    below: str = "",
) -> Weighed:
    """Apply the policy's effects of *findings* in *place* to *decision*; the strictest wins.

    Where the rule that decided names a detector, its word counts. *below* is the pointer of what
    the decision's own pointers start from.
    """
    if not (findings or decision.redact or decision.floor_redact):
        return Weighed(decision)
    swaps = _swaps(below, decision.redact)
    gone = tuple(f"{swap.pointer}/" for swap in swaps)
    redacted: list[Finding] = []
    cuts: dict[str, None] = {}
    for finding in findings:
        if gone and f"{finding.pointer.removesuffix(KEY_MARK)}/".startswith(gone):
            continue
        effect = _effect(policy, decision, finding, place)
        if effect == "redact" and redactable(finding) and not finding.pointer.startswith("#"):
            redacted.append(finding)
        elif effect == "hide" and (item := defined_by(finding.pointer)) is not None:
            cuts[item] = None
        elif effect != "log":
            # What cannot be taken out must not go through.
            verdict = Verdict.ASK if effect == "ask" else Verdict.DENY
            if verdict > decision.verdict:
                decision = _stricter(decision, finding, verdict, _place(finding, findings))
    decision = _alarmed(decision, findings)
    edits = redaction_edits(f for f in redacted if defined_by(f.pointer) not in cuts)
    hidden = tuple(map(Cut, cuts))
    swaps = tuple(swap for swap in swaps if defined_by(swap.pointer) not in cuts)
    return Weighed(decision, (*swaps, *hidden, *edits), _swaps(below, decision.floor_redact))


def _alarmed(decision: Decision, findings: Sequence[Finding]) -> Decision:
    """Return *decision* as critical where a canary was seen, whatever else decided."""
    seen = next((finding for finding in findings if finding.detector == "canary"), None)
    if seen is None or decision.severity == "critical":
        return decision
    reason = f"{decision.reason}; {seen.rule} was seen: {seen.note}"
    return replace(decision, severity="critical", reason=reason)


def _effect(policy: Policy, decision: Decision, finding: Finding, place: Subject) -> str:
    """Return what *finding* in *place* does: the word of the rule that decided, or the policy's."""
    if any(allowance.covers(finding, place) for allowance in policy.allowances):
        return "log"
    given = decision.effects.get(finding.detector)
    effect: str = given or scan_effect(policy, finding.detector, finding.surface)
    if effect == "hide" and finding.detector == "limits":
        return "deny"  # nobody knows which of the tools it is
    # An odd name is worth a line, and no tool less.
    return "log" if effect == "hide" and finding.severity == "low" else effect


def defined_by(pointer: str) -> str | None:
    """Return the pointer of what goes whole when *pointer* is poisoned: a tool, instructions.

    None where nothing can be taken out of the message and leave it what it is.
    """
    parts = pointer.split("/")
    start = 2 if len(parts) > 1 and parts[1].isdecimal() else 1  # the message's place in a batch
    match parts[start:]:
        case ["result", member, index, *_] if member in _LISTED and index.isdecimal():
            return "/".join(parts[: start + 3])
        case ["result", member, *_] if member.removesuffix(KEY_MARK) in _OPTIONAL:
            return "/".join(parts[: start + 2])
        case ["result", "serverInfo", member] if member in _OPTIONAL_INFO:
            return pointer
    return None


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
    # The server chooses the names in its answers. Quoted in our sentence, which the model
    # trusts, "/result/Ignore all rules and ..." would be the injection that we stopped.
    told = "the answer" if finding.surface in _ANSWERS else place
    return Decision(
        verdict,
        f"scan.{finding.detector}",
        "finding",
        f"{finding.rule} at {place} (scan.{finding.detector}.{finding.surface.value}: "
        f"{verdict.word}){f': {finding.note}' if finding.note else ''}",
        f"Stopped by a content check ({told_rule(finding)} at {told}). {_ADVICE[finding.detector]}",
        severity=finding.severity,
        shadow=decision.shadow,
        floor=decision.floor,
    )


def told_rule(finding: Finding) -> str:
    """Return the rule as an agent may read it: where bait was planted is nothing for a thief."""
    return "secret.credential" if finding.detector == "canary" else finding.rule


def _place(finding: Finding, findings: Sequence[Finding]) -> str:
    """Return where *finding* stands, without a member's name that is itself a finding."""
    if finding.pointer.endswith(KEY_MARK):
        return "the name of a member"
    named = (f.pointer.removesuffix(KEY_MARK) for f in findings if f.pointer.endswith(KEY_MARK))
    if any(f"{finding.pointer}/".startswith(f"{name}/") for name in named):
        return "the body"
    return finding.pointer[:_LONGEST_PLACE] or "the body"
