"""What differs between golden outcomes and replayed ones, and which of it is weaker.

Weaker is: a step down of what is done (deny > ask > allow), enforced that became shadowed, an
edit that is lost though the message may still pass, something hidden that shows again, a stop
whose outcome is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mitmgate.policy.verdict import Verdict
from mitmgate.replay.golden import Golden, Pair

_WITHOUT_BODY = frozenset({"rule", "locked", "otherwise", "answer", "shadow"})
_MOST_KINDS = 1_000
_MOST_EXAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Difference:
    """One outcome that came out differently; ``after`` is None where none came."""

    file: Path
    line: int
    before: Golden | None
    after: Golden | None
    weaker: bool
    what: str

    @property
    def example(self) -> Golden | None:
        """The side that says whose call this was."""
        return self.before or self.after

    @property
    def rule(self) -> str:
        """The rule that decided before, or does now where nothing was decided."""
        return _rule(self.before or self.after)


@dataclass(frozen=True, slots=True)
class NotCompared:
    """An outcome that nobody can compare; ``why`` says what is missing, for people."""

    file: Path
    line: int
    why: str


@dataclass(slots=True)
class Group:
    """Differences of one kind: ``count`` of them, and the first as the example.

    ``rule`` decided before, or does now where nothing was decided.
    """

    rule: str
    what: str
    weaker: bool
    count: int
    example: Difference


@dataclass(slots=True)
class Comparison:
    """The result over one or more captures; its size does not grow with theirs.

    ``not_compared`` are outcomes of which something was not stored, in ``missing`` by what that
    is. ``unclosed`` are captures without an end, ``cut`` exchanges without one, ``unsealed``
    captures without sums to tell an edit by.
    ``different`` and ``lowered`` count the outcomes that came out differently, and those of them
    that are weaker. ``updated`` tells whether new golden files were written.
    """

    captures: int = 0
    exchanges: int = 0
    outcomes: int = 0
    same: int = 0
    not_compared: int = 0
    unclosed: int = 0
    cut: int = 0
    unsealed: int = 0
    different: int = 0
    lowered: int = 0
    updated: bool = False
    missing: Counter[str] = field(default_factory=Counter)
    _kinds: dict[tuple[str, str, bool], Group] = field(default_factory=dict)
    _examples: tuple[list[Difference], list[Difference]] = field(default_factory=lambda: ([], []))

    @property
    def differences(self) -> list[Difference]:
        """The first thousand that are weaker, and the first thousand that are not."""
        return [*self._examples[1], *self._examples[0]]

    @property
    def weaker(self) -> list[Difference]:
        """The first thousand that let more through than before."""
        return list(self._examples[1])

    @property
    def exit_code(self) -> int:
        """0 the same, 1 different, 3 weaker."""
        if self.lowered:
            return 3
        return 1 if self.different else 0

    @property
    def groups(self) -> list[Group]:
        """The kinds of differences by rule, rules and kinds with weaker ones first."""
        of_rule: Counter[tuple[str, bool]] = Counter()
        for group in self._kinds.values():
            of_rule[group.rule, group.weaker] += group.count

        def order(group: Group) -> tuple[object, ...]:
            lowered, other = of_rule[group.rule, True], of_rule[group.rule, False]
            own = (not group.weaker, -group.count, group.what)
            return (not lowered, -lowered, -other, group.rule, *own)

        return sorted(self._kinds.values(), key=order)

    def left_out(self, item: NotCompared) -> None:
        """Count in an outcome that is not compared."""
        self.not_compared += 1
        self.missing[item.why] += 1

    def found(self, item: Difference) -> None:
        """Count in a difference."""
        self.different += 1
        self.lowered += item.weaker
        examples = self._examples[item.weaker]
        if len(examples) < _MOST_EXAMPLES:
            examples.append(item)
        key = item.rule, item.what, item.weaker
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            key = "(other rules)", "other kinds of difference", item.weaker
        if key in self._kinds:
            self._kinds[key].count += 1
        else:
            self._kinds[key] = Group(*key, 1, item)


def difference(
    file: Path,
    line: int,
    before: Golden | None,
    after: Golden | None,
    whole: Golden | None = None,
) -> Difference:
    """Return how *after* differs from *before*; *whole* is the batch that both are a message of."""
    weaker = is_weaker_in(before, after, whole)
    return Difference(file, line, before, after, weaker, _what(before, after))


def is_weaker(before: Golden | None, after: Golden | None) -> bool:
    """Tell whether *after* lets something through that *before* stopped, asked for or changed."""
    if before is None:
        return False
    if after is None:
        return before.effective is not Verdict.ALLOW or bool(before.edits)
    if after.effective < before.effective or (before.enforced and not after.enforced):
        return True
    if before.hidden and not after.hidden and before.effective is Verdict.DENY:
        return True
    if after.effective is Verdict.DENY:
        return False
    return bool(_lost_edits(before, after)) or _uncovered(before, after)


def is_weaker_in(before: Golden | None, after: Golden | None, whole: Golden | None) -> bool:
    """Tell the same; a batch that is now judged as a *whole* answers for its messages."""
    if before is not None and after is None and before.whole is not None and whole is not None:
        return whole.effective < before.effective
    return is_weaker(before, after)


def _lost_edits(before: Golden, after: Golden) -> Counter[str]:
    # Numbers in placeholders may change without anything getting through.
    if before.effective is Verdict.DENY:
        return Counter()
    return Counter(before.edits) - Counter(after.edits)


def _uncovered(before: Golden, after: Golden) -> bool:
    """Tell whether what was replaced is found still, and no longer replaced."""
    return not (before.cleaned - after.cleaned).isdisjoint(after.findings)


def rests_on_body(before: Golden | None, after: Golden | None) -> bool:
    """Tell whether an outcome depends on a body; egress by a rule, without findings, does not."""
    return any(
        side is None
        or side.channel == "mcp"
        or bool(side.findings)
        or side.code not in _WITHOUT_BODY
        for side in (before, after)
    )


def _what(before: Golden | None, after: Golden | None) -> str:
    if before is None or after is None:
        return f"{_label(before)} → {_label(after)}  rule {_rule(before)} → {_rule(after)}"
    parts = []
    if _label(before) != _label(after):
        parts.append(f"{_label(before)} → {_label(after)}")
    else:
        parts.append(_label(before))
    rules = (_rule(before), _rule(after))
    parts.append(f"rule {rules[0]} → {rules[1]}" if rules[0] != rules[1] else f"rule {rules[0]}")
    parts += _details(before, after)
    return "  ".join(parts)


def _details(before: Golden, after: Golden) -> Iterable[str]:
    if before.rule == after.rule and before.code != after.code:
        yield f"code {before.code} → {after.code}"
    lost = Counter(before.findings) - Counter(after.findings)
    new = Counter(after.findings) - Counter(before.findings)
    if lost:
        yield f"findings lost: {_rules(lost)}"
    if new:
        yield f"new findings: {_rules(new)}"
    if _lost_edits(before, after) or _uncovered(before, after):
        yield "edits lost"
    elif before.edits != after.edits:
        yield "other edits"
    if before.hidden != after.hidden:
        yield "visible now" if before.hidden else "hidden now"
    for name in ("would", "floor", "kind", "channel", "method", "server", "tool"):
        old, now = getattr(before, name), getattr(after, name)
        if old != now:
            yield f"{name} {old or '-'} → {now or '-'}"


def _rules(findings: Counter[Pair]) -> str:
    return ", ".join(sorted({rule for rule, _ in findings}))


def _label(side: Golden | None) -> str:
    if side is None:
        return "nothing"
    word = side.verdict.word
    if side.edits:
        word = "redacted" if side.verdict is Verdict.ALLOW else f"{word}+redacted"
    return word if side.enforced else f"{word} (shadow)"


def _rule(side: Golden | None) -> str:
    return "-" if side is None else side.rule
