"""Which parts of a text are replaced: what rules found, and what is secret by its place."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from mitmgate.record.sensitive import Span
from mitmgate.scan.finding import Finding

HIDDEN = frozenset({"secrets", "canary"})
"""The detectors whose findings are never written."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of a text in which *rule* found *value*, a hash; ``~`` before the rule: no secret."""

    start: int
    end: int
    rule: str
    value: str
    quoted: bool = False
    view: str = ""


def as_marks(text: str, findings: Iterable[Finding]) -> list[Mark]:
    """Return what *findings* point at in *text*."""
    return [
        Mark(f.start, f.end, _name(f), f.value_hash, view=f.view)
        for f in findings
        if 0 <= f.start < f.end <= len(text)
    ]


def _name(finding: Finding) -> str:
    return finding.rule if finding.detector in HIDDEN else f"~{finding.rule}"


def is_shared(marks: Sequence[Mark]) -> bool:
    """Tell whether a canary is also what another rule looks for: no one sample is both."""
    planted = [mark for mark in marks if mark.rule.startswith("canary.")]
    others = [mark for mark in marks if not mark.rule.startswith(("canary.", "~"))]
    return any(a.start < b.end and b.start < a.end for a in planted for b in others)


def seen(findings: Iterable[Finding], *, viewed: bool = False) -> Counter[tuple[str, ...]]:
    """Return what was found where, without offsets; *viewed*: and in which view."""
    return Counter((f.detector, f.rule, f.pointer, f.view if viewed else "") for f in findings)


def wanted(mark: Mark, spans: Sequence[Span]) -> bool:
    """Secrets go everywhere; what else was found is kept only where an opaque span hides it."""
    if not mark.rule.startswith("~"):
        return True
    after = bisect_left(spans, mark.end, key=lambda span: span[0])
    return after > 0 and spans[after - 1][1] > mark.start


def longest(marks: Sequence[Mark]) -> list[Mark]:
    """Return marks that do not overlap, the longest first served, in order of start."""
    chosen: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (m.start - m.end, m.start)):
        place = bisect_left(chosen, mark.start, key=lambda m: m.start)
        free = place == 0 or chosen[place - 1].end <= mark.start
        if free and (place == len(chosen) or mark.end <= chosen[place].start):
            chosen.insert(place, replace(mark, rule=mark.rule.removeprefix("~")))
    return chosen


def pieces(marks: Sequence[Mark], spans: Sequence[Span]) -> list[tuple[int, int, Mark | None]]:
    """Return the parts to replace in order: marks, and what they leave of the opaque spans."""
    found: list[tuple[int, int, Mark | None]] = [(m.start, m.end, m) for m in marks]
    for begin, end in spans:
        start = begin
        first = bisect_right(marks, begin, key=lambda m: m.end)
        for mark in islice(marks, first, None):
            if mark.start >= end:
                break
            if mark.start > start:
                found.append((start, mark.start, None))
            start = mark.end
        if start < end:
            found.append((start, end, None))
    return sorted(found, key=lambda piece: piece[0])
