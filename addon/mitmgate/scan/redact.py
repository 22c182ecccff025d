"""Findings to edits: every value becomes a typed, numbered placeholder, equal values alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Edit


def placeholder(rule_id: str, number: int) -> str:
    """Return what stands for the *number*-th value of *rule_id*: ``[aws-access-key:1]``."""
    if rule_id.startswith("canary."):
        return f"[credential:{number}]"  # its name would say where it was planted
    return f"[{rule_id.removeprefix('secret.').removeprefix('pii.')}:{number}]"


class Placeholders:
    """Numbers for values: from 1 in each rule, the same for the same value hash."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._last: dict[str, int] = {}

    def number(self, finding: Finding) -> int:
        """Return the number of the value that *finding* hit, a new one the first time."""
        value = finding.rule, finding.value_hash
        if value not in self._numbers:
            self._last[finding.rule] = self._last.get(finding.rule, 0) + 1
            self._numbers[value] = self._last[finding.rule]
        return self._numbers[value]


def redactable(finding: Finding) -> bool:
    """Tell whether an edit can remove what *finding* hit; a key of an object cannot be edited."""
    return "~" not in finding.pointer.replace("~0", "").replace("~1", "")


def redaction_edits(
    findings: Iterable[Finding], *, numbers: Placeholders | None = None
) -> tuple[Edit, ...]:
    """Return the edits that replace all that *findings* hit, in order of place.

    Overlapping findings become one edit, named after the longest. *numbers* carries the
    numbering on from earlier messages. ValueError for a finding that is not redactable:
    leaving it out would let a secret pass, so the caller has to deny instead.
    """
    ordered = sorted(findings, key=_by_place)
    if not all(redactable(finding) for finding in ordered):
        raise ValueError("a finding in the key of an object cannot be redacted")
    book = Placeholders() if numbers is None else numbers
    return tuple(
        _edit(cluster, book)
        for _, group in groupby(ordered, key=_pointer)
        for cluster in _clusters(group)
    )


def _by_place(finding: Finding) -> tuple[str, int, int, str]:
    return finding.pointer, finding.start, -finding.end, finding.rule


def _pointer(finding: Finding) -> str:
    return finding.pointer


def _length(finding: Finding) -> int:
    return finding.end - finding.start


def _clusters(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    cluster: list[Finding] = []
    end = 0
    for finding in findings:
        if cluster and finding.start >= end:
            yield cluster
            cluster = []
        end = max(end, finding.end) if cluster else finding.end
        cluster.append(finding)
    if cluster:
        yield cluster


def _edit(cluster: list[Finding], book: Placeholders) -> Edit:
    # The whole cluster goes, not only its longest finding: what stands out of it is secret too.
    name = max(cluster, key=_length)
    return Edit(
        pointer=name.pointer,
        start=min(finding.start for finding in cluster),
        end=max(finding.end for finding in cluster),
        text=placeholder(name.rule, book.number(name)),
    )
