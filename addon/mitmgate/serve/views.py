"""From judgements to what consoles and shells see: rows, pending entries, one log line."""

from __future__ import annotations

from typing import Any

from mitmgate.control.models import FindingView, Pending, Row
from mitmgate.errors import WireError
from mitmgate.judge.judge import Prepared
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.prepare import PreparedAnswer, PreparedRequest
from mitmgate.policy.verdict import Verdict
from mitmgate.scan.redact import redactable, redaction_edits
from mitmgate.wire.edit import apply_edits
from mitmgate.wire.strictjson import parse_json

_SHOWN = 64 * 1024


def row_of(outcome: Outcome, *, time: float, held: bool = False) -> Row:
    """Return the live view's row of *outcome*; *time* in seconds since the epoch."""
    subject = outcome.subject
    return Row(
        id=outcome.id,
        time=time,
        kind=outcome.kind,
        channel=subject.channel,
        agent=subject.agent,
        server=subject.server,
        host=subject.host,
        endpoint=subject.endpoint,
        method=subject.method,
        tool=subject.tool,
        verdict=_word(outcome.verdict),
        rule=outcome.rule,
        code=outcome.code,
        reason=outcome.reason,
        enforced=outcome.enforced,
        edits=len(outcome.edits),
        findings=tuple(
            FindingView(
                detector=f.detector,
                rule=f.rule,
                severity=f.severity,
                surface=f.surface.value,
                pointer=f.pointer,
            )
            for f in outcome.findings
        ),
        held=held,
    )


def pending_of(outcome: Outcome, prepared: Prepared, *, since: float, deadline: float) -> Pending:
    """Return the pending entry of *outcome*, its arguments with known secrets replaced."""
    row = row_of(outcome, time=since, held=True)
    shown = arguments_of(outcome, prepared)
    return Pending(id=outcome.id, row=row, since=since, deadline=deadline, arguments=shown)


def without_arguments(pending: Pending) -> Pending:
    """Return *pending* as somebody without the operator key may see it."""
    return pending.model_copy(update={"arguments": None})


def arguments_of(outcome: Outcome, prepared: Prepared) -> Any:
    """Return what the person decides about: the params or the body, secrets replaced."""
    if not isinstance(prepared, PreparedRequest | PreparedAnswer) or prepared.body.text is None:
        return None
    secrets = [f for f in outcome.findings if f.detector == "secrets" and f.pointer[:1] != "#"]
    if not all(redactable(finding) for finding in secrets):
        return "(not shown: a credential stands in the name of a member)"
    text = apply_edits(prepared.body.text, redaction_edits(secrets)) if secrets else (
        prepared.body.text
    )  # fmt: skip
    if len(text) > _SHOWN:
        return f"{text[:_SHOWN]} … ({len(text)} characters in all)"
    try:
        value = parse_json(text)
    except WireError:
        return text
    if outcome.subject.channel == "mcp" and isinstance(value, dict):
        return value.get("params", value.get("result", value))
    return value


def log_line(outcome: Outcome) -> str:
    """Return the one line that a headless proxy logs for *outcome*; strangers' text is escaped."""
    subject = outcome.subject
    what = f"{subject.method} {subject.tool}" if subject.tool else subject.method
    where = subject.server or subject.endpoint
    sign = outcome.verdict.word if outcome.enforced else f"shadow:{outcome.verdict.word}"
    if outcome.edits and outcome.enforced and outcome.verdict is Verdict.ALLOW:
        sign = "redacted"
    line = (
        f"{sign:<8} {outcome.id} {subject.agent} {where} {what} [{outcome.rule}] {outcome.reason}"
    )
    return printable(line)


def printable(text: str) -> str:
    """Return *text* with everything that a terminal could act on escaped."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _word(verdict: Verdict) -> Any:
    return verdict.word
