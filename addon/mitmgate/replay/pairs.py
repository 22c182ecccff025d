"""Outcomes of the same inputs under two policies, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mitmgate.replay.golden import Golden
from mitmgate.replay.run import Judged


@dataclass(frozen=True, slots=True)
class Sides:
    """One outcome under two policies, None where a policy has nothing to say: it just passes.

    ``sure`` is False where it rests on what was not stored.
    """

    before: Golden | None
    after: Golden | None
    sure: bool = True

    @property
    def known(self) -> Golden:
        """The side that says whose outcome this is."""
        found = self.before or self.after
        if found is None:
            raise ValueError("one side has an outcome")
        return found


def side_by_side(before: Judged, after: Judged) -> Iterator[Sides]:
    """Yield the outcomes of one input by their places; nothing of an input that never came.

    An input that only one policy lets come has no outcome under the other: the stop before it is
    the change. The messages of a batch are told by the whole.
    """
    if before.superseded or after.superseded or before.line.carried:
        return
    sure = not (before.uncertain or after.uncertain or before.lost or after.lost)
    ones = {one.key: one for one in before.outcomes if one.part < 0}
    others = {one.key: one for one in after.outcomes if one.part < 0}
    for key in {**ones, **others}:
        yield Sides(ones.get(key), others.get(key), sure)
