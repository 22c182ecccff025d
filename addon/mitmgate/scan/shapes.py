"""Gates for values that no keyword opens: runs of signs, by name, each found in one cheap pass.

A run stands among a rule's words as its name behind the byte 0xFF, which no text holds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from string import ascii_letters, ascii_lowercase, digits

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
RUNS: Mapping[bytes, re2.Pattern] = {
    _MARK + name.encode(): re2.compile(pattern, quiet_options())
    for name, pattern in _PATTERNS.items()
}
"""What a run looks like in text in lower case, by the word that stands for it."""
# These lie in so many letters of credentials in a row.
_IN_TOKENS = {_MARK + b"base58": 26, _MARK + b"wif": 50}
_TOKEN_LETTERS = (ascii_letters + digits + "_+/=-").encode()
_IN_TOKEN = bytes([ord("a") if sign in _TOKEN_LETTERS else ord(" ") for sign in range(256)])
_LOOSE = re2.compile(
    "|".join(_PATTERNS[name] for name in _PATTERNS if _MARK + name.encode() not in _IN_TOKENS),
    quiet_options(),
)
"""What any of the other runs looks like: most texts hold none of them."""
_SHORTEST_TOKEN = 16
_WORD_LETTERS = frozenset((ascii_lowercase + digits).encode())
RUN_NAMES: frozenset[str] = frozenset(_PATTERNS)


class Tokens:
    """Where in some data letters as they stand in credentials follow each other, 16 or more.

    Few words of a language are as long. Whether the data is in lower case makes no difference.
    """

    def __init__(self, data: bytes) -> None:
        """Read *data*, in one pass."""
        self._data = data
        self._spans = list(_tokens(data))
        self._by_length: dict[int, tuple[list[int], list[int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._spans)

    def touches(self, start: int, end: int, least: int) -> bool:
        """Tell whether one of *least* letters lies between *start* and *end*, or reaches in."""
        starts, ends = self.of(least)
        index = bisect_right(ends, start)
        return index < len(starts) and starts[index] < end

    def within(self, low: int, high: int, beside: int) -> bytes:
        """Return what of them stands from *low* to *high*, on lines, with *beside* bytes around."""
        if not self._spans:
            return b""
        data, (starts, ends) = self._data, self.of(_SHORTEST_TOKEN)
        first, last = bisect_right(ends, low), bisect_left(starts, high)
        return b"\n".join([
            data[max(start - beside, low) : min(end + beside, high)]
            for start, end in self._spans[first:last]
        ])  # fmt: skip

    def of(self, least: int) -> tuple[list[int], list[int]]:
        """Return the starts and the ends of those of *least* letters and more, in order."""
        known = self._by_length.get(least)
        if known is None:
            long = [span for span in self._spans if span[1] - span[0] >= least]
            known = self._by_length[least] = [s[0] for s in long], [s[1] for s in long]
        return known


def _tokens(data: bytes) -> Iterator[tuple[int, int]]:
    signs = data.translate(_IN_TOKEN)
    least, size = b"a" * _SHORTEST_TOKEN, len(data)
    start = signs.find(least)
    while start >= 0:
        end = signs.find(b" ", start)
        end = size if end < 0 else end
        yield start, end
        start = signs.find(least, end)


def run_places(
    words: Iterable[bytes], lowered: bytes, tokens: Tokens
) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
    """Yield those of *words* whose runs stand in *lowered*, whose tokens are *tokens*, and where.

    Start and end of a place are the same.
    """
    loose = _LOOSE.search(lowered) is not None
    for word in words:
        least = _IN_TOKENS.get(word)
        if least is None and loose:
            places = [(match.span()[0],) * 2 for match in RUNS[word].finditer(lowered)]
        elif least is not None and tokens:
            places = _in_tokens(RUNS[word], least, lowered, tokens)
        else:
            continue
        if places:
            yield word, places


def _in_tokens(
    run: re2.Pattern, least: int, lowered: bytes, tokens: Tokens
) -> list[tuple[int, int]]:
    places: list[tuple[int, int]] = []
    for start, end in zip(*tokens.of(least), strict=True):
        found = run.finditer(lowered, start, end)
        places += [(match.span()[0],) * 2 for match in found]
    return places


def starts_word(lowered: bytes, place: int) -> bool:
    """Tell whether no letter or digit of ASCII stands before *place* in text in lower case."""
    return not place or lowered[place - 1] not in _WORD_LETTERS


def run_word(name: str) -> bytes:
    """Return the word that stands for the run of this *name* among a rule's words."""
    return _MARK + name.encode()


def stands_in(word: bytes, lowered: bytes) -> bool:
    """Tell whether *word*, a keyword or a run, is in *lowered*."""
    run = RUNS.get(word)
    return word in lowered if run is None else run.search(lowered) is not None
