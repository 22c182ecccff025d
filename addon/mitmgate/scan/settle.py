"""What counts of the hits in a message: weak signs only together, general rules only alone."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from mitmgate.scan.finding import Detector
from mitmgate.scan.rule import Rule

NEAR = 4096
"""Bytes within which weak signs add up: two pages of a book are no order together."""
_NEARER: Mapping[Detector, int] = {"poisoning": 768}
_ENOUGH = 0.999


@dataclass(frozen=True, slots=True)
class Hit:
    """A value of *rule* in the text with this index: byte offsets there, until they are mapped."""

    index: int
    start: int
    end: int
    rule: Rule


def settled(hits: list[Hit]) -> list[Hit]:
    """Return what counts of *hits*, in order of place.

    Weak signs count where those near each other weigh 1 together, each rule once; a generic rule
    is silent where another of its detector names the same value.
    """
    if not hits:
        return hits
    hits.sort(key=_by_place)
    if any(hit.rule.weight < 1 for hit in hits):
        hits = _heavy(hits)
    if any(hit.rule.generic for hit in hits):
        hits = _named(hits)
    return hits


def _heavy(hits: list[Hit]) -> list[Hit]:
    weak = sorted((hit for hit in hits if hit.rule.weight < 1), key=_by_group)
    counted = {id(hit) for _, group in groupby(weak, key=_group) for hit in _together(group)}
    return [hit for hit in hits if hit.rule.weight >= 1 or id(hit) in counted]


def _together(group: Iterable[Hit]) -> Iterator[Hit]:
    """Yield those of *group*, weak signs of one text in order, that weigh enough near others."""
    window: deque[Hit] = deque()
    waiting: deque[Hit] = deque()
    rules: Counter[str] = Counter()
    weight = 0.0
    for hit in group:
        near = _NEARER.get(hit.rule.detector, NEAR)
        while window and hit.start - window[0].start > near:
            gone = window.popleft()
            rules[gone.rule.id] -= 1
            weight -= 0.0 if rules[gone.rule.id] else gone.rule.weight
        if not rules[hit.rule.id]:
            weight += hit.rule.weight
        rules[hit.rule.id] += 1
        window.append(hit)
        waiting.append(hit)
        while waiting and hit.start - waiting[0].start > near:
            waiting.popleft()
        if weight > _ENOUGH:
            yield from waiting
            waiting.clear()


def _named(hits: list[Hit]) -> list[Hit]:
    special: dict[tuple[int, Detector], list[tuple[int, int]]] = {}
    for hit in hits:
        if not hit.rule.generic:
            special.setdefault(_group(hit), []).append((hit.start, hit.end))
    covers = {place: Cover(spans) for place, spans in special.items()}
    kept: list[Hit] = []
    ends: dict[tuple[int, Detector], int] = {}
    for hit in hits:
        if hit.rule.generic:
            place = _group(hit)
            cover = covers.get(place)
            if (cover is not None and cover.touches(hit.start, hit.end)) or (
                hit.start < ends.get(place, 0)
            ):
                continue
            ends[place] = hit.end
        kept.append(hit)
    return kept


class Cover:
    """Spans merged into disjoint ones, to ask whether another overlaps them."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(spans):
            if self._ends and start < self._ends[-1]:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._starts.append(start)
                self._ends.append(end)

    def touches(self, start: int, end: int) -> bool:
        """Tell whether *start* to *end* overlaps one of the spans."""
        index = bisect_right(self._starts, end - 1) - 1
        return index >= 0 and self._ends[index] > start


def _group(hit: Hit) -> tuple[int, Detector]:
    return hit.index, hit.rule.detector


def _by_group(hit: Hit) -> tuple[int, Detector, int]:
    return hit.index, hit.rule.detector, hit.start


def _by_place(hit: Hit) -> tuple[int, int, int, str]:
    return hit.index, hit.start, -hit.end, hit.rule.id
