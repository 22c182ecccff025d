"""Batches: every message judged by itself, the strictest verdict for the whole.

Only 2025-03-26 has JSON-RPC batches, but servers execute them in later sessions too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mitmgate.errors import WireError
from mitmgate.judge.effects import Concluded, Weighed
from mitmgate.judge.outcome import Subject
from mitmgate.policy.verdict import Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Change
from mitmgate.wire.jsonrpc import Batch, Message, Request
from mitmgate.wire.sessions import key_of

METHOD = "batch"
MOST_MESSAGES = 1000


def judge_batch(
    batch: Batch,
    subject: Subject,
    findings: tuple[Finding, ...],
    judge_one: Callable[[Message, tuple[Finding, ...]], Concluded],
    *,
    told: str = "",
) -> Concluded:
    """Judge the messages of *batch* with *judge_one*, and the whole by the strictest of them.

    *told* goes before the sentence that the agent reads.
    """
    parts = tuple(
        judge_one(message, _part_findings(number, findings))
        for number, message in enumerate(batch.messages)
    )
    whole = replace(subject, method=METHOD, tool=None)
    number, strictest = max(
        enumerate(parts), key=lambda item: (item[1].weighed.decision.verdict, -item[0])
    )
    decision = strictest.weighed.decision
    if decision.verdict is not Verdict.ALLOW:
        what = strictest.subject.tool or strictest.subject.method
        place = f"message {number + 1} of {len(parts)} ({what})"
        decision = replace(
            decision,
            reason=f"{place}: {decision.reason}",
            agent_reason=f"{told}{decision.agent_reason}",
        )
    decision = replace(decision, floor=max(part.weighed.decision.floor for part in parts))
    edits = tuple(
        moved(number, edit) for number, part in enumerate(parts) for edit in part.weighed.edits
    )
    floor_edits = tuple(
        moved(number, edit)
        for number, part in enumerate(parts)
        for edit in part.weighed.floor_edits
    )
    return Concluded(whole, Weighed(decision, edits, floor_edits), findings, parts=parts)


def batch_problem(batch: Batch) -> WireError | None:
    """Return why *batch* cannot be judged message by message, or None."""
    if len(batch.messages) > MOST_MESSAGES:
        return WireError("batch_too_large", f"a batch has at most {MOST_MESSAGES} messages")
    ids = [key_of(m.id) for m in batch.messages if isinstance(m, Request)]
    if len(set(ids)) != len(ids):
        # Which answer belongs to which of them, each parser would settle in its own way.
        return WireError("duplicate_id", "two requests of one batch have the same id")
    return None


def _part_findings(number: int, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Return the findings in message *number*, their pointers counted from that message."""
    found = []
    for finding in findings:
        for prefix, mark in ((f"/{number}/", "/"), (f"#{number}/", "#")):
            if finding.pointer.startswith(prefix):
                local = mark + finding.pointer.removeprefix(prefix)
                found.append(replace(finding, pointer=local))
    return tuple(found)


def moved(number: int, edit: Change) -> Change:
    """Return *edit* of the message *number* as one of the whole batch."""
    return replace(edit, pointer=f"/{number}{edit.pointer}")
