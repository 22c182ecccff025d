"""Keys of params that a server may read as another key than we do.

Go's encoding/json matches keys without regard to case (CVE-2026-27896), and a NUL behind a key
was overlooked (GHSA-q382-vc8q-7jhj). Where a rule reads ``force``, a call with ``Force`` would
be judged as one without and be run as one with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

from mitmgate.policy.conditions import WILDCARD, Condition, values_below
from mitmgate.policy.operators import MAX_ITEMS
from mitmgate.policy.syntax import member
from mitmgate.wire.strictjson import fold_key

# Folding as much takes some 0.05 s, 0.2 s with letters that become eighteen (U+FDFA): a call made
# of nothing but keys must not stop the proxy for longer.
MAX_KEYS = 100_000
MAX_ODD_LETTERS = 10_000


class KeyFolds:
    """What the keys of a message's objects fold to, worked out once for each object.

    It knows objects by identity, so it must not outlive the message. An object with more than
    ``MAX_KEYS`` keys, or ``MAX_ODD_LETTERS`` in keys beyond plain ASCII, is not worked out.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, Counter[str] | None] = {}

    def doubled(self, members: Mapping[str, Any], key: str) -> bool:
        """Say whether *members* has, or may have, another key that a server takes for *key*."""
        known = id(members)
        if known not in self._known:
            self._known[known] = _folded(members)
        folds = self._known[known]
        if folds is _PLAIN:
            return not _is_plain(key) and fold_key(key) in members
        return folds is None or folds[fold_key(key)] > (key in members)


# Of an object whose keys all fold to themselves: a key that does too has no double there.
_PLAIN: Counter[str] = Counter()


def _folded(members: Mapping[str, Any]) -> Counter[str] | None:
    if len(members) <= MAX_KEYS and all(map(_is_plain, members)):
        return _PLAIN
    return None if _unreadable(members) else Counter(map(fold_key, members))


def _is_plain(key: str) -> bool:
    return key.isascii() and key.islower() and key.isidentifier()


def _unreadable(members: Mapping[str, Any]) -> bool:
    # Some parsers drop a NUL, others end the key there: it can be read as two other keys.
    if len(members) > MAX_KEYS or any("\0" in key for key in members):
        return True
    odd = (len(key) for key in members if not (key.isascii() and key.isprintable()))
    return sum(odd) > MAX_ODD_LETTERS


def is_ambiguous(condition: Condition, params: Mapping[str, Any] | None, folds: KeyFolds) -> bool:
    """Say whether a server may find another value than we do where *condition* looks.

    Every object on the way to a value counts, and those inside it that are compared. Behind a
    wildcard as many values count as are looked at.
    """
    values: list[Any] = [params]
    for token in condition.tokens:
        if token == WILDCARD:
            values, _ = values_below(values)
            continue
        for value in values:
            if isinstance(value, Mapping) and folds.doubled(value, token):
                return True
        values = [member(value, token) for value in values]
    if not (condition.wholes or condition.parts):
        return False
    return any(
        any(_ambiguous_inside(value, wanted, folds) for wanted in condition.wholes)
        or any(_ambiguous_part(value, wanted, folds) for wanted in condition.parts)
        for value in values
    )


def _ambiguous_part(value: Any, wanted: Any, folds: KeyFolds) -> bool:
    if isinstance(value, Mapping):
        return isinstance(wanted, str) and folds.doubled(value, wanted)
    deep = isinstance(value, list) and isinstance(wanted, Mapping | list)
    return deep and any(_ambiguous_inside(item, wanted, folds) for item in islice(value, MAX_ITEMS))


def _ambiguous_inside(value: Any, wanted: Any, folds: KeyFolds) -> bool:
    if isinstance(value, Mapping) and isinstance(wanted, Mapping):
        return any(
            folds.doubled(value, key) or _ambiguous_inside(value.get(key), inner, folds)
            for key, inner in wanted.items()
        )
    if isinstance(value, list) and isinstance(wanted, list):
        return any(_ambiguous_inside(*pair, folds) for pair in zip(value, wanted, strict=False))
    return False
