"""Strangers' text, made safe to look at: every name from the wire passes :func:`clean`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from rich.cells import cell_len

ELLIPSIS = "…"
MAX_NAME = 160

# U+200E LEFT-TO-RIGHT MARK: no cell wide, and for the bidirectional algorithm (UAX 9) a letter.
_LRM = "\u200e"
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})

# Letters and marks that print as nothing: two names that differ only by one of these
# would look the same to the person who approves.
_BLANK = frozenset("\u00ad\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_MAX_MARKS = 2


def clean(text: str) -> str:
    """Return *text* on one line, with nothing in it that a terminal or an eye would obey.

    Control characters become their pictures, bidi controls, invisible and unassigned
    characters their number, and towers of combining marks are cut.
    """
    return text if text.isascii() and text.isprintable() else "".join(_visible(text))


def _visible(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        if category in ("Mn", "Me") and char not in _BLANK:
            # Zalgo: a tower of marks paints over the rows above and below.
            marks += 1
            if marks <= _MAX_MARKS and not _is_selector(char):
                yield char
            continue
        marks = 0
        yield _picture(char, category)


def _is_selector(char: str) -> bool:
    # A variation selector changes how wide the terminal draws a sign, not what it says.
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def _picture(char: str, category: str) -> str:
    if char < " ":
        return chr(0x2400 + ord(char))
    if char == "\x7f":
        return "\u2421"
    if category[0] == "C" or category in ("Zl", "Zp") or char in _BLANK:
        return f"\u2039U+{ord(char):04X}\u203a"
    return " " if category == "Zs" else char


def clipped(text: str, most: int = MAX_NAME) -> str:
    """Return *text* with … in the middle if it is longer than *most* characters.

    It bounds the work on a name before it is cleaned; cells are counted by :func:`middle`.
    """
    if len(text) <= most:
        return text
    return text[: most // 2] + ELLIPSIS + text[-(most // 2) :]


def isolated(text: str) -> str:
    """Return *text* so that its right-to-left letters reorder nothing but themselves.

    A terminal that knows bidi would else move numbers and names around them to the other side:
    each run of such letters gets a left-to-right mark before and behind it.
    """
    if text.isascii():
        return text
    pieces: list[str] = []
    inside = False
    for char in text:
        kind = unicodedata.bidirectional(char)
        here = kind in _RIGHT_TO_LEFT or (inside and kind == "NSM")
        pieces += [_LRM, char] if here is not inside else [char]
        inside = here
    return "".join(pieces) + (_LRM if inside else "")


def middle(text: str, width: int) -> str:
    """Shorten *text* to *width* cells with … in the middle: the end of a name tells as much."""
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return ELLIPSIS[: max(width, 0)]
    tail = (width - 1) // 2
    return _head(text, width - 1 - tail) + ELLIPSIS + _head(text[::-1], tail)[::-1]


def fit(text: str, width: int) -> str:
    """Return *text* shortened or padded to exactly *width* cells, its direction contained."""
    short = middle(text, width)
    return isolated(short) + " " * (width - cell_len(short))


def _head(text: str, width: int) -> str:
    # A character is at least one cell here, so more than `width` of them never fit.
    taken = text[:width]
    while cell_len(taken) > width:
        taken = taken[:-1]
    return taken
