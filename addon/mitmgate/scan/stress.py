"""Whether a rule stays fast on the text that is made to slow it: its own words, over and over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from mitmgate.errors import ConfigError, Problem
from mitmgate.scan.bare import BarePass
from mitmgate.scan.budget import Budget, OverBudget
from mitmgate.scan.gate import Gate
from mitmgate.scan.loading import Pack
from mitmgate.scan.patterns import joined
from mitmgate.scan.rule import Rule
from mitmgate.scan.search import Search
from mitmgate.scan.shapes import Tokens
from mitmgate.wire.surfaces import Surface

MOST_TIMES = 1_000
"""A rule may take so many times as long as the search for its keywords alone."""
_SIZE = 16 << 10
_ROUNDS = 3


def refuse_slow(packs: Iterable[Pack]) -> None:
    """Raise ConfigError naming the rules of *packs* that a hostile text could make slow."""
    problems = [
        Problem(
            f"rule {rule.id} takes {times:.0f} times as long as the search for its keywords",
            file=pack.name,
            hint="use rarer keywords, smaller counted repeats, a smaller reach",
        )
        for pack in packs
        for rule in pack.rules
        if (times := slowness(rule)) > MOST_TIMES
    ]
    if problems:
        raise ConfigError(*problems)


def slowness(rule: Rule) -> float:
    """Return how many times longer *rule* takes on its worst text than its keywords alone.

    A ratio of two times of this thread's processor, the best of a few rounds each: what else
    the machine does is not counted.
    """
    gate, bare = Gate([rule]), BarePass([rule])
    return max(
        (_times(rule, gate, bare, joined([text])) for text in stress_texts(rule)), default=0.0
    )


def stress_texts(rule: Rule) -> Iterator[str]:
    """Yield texts made of what *rule* looks for: keywords, samples, and samples cut short."""
    words = [word.decode("utf-8", "ignore") for word in (*rule.words[:20], *rule.also[:20])]
    halves = [sample[: max(1, len(sample) * 2 // 3)] for sample in rule.match[:4]]
    for parts in (words, halves, [*rule.match[:4]], [*words, *halves]):
        unit = " ".join(part for part in parts if part.isprintable())
        if unit:
            yield (f"{unit} " * (_SIZE // (len(unit) + 1) + 1))[:_SIZE]


def _times(rule: Rule, gate: Gate, bare: BarePass, data: bytes) -> float:
    lowered = data.lower()

    def whole() -> None:
        passed = gate.passed(lowered, Tokens(data), Surface, None)
        try:
            Search(data, lowered, gate, passed, Budget(len(data))).spans(rule)
        except OverBudget:
            return  # then it ends early, and says so

    return _best(whole) / max(_best(lambda: bare.search(lowered)), 1e-5)


def _best(call: Callable[[], object]) -> float:
    call()
    best = float("inf")
    for _ in range(_ROUNDS):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return best
