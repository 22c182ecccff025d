"""What captures are looked through with: the rules of a policy, its allow list, the canaries."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mitmgate.policy.load import Policy
from mitmgate.record.scrub import Scans
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Finding
from mitmgate.serve.books import Books, packs_for
from mitmgate.serve.state import hash_key
from mitmgate.wire.surfaces import Text

_KEY = "hash.key"


def scanner_of(policy: Policy, state: Path | None) -> Scanner:
    """Return a scanner with the rules of *policy* and the canaries planted in *state*.

    Its hashes are those of the audit file, where *state* has the key of them. ConfigError with
    every problem of a pack, or of the file of canaries.
    """
    if state is None:
        return Scanner(packs_for(policy), hash_key=os.urandom(32))
    known = (state / _KEY).exists()
    return Scanner(Books(state).of(policy), hash_key=hash_key(state) if known else os.urandom(32))


def verifier(policy: Policy, state: Path | None) -> Scans:
    """Return what :func:`mitmgate.record.verify.look_at` looks with.

    What ``scan.allow`` of *policy* names by its value is no secret; all else there says where a
    finding may stand in traffic, and nothing of files.
    """
    return _Allowing(scanner_of(policy, state), policy)


class _Allowing:
    """A scanner that does not report the values that a policy allows."""

    def __init__(self, scanner: Scanner, policy: Policy) -> None:
        self._scanner = scanner
        self._allowed = [one for one in policy.allowances if one.value is not None]

    def scan(self, texts: Iterable[Text]) -> tuple[Finding, ...]:
        """Return the findings in *texts*."""
        found = self._scanner.scan(texts)
        return tuple(one for one in found if not self._allows(one)) if self._allowed else found

    def _allows(self, found: Finding) -> bool:
        return any(
            one.value == found.value_hash and (one.rules is None or one.rules.matches(found.rule))
            for one in self._allowed
        )
