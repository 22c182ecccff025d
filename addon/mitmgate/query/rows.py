"""Decision records as values that policies can be asked about again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, cast, get_args

from mitmgate.judge.outcome import Subject
from mitmgate.policy.verdict import Verdict
from mitmgate.query.records import Record
from mitmgate.scan.finding import Detector, Finding, Severity
from mitmgate.wire.surfaces import Surface

LONGEST: Final = 200
"""Characters of a name that a record surely holds whole."""
_CUT: Final = "…"
_HIDDEN: Final = "["
_DETECTORS: Final = frozenset(get_args(Detector.__value__))
_SEVERITIES: Final = frozenset(get_args(Severity.__value__))


@dataclass(frozen=True)
class Row:
    """A decision as it was recorded. ``at`` is in seconds since the epoch.

    ``complete`` says that all findings are there.
    """

    id: str
    exchange: str
    kind: str
    subject: Subject
    verdict: Verdict
    rule: str
    code: str
    policy: str
    granted: bool
    findings: tuple[Finding, ...]
    complete: bool
    at: float

    @property
    def path(self) -> str | None:
        """The path of the URL, None where it was not kept whole."""
        scheme, mark, rest = self.subject.endpoint.partition("://")
        _, slash, path = rest.partition("/")
        cut = len(self.subject.endpoint) >= LONGEST or _CUT in path or _HIDDEN in path
        return None if cut or not (scheme and mark) else slash + path or "/"

    @property
    def scheme(self) -> str:
        """The scheme of the URL, empty where there is none."""
        scheme, mark, _ = self.subject.endpoint.partition("://")
        return scheme if mark else ""

    @property
    def names_tool(self) -> bool:
        """Whether the tool is the very name that was called."""
        tool = self.subject.tool
        if tool is None:
            return True
        # Of a resource the query is not kept.
        return self.subject.method != "resources/read" and len(tool) < LONGEST and (
            _HIDDEN not in tool
        )  # fmt: skip

    @cached_property
    def key(self) -> Hashable:
        """What decides alike at the same time: all but ids and time."""
        return (
            self.kind, self.subject, self.verdict, self.rule, self.code, self.policy,
            self.granted, self.findings, self.complete,
        )  # fmt: skip


def row_of(record: Record) -> Row:
    """Return the decision *record* as a value; ValueError where it is none that we write."""
    try:
        findings = tuple(map(_finding, record["findings"]))
        return Row(
            id=_text(record, "id"),
            exchange=_text(record, "exchange"),
            kind=_text(record, "kind"),
            subject=_subject(record),
            verdict=Verdict.from_word(_text(record, "verdict")),
            rule=_text(record, "rule"),
            code=_text(record, "code"),
            policy=_text(record, "policy"),
            granted=record.get("grant") is not None,
            findings=findings,
            complete=record["findings_total"] == len(findings),
            at=datetime.fromisoformat(_text(record, "time")).timestamp(),
        )
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"not a decision: {type(error).__name__}") from None


def _subject(record: Record) -> Subject:
    channel, port, tags = record["channel"], record["port"], record.get("tags", [])
    if channel not in ("mcp", "egress") or type(port) is not int or not isinstance(tags, list):
        raise ValueError("not a decision: channel, port or tags")
    if not all(isinstance(tag, str) for tag in tags):
        raise ValueError("not a decision: tags")
    return Subject(
        agent=_text(record, "agent"),
        channel=channel,
        host=_text(record, "host"),
        port=port,
        endpoint=_text(record, "endpoint"),
        method=_text(record, "method"),
        server=_maybe(record, "server"),
        tool=_maybe(record, "tool"),
        protocol_version=_maybe(record, "protocol_version"),
        protocol=_maybe(record, "protocol"),
        tags=tuple(tags),
    )


def _finding(record: Mapping[str, Any]) -> Finding:
    detector, severity = record["detector"], record["severity"]
    start, end = record["start"], record["end"]
    if detector not in _DETECTORS or severity not in _SEVERITIES:
        raise ValueError("not a finding: detector or severity")
    if type(start) is not int or type(end) is not int:
        raise ValueError("not a finding: start or end")
    return Finding(
        detector=cast("Detector", detector),
        rule=_text(record, "rule"),
        severity=cast("Severity", severity),
        surface=Surface(record["surface"]),
        pointer=_text(record, "pointer"),
        start=start,
        end=end,
        value_hash=_text(record, "value_hash"),
        view=_maybe(record, "view") or "",
        note=_maybe(record, "note") or "",
    )


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _maybe(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise TypeError(key)
    return value
