"""Values that look drawn at random and have no name: a stand-in of the same length for each.

Nobody can tell a key of no known shape from an id, so that neither is written. A stand-in begins
with zeros: it is seen for what it is, and no rule takes it for a secret.
"""

from __future__ import annotations

import binascii
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

import re2

from mitmgate.record.sensitive import has_token_look, secret_values
from mitmgate.record.views import views
from mitmgate.scan.validators.randomness import looks_random

_RUN = re2.compile(r"[\\%]?[A-Za-z0-9_\-+/=~]{8,}")
_PART = 16
_SHORTEST_KNOWN = 8
_SHORTEST, _LONGEST = 20, 512
_LONGEST_PACKED = 64 * 1024
_SHORTEST_HEX, _FEWEST_KINDS = 24, 6
_HEX = frozenset("0123456789abcdef")
_ZEROS = "0000000"
_DIGITS = 7
_MOST_KNOWN = 50_000


class Known:
    """The values that a place told to be secret: wherever they come again, they go.

    Only their hashes are kept, of at most ``_MOST_KNOWN``.
    """

    def __init__(self) -> None:
        self._hashes: OrderedDict[int, None] = OrderedDict()

    def learn(self, text: str) -> None:
        """Remember the parts of *text* that look like tokens."""
        for start, end in _spans(text):
            run = text[start:end].lstrip("\\%")
            if has_token_look(run):
                self._hashes[hash(run)] = None
                self._hashes.move_to_end(hash(run))
        while len(self._hashes) > _MOST_KNOWN:
            self._hashes.popitem(last=False)

    def __contains__(self, run: str) -> bool:
        return hash(run) in self._hashes


def disguised(
    text: str, known: Known, number: Callable[[str, str], int], *, kept: Sequence[str] = ()
) -> str:
    """Return *text* with a stand-in for each run that is known or looks random.

    *number* counts the values of a family; what overlaps with one of *kept* stays. Escapes of JSON
    and of URLs stay what they are, so *text* may be either; its length is the same afterwards.
    """
    out: list[str] = []
    done = 0
    for start, end in _runs(text, known):
        value = text[start:end]
        if kept and any(value in found or found in value for found in kept):
            continue
        out += [text[done:start], stand_in(len(value), number(f"~{len(value)}", value))]
        done = end
    return "".join([*out, text[done:]]) if out else text


def is_stand_in(run: str) -> bool:
    """Tell whether *run* may be a stand-in."""
    return run.startswith(_ZEROS)


_ESCAPED = re2.compile(
    r"(?:%[0-9A-Fa-f]{2}[A-Za-z0-9_\-]{0,3}){6,}|(?:\\+u[0-9A-Fa-f]{4}){6,}"
    r"|(?:&#[xX]?[0-9A-Fa-f]{1,6};){6,}"
)


def hides(text: str) -> bool:
    """Tell whether a view of *text* shows a secret by the name before it that *text* hides."""
    escaped = "%" in text or "\\" in text or "&#" in text
    return escaped and any(map(secret_values, views(text)))


_INSTEAD = re2.compile(r"\[opaque:[0-9]+\]|opaque\.[0-9]+|0000000[aA0-9]{7,}")


def without_tokens(text: str, instead: str) -> str:
    """Return *text* with *instead* for what is secret by its place or its looks in it.

    What a capture has for such values becomes the same, so that a replay says what was said live.
    """
    spans = [*secret_values(text), *_runs(text, _NOTHING)]
    if hides(without(text, spans)):
        return instead
    spans += (match.span() for match in _INSTEAD.finditer(text.encode("ascii", "replace")))
    out, done = "", 0
    for start, end in sorted(spans):
        if end > done:
            out += text[done:start] + (instead if start >= done else "")
            done = end
    return out + text[done:]


_NOTHING = Known()


def without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Return *text* with a blank for each of *spans*."""
    rest, done = "", 0
    for start, end in sorted(spans):
        rest, done = f"{rest}{text[done:start]} ", max(done, end)
    return rest + text[done:]


def _runs(text: str, known: Known) -> Iterator[tuple[int, int]]:
    if "%" not in text and "\\u" not in text and "&#" not in text:
        yield from _plain_runs(text, known)
        return
    done = 0
    for start, end in sorted([*_escaped_runs(text, known), *_plain_runs(text, known)]):
        if start >= done:
            yield start, end
            done = end


def _escaped_runs(text: str, known: Known) -> Iterator[tuple[int, int]]:
    """Yield where runs of escapes stand that say what looks random."""
    for match in _ESCAPED.finditer(text.encode("ascii", "replace")):
        start, end = match.span()
        if any(next(_plain_runs(view, known), None) for view in views(text[start:end])):
            yield start, end


def _plain_runs(text: str, known: Known) -> Iterator[tuple[int, int]]:
    for begin, end in _spans(text):
        # An escape belongs to what is before the run.
        start = begin + (_escape(text, begin) if text[begin] in "\\%" else 0)
        if end - start >= _SHORTEST_KNOWN:
            yield from _secret_parts(text[start:end], start, known)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    data = text.encode("ascii", "replace")  # a byte for each code point
    return (match.span() for match in _RUN.finditer(data))


def _escape(text: str, start: int) -> int:
    if text[start] == "%":
        return 3
    return 6 if text[start + 1] == "u" else 2


def _secret_parts(run: str, base: int, known: Known) -> Iterator[tuple[int, int]]:
    at = base
    # A name is no part of its value; the sign at the end of base64 is.
    for part in run.rstrip("=").split("="):
        if _is_secret(part, known) or _packs_secret(part):
            yield at + (0 if part in known else _word(part)), at + len(part)
        elif "/" in part or "+" in part:
            inner = at
            for piece in part.replace("+", "/").split("/"):
                if _is_secret(piece, known):
                    yield inner, inner + len(piece)
                inner += len(piece) + 1
        at += len(part) + 1


_WORD = re2.compile(r"^(?:[a-z]{3,20}[_\-])+")


def _word(run: str) -> int:
    """Return how long the words before what is drawn are: patterns of rules begin with them."""
    match = _WORD.search(run.encode("ascii", "replace"))
    end = match.span()[1] if match is not None else 0
    return end if len(run) - end >= _PART and looks_random(run[end:]) else 0


def _is_secret(run: str, known: Known) -> bool:
    if len(run) >= _SHORTEST_KNOWN and run in known:
        return True
    if not _PART <= len(run) <= _LONGEST or is_stand_in(run):
        return False
    return looks_random(run) or _is_long_hex(run)


def _is_long_hex(run: str) -> bool:
    # Of any length: it may be a text in hexadecimal digits.
    kinds = frozenset(run.lower())
    return (
        len(run) >= _SHORTEST_HEX
        and kinds <= _HEX
        and len(kinds) >= _FEWEST_KINDS
        and not (kinds.isdisjoint("abcdef") or kinds.isdisjoint("0123456789"))
    )


def _packs_secret(run: str) -> bool:
    if not _SHORTEST <= len(run) <= _LONGEST_PACKED:
        return False
    plain = run.translate({45: "+", 95: "/", 61: None, 126: None})
    try:
        text = binascii.a2b_base64(plain + "=" * (-len(plain) % 4)).decode()
    except ValueError:
        return False
    return bool(secret_values(text))


def stand_in(length: int, number: int) -> str:
    """Return what stands for the value with that *number* among those of *length* characters."""
    if length < len(_ZEROS) + _DIGITS:
        return f"{number:0{length}}"[-length:]
    fill = ("aA0" * (length // 3 + 1))[: length - len(_ZEROS) - _DIGITS]
    return f"{_ZEROS}{fill}{number % 10**_DIGITS:0{_DIGITS}}"
