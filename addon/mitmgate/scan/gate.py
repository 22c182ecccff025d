"""The first pass over a message: which rules have a keyword in it, and where about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import re2

from mitmgate.errors import ConfigError, Problem
from mitmgate.scan.finding import Detector
from mitmgate.scan.patterns import quiet_options
from mitmgate.scan.rule import Rule
from mitmgate.scan.shapes import ANY_RUN, LONGEST_RUN, RUNS
from mitmgate.wire.surfaces import Surface

_SET_MEMORY = 128 << 20  # bytes at most; literals need a fraction of it, and crawl without it
CHUNK = 2048
"""Bytes that are looked at at once: a word that stands in few places is looked for in few."""
_MOST_CHOICES = 64

type _Choice = tuple[frozenset[int], Sequence[Sequence[Rule]]]


@dataclass(frozen=True, slots=True)
class Passed:
    """What the gate let through.

    ``words`` are the numbers of the keywords of each rule that has any in the text, ``chunks``
    those of the chunks that each of them stands in, in order; ``present`` are, chunk by chunk,
    the numbers of all words there.
    """

    words: Mapping[Rule, Sequence[int]]
    chunks: Mapping[int, Sequence[int]]
    present: Sequence[frozenset[int]]


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
        plain = [word for word in words if word not in RUNS and word.isascii()]
        foreign = [word for word in words if word not in RUNS and not word.isascii()]
        runs = [word for word in words if word in RUNS]
        self.words: tuple[bytes, ...] = (*plain, *foreign, *runs)
        """The keywords by their numbers."""
        self._longest = max(map(len, (*plain, *foreign)), default=1)
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
        # Letters outside of ASCII would make every state of the automaton twice as large.
        self._plain = _Literals(plain, 0)
        self._foreign = _Literals(foreign, len(plain))

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
        chunks: dict[int, list[int]] = {}
        present: list[frozenset[int]] = []
        size, more = len(lowered), self._longest - 1
        for number, start in enumerate(range(0, size, CHUNK)):
            chunk = lowered if size <= CHUNK else lowered[start : start + CHUNK + more]
            runs = lowered if size <= CHUNK else lowered[start : start + CHUNK + LONGEST_RUN]
            here = self._words_in(chunk, runs)
            present.append(here)
            for word in keyed & here:
                known = chunks.get(word)
                if known is None:
                    chunks[word] = [number]
                else:
                    known.append(number)
        words: dict[Rule, list[int]] = {}
        for word in chunks:
            for rule in rules[word]:
                words.setdefault(rule, []).append(word)
        return Passed(words, chunks, present)

    def bare(self, data: bytes) -> None:
        """Search *data* with nothing but the set."""
        self._plain.search(data)

    def _words_in(self, chunk: bytes, runs: bytes) -> frozenset[int]:
        hits = self._plain.search(chunk)
        if not chunk.isascii():
            hits += self._foreign.search(chunk)
        if self._runs and ANY_RUN.search(runs) is not None:
            hits += [number for number, run in self._runs if run.search(runs) is not None]
        return frozenset(hits)

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


class _Literals:
    """One ``re2.Set`` of *words*, of which the first has the number *first*."""

    def __init__(self, words: Sequence[bytes], first: int) -> None:
        self._first = first
        self._set = re2.Set.SearchSet(quiet_options(_SET_MEMORY))
        for word in words:
            self._set.Add(re2.escape(word.decode()))
        # Set.Match answers None both for "no hit" and for "out of memory". This pattern is in
        # every text, so an answer without it means that nothing was searched.
        self._canary = self._set.Add(r"\A")
        try:
            self._set.Compile()
        except re2.error:
            raise ConfigError(_too_large()) from None

    def search(self, data: bytes) -> list[int]:
        """Return the numbers of the words in *data*; RuntimeError if RE2 did not search it."""
        hits: list[int] | None = self._set.Match(data)
        if hits is None or self._canary not in hits:
            raise RuntimeError("the scanner ran out of memory on this text")
        hits.remove(self._canary)
        return [hit + self._first for hit in hits] if self._first else hits


def _too_large() -> Problem:
    return Problem(
        "the rule packs need more memory than a scanner may use",
        hint="use fewer rules or shorter keywords",
    )
