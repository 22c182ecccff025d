"""Text to findings: keywords over a whole message, then patterns around those that stand there.

What a text says once it is decoded, joined or cleaned up (a view) is searched in the same way,
and what is found there is reported where it came from.
"""

from __future__ import annotations

import hmac
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise

from mitmgate.scan.book import RuleBook, book_of
from mitmgate.scan.budget import Budget, OverBudget
from mitmgate.scan.finding import Detector, Finding
from mitmgate.scan.loading import Pack
from mitmgate.scan.patterns import Frame, frame, joined
from mitmgate.scan.redact import placeholder
from mitmgate.scan.rule import Rule
from mitmgate.scan.search import Search
from mitmgate.scan.settle import Cover, Hit, settled
from mitmgate.scan.shapes import Tokens
from mitmgate.scan.slices import LARGEST, batches
from mitmgate.scan.views import View, derive
from mitmgate.wire.surfaces import Surface, Text

_HASH_DIGITS = 16
# ``~`` before anything but 0 or 1 is no JSON pointer, so a marked pointer never points at a value.
KEY_MARK = "~key"
DERIVED_MARK = "~decoded"
OVER_BUDGET = "limits.work"
_WARM = 8_000
ACROSS = "strings"
"""The view of several texts of one message, put together."""


type _Placed = tuple[int, Finding]
"""A finding, and the index of the text it is in."""


class Scanner:
    """Finds what the rules of a book describe. Safe in any thread; its book changes whole."""

    def __init__(self, packs: Iterable[Pack] | RuleBook, *, hash_key: bytes) -> None:
        """Compile the rules of *packs*; ConfigError where two share an id or none is given."""
        if not hash_key:
            raise ValueError("the hash key is empty")
        self._key = hash_key
        self.book = packs if isinstance(packs, RuleBook) else book_of(tuple(packs))
        """The rules from now on. A scan that has begun goes on with those that it began with."""

    @property
    def detectors(self) -> frozenset[Detector]:
        """The detectors that have rules."""
        return self.book.detectors

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules by id, in the order of their packs."""
        return self.book.rules

    def scan(
        self, texts: Iterable[Text], *, detectors: Collection[Detector] | None = None
    ) -> tuple[Finding, ...]:
        """Return the findings in *texts*, text by text, each in order of start.

        Total on any text. More work than the texts are worth ends in the finding
        ``limits.work``.
        """
        items = tuple(texts)
        if sum([len(item.text) for item in items]) <= LARGEST:
            placed = self._scan(items, detectors) if items else []
            return tuple([finding for _, finding in placed])
        return tuple(self._sliced(items, detectors))

    def scan_text(
        self,
        surface: Surface,
        pointer: str,
        text: str,
        *,
        detectors: Collection[Detector] | None = None,
    ) -> Iterator[Finding]:
        """Yield the findings in one *text* in order of start; as total as :meth:`scan`."""
        yield from self.scan((Text(surface, pointer, text),), detectors=detectors)

    def warm(self) -> None:
        """Scan some ordinary text: what is built then is not built in the first message."""
        titles = " ".join(rule.title for rule in self.rules.values())[:_WARM]
        self.scan([Text(surface, "", titles) for surface in Surface])

    def compile(self) -> None:
        """Compile all patterns now: else each is compiled when it is first needed."""
        for rule in self.rules.values():
            rule.regex.compile()
            for pattern in rule.unless:
                pattern.compile()

    def home_of(self, rule_id: str) -> tuple[str, ...]:
        """Return the hosts that credentials of *rule_id* belong to; none where nobody can say."""
        rule = self.book.rules.get(rule_id)
        return rule.home if rule is not None else ()

    def sample_for(self, rule_id: str, number: int) -> str:
        """Return the *number*-th (from 1) value that *rule_id* finds; all of them differ.

        KeyError for an unknown rule; ValueError where no further value can be made.
        """
        return self.book.samples.value(rule_id, number)

    @staticmethod
    def placeholder(rule_id: str, number: int) -> str:
        """Return what stands for the *number*-th value of *rule_id* in a redacted text."""
        return placeholder(rule_id, number)

    def _sliced(
        self, items: Sequence[Text], detectors: Collection[Detector] | None
    ) -> Iterator[Finding]:
        for batch in batches(items):
            for index, finding in self._scan([part.item for part in batch], detectors):
                if finding.rule == OVER_BUDGET:
                    yield finding
                    return
                part = batch[index]
                if part.low <= finding.start < part.high:
                    start, end = finding.start + part.offset, finding.end + part.offset
                    yield replace(finding, start=start, end=end)

    def _scan(self, items: Sequence[Text], detectors: Collection[Detector] | None) -> list[_Placed]:
        strings = [item.text for item in items]
        data = joined(strings)
        budget = Budget(len(data))
        found: list[_Placed] = []
        try:
            tokens = Tokens(data)
            found += self._plain(items, strings, (data, tokens), detectors, budget)
            views = derive(strings, data, tokens, budget)
            if views:
                found += self._viewed(items, views, detectors, budget, found)
                found.sort(key=_in_order)
        except OverBudget:
            found.append((0, _over_budget(max(items, key=_length))))
        return found

    def _plain(
        self,
        items: Sequence[Text],
        strings: list[str],
        joined_up: tuple[bytes, Tokens],
        detectors: Collection[Detector] | None,
        budget: Budget,
    ) -> Iterator[_Placed]:
        hits, framed = self._hits(items, strings, joined_up, detectors, budget)
        if framed is None:
            return
        for index, group in _by_index(hits):
            part, item = framed.parts[index], items[index]
            points = _code_points(part, len(item.text), chain.from_iterable(_ends(group)))
            for hit in group:
                value = part[hit.start : hit.end]
                start, end = points[hit.start], points[hit.end]
                yield index, self._finding(item, hit.rule, (start, end), value, "")

    def _viewed(
        self,
        items: Sequence[Text],
        views: Sequence[View],
        detectors: Collection[Detector] | None,
        budget: Budget,
        known: Sequence[_Placed],
    ) -> Iterator[_Placed]:
        """Yield what stands in *views* and was not seen before at its place."""
        strings = [view.text for view in views]
        owners = [items[view.index] for view in views]
        data = joined(strings)
        hits, framed = self._hits(owners, strings, (data, Tokens(data)), detectors, budget)
        if framed is None:
            return
        seen = {(index, f.rule, f.start, f.end) for index, f in known}
        plain = _Known(known)
        whole = _found_whole(views, items, hits, framed, plain)
        for index, group in _by_index(hits):
            part, view, item = framed.parts[index], views[index], owners[index]
            points = _code_points(part, len(view.text), chain.from_iterable(_ends(group)))
            for hit in group:
                start, end = view.origin(points[hit.start], points[hit.end])
                place = (view.index, hit.rule.id, start, end)
                if start >= end or place in seen:
                    continue  # of pieces put together, this text may have no part in it
                if hit.rule.generic and plain.touches(view.index, hit.rule.detector, start, end):
                    continue
                if (view.text, hit.rule.id, hit.start) in whole:
                    continue
                seen.add(place)
                value = part[hit.start : hit.end]
                made = self._finding(item, hit.rule, (start, end), value, view.name)
                yield view.index, made

    def _hits(
        self,
        items: Sequence[Text],
        strings: list[str],
        joined_up: tuple[bytes, Tokens],
        detectors: Collection[Detector] | None,
        budget: Budget,
    ) -> tuple[list[Hit], Frame | None]:
        data, tokens = joined_up
        lowered = data.lower()
        gate = self.book.gate
        passed = gate.passed(lowered, tokens, {item.surface for item in items}, detectors)
        if not passed.words:
            return [], None
        search = Search(data, lowered, gate, passed, budget)
        framed: Frame | None = None
        hits: list[Hit] = []
        for rule in passed.words:
            spans = search.spans(rule)
            if not spans:
                continue
            if framed is None:
                framed = frame(strings)
            hits += _placed(framed, rule, spans, items)
        return settled(hits), framed

    def _finding(
        self, item: Text, rule: Rule, place: tuple[int, int], value: bytes, view: str
    ) -> Finding:
        return Finding(
            detector=rule.detector,
            rule=rule.id,
            severity=rule.severity,
            surface=item.surface,
            pointer=item.pointer + _mark(item),
            start=place[0],
            end=place[1],
            value_hash=self.value_hash(value),
            view=view,
            note=rule.title if rule.detector == "canary" else "",
        )

    def value_hash(self, value: bytes) -> str:
        """Return the keyed hash of *value*, as findings hold it."""
        return hmac.digest(self._key, value, "sha256").hex()[:_HASH_DIGITS]


class _Known:
    """What was found in the texts as they are."""

    def __init__(self, known: Iterable[_Placed]) -> None:
        self._spans: dict[tuple[int, Detector], list[tuple[int, int]]] = {}
        for index, finding in known:
            key = index, finding.detector
            self._spans.setdefault(key, []).append((finding.start, finding.end))
        self._covers: dict[tuple[int, Detector], Cover] = {}

    def touches(self, index: int, detector: Detector, start: int, end: int) -> bool:
        """Tell whether *detector* found something there that overlaps *start* to *end*."""
        key = index, detector
        if key not in self._spans:
            return False
        if key not in self._covers:
            self._covers[key] = Cover(self._spans[key])
        return self._covers[key].touches(start, end)


def _found_whole(
    views: Sequence[View], items: Sequence[Text], hits: Sequence[Hit], framed: Frame, plain: _Known
) -> set[tuple[str, str, int]]:
    """Return the hits over several texts that are none: view text, rule and start there.

    One of the texts alone shows the value already, and it only seemed to go on in the next; or
    one is a header or a URL, which nobody reads together with what comes after.
    """
    found: set[tuple[str, str, int]] = set()
    for hit in hits:
        view = views[hit.index]
        if view.name.partition("/")[0] != ACROSS:
            continue
        part = framed.parts[hit.index]
        first = len(part[: hit.start].decode("utf-8", "replace"))
        last = first + len(part[hit.start : hit.end].decode("utf-8", "replace"))
        start, end = view.origin(first, last)
        if start < end and (
            items[view.index].pointer.startswith("#")
            or plain.touches(view.index, hit.rule.detector, start, end)
        ):
            found.add((view.text, hit.rule.id, hit.start))
    return found


def _length(item: Text) -> int:
    return len(item.text)


def _over_budget(item: Text) -> Finding:
    return Finding(
        "limits", OVER_BUDGET, "high", item.surface, item.pointer + _mark(item), 0, 0, ""
    )


def _mark(item: Text) -> str:
    if item.key:
        return KEY_MARK
    return DERIVED_MARK if item.derived else ""


def _placed(
    framed: Frame, rule: Rule, spans: Iterable[tuple[int, int]], items: Sequence[Text]
) -> Iterator[Hit]:
    """Yield the hits that *spans* of the frame mean, each within its own text."""
    for start, end in spans:
        # The line break before a string belongs to it: a pattern may begin there.
        index = bisect_right(framed.starts, start + 1) - 1
        if rule.surfaces is not None and items[index].surface not in rule.surfaces:
            continue
        base, size = framed.starts[index], len(framed.parts[index])
        first, last = max(start - base, 0), min(end - base, size)
        if first < last:
            yield Hit(index, first, last, rule)


def _by_index(hits: list[Hit]) -> list[tuple[int, list[Hit]]]:
    groups: dict[int, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.index, []).append(hit)
    return sorted(groups.items())


def _ends(hits: Iterable[Hit]) -> Iterator[tuple[int, int]]:
    return ((hit.start, hit.end) for hit in hits)


def _in_order(placed: _Placed) -> tuple[int, int, int, str]:
    index, finding = placed
    return index, finding.start, -finding.end, finding.rule


def _code_points(part: bytes, length: int, offsets: Iterable[int]) -> dict[int, int]:
    """Map byte *offsets* into *part*, a text of *length* code points, to offsets in code points.

    One pass over the bytes however many offsets: a text full of hits must not cost its square.
    """
    if len(part) == length:
        return {offset: offset for offset in offsets}
    points = {0: 0}
    for before, after in pairwise(sorted({0, *offsets})):
        points[after] = points[before] + len(part[before:after].decode())
    return points
