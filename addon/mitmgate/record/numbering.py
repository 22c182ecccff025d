"""Numbers for values, so that equal ones stay equal in a capture."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict

import re2

_REMEMBERED = 100_000
_DIGITS_OF_DRAWN = 7
_PLACED = re2.compile(r'"rule":"([^"\\]{1,200})","number":([0-9]{1,15})')
_OPAQUE = re2.compile(r"opaque[:.]([0-9]{1,15})")
_DRAWN = re2.compile(r"0000000[aA0]{0,498}[0-9]{7}")
_DIGITS = re2.compile(r"\b(?:0[0-9]{7,12}|10*[0-9]{1,400})\b")


class Numbering:
    """Numbers of values by family, in order of first sight, from 1.

    The values themselves are not kept, only hashes with *key*, of the last ``_REMEMBERED``.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._numbers: dict[str, OrderedDict[str, int]] = {}
        self._given: Counter[str] = Counter()

    def reserve(self, family: str, number: int) -> None:
        """Give no number of *family* up to *number*: they stand for other values already."""
        self._given[family] = max(self._given[family], number)

    def reserve_in(self, line: str) -> None:
        """Give none of the numbers of the placeholders and stand-ins in *line* of a capture."""
        data = line.encode()

        def part(match: re2.Match, group: int) -> bytes:
            start, end = match.span(group)
            return data[start:end]

        for match in _PLACED.finditer(data):
            self.reserve(part(match, 1).decode(), int(part(match, 2)))
        for match in _OPAQUE.finditer(data):
            self.reserve("", int(part(match, 1)))
        for match in _DRAWN.finditer(data):
            drawn = part(match, 0)
            self.reserve(f"~{len(drawn)}", int(drawn[-_DIGITS_OF_DRAWN:]))
        for match in _DIGITS.finditer(data):
            digits = part(match, 0)
            family, counted = ("~", len(digits)) if digits[:1] == b"0" else ("#", len(digits) // 2)
            self.reserve(f"{family}{len(digits)}", int(digits[len(digits) - counted :] or b"0"))

    def of(self, family: str, value: str) -> int:
        """Return the number of *value* in *family*."""
        data = value.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, key=self._key, digest_size=16).hexdigest()
        return self.of_hash(family, digest)

    def of_hash(self, family: str, digest: str) -> int:
        """Return the number of the value with that *digest*, which tells nobody the value."""
        numbers = self._numbers.setdefault(family, OrderedDict())
        number = numbers.get(digest)
        if number is None:
            self._given[family] += 1
            number = numbers[digest] = self._given[family]
            if len(numbers) > _REMEMBERED:
                numbers.popitem(last=False)
        else:
            numbers.move_to_end(digest)
        return number
