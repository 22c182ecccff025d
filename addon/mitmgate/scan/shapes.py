"""Gates for values that no keyword opens: runs of signs, by name, each found in one cheap pass.

A run stands among a rule's words as its name behind the byte 0xFF, which no text holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from string import ascii_letters, digits

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
_TOKEN_LETTERS = (ascii_letters + digits + "_+/=-").encode()
_IN_TOKEN = bytes([ord("a") if sign in _TOKEN_LETTERS else ord(" ") for sign in range(256)])
_SHORTEST_TOKEN = 16
RUN_NAMES: frozenset[str] = frozenset(_PATTERNS)


def tokens(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the spans of letters as they stand in credentials, 16 or more in a row, in order.

    Few words of a language are as long.
    """
    signs = data.translate(_IN_TOKEN)
    least, size = b"a" * _SHORTEST_TOKEN, len(data)
    start = signs.find(least)
    while start >= 0:
        end = signs.find(b" ", start)
        end = size if end < 0 else end
        yield start, end
        start = signs.find(least, end)


def run_word(name: str) -> bytes:
    """Return the word that stands for the run of this *name* among a rule's words."""
    return _MARK + name.encode()


def stands_in(word: bytes, lowered: bytes) -> bool:
    """Tell whether *word*, a keyword or a run, is in *lowered*."""
    run = RUNS.get(word)
    return word in lowered if run is None else run.search(lowered) is not None
