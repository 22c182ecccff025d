"""The first pass over a message: which rules have a keyword in it, and where about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import re2

from mitmgate.errors import ConfigError, Problem
from mitmgate.scan.finding import Detector
from mitmgate.scan.patterns import frame, quiet_options
from mitmgate.scan.rule import Rule
from mitmgate.scan.shapes import ANY_RUN, LONGEST_RUN, RUNS
from mitmgate.wire.surfaces import Surface

_SET_MEMORY = 128 << 20  # bytes at most; literals need a fraction of it, and crawl without it
CHUNK = 2048
"""Bytes that are looked at at once: a word that stands in few places is looked for in few."""
_MOST_CHOICES = 64

type Marks = dict[Rule, list[tuple[int, int]]]
"""For each rule with a keyword in a text: number of the chunk and of the keyword."""


type _Choice = tuple[frozenset[int], Sequence[Sequence[Rule]]]


@dataclass(frozen=True, slots=True)
class Passed:
    """What the gate let through: ``marks`` and, chunk by chunk, the numbers of its keywords."""

    marks: Marks
    present: Sequence[Collection[int]]


class Gate:
    """One ``re2.Set`` of all keywords, over one chunk of a text after the other.

    Literals only: patterns with bounded repeats in one set can be driven to 1 MB/s by a text
    made of their prefixes, literals cannot.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Compile the keywords of *rules*; ConfigError where they need too much memory."""
        self._rules = tuple(rules)
        every = (word for rule in self._rules for word in (*rule.words, *rule.also))
        words = dict.fromkeys(every)
        plain = [word for word in words if word not in RUNS]
        runs = [word for word in words if word in RUNS]
        self.words: tuple[bytes, ...] = (*plain, *runs)
        """The keywords by their numbers."""
        self._longest = max(map(len, plain), default=1)
        self._numbers = {word: number for number, word in enumerate(self.words)}
        self._runs = [(self._numbers[word], RUNS[word]) for word in runs]
        numbers = self._numbers
        self.also = {rule: frozenset([numbers[w] for w in rule.also]) for rule in self._rules}
        """The numbers of the words of which a rule wants one beside its keyword."""
        alike: dict[object, Rule] = {}
        self.first_alike = {
            rule: alike.setdefault((rule.words, rule.also, rule.token, rule.reach), rule)
            for rule in self._rules
        }
        """The first rule that looks in the same places as a rule."""
        self._choices: dict[object, _Choice] = {}
        self._set = re2.Set.SearchSet(quiet_options(_SET_MEMORY))
        for word in plain:
            self._set.Add(re2.escape(word.decode()))
        # Set.Match answers None both for "no hit" and for "out of memory". This pattern is in
        # every text, so an answer without it means that nothing was searched.
        self._canary = self._set.Add(r"\A")
        try:
            self._set.Compile()
        except re2.error:
            raise ConfigError(_too_large()) from None
        self._warm()

    def passed(
        self,
        lowered: bytes,
        surfaces: Collection[Surface],
        detectors: Collection[Detector] | None,
    ) -> Passed:
        """Return what of the rules for *surfaces* and *detectors* to look for in *lowered*.

        RuntimeError if RE2 did not search it.
        """
        keyed, rules = self._for(
            frozenset(surfaces), None if detectors is None else frozenset(detectors)
        )
        marks: Marks = {}
        present: list[Collection[int]] = []
        size, more = len(lowered), self._longest - 1
        for number, start in enumerate(range(0, size, CHUNK)):
            chunk = lowered if size <= CHUNK else lowered[start : start + CHUNK + more]
            runs = lowered if size <= CHUNK else lowered[start : start + CHUNK + LONGEST_RUN]
            words = self._words_in(chunk, runs)
            present.append(words)
            for word in keyed.intersection(words):
                mark = number, word
                for rule in rules[word]:
                    known = marks.get(rule)
                    if known is None:
                        marks[rule] = [mark]
                    else:
                        known.append(mark)
        return Passed(marks, present)

    def bare(self, data: bytes) -> None:
        """Search *data* with nothing but the set."""
        self._set.Match(data)

    def places(self, word: int, lowered: bytes, chunk: int) -> list[int]:
        """Return where the keyword with this number begins in *chunk* of *lowered*."""
        start = chunk * CHUNK
        end, text = start + CHUNK, self.words[word]
        run = RUNS.get(text)
        if run is not None:
            piece = lowered[start : end + LONGEST_RUN]
            return [start + match.span()[0] for match in run.finditer(piece)]
        places: list[int] = []
        size = len(text)
        find, last = lowered.find, end + size - 1
        at = find(text, start, last)
        while at >= 0:
            places.append(at)
            at = find(text, at + size, last)
        return places

    def _words_in(self, chunk: bytes, runs: bytes) -> list[int]:
        hits: list[int] | None = self._set.Match(chunk)
        # Numbers of words are those of the set: the canary was added last.
        if hits is None or self._canary not in hits:
            raise RuntimeError("the scanner ran out of memory on this text")
        if self._runs and ANY_RUN.search(runs) is not None:
            canary = self._canary
            hits = [hit for hit in hits if hit != canary]
            hits += [number for number, run in self._runs if run.search(runs) is not None]
        return hits

    def _for(self, surfaces: frozenset[Surface], detectors: frozenset[Detector] | None) -> _Choice:
        """Return the rules of each keyword that are for any of *surfaces* and *detectors*.

        Before them, the numbers of the keywords that have any.
        """
        choice = surfaces, detectors
        known = self._choices.get(choice)
        if known is not None:
            return known
        table: list[list[Rule]] = [[] for _ in self.words]
        for rule in self._rules:
            here = rule.surfaces is None or not rule.surfaces.isdisjoint(surfaces)
            if here and (detectors is None or rule.detector in detectors):
                for word in rule.words:
                    table[self._numbers[word]].append(rule)
        keyed = frozenset(number for number, rules in enumerate(table) if rules)
        made = keyed, tuple(map(tuple, table))
        if len(self._choices) < _MOST_CHOICES:
            self._choices[choice] = made
        return made

    def _warm(self) -> None:
        # The automaton is built while it runs: build its states now, not in the first call.
        samples = [sample for rule in self._rules for sample in (*rule.match, *rule.clean)]
        try:
            self.passed(frame(samples).data.lower(), Surface, None)
        except RuntimeError:
            raise ConfigError(_too_large()) from None


def _too_large() -> Problem:
    return Problem(
        "the rule packs need more memory than a scanner may use",
        hint="use fewer rules or shorter keywords",
    )
