"""All rules that a scanner works with, compiled together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from mitmgate.errors import ConfigError, Problem
from mitmgate.scan.finding import Detector
from mitmgate.scan.gate import Gate
from mitmgate.scan.loading import Pack
from mitmgate.scan.rule import Rule
from mitmgate.scan.samples import SampleBook


class RuleBook:
    """The rules of some packs by id, in their order, and the gate before them. Immutable."""

    def __init__(self, packs: Iterable[Pack]) -> None:
        """Compile the rules of *packs*; ConfigError where two share an id or none is given."""
        self.rules: Mapping[str, Rule] = _rules_by_id(packs)
        self.gate = Gate(self.rules.values())
        self.samples = SampleBook(self.rules)
        self.detectors: frozenset[Detector] = frozenset(r.detector for r in self.rules.values())


@lru_cache(maxsize=2)
def book_of(packs: tuple[Pack, ...]) -> RuleBook:
    """Return the book of *packs*, the same while they are: to compile it takes half a second."""
    return RuleBook(packs)


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
