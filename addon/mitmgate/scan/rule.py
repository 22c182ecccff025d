"""A rule that has passed its own samples, and what makes a value of it count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import log2
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, punctuation
from typing import TYPE_CHECKING

from mitmgate.scan.finding import Detector, Severity
from mitmgate.scan.patterns import Pattern

if TYPE_CHECKING:
    from mitmgate.scan.validators import Validator
    from mitmgate.wire.surfaces import Surface

KINDS_OF_LETTERS = {
    "digit": frozenset(digits.encode()),
    "letter": frozenset(ascii_letters.encode()),
    "lower": frozenset(ascii_lowercase.encode()),
    "upper": frozenset(ascii_uppercase.encode()),
    "special": frozenset(punctuation.encode()),
}
"""What ``contains`` can ask for, by name: bytes of ASCII."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule that has passed its own samples.

    ``words`` are the keywords as bytes in lower case, one of which stands within ``reach`` bytes
    of every match; a reach of 0 is the whole text. ``runs`` says that some of them are runs of
    signs; those in ``starts`` only count where no letter or digit of ASCII stands before them.
    Where ``also`` has words, one of them stands there too; where ``token`` is not 0, so
    many letters of credentials in a row. The other fields are those of its file.
    """

    id: str
    title: str
    detector: Detector
    severity: Severity
    provider: str | None
    regex: Pattern
    words: tuple[bytes, ...]
    runs: bool
    starts: frozenset[bytes]
    also: tuple[bytes, ...]
    token: int
    reach: int
    min_distinct: int
    entropy: float
    contains: tuple[str, ...]
    unless: tuple[Pattern, ...]
    validator: Validator | None
    surfaces: frozenset[Surface] | None
    weight: float
    generic: bool
    home: tuple[str, ...]
    match: tuple[str, ...]
    clean: tuple[str, ...]
    known_miss: tuple[str, ...]

    def accepts(self, value: bytes) -> bool:
        """Tell whether *value*, which the pattern matched, is what the rule looks for."""
        kinds = set(value)
        if len(kinds) < self.min_distinct:
            return False
        if any(kinds.isdisjoint(KINDS_OF_LETTERS[name]) for name in self.contains):
            return False
        if self.entropy and entropy(value) < self.entropy:
            return False
        if any(pattern.find(value, 0)[0][0] >= 0 for pattern in self.unless):
            return False
        return self.validator is None or self.validator(value.decode("utf-8", "replace"))


def entropy(value: bytes) -> float:
    """Return Shannon's entropy of *value* in bits for each byte."""
    size = len(value)
    return -sum(n / size * log2(n / size) for n in Counter(value).values()) if size else 0.0
