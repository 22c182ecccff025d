"""The first pass over a message: where the keywords of rules stand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import re2
from ahocorasick_rs import BytesAhoCorasick, Implementation

from mitmgate.scan.finding import Detector
from mitmgate.scan.patterns import quiet_options
from mitmgate.scan.rule import Rule
from mitmgate.scan.shapes import RUNS, Tokens, run_places, starts_word
from mitmgate.scan.windows import Window
from mitmgate.wire.surfaces import Surface

_AT_ONCE = 1 << 13  # bytes between two chances for other threads; a text may be full of keywords
_MOST_CHOICES = 64


class Passed(NamedTuple):
    """What the gate let through.

    ``words`` are the numbers of the keywords of each rule that has any in the text, ``places``
    where each of them stands, in order; a run of signs has no length there.
    """

    words: Mapping[Rule, Sequence[int]]
    places: Mapping[int, Sequence[Window]]
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class _Choice:
    """The rules for some surfaces and detectors, by the numbers of their keywords."""

    keywords: _Keywords
    rules: Sequence[Sequence[Rule]]
    runs: Sequence[bytes]
    starting: frozenset[int]
    """Those that only count where a word starts, whatever the rule."""


class Gate:
    """One automaton of all keywords of a surface, over a text in lower case.

    Literals only: what it costs is linear in the text and its hits, whatever the text.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Index the keywords of *rules*."""
        self._rules = tuple(rules)
        self.words = tuple(dict.fromkeys(word for rule in self._rules for word in rule.words))
        """The keywords by their numbers."""
        self._numbers = {word: number for number, word in enumerate(self.words)}
        beside: dict[tuple[bytes, ...], re2.Pattern] = {}
        self.also = {
            rule: beside.get(rule.also) or beside.setdefault(rule.also, _any_of(rule.also))
            for rule in self._rules
            if rule.also
        }
        """What finds, in text in lower case, a word that a rule wants beside its keyword."""
        alike: dict[object, Rule] = {}
        self.first_alike = {
            rule: alike.setdefault(
                (rule.words, rule.starts, rule.also, rule.token, rule.reach), rule
            )
            for rule in self._rules
        }
        """The first rule that looks in the same places as a rule."""
        self._choices: dict[object, _Choice] = {}
        self._keywords: dict[frozenset[int], _Keywords] = {}
        for surface in Surface:
            self._for(frozenset([surface]), None)
        self._for(frozenset(Surface), None)

    def passed(
        self,
        lowered: bytes,
        tokens: Tokens,
        surfaces: Collection[Surface],
        detectors: Collection[Detector] | None,
    ) -> Passed:
        """Return what of the rules for *surfaces* and *detectors* to look for in *lowered*.

        *tokens* are its tokens, in lower case or not.
        """
        choice = self._for(frozenset(surfaces), None if detectors is None else frozenset(detectors))
        rules = choice.rules
        places: dict[int, list[Window]] = {}
        choice.keywords.place(lowered, choice, places)
        for word, found in run_places(choice.runs, lowered, tokens):
            places[self._numbers[word]] = found
        words: dict[Rule, list[int]] = {}
        for number in places:
            for rule in rules[number]:
                words.setdefault(rule, []).append(number)
        return Passed(words, places, tokens)

    def _for(self, surfaces: frozenset[Surface], detectors: frozenset[Detector] | None) -> _Choice:
        choice = surfaces, detectors
        known = self._choices.get(choice)
        if known is not None:
            return known
        here = [rule for rule in self._rules if _is_for(rule, surfaces)]
        table: list[list[Rule]] = [[] for _ in self.words]
        for rule in here:
            if detectors is None or rule.detector in detectors:
                for word in rule.words:
                    table[self._numbers[word]].append(rule)
        runs = [word for word in RUNS if word in self._numbers and table[self._numbers[word]]]
        made = _Choice(
            self._keywords_of(here),
            tuple(map(tuple, table)),
            runs,
            frozenset(
                number
                for number, rules in enumerate(table)
                if rules and all(self.words[number] in rule.starts for rule in rules)
            ),
        )
        if len(self._choices) < _MOST_CHOICES:
            self._choices[choice] = made
        return made

    def _keywords_of(self, rules: Iterable[Rule]) -> _Keywords:
        """Return what finds the keywords of *rules*, the same for the same keywords."""
        words = {word for rule in rules for word in rule.words if word not in RUNS}
        numbers = frozenset([self._numbers[word] for word in words])
        known = self._keywords.get(numbers)
        if known is None:
            known = self._keywords[numbers] = _Keywords(self.words, sorted(numbers))
        return known


class _Keywords:
    """Finds where those of *words* stand that have one of *numbers*."""

    def __init__(self, words: Sequence[bytes], numbers: Sequence[int]) -> None:
        self._numbers = numbers
        chosen = [words[number] for number in numbers]
        self._longest = max(map(len, chosen), default=1)
        self._automaton = BytesAhoCorasick(chosen, implementation=Implementation.ContiguousNFA)

    def place(self, data: bytes, choice: _Choice, places: dict[int, list[Window]]) -> None:
        """Add to *places*, by number, where in *data* the words stand that *choice* asks for."""
        numbers, find, size = self._numbers, self._automaton.find_matches_as_indexes, len(data)
        rules, starting = choice.rules, choice.starting
        for base in range(0, size, _AT_ONCE):
            last = base + _AT_ONCE
            piece = data if size <= _AT_ONCE else data[base : last + self._longest - 1]
            for index, start, end in find(piece, overlapping=True):
                number = numbers[index]
                if start >= _AT_ONCE or not rules[number]:
                    continue
                first = base + start
                if number in starting and not starts_word(data, first):
                    continue
                known = places.get(number)
                if known is None:
                    places[number] = [(first, base + end)]
                else:
                    known.append((first, base + end))


def _is_for(rule: Rule, surfaces: frozenset[Surface]) -> bool:
    return rule.surfaces is None or not rule.surfaces.isdisjoint(surfaces)


def _any_of(words: Iterable[bytes]) -> re2.Pattern:
    return re2.compile("|".join(re2.escape(word.decode()) for word in words), quiet_options())
