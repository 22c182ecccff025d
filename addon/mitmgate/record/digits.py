"""Numbers of JSON (RFC 8259 section 6) that are secret by the name before them: PINs, codes.

Each becomes a number of the same length: ``1``, zeros, and in its second half a count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import re2

from mitmgate.record.sensitive import Span, is_sensitive
from mitmgate.wire.surfaces import escape_token

_TOKEN = re2.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+\-]*|[{}\[\],:]')
_NAMED = re2.compile(r'"((?:[^"\\]|\\.){1,600})"\s*:\s*[\[{\-0-9]')
_NUMBER = re2.compile(r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+\-]?[0-9]+)?$")
_SHORTEST = 3
_DEEPEST = 100


def numbers_in(text: str, is_secret: Callable[[str], bool], *, sure: bool = False) -> list[Span]:
    """Return where numbers stand in the JSON *text* whose pointer *is_secret*.

    Of a damaged *text* those that can be told. One or two digits right below a secret name stay:
    ``{"pin": 13}`` is the pin of a chip. *sure*: no look at the names of *text* first.
    """
    data = text.encode("ascii", "replace")  # a byte for each code point
    if not sure and not _names_secret(text, data):
        return []
    return list(_numbers(text, data, is_secret))


def as_stand_in(token: str, number: Callable[[str, str], int]) -> str:
    """Return what stands for the JSON number *token*; *number* counts the values of a family."""
    sign = "-" if token.startswith("-") else ""
    length = len(token) - len(sign)
    counted = length // 2
    count = number(f"#{length}", token) % 10**counted
    zeros = "1" + "0" * (length - counted - 1)
    return sign + zeros + (f"{count:0{counted}}" if counted else "")


def is_stand_in_number(text: str) -> bool:
    """Tell whether *text* is a number that :func:`as_stand_in` gives."""
    digits = text.removeprefix("-")
    zeros = len(digits) - len(digits) // 2 - 1
    return digits.isascii() and digits.isdecimal() and digits.startswith("1" + "0" * zeros)


def follows_name(text: str, start: int, end: int) -> bool:
    """Tell whether ``text[start:end]`` is a number as JSON has it behind a name, or in a list."""
    before = text[:start].rstrip(" \t\r\n")[-1:] if start and not text[start].isalpha() else ""
    return before in (":", ",", "[") and is_number(text[start:end])


def is_number(text: str) -> bool:
    """Tell whether *text* is a number as JSON writes it."""
    return _NUMBER.search(text.encode("ascii", "replace")) is not None


def _names_secret(text: str, data: bytes) -> bool:
    for match in _NAMED.finditer(data):
        start, end = match.span(1)
        if is_sensitive(_plain(text[start:end])):
            return True
    return False


def _plain(name: str) -> str:
    if "\\" not in name:
        return name
    try:
        return str(json.loads(f'"{name}"'))
    except ValueError:
        return name


@dataclass(slots=True)
class _Open:
    """A list or an object that is not closed yet; ``step`` is what is next in it."""

    step: str = ""
    index: int = -1


def _numbers(text: str, data: bytes, is_secret: Callable[[str], bool]) -> Iterator[Span]:
    above: list[_Open] = []
    last = ""
    for match in _TOKEN.finditer(data):
        start, end = match.span()
        sign = text[start]
        if sign in "{[":
            above.append(_Open("0", 0) if sign == "[" else _Open())
            if len(above) > _DEEPEST:
                return  # no parser of ours reads it
        elif sign in "}]":
            del above[-1:]
        elif sign == ":" and above:
            above[-1].step = last
        elif sign == "," and above and above[-1].index >= 0:
            above[-1].index += 1
            above[-1].step = str(above[-1].index)
        elif sign == '"':
            last = _plain(text[start + 1 : end - 1])
        elif sign not in "{}[]:," and _is_hidden(text[start:end], above, is_secret):
            yield start, end


def _is_hidden(token: str, above: list[_Open], is_secret: Callable[[str], bool]) -> bool:
    if not above or not is_secret("".join(f"/{escape_token(one.step)}" for one in above)):
        return False
    return is_long(token) or not is_sensitive(above[-1].step)


def is_long(token: str) -> bool:
    """Tell whether the number *token* has enough digits to be a secret right below its name."""
    return sum(map(str.isdecimal, token)) >= _SHORTEST
