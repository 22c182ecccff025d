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
    found = _by_part(findings, len(batch.messages))
    parts = tuple(
        judge_one(message, part) for message, part in zip(batch.messages, found, strict=True)
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


def _by_part(findings: tuple[Finding, ...], count: int) -> list[tuple[Finding, ...]]:
    """Return for each of *count* messages its findings, their pointers counted from it.

    What stands in no message (the URL, a header) counts for every one of them.
    """
    own: list[list[Finding]] = [[] for _ in range(count)]
    common: list[Finding] = []
    for finding in findings:
        mark, rest = finding.pointer[:1], finding.pointer[1:]
        number, slash, local = rest.partition("/")
        if mark in ("/", "#") and slash and number.isdecimal() and int(number) < count:
            own[int(number)].append(replace(finding, pointer=f"{mark}{local}"))
        else:
            common.append(finding)
    return [(*part, *common) for part in own]


def moved(number: int, edit: Change) -> Change:
    """Return *edit* of the message *number* as one of the whole batch."""
    return replace(edit, pointer=f"/{number}{edit.pointer}")
