"""What differs between golden outcomes and replayed ones, and which of it is weaker.

Weaker is: a step down of what is done (deny > ask > allow), enforced that became shadowed, an
edit that is lost though the message may still pass, something hidden that shows again, a stop
whose outcome is gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mitmgate.policy.verdict import Verdict
from mitmgate.replay.golden import Golden, Key, Pair, Place
from mitmgate.replay.run import Replayed


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


@dataclass(slots=True)
class Comparison:
    """The result over one or more captures.

    ``not_compared`` are outcomes whose input was not stored whole, ``unclosed`` captures without
    an end, ``cut`` exchanges without one, ``unsealed`` captures without sums to tell an edit by.
    ``updated`` tells whether new golden files were written.
    """

    captures: int = 0
    exchanges: int = 0
    outcomes: int = 0
    same: int = 0
    not_compared: int = 0
    unclosed: int = 0
    cut: int = 0
    unsealed: int = 0
    updated: bool = False
    differences: list[Difference] = field(default_factory=list)

    @property
    def weaker(self) -> list[Difference]:
        """The differences that let more through than before."""
        return [difference for difference in self.differences if difference.weaker]

    @property
    def exit_code(self) -> int:
        """0 the same, 1 different, 3 weaker."""
        if self.weaker:
            return 3
        return 1 if self.differences else 0

    def add(self, file: Path, golden: Mapping[Key, Golden], replayed: Replayed) -> None:
        """Compare one capture and count it in."""
        self.captures += 1
        self.exchanges += replayed.exchanges
        self.cut += replayed.cut
        self.unclosed += not replayed.closed
        last = max((replayed.lines.get(each.place, 0) for each in golden.values()), default=0)
        for key in {**golden, **replayed.outcomes}:
            before, after = golden.get(key), replayed.outcomes.get(key)
            place = _place(before, after)
            line = replayed.lines.get(place, 0)
            if place in replayed.superseded:
                continue
            self.outcomes += 1
            # A writer that was killed may have lost the newest golden lines.
            lost = place in replayed.lost
            lost = lost or (before is None and not replayed.closed and line > last)
            if lost or (place in replayed.uncertain and _rests_on_body(before, after)):
                self.not_compared += 1
            elif before == after:
                self.same += 1
            else:
                weaker = _is_weaker_in(replayed, before, after)
                said = _what(before, after)
                self.differences.append(Difference(file, line, before, after, weaker, said))


@dataclass(frozen=True, slots=True)
class Group:
    """Differences of one kind: ``count`` of them, and the first as the example."""

    what: str
    weaker: bool
    count: int
    example: Difference


def grouped(differences: Iterable[Difference]) -> list[Group]:
    """Return *differences* by kind, the weaker ones first, then the most frequent."""
    groups: dict[tuple[str, bool], list[Difference]] = {}
    for item in differences:
        groups.setdefault((item.what, item.weaker), []).append(item)
    found = [Group(what, weaker, len(g), g[0]) for (what, weaker), g in groups.items()]
    return sorted(found, key=lambda group: (not group.weaker, -group.count, group.what))


def difference(file: Path, line: int, before: Golden | None, after: Golden | None) -> Difference:
    """Return how *after* differs from *before*."""
    return Difference(file, line, before, after, is_weaker(before, after), _what(before, after))


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
    return after.effective is not Verdict.DENY and bool(_lost_edits(before, after))


def _is_weaker_in(replayed: Replayed, before: Golden | None, after: Golden | None) -> bool:
    """Tell the same; a batch that is now judged as a whole answers for its messages."""
    if before is not None and after is None and before.whole is not None:
        whole = replayed.outcomes.get(before.whole)
        if whole is not None:
            return whole.effective < before.effective
    return is_weaker(before, after)


def _place(before: Golden | None, after: Golden | None) -> Place:
    side = before or after
    if side is None:
        raise ValueError("one side has an outcome")
    return side.place


def _lost_edits(before: Golden, after: Golden) -> Counter[str]:
    # Numbers in placeholders may change without anything getting through.
    if before.effective is Verdict.DENY:
        return Counter()
    return Counter(before.edits) - Counter(after.edits)


def _rests_on_body(before: Golden | None, after: Golden | None) -> bool:
    """Tell whether an outcome depends on a body; egress without findings does not."""
    return any(
        side is None or side.channel == "mcp" or bool(side.findings) for side in (before, after)
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
    if _lost_edits(before, after):
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
