"""What was approved again and again, so that an operator may make it a rule. No clock, no I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mitmgate.hold.target import On, Target

ENOUGH = 5
"""So many approvals, and no denial, make a suggestion."""
_MOST = 500
_COUNTED: tuple[On, ...] = ("call", "tool", "url")

type _Key = tuple[On, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Suggested:
    """Something that was approved ``count`` times. ``like`` is a waiting call that it covers."""

    on: On
    text: str
    count: int
    like: str | None


@dataclass(slots=True)
class _Counted:
    text: str
    count: int = 0


class Suggestions:
    """Counts approvals for once by what they were about; the longest unused is forgotten first."""

    def __init__(self, limit: int = _MOST) -> None:
        self._limit = limit
        self._counted: OrderedDict[_Key, _Counted] = OrderedDict()

    def approved(self, target: Target, texts: Iterable[tuple[On, str]]) -> None:
        """Take in that a call was approved for once; *texts* say what each scope covers."""
        words = dict(texts)
        for on, key in _keys(target):
            if on not in words:
                continue
            counted = self._counted.setdefault(key, _Counted(words[on]))
            counted.count += 1
            self._counted.move_to_end(key)
        while len(self._counted) > self._limit:
            self._counted.popitem(last=False)

    def settled(self, target: Target) -> None:
        """Forget what is like *target*: it was denied, or a rule speaks of it now."""
        for _, key in _keys(target):
            self._counted.pop(key, None)

    def listed(self, waiting: Iterable[tuple[str, Target]] = ()) -> tuple[Suggested, ...]:
        """Return what was approved often enough, the most often first; *waiting* are calls by id.

        Where the exact call was, its tool is not suggested too unless others of it were approved.
        """
        like: dict[_Key, str] = {}
        for entry, target in waiting:
            for _, key in _keys(target):
                like.setdefault(key, entry)
        found = [(key, one) for key, one in self._counted.items() if one.count >= ENOUGH]
        exact = {key[1:4]: one.count for key, one in found if key[0] == "call"}
        return tuple(
            Suggested(key[0], one.text, one.count, like.get(key))
            for key, one in sorted(found, key=lambda item: -item[1].count)
            if key[0] == "call" or one.count > exact.get(key[1:4], 0)
        )


def _keys(target: Target) -> Iterator[tuple[On, _Key]]:
    aim = target.agent, target.server or target.origin, f"{target.method} {target.tool or ''}"
    for on in _COUNTED:
        if on in target.scopes:
            rest = {"call": target.call or "", "url": target.url}.get(on, "")
            yield on, (on, *aim, rest)
