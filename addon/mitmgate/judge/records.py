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
from mitmgate.record.scrub import REDACTED, Scans, scrub
from mitmgate.scan.engine import DERIVED_MARK, KEY_MARK
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Change, Cut, Edit, Swap

GOLDEN_VERSION = 2
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


def golden_lines(
    outcome: Outcome, *, exchange: int, message: int, scanner: Scans | None = None
) -> list[dict[str, Any]]:
    """Return the golden line of *outcome*, and one for each message of a batch after it.

    The input with the ordinal *message* of *exchange* gave it; both count as the capture does.
    """
    whole = _golden_line(outcome, exchange, str(message))
    parts = [
        _golden_line(part, exchange, f"{message}.{number}")
        for number, part in enumerate(outcome.parts)
    ]
    lines = [whole, *parts]
    return lines if scanner is None else [_scrubbed(line, scanner) for line in lines]


def _scrubbed(line: dict[str, Any], scanner: Scans) -> dict[str, Any]:
    clean = scrub(line, scanner)
    if clean == line:
        return line
    # Where a line stands, and that something is edited, holds no secret and is needed again.
    kept = {key: line[key] for key in ("exchange", "message", "channel")}
    return clean | kept | {"effects": sorted(map(_placeless, line["effects"]))}


def _placeless(word: str) -> str:
    kind, space, rest = word.partition(" ")
    if not space:
        return word
    cause = f" {rest.rpartition(' ')[2]}" if kind.endswith("edit") else ""
    return f"{kind} {REDACTED}{cause}"


def _golden_line(outcome: Outcome, exchange: int, message: str) -> dict[str, Any]:
    shown, subject = _shown(outcome.findings), outcome.subject
    found = {
        finding.pointer.removesuffix(KEY_MARK).removesuffix(DERIVED_MARK)
        for finding in outcome.findings
    }
    return {
        "v": GOLDEN_VERSION,
        "exchange": exchange,
        "message": message,
        "kind": outcome.kind,
        "channel": subject.channel,
        "method": "*"
        if any(place.endswith("/method") for place in found)
        else _short(subject.method),
        "server": subject.server,
        "tool": "*"
        if subject.tool and any(map(_names_tool, found))
        else subject.tool and _short(subject.tool),
        "verdict": outcome.verdict.word,
        "rule": outcome.rule,
        "code": outcome.code,
        "findings": sorted([f.rule, _short(shown(f.pointer))] for f in outcome.findings),
        "effects": _effects(outcome, shown),
    }


def _names_tool(pointer: str) -> bool:
    """Tell whether what a call is aimed at stands at *pointer* of its message."""
    return pointer.endswith(("/params/name", "/params/uri", "/params/taskId", "/params/ref/name"))


def _effects(outcome: Outcome, shown: Callable[[str], str]) -> list[str]:
    """Return what an outcome does beside its verdict, as sorted words."""
    words = [] if outcome.enforced else ["shadow"]
    if outcome.code in ("hidden", "locked_hidden"):
        words.append("hidden")
    if outcome.floor is not Verdict.ALLOW:
        words.append(f"floor:{outcome.floor.word}")
    if outcome.shadow is not None:
        words.append(f"would-{outcome.shadow.verdict.word}:{outcome.shadow.rule}")
    words += [_change(edit, outcome.findings, shown) for edit in outcome.edits]
    words += [f"floor-{_change(e, outcome.findings, shown)}" for e in outcome.floor_edits]
    return sorted(words)


def _change(edit: Change, findings: Iterable[Finding], shown: Callable[[str], str]) -> str:
    place = _short(shown(edit.pointer))
    match edit:
        case Swap():
            return f"swap {place}"
        case Cut():
            return f"cut {place}"
        case Edit():
            return f"edit {place} {_cause(edit, findings)}"


def _cause(edit: Edit, findings: Iterable[Finding]) -> str:
    """Return the rule of the longest finding that *edit* replaces."""
    inside = [
        (finding.end - finding.start, finding.rule)
        for finding in findings
        if finding.pointer == edit.pointer and edit.start <= finding.start < edit.end
    ]
    return max(inside, default=(0, "-"))[1]


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
