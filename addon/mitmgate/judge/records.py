"""Outcomes, resolutions and completions as audit records and golden lines.

Audit records say what was decided and why; golden lines only what a replay must give again,
so no time, id, port or address is in them. Neither holds arguments or matched text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import Any

from mitmgate.judge.outcome import Completion, Outcome, Resolution
from mitmgate.policy.verdict import Verdict
from mitmgate.record.audit import base_record
from mitmgate.record.scrub import Scans, scrub
from mitmgate.scan.engine import DERIVED_MARK, KEY_MARK
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Change, Cut, Edit, Swap

GOLDEN_VERSION = 1
_LONGEST = 300
_MOST_FINDINGS = 50


def outcome_record(
    outcome: Outcome, *, time: float, scanner: Scans | None = None
) -> dict[str, Any]:
    """Return the ``decision`` record of *outcome*; *scanner* takes secrets out of peers' names."""
    subject, shown = outcome.subject, _shown(outcome.findings)
    record = base_record("decision", time=time) | {
        "id": outcome.id,
        "exchange": outcome.exchange,
        "kind": outcome.kind,
        "channel": subject.channel,
        "agent": _short(subject.agent),
        "server": subject.server,
        "host": subject.host,
        "port": subject.port,
        "endpoint": _short(subject.endpoint.partition("?")[0]),
        "method": _short(subject.method),
        "tool": None if subject.tool is None else _short(subject.tool),
        "protocol_version": subject.protocol_version,
        "verdict": outcome.verdict.word,
        "enforced": outcome.enforced,
        "rule": outcome.rule,
        "code": outcome.code,
        "reason": _short(outcome.reason),
        "severity": outcome.severity,
        "shadow": _shadow(outcome),
        "policy": outcome.policy,
        "findings": [_finding(finding, shown) for finding in outcome.findings[:_MOST_FINDINGS]],
        "findings_total": len(outcome.findings),
        "edits": {
            "count": len(outcome.edits),
            "pointers": [_short(shown(edit.pointer)) for edit in outcome.edits[:_MOST_FINDINGS]],
        },
    }
    record |= {"protocol": subject.protocol} if subject.protocol is not None else {}
    record |= {"tags": list(subject.tags)} if subject.tags else {}
    record |= {"grant": outcome.grant} if outcome.grant else {}
    return record if scanner is None else scrub(record, scanner)


def resolution_record(
    resolution: Resolution, *, time: float, scanner: Scans | None = None
) -> dict[str, Any]:
    """Return the ``resolution`` record of a held outcome: who answered what, and how."""
    record = base_record("resolution", time=time) | {
        "id": resolution.outcome,
        "answer": resolution.answer,
        "via": resolution.via,
        "operator": resolution.operator,
        "reason": None if resolution.reason is None else _short(resolution.reason),
        "waited": round(resolution.waited, 3),
        "lasting": resolution.lasting,
        "on": resolution.on,
        "grant": resolution.grant,
        "key": resolution.key,
        "peer": _peer(resolution),
    }
    return record if scanner is None else scrub(record, scanner)


def _peer(resolution: Resolution) -> dict[str, int] | None:
    if resolution.peer is None:
        return None
    uid, pid = resolution.peer
    return {"uid": uid, "pid": pid}


def completion_record(
    completion: Completion, *, time: float, scanner: Scans | None = None
) -> dict[str, Any]:
    """Return the ``completion`` record of an exchange: how it ended."""
    record = base_record("completion", time=time) | {
        "exchange": completion.exchange,
        "status": completion.status,
        "request_bytes": completion.request_bytes,
        "response_bytes": completion.response_bytes,
        "latency": round(completion.latency, 6),
        "fate": completion.fate,
        "detail": None if completion.detail is None else _short(completion.detail),
    }
    return record if scanner is None else scrub(record, scanner)


def golden_line(
    outcome: Outcome, *, line: int, exchange: int, scanner: Scans | None = None
) -> dict[str, Any]:
    """Return the golden line of *outcome*, which the input on *line* of the capture gave."""
    shown = _shown(outcome.findings)
    record: dict[str, Any] = {
        "v": GOLDEN_VERSION,
        "input": line,
        "exchange": exchange,
        "number": outcome.number,
        "kind": outcome.kind,
        "channel": outcome.subject.channel,
        "method": outcome.subject.method,
        "server": outcome.subject.server,
        "tool": outcome.subject.tool,
        "verdict": outcome.verdict.word,
        "rule": outcome.rule,
        "code": outcome.code,
        "enforced": outcome.enforced,
        "findings": sorted([finding.rule, shown(finding.pointer)] for finding in outcome.findings),
        "edits": sorted([shown(edit.pointer), _made(edit)] for edit in outcome.edits),
    }
    if outcome.shadow is not None:
        record["shadow"] = _shadow(outcome)
    if outcome.floor is not Verdict.ALLOW:
        record["floor"] = outcome.floor.word
    if outcome.parts:
        record["parts"] = [[part.effective.word, part.rule] for part in outcome.parts]
    return record if scanner is None else scrub(record, scanner)


def _shown(findings: Iterable[Finding]) -> Callable[[str], str]:
    """Return what makes a pointer fit to be shown: the names in which something was found go."""
    found = {f.pointer.removesuffix(KEY_MARK) for f in findings if f.pointer.endswith(KEY_MARK)}
    if not found:
        return str

    def shown(pointer: str) -> str:
        mark = next((mark for mark in (KEY_MARK, DERIVED_MARK) if pointer.endswith(mark)), "")
        tokens = pointer.removesuffix(mark).split("/")
        paths = accumulate(tokens, lambda path, token: f"{path}/{token}")
        return "/".join("*" if p in found else t for p, t in zip(paths, tokens, strict=True)) + mark

    return shown


def _shadow(outcome: Outcome) -> dict[str, str] | None:
    told = outcome.shadow
    return None if told is None else {"rule": told.rule, "verdict": told.verdict.word}


def _made(edit: Change) -> str:
    match edit:
        case Edit():
            return edit.text
        case Swap():
            return edit.json
        case Cut():
            return ""


def _finding(finding: Finding, fit: Callable[[str], str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "detector": finding.detector,
        "rule": finding.rule,
        "severity": finding.severity,
        "surface": finding.surface.value,
        "pointer": _short(fit(finding.pointer)),
        "start": finding.start,
        "end": finding.end,
        "value_hash": finding.value_hash,
    }
    # Most stand in the text as it is, and most are no canaries.
    shown |= {"view": finding.view} if finding.view else {}
    return shown | ({"note": finding.note} if finding.note else {})


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
