"""Decisions as the audit file and a capture hold them, made by a real judge."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from judging import POLICY, call, make_judge, request, scanner

from mitmgate.judge.inputs import EndInput, RequestInput
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.recording import Run, open_recording
from mitmgate.judge.records import outcome_record
from mitmgate.policy.compiled import Policy
from mitmgate.policy.load import load_policy
from mitmgate.record.lines import encode_line

NOW = 1_763_000_000.0
READS = '- {id: reads, tool: "get*", then: allow}'
READS_ASK = READS.replace("allow", "ask")


def changed_text(*edits: tuple[str, str]) -> str:
    """Return the policy of these tests with *edits* (old, new)."""
    text = POLICY
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def changed_policy(*edits: tuple[str, str]) -> Policy:
    return load_policy(changed_text(*edits), file="p")


def judged(judge: Judge, given: RequestInput, *, now: float = NOW) -> Outcome:
    outcome = judge.conclude(judge.prepare(given), now=now)
    assert outcome is not None
    return outcome


def recorded(given: RequestInput, *edits: tuple[str, str], now: float = NOW) -> dict[str, Any]:
    """Return the audit record of *given*, judged by the policy with *edits*."""
    return outcome_record(judged(make_judge(*edits), given, now=now), time=now)


def write_audit(folder: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Write *records* where the audit file of the state *folder* is."""
    path = folder / "audit" / "audit.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(map(encode_line, records)))
    return path


def write_capture(folder: Path, calls: Sequence[RequestInput], *, now: float = NOW) -> Path:
    """Write a capture of *calls* into *folder*; their exchanges get the ids of the calls."""
    judge = make_judge()
    run = Run(judge.policy.hash, judge.mode)
    recording = open_recording(folder, scanner=scanner(), run=run, clock=lambda: now)
    for given in calls:
        outcome = judged(judge, given, now=now)
        assert recording.input(given, now=now)
        assert recording.outcome(outcome)
        end = EndInput(given.exchange)
        judge.conclude(judge.prepare(end), now=now)
        assert recording.input(end, now=now)
    recording.close()
    assert recording.failure is None
    return recording.path


def reads(count: int) -> list[RequestInput]:
    """Return calls of tools that read, each in its own exchange."""
    return [call(f"get_{number}", {"n": number}, exchange=f"r-{number:x}")
            for number in range(count)]  # fmt: skip


def fetched(exchange: str, host: str = "docs.example") -> RequestInput:
    return replace(request("GET", host, "/a"), exchange=exchange)
