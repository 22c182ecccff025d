"""What becomes of decisions under another policy: changes, counted by the rules that make them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from mitmgate.policy.verdict import Verdict

MOST_GROUPS: Final = 1_000
"""Kinds of change that are told apart; more are counted as one."""
MOST_EXAMPLES: Final = 3
_MOST_QUESTIONS: Final = 10_000
_DAY: Final = 86_400.0

type Kind = Literal["allowed", "unredacted", "asked", "denied", "redacted", "undecidable"]
KINDS: Final[tuple[Kind, ...]] = (
    "allowed", "unredacted", "asked", "denied", "redacted", "undecidable",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Side:
    """What one policy says: the verdict that takes effect, its rule, and what it edits.

    ``said`` is the verdict before shadow mode; ``edits`` are kind and pointer of each.
    """

    verdict: Verdict
    rule: str
    edits: tuple[str, ...] = ()
    said: Verdict | None = None

    @property
    def words(self) -> str:
        """The side as people read it: ``deny (no-force)``."""
        return f"{self.verdict.word} ({self.rule})"


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that another policy makes in another way.

    ``before`` and ``after`` are verdict and rule; for what is ``undecidable`` they are one of the
    possible ones, or ``why`` it cannot be told.
    """

    kind: Kind
    before: str
    after: str
    rule: str
    why: str = ""


def change_of(before: Side, after: Side) -> Change | None:
    """Return how *after* differs from *before* in what takes effect, or None."""
    kind = _kind(before, after)
    return None if kind is None else Change(kind, before.words, after.words, _rule(before, after))


def undecidable(why: str, before: Side | None = None, after: Side | None = None) -> Change:
    """Return that it cannot be told, with a possible way it may change."""
    words = (before.words if before else "", after.words if after else "")
    rule = _rule(before, after) if before and after else ""
    return Change("undecidable", *words, rule, why)


def _kind(before: Side, after: Side) -> Kind | None:
    if before.verdict is not after.verdict:
        match after.verdict:
            case Verdict.ALLOW:
                return "allowed"
            case Verdict.ASK:
                return "asked"
            case Verdict.DENY:
                return "denied"
    if after.verdict is Verdict.DENY:
        return None
    if Counter(before.edits) - Counter(after.edits):
        return "unredacted"
    return "redacted" if after.edits and len(after.edits) > len(before.edits) else None


def _rule(before: Side, after: Side) -> str:
    """Return the rule of the new policy that decides; where none does, the one that did."""
    named = after.rule not in ("otherwise", "answer", "housekeeping")
    return after.rule if named else before.rule


@dataclass(slots=True)
class Group:
    """Changes of one kind by one rule: ``count`` of them, the first as ``examples`` (ids)."""

    change: Change
    count: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """All changes over a time. ``decisions`` were looked at, from ``begin`` to ``end``; the
    ``first`` of them tells how long there was traffic at all.

    ``damaged`` counts lines that are no records, ``with_bodies`` decisions that a capture had.
    ``partial``: the time to look was over before everything was looked at.
    """

    begin: float
    end: float
    decisions: int = 0
    with_bodies: int = 0
    damaged: int = 0
    partial: bool = False
    first: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _groups: dict[Change, Group] = field(default_factory=dict)
    _questions: set[Hashable] = field(default_factory=set)

    def saw(self, at: float) -> None:
        """Note a decision that was made at *at*."""
        self.decisions += 1
        self.first = at if self.first is None else min(self.first, at)

    def add(self, change: Change, example: str, question: Hashable = None) -> None:
        """Count in *change* of the decision *example*; equal *questions* are asked once."""
        if change.kind == "asked" and question is not None:
            if question in self._questions:
                return
            if len(self._questions) < _MOST_QUESTIONS:
                self._questions.add(question)
        self.counts[change.kind] += 1
        group = self._groups.get(change)
        if group is None and len(self._groups) >= MOST_GROUPS:
            change = Change(change.kind, "", "", "", "more kinds than are told apart")
            group = self._groups.get(change)
        if group is None:
            group = self._groups[change] = Group(change)
        group.count += 1
        if len(group.examples) < MOST_EXAMPLES and example not in group.examples:
            group.examples.append(example)

    def groups(self) -> Iterator[Group]:
        """Yield the groups, what lets more through first, then the most frequent."""
        yield from sorted(
            self._groups.values(),
            key=lambda group: (KINDS.index(group.change.kind), -group.count, group.change.rule),
        )

    @property
    def days(self) -> float:
        """The days that were looked at; less than one counts as one."""
        begin = self.begin if self.first is None else max(self.begin, self.first)
        return max(1.0, (self.end - begin) / _DAY)

    @property
    def approvals_a_day(self) -> float:
        """How many more questions a day there would be."""
        return self.counts["asked"] / self.days

    @property
    def exit_code(self) -> int:
        """0 nothing changes, 1 something does or may, 3 something is newly let through."""
        if self.counts["allowed"] or self.counts["unredacted"]:
            return 3
        return 1 if self.counts.total() else 0
