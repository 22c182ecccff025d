"""The rules of the scanner for a policy: the shipped packs, its own, and the planted canaries."""

from __future__ import annotations

from pathlib import Path

from mitmgate.policy.compiled import Policy
from mitmgate.policy.source import Stamp, stamp_of
from mitmgate.scan.book import RuleBook, book_of
from mitmgate.scan.canary import canary_pack
from mitmgate.scan.packs import Pack, installed_packs, load_pack
from mitmgate.scan.stress import refuse_slow
from mitmgate.serve.canaries import CANARIES, load_canaries


def packs_for(policy: Policy) -> list[Pack]:
    """Return the shipped packs and those of *policy*; ConfigError with every problem of one.

    The shipped ones were proven when they were made; those of a policy have to be fast as well.
    """
    own = [load_pack(pack.text, file=pack.file) for pack in policy.packs]
    refuse_slow(own)
    return [*installed_packs(), *own]


class Books:
    """Makes rule books, and makes none twice: compiling a thousand patterns takes a while."""

    def __init__(self, state: Path) -> None:
        """Read canaries from the folder *state*."""
        self._state = state
        self._made: dict[object, RuleBook] = {}

    def stamp(self) -> Stamp:
        """Return the stamp of the files that a book depends on beside those of its policy."""
        return (stamp_of(self._state / CANARIES),)

    def of(self, policy: Policy) -> RuleBook:
        """Return the book for *policy*; ConfigError with every problem of its packs."""
        canaries = load_canaries(self._state)
        key = policy.packs, canaries
        book = self._made.get(key)
        if book is None:
            packs = packs_for(policy)
            if canaries:
                packs.append(canary_pack(canaries))
            book = book_of(tuple(packs))
            self._made = {key: book}  # the last one only: a watched file may change for ever
        return book


def gone(old: RuleBook, new: RuleBook) -> tuple[str, ...]:
    """Return a sentence for each canary of *old* that *new* does not look for."""
    left = {rule.words for rule in new.rules.values() if rule.detector == "canary"}
    return tuple(
        f"{rule.id} is not looked for any more"
        for rule in old.rules.values()
        if rule.detector == "canary" and rule.words not in left
    )
