"""Text to findings: one ``re2.Set`` of keywords over a whole message, then spans for what hit.

Only keywords go into the set. Patterns with bounded repeats in one set can be driven to 1 MB/s
by a text made of their prefixes; literals cannot, and a pattern is run alone, linearly, and
only where one of its keywords occurs.
"""

from __future__ import annotations

import hmac
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, pairwise

import re2

from mitmgate.errors import ConfigError, Problem
from mitmgate.scan.finding import Detector, Finding
from mitmgate.scan.packs import Pack, Rule
from mitmgate.scan.patterns import Frame, frame, joined, quiet_options
from mitmgate.scan.redact import placeholder
from mitmgate.scan.samples import SampleBook
from mitmgate.wire.surfaces import Surface, Text

_SET_MEMORY = 16 << 20
_HASH_DIGITS = 16
# ``~`` before anything but 0 or 1 is no JSON pointer, so a marked pointer never points at a value.
KEY_MARK = "~key"
DERIVED_MARK = "~decoded"


class Scanner:
    """Finds what the rules of some packs describe. Immutable, and safe in any thread."""

    def __init__(self, packs: Iterable[Pack], *, hash_key: bytes) -> None:
        """Compile the rules of *packs*; ConfigError where two share an id or none is given."""
        if not hash_key:
            raise ValueError("the hash key is empty")
        self._key = hash_key
        self._rules = _rules_by_id(packs)
        self._gate = _Gate(tuple(self._rules.values()))
        self._samples = SampleBook(self._rules)
        self.detectors: frozenset[Detector] = frozenset(r.detector for r in self._rules.values())

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules by id, in the order of their packs."""
        return self._rules

    def scan(
        self, texts: Iterable[Text], *, detectors: Collection[Detector] | None = None
    ) -> tuple[Finding, ...]:
        """Return the findings in *texts*, text by text, each in order of start.

        Total on any text. RuntimeError if RE2 gave up: the caller must deny, never pass.
        """
        items = tuple(texts)
        if not items:
            return ()
        strings = [item.text for item in items]
        rules = self._gate.rules_for(joined(strings))
        if detectors is not None:
            rules = [rule for rule in rules if rule.detector in detectors]
        if not rules:
            return ()
        framed = frame(strings)
        found = _spans_by_part(framed, rules)
        return tuple(
            finding
            for index in sorted(found)
            for finding in self._findings(items[index], framed.parts[index], found[index])
        )

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

    def sample_for(self, rule_id: str, number: int) -> str:
        """Return the *number*-th (from 1) value that *rule_id* finds; all of them differ.

        KeyError for an unknown rule; ValueError where no further value can be made.
        """
        return self._samples.value(rule_id, number)

    @staticmethod
    def placeholder(rule_id: str, number: int) -> str:
        """Return what stands for the *number*-th value of *rule_id* in a redacted text."""
        return placeholder(rule_id, number)

    def _findings(
        self, item: Text, part: bytes, spans: list[tuple[int, int, Rule]]
    ) -> Iterator[Finding]:
        spans.sort(key=_by_place)
        points = _code_points(part, len(item.text), chain.from_iterable(s[:2] for s in spans))
        pointer = item.pointer + _mark(item)
        for start, end, rule in spans:
            yield Finding(
                detector=rule.detector,
                rule=rule.id,
                severity=rule.severity,
                surface=item.surface,
                pointer=pointer,
                start=points[start],
                end=points[end],
                value_hash=self._hash(part[start:end]),
            )

    def _hash(self, value: bytes) -> str:
        return hmac.digest(self._key, value, "sha256").hex()[:_HASH_DIGITS]


def _mark(item: Text) -> str:
    if item.key:
        return KEY_MARK
    return DERIVED_MARK if item.derived else ""


class _Gate:
    """The one ``re2.Set``: which rules have a keyword in a text."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._set = re2.Set.SearchSet(quiet_options(_SET_MEMORY))
        for rule in rules:
            words = "|".join(re2.escape(word) for word in rule.keywords)
            self._set.Add(f"(?i)(?:{words})")
        # Set.Match answers None both for "no hit" and for "out of memory". This pattern is in
        # every text, so an answer without it means that nothing was searched.
        self._canary = self._set.Add(r"\A")
        try:
            self._set.Compile()
        except re2.error:
            raise ConfigError(_too_large()) from None
        self._warm()

    def rules_for(self, data: bytes) -> list[Rule]:
        """Return the rules with a keyword in *data*; RuntimeError if RE2 did not search it."""
        hits = self._set.Match(data)
        if hits is None or self._canary not in hits:
            raise RuntimeError("the scanner ran out of memory on this text")
        return [self._rules[hit] for hit in sorted(hits) if hit != self._canary]

    def _warm(self) -> None:
        # The automaton is built while it runs: build its states now, not in the first call.
        samples = [sample for rule in self._rules for sample in (*rule.match, *rule.clean)]
        try:
            self.rules_for(frame(samples).data)
        except RuntimeError:
            raise ConfigError(_too_large()) from None


def _too_large() -> Problem:
    return Problem(
        "the rule packs need more memory than a scanner may use",
        hint="use fewer rules or shorter keywords",
    )


def _rules_by_id(packs: Iterable[Pack]) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    problems: list[Problem] = []
    for pack in packs:
        for rule in pack.rules:
            if rule.id in rules:
                problems.append(
                    Problem(
                        f"rule {rule.id} is in two packs",
                        file=pack.name,
                        hint="give one of them another id",
                    )
                )
            rules[rule.id] = rule
    if not rules:
        problems.append(Problem("there are no rules to scan with", hint="install a rule pack"))
    if problems:
        raise ConfigError(*problems)
    return rules


def _spans_by_part(framed: Frame, rules: list[Rule]) -> dict[int, list[tuple[int, int, Rule]]]:
    found: dict[int, list[tuple[int, int, Rule]]] = {}
    for rule in rules:
        for start, end in rule.spans(framed.data):
            # The line break before a string belongs to it: a pattern may begin there.
            index = bisect_right(framed.starts, start + 1) - 1
            base, size = framed.starts[index], len(framed.parts[index])
            local = max(start - base, 0), min(end - base, size)
            if local[0] < local[1]:
                found.setdefault(index, []).append((*local, rule))
    return found


def _by_place(span: tuple[int, int, Rule]) -> tuple[int, int, str]:
    start, end, rule = span
    return start, -end, rule.id


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
