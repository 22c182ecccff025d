"""Two versions of a list of rules, and where the new one may decide laxer than the old one.

Laid side by side, the rules that are in both in the same order are anchors, whatever else of them
changed. Where another rule than before decides on a call, an old one no longer matches it or a new
one does for the first time, so that it is enough to look at rules that are gone, new, moved or
changed. What an old one decided must not be stricter than anything that stands below its place in
the new list; what a new one decides must not be laxer than anything that stands below its place in
the old list. Below a rule that matches all that it does, nothing counts. Between two anchors the
new rules are taken to stand above those that are gone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.rules import McpRule
from mitmgate.policy.verdict import Verdict

MAX_PAIRS: Final = 200_000
"""Pairs of rules held against each other, under a second; whatever comes after is listed."""

type Laxer = Literal[
    "verdict", "ambiguous", "hide", "redact", "stops", "findings", "oauth", "websocket", "dns",
    "inspect", "limits", "tunnel", "unclear",
]  # fmt: skip
"""What may be laxer. ``ambiguous``: a doubtful key was a denial. ``stops``: what findings stopped
goes on redacted. ``inspect``: less is read. ``limits``: what was too much was denied. ``tunnel``:
CONNECT was refused. ``unclear``: there are too many rules to tell."""

_PAST: Final = {Verdict.ALLOW: "allowed", Verdict.ASK: "asked", Verdict.DENY: "denied"}
_NOW: Final = {Verdict.ALLOW: "allows", Verdict.ASK: "asks", Verdict.DENY: "denies"}


class Kind[R: (McpRule, EgressRule)](Protocol):
    """How two rules of one list are held against each other."""

    def covers(self, broad: R, narrow: R, /) -> bool:
        """Say whether *broad* surely matches all that *narrow* does."""

    def overlaps(self, one: R, other: R, /) -> bool:
        """Say whether both may match the same."""

    def same(self, old: R, new: R, /) -> bool:
        """Say whether both do the same to the same."""

    def laxer(self, old: R, new: R, /) -> Laxer | None:
        """Return what may be laxer where *new* decides on what *old* decided on, or None."""

    def is_laxest(self, rule: R, /) -> bool:
        """Say whether surely no new rule is laxer than the old *rule*, whatever it matches."""

    def is_strictest(self, rule: R, /) -> bool:
        """Say whether surely no old rule is stricter than the new *rule*, whatever it matches."""

    def before(self, rule: R, /) -> R:
        """Return the strictest that decided, below all old rules, on what *rule* matches."""

    def after(self, rule: R, /) -> R:
        """Return the laxest that decides, below all new rules, on what *rule* matches."""


@dataclass(slots=True)
class Pairs:
    """How many pairs of rules may still be held against each other."""

    left: int = MAX_PAIRS


@dataclass(frozen=True, slots=True)
class Versions[R: (McpRule, EgressRule)]:
    """The old and the new rules of one layer, those in shadow mode too, and how to compare them.

    In the locked layer shadow mode means nothing.
    """

    old: tuple[R, ...]
    new: tuple[R, ...]
    kind: Kind[R]
    pairs: Pairs
    locked: bool = False

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each rule whose change may loosen."""
        return _Comparison(self).sentences()


type _Found[R] = tuple[Laxer, R | None]


class _Comparison[R: (McpRule, EgressRule)]:
    _old: list[R]
    _new: list[R]

    def __init__(self, versions: Versions[R]) -> None:
        self._kind: Kind[R] = versions.kind
        self._pairs, self._locked = versions.pairs, versions.locked
        self._old, self._shadowed_before = self._enforced(versions.old)
        self._new, self._shadowed_now = self._enforced(versions.new)
        self._old_at = {rule.id: at for at, rule in enumerate(self._old)}
        self._new_at = {rule.id: at for at, rule in enumerate(self._new)}
        both = [rule.id for rule in self._new if rule.id in self._old_at]
        kept = longest_rising([self._old_at[one] for one in both])
        self._old_kept = [self._old_at[both[at]] for at in kept]
        self._new_kept = [self._new_at[both[at]] for at in kept]

    def _enforced(self, rules: Sequence[R]) -> tuple[list[R], frozenset[str]]:
        shadowed = frozenset(rule.id for rule in rules if rule.effects.shadow and not self._locked)
        return [rule for rule in rules if rule.id not in shadowed], shadowed

    def sentences(self) -> Iterator[str]:
        kept = {self._old[at].id for at in self._old_kept}
        for at, rule in enumerate(self._old):
            if rule.id not in kept:
                yield from self._gone(at, rule)
        for old_at, new_at in zip(self._old_kept, self._new_kept, strict=True):
            yield from self._changed(old_at, new_at)
        for at, rule in enumerate(self._new):
            if rule.id not in kept:
                yield from self._came(at, rule)

    def _gone(self, at: int, rule: R) -> Iterator[str]:
        place = bisect_left(self._old_kept, at)
        elsewhere = self._moved(rule.id)
        if elsewhere and bisect_left(self._new_kept, elsewhere[1]) <= place:
            return  # it moved up, so that it decides on all that it decided on, or a new one does
        start = self._new_kept[place] if place < len(self._new_kept) else len(self._new)
        found = self._lost(rule, start)
        if found is None:
            return
        what, who = found
        if elsewhere:
            yield f"{self._name(rule)} moved below {who.id if who else 'others'}"
        elif rule.id in self._shadowed_now:
            yield f"{self._name(rule)} is in shadow mode, {_did(rule, what)}"
        elif rule.id in self._new_at:
            yield f"{self._name(rule)} moved and changed, {_did(rule, what)}"
        else:
            yield f"{self._name(rule)} is gone, {_did(rule, what)}"

    def _came(self, at: int, rule: R) -> Iterator[str]:
        place = bisect_left(self._new_kept, at)
        elsewhere = self._moved(rule.id)
        if elsewhere and bisect_left(self._old_kept, elsewhere[0]) < place:
            return  # it moved down, and decides on less than before
        start = self._old_kept[place - 1] + 1 if place else 0
        found = self._gained(rule, start)
        if found is None:
            return
        what, who = found
        if elsewhere:
            yield f"{self._name(rule)} moved above {who.id if who else 'others'}"
        elif rule.id in self._shadowed_before:
            yield f"{self._name(rule)} is no longer in shadow mode and {_does(rule, what, who)}"
        elif rule.id in self._old_at:
            yield f"{self._name(rule)} moved, changed and {_does(rule, what, who)}"
        else:
            yield f"{self._name(rule)} is new and {_does(rule, what, who)}"

    def _changed(self, old_at: int, new_at: int) -> Iterator[str]:
        old, new = self._old[old_at], self._new[new_at]
        if self._kind.same(old, new):
            return
        what = self._kind.laxer(old, new)
        if what is not None:
            yield f"{self._name(new)}{_became(old, new, what)}"
            return
        lost = None if self._kind.covers(new, old) else self._lost(old, new_at + 1)
        if lost is not None:
            yield f"{self._name(old)} matches less than before, {_did(old, lost[0])}"
        gained = None if self._kind.covers(old, new) else self._gained(new, old_at + 1)
        if gained is not None:
            yield f"{self._name(new)} matches more than before and {_does(new, *gained)}"

    def _moved(self, rule_id: str) -> tuple[int, int] | None:
        """Return the old and the new place of an unchanged rule that is no anchor, or None."""
        places = self._old_at.get(rule_id), self._new_at.get(rule_id)
        if places[0] is None or places[1] is None:
            return None
        unchanged = self._kind.same(self._old[places[0]], self._new[places[1]])
        return (places[0], places[1]) if unchanged else None

    def _lost(self, rule: R, start: int) -> _Found[R] | None:
        """Return what may decide laxer where the old *rule* no longer matches."""
        if self._kind.is_laxest(rule):
            return None
        for other in (self._new[at] for at in range(start, len(self._new))):
            if self._pairs.left <= 0:
                return "unclear", None
            self._pairs.left -= 1
            if self._kind.overlaps(rule, other):
                what = self._kind.laxer(rule, other)
                if what is not None:
                    return what, other
                if self._kind.covers(other, rule):
                    return None
        what = self._kind.laxer(rule, self._kind.after(rule))
        return None if what is None else (what, None)

    def _gained(self, rule: R, start: int) -> _Found[R] | None:
        """Return what may have decided stricter where the new *rule* did not match before."""
        if self._kind.is_strictest(rule):
            return None
        for other in (self._old[at] for at in range(start, len(self._old))):
            if self._pairs.left <= 0:
                return "unclear", None
            self._pairs.left -= 1
            if self._kind.overlaps(rule, other):
                what = self._kind.laxer(other, rule)
                if what is not None:
                    return what, other
                if self._kind.covers(other, rule):
                    return None
        what = self._kind.laxer(self._kind.before(rule), rule)
        return None if what is None else (what, None)

    def _name(self, rule: R) -> str:
        return f"locked rule {rule.id}" if self._locked else f"rule {rule.id}"


_DID: Final[Mapping[Laxer, str]] = {
    "ambiguous": "it denied ambiguous keys",
    "hide": "it hid what it denied",
    "redact": "it redacted",
    "stops": "and what findings stopped is redacted",
    "findings": "it was stricter about findings",
    "oauth": "it had no oauth",
    "websocket": "it had no websocket",
    "dns": "it had no dns",
    "inspect": "it read more",
    "limits": "it had a smaller limit",
    "tunnel": "it refused tunnels",
}


def _did(rule: McpRule | EgressRule, what: Laxer) -> str:
    return _DID.get(what) or f"it {_PAST[rule.verdict]}"


def _does(rule: McpRule | EgressRule, what: Laxer, other: McpRule | EgressRule | None) -> str:
    above = f", above {other.id}" if other else ""
    match what:
        case "ambiguous":
            return f"{_NOW[rule.verdict]}{above}, which denies ambiguous keys"
        case "hide":
            return f"shows what {other.id} hides" if other else "shows what was hidden"
        case "redact":
            return f"redacts less than {other.id}" if other else "redacts less"
        case "stops":
            return "redacts what findings stopped"
        case "findings":
            return f"is laxer about findings{above}"
        case "oauth" | "websocket" | "dns":
            return f"has {what}{above}"
        case "inspect":
            return f"reads less than {other.id}" if other else "reads less"
        case "limits":
            return f"has a weaker limit than {other.id}" if other else "has a weaker limit"
        case "verdict" | "tunnel" | "unclear":
            return f"{_NOW[rule.verdict]}{above}"


_BECAME: Final[Mapping[Laxer, str]] = {
    "hide": " no longer hides",
    "redact": " redacts less",
    "stops": " redacts what findings stopped",
    "findings": " is laxer about findings",
    "oauth": " has oauth",
    "websocket": " opens WebSockets to more",
    "dns": " has dns",
    "inspect": " reads less",
    "limits": " has a weaker limit",
}


def _became(old: McpRule | EgressRule, new: McpRule | EgressRule, what: Laxer) -> str:
    if what == "ambiguous":
        return f" looks at something else and {_NOW[new.verdict]}"
    return _BECAME.get(what) or f": {new.verdict.word}, was {old.verdict.word}"


def longest_rising(numbers: Sequence[int]) -> list[int]:
    """Return the places of a longest rising run in *numbers*, which are distinct. O(n log n)."""
    ends: list[int] = []  # to each length less one, the place of the smallest end of such a run
    heads: list[int] = []
    before: list[int | None] = []
    for at, number in enumerate(numbers):
        length = bisect_left(heads, number)
        before.append(ends[length - 1] if length else None)
        ends[length : length + 1] = [at]
        heads[length : length + 1] = [number]
    run: list[int] = []
    place = ends[-1] if ends else None
    while place is not None:
        run.append(place)
        place = before[place]
    return run[::-1]
