"""Yes, no, or unsure: what a test on a value says that a server may read in another way."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Truth(IntEnum):
    """The answer of a test; of several, the largest is *any of them*, the smallest *all*."""

    NO = 0
    UNSURE = 1
    YES = 2

    def __bool__(self) -> bool:
        """Refuse: who asks must say what becomes of ``UNSURE``."""
        raise TypeError("a Truth is one of three: compare it")

    def negated(self) -> Truth:
        """Return the opposite; unsure stays unsure."""
        return _OPPOSITE[self]


_OPPOSITE = {Truth.NO: Truth.YES, Truth.UNSURE: Truth.UNSURE, Truth.YES: Truth.NO}


def truth_of(plain: bool) -> Truth:
    """Return the sure answer that *plain* is."""
    return Truth.YES if plain else Truth.NO


def any_of(truths: Iterable[Truth]) -> Truth:
    """Return the best of *truths*, ``NO`` of none; nothing is asked after the first yes."""
    best = Truth.NO
    for truth in truths:
        if truth is Truth.YES:
            return truth
        best = max(best, truth)
    return best


def all_of(truths: Iterable[Truth]) -> Truth:
    """Return the worst of *truths*, ``YES`` of none; nothing is asked after the first no."""
    worst = Truth.YES
    for truth in truths:
        if truth is Truth.NO:
            return truth
        worst = min(worst, truth)
    return worst


def agreed(readings: Iterable[Truth]) -> Truth:
    """Return what all *readings* of one value say, ``UNSURE`` where they differ or are none."""
    found = set(readings)
    return found.pop() if len(found) == 1 else Truth.UNSURE
