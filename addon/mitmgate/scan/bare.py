"""One bare pass over a text: what the work of rules is measured against."""

from __future__ import annotations

from collections.abc import Iterable

import re2

from mitmgate.scan.patterns import quiet_options
from mitmgate.scan.rule import Rule
from mitmgate.scan.shapes import RUNS

_MEMORY = 128 << 20  # bytes at most; literals need a fraction of it, and crawl without it


class BarePass:
    """One ``re2.Set`` of the keywords of some rules."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Compile the keywords of *rules* that are words."""
        self._set = re2.Set.SearchSet(quiet_options(_MEMORY))
        words = (word for rule in rules for word in rule.words)
        for word in dict.fromkeys(word for word in words if word not in RUNS):
            self._set.Add(re2.escape(word.decode()))
        self._set.Add(r"\A")
        self._set.Compile()

    def search(self, data: bytes) -> None:
        """Search *data* for all of them."""
        self._set.Match(data)
