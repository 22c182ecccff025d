"""Audit entries as lines for people; strangers' text cannot move the cursor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mitmgate.query.join import Entry
from mitmgate.query.records import Record
from mitmgate.record.lines import printable


def entry_line(entry: Entry) -> str:
    """Return one line for a decision, its answer and its end."""
    line = decision_line(entry.decision)
    if entry.resolution is not None:
        line += f"  [{_resolved(entry.resolution)}]"
    if entry.completion is not None and entry.decision.get("kind") == "request":
        line += f"  ({_completed(entry.completion)})"
    return line


def record_line(record: Record) -> str | None:
    """Return one line for any record of a file that is followed, None for one not shown."""
    match record["type"]:
        case "decision":
            return decision_line(record)
        case "resolution":
            return f"{_clock(record)}  {_word(record, 'id'):<10} {_resolved(record)}"
        case "start":
            return f"{_clock(record)}  started {_word(record, 'tool')}, {_word(record, 'mode')}"
        case "policy":
            return f"{_clock(record)}  policy {_word(record, 'policy') or '-'}: {_changed(record)}"
        case "grant":
            what = f"{_word(record, 'kind')} {_word(record, 'event')}"
            said = f"{_word(record, 'answer')} {_word(record, 'covers')}"
            return f"{_clock(record)}  {_word(record, 'id'):<10} {what}: {said}"
        case "switch":
            turned = "on" if record.get("on") else "off"
            who, why = _word(record, "by"), _word(record, "reason")
            return f"{_clock(record)}  kill switch {turned} by {who}: {why}"
        case "note":
            return f"{_clock(record)}  note: {_word(record, 'note')}"
        case _:
            return None


def decision_line(record: Record) -> str:
    """Return one line for a decision alone."""
    what = [_word(record, "server") or _word(record, "host"), _word(record, "method")]
    if record.get("tool"):
        what.append(_word(record, "tool"))
    if record.get("channel") == "egress":
        what = [_word(record, "method"), _word(record, "endpoint")]
    agent = _word(record, "agent") or "-"
    return (
        f"{_clock(record)}  {_word(record, 'id'):<10} {_verdict(record):<9} {agent}  "
        f"{' '.join(part for part in what if part)}  "
        f"{_word(record, 'rule')}: {_word(record, 'reason')}"
    )


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return the decision with ``resolution`` and ``completion`` inside (null when unknown)."""
    joined = {"resolution": entry.resolution, "completion": entry.completion}
    return {**entry.decision, **joined}


def _verdict(record: Record) -> str:
    word = _word(record, "verdict")
    edits = record.get("edits")
    if word == "allow" and isinstance(edits, Mapping) and edits.get("count"):
        word = "redact"
    return word if record.get("enforced", True) else f"({word})"


def _changed(record: Record) -> str:
    by = f" by {_word(record, 'operator')}" if record.get("operator") else ""
    count = record.get("changes_total")
    told = "1 change loosens" if count == 1 else f"{count} changes loosen"
    more = f", {told}" if isinstance(count, int) and count else ""
    return f"{_word(record, 'result')}{by}{more}"


def _resolved(record: Record) -> str:
    answer = {"allow": "approved", "deny": "denied"}.get(_word(record, "answer"), "answered")
    who = f" by {_word(record, 'operator')}" if record.get("operator") else ""
    waited = record.get("waited")
    after = f" after {waited:.1f} s" if isinstance(waited, int | float) else ""
    reason = f": {_word(record, 'reason')}" if record.get("reason") else ""
    return f"{answer}{who} ({_word(record, 'via')}){after}{reason}"


def _completed(record: Record) -> str:
    latency = record.get("latency")
    took = f", {latency * 1000:.0f} ms" if isinstance(latency, int | float) else ""
    status = f", {record['status']}" if isinstance(record.get("status"), int) else ""
    return f"{_word(record, 'fate').replace('_', ' ')}{status}{took}"


def _clock(record: Record) -> str:
    return _word(record, "time").replace("T", " ")[:19]


def _word(record: Record, key: str) -> str:
    value = record.get(key)
    return "" if value is None else printable(str(value))
