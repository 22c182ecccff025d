"""Gates for values that no keyword opens: runs of signs, by name, each found in one cheap pass.

A run stands among a rule's words as its name behind the byte 0xFF, which no text holds.
"""

from __future__ import annotations

from collections.abc import Mapping

import re2

from mitmgate.scan.patterns import quiet_options

_MARK = b"\xff"
_PATTERNS = {
    # Six digits, at most one sign between two of them; or letters and digits in the order that
    # the codes of Italy and India have.
    "digits": r"[0-9](?:[ ./-]?[0-9]){5}|[a-z]{6}[0-9]{2}[a-z][0-9]{2}|[a-z]{5}[0-9]{4}[a-z]",
    # The start of an address in Base58Check, as a word of its own (in lower case).
    "base58": r"\b[13ldmxat9][1-9a-z]{25}",
    # Six letters between two dots and many after them: the end of a Discord token. Only a dot
    # begins it, so that the automaton has few states.
    "dotted": r"\.[0-9a-z_-]{6}\.[0-9a-z_-]{18}",
    # The start of a private key of Bitcoin in Base58Check, as a word of its own (in lower case).
    "wif": r"\b[5klc9][1-9a-z]{49}",
}
LONGEST_RUN = 64
"""Bytes that a run has at most: what is looked at in pieces needs so many after each."""
RUNS: Mapping[bytes, re2.Pattern] = {
    _MARK + name.encode(): re2.compile(pattern, quiet_options())
    for name, pattern in _PATTERNS.items()
}
"""What a run looks like in text in lower case, by the word that stands for it."""
ANY_RUN = re2.compile("|".join(f"(?:{text})" for text in _PATTERNS.values()), quiet_options())
"""Any of the runs: most texts have none."""
TOKENS = re2.compile(r"[0-9A-Za-z_+/=-]{16,}", quiet_options())
"""Letters as they stand in credentials, so many in a row that few words are as long."""
RUN_NAMES: frozenset[str] = frozenset(_PATTERNS)


def run_word(name: str) -> bytes:
    """Return the word that stands for the run of this *name* among a rule's words."""
    return _MARK + name.encode()


def stands_in(word: bytes, lowered: bytes) -> bool:
    """Tell whether *word*, a keyword or a run, is in *lowered*."""
    run = RUNS.get(word)
    return word in lowered if run is None else run.search(lowered) is not None
