"""Characters that are written as something else: backslashes, percents, entities, ``=3D``."""

from __future__ import annotations

import html
import quopri
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

import re2

from mitmgate.scan.views.page import Page, Window, pattern
from mitmgate.scan.views.view import Edit, View

_CODED_TEXT = (
    r"(?:\\u[0-9A-Fa-f]{4})+|(?:\\u\{[0-9A-Fa-f]{1,6}\})+|(?:\\x[0-9A-Fa-f]{2})+"
    r"|(?:\\x\{[0-9A-Fa-f]{1,6}\})+|(?:\\U[0-9A-Fa-f]{8})+|(?:\\0{4}[2-7][0-9A-Fa-f] ?)+"
    r"|(?:\\[0-3]?[0-7]{2})+|(?:\\0{0,4}[2-7][0-9A-Fa-f](?:[ \t]|\b))+"
    r"|(?:[Uu]\+[0-9A-Fa-f]{4,5}[ ,;]{0,2}){3,}|(?:%u[0-9A-Fa-f]{4})+"
)
# What is not ASCII is often escaped, and seldom to hide it: a word of it at least.
CODED = (
    r"\\u00[2-7][0-9A-Fa-f]|(?:\\u[0-9A-Fa-f]{4}){3}|\\u\{|\\x[2-7][0-9A-Fa-f]"
    r"|(?:\\x[0-9A-Fa-f]{2}){6}|\\x\{|\\U000[0-9A-Fa-f]{5}"
    r"|\\0{0,4}[2-7][0-9A-Fa-f][^A-Za-z0-9]|\\0{4}[2-7]|\\[01]?[0-7]{2}(?:\\|[A-Za-z])"
    r"|(?:[Uu]\+[0-9A-Fa-f]{4,5}[ ,;]{0,2}){3}|%u[0-9A-Fa-f]{4}"
)
SIMPLE = r"""\\["'/nrt]"""
PERCENT = r"%[0-9A-Fa-f]{2}"
PLUS = r"(?:\b[A-Za-z][a-z',.]{0,15}\+){3}[a-z]"
ENTITY = r"&(?:#[0-9]|#[Xx][0-9A-Fa-f]|[A-Za-z][A-Za-z0-9]{1,30};)"
QUOTED = r"=3D|=0[AD]|=E2=80|(?:=[2-7][0-9A-F]){3}|[A-Za-z0-9]=\r?\n[A-Za-z0-9]|=20[A-Za-z]+=20"
BENT = r"[a-z]-[ \t]*\r?\n[ \t]*[a-z]|[A-Za-z0-9]\\\r?\n|\x1b\["
_CODED = pattern(CODED)
_CODED_RUN = pattern(_CODED_TEXT)
# Strings with a backslash at each quote, where JSON has a string.
_JSON = pattern(
    r"[{,](?:\s|\\+[nrt])*\\+\"[^\"\\\n]{0,64}\\+\"\s*:|\[(?:\s|\\+[nrt])*\\+\"[^\"\\\n]"
)
_PERCENT = pattern(PERCENT)
_PERCENTS = pattern(r"(?:%[0-9A-Fa-f]{2})+")
_PLUS = pattern(PLUS)
_ENTITY = pattern(r"&(?:#[0-9]{1,7};?|#[Xx][0-9A-Fa-f]{1,6};?|[A-Za-z][A-Za-z0-9]{1,30};)")
_QUOTED = pattern(QUOTED)
_QUOTED_UNIT = pattern(r"(?:=[0-9A-F]{2})+|=[ \t]*\r?\n")
_BENT = pattern(BENT)
_BEND = pattern(r"-[ \t]*\r?\n[ \t]*|\\\r?\n[ \t]*")
_TERMINAL = pattern(r"\x1b\[[0-9;?]*[A-Za-z]")

_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "", "f": "\n"}
_MEANINGS = {sign: sign for sign in "\"'/`$"} | _LETTERS | {"": "\\"}
_BESIDE = 96
UNQUOTED = "unquoted"
"""The name of a text in which quotes alone have lost their backslash."""


def simple(page: Page) -> Iterator[View]:
    r"""Yield what ``\"`` and ``\n`` mean, one level of them: JSON in a string, for one."""
    for window in page.beside(b"\\", pad=_BESIDE):
        text, quotes = _unescaped(window.text)
        name = "json" if _JSON.search(window.raw) else UNQUOTED if quotes else "unescaped"
        yield from window.rewritten(name, text, _unescapes)


def _unescaped(text: str) -> tuple[str, bool]:
    """Return what *text* says, and whether quotes alone were written in another way."""
    parts = text.split("\\")
    said, quotes, whole = [parts[0]], True, False
    for part in parts[1:]:
        meaning = None if whole else _MEANINGS.get(part[:1])
        if meaning is not None:
            said += (meaning, part[1:])
            whole = not part
            quotes = quotes and meaning in "\"'"
        else:
            said += (part,) if whole else ("\\", part)
            whole = False
    return "".join(said), quotes


def _unescapes(text: str) -> Iterator[Edit]:
    at = text.find("\\")
    while 0 <= at < len(text) - 1:
        sign = text[at + 1]
        if sign in _LETTERS:
            yield at, at + 2, _LETTERS[sign]
        elif sign in "\"'/`$\\":
            yield at, at + 2, sign
        at = text.find("\\", at + (2 if sign in "\"'/`$\\" or sign in _LETTERS else 1))


def coded(page: Page) -> Iterator[View]:
    r"""Yield what ``\u0069``, ``\x69``, ``\151`` and their like spell."""
    for window in page.windows(_CODED):
        yield from window.edited("escapes", _found(window, _CODED_RUN, _read))


def percent(page: Page) -> Iterator[View]:
    """Yield what percent escapes spell."""
    for window in page.windows(_PERCENT):
        text = unquote_to_bytes(window.raw).decode("utf-8", "replace")
        yield from window.rewritten("percent", text, _each(_PERCENTS, _unquoted))


def _unquoted(raw: bytes) -> str:
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def plus(page: Page) -> Iterator[View]:
    """Yield words that a plus sign parts, as in a form, with spaces."""
    for window in page.windows(_PLUS):
        yield from window.swapped("form", window.text.replace("+", " "))


def entities(page: Page) -> Iterator[View]:
    """Yield what HTML entities mean."""
    for window in page.windows(_ENTITY):
        edits = _each(_ENTITY, _entity)
        try:
            yield from window.rewritten("entities", html.unescape(window.text), edits)
        except ValueError:
            # A number too long for int().
            yield from window.edited("entities", list(edits(window.text)))


def _entity(raw: bytes) -> str:
    return html.unescape(raw.decode())


def quoted(page: Page) -> Iterator[View]:
    """Yield what quoted-printable says."""
    for window in page.windows(_QUOTED):
        yield from window.edited(
            "quoted-printable", _found(window, _QUOTED_UNIT, _unquoted_printable)
        )


def _unquoted_printable(raw: bytes) -> str:
    return quopri.decodestring(raw).decode("utf-8", "replace") if raw[1:2].isalnum() else ""


def bent(page: Page) -> Iterator[View]:
    """Yield words that a line end cuts in two, whole, and text without terminal colours."""
    for window in page.gathered(_BENT):
        yield from window.edited("lines", _found(window, _BEND, _nothing))
    for window in page.windows(_TERMINAL):
        yield from window.edited("terminal", _found(window, _TERMINAL, _nothing))


def _nothing(raw: bytes) -> str:
    del raw
    return ""


def _found(window: Window, unit: re2.Pattern, read: Callable[[bytes], str]) -> list[Edit]:
    raw = window.raw
    spans = window.found(unit)
    return [
        (*points, read(raw[start:end]))
        for (start, end), points in zip(spans, window.points(spans), strict=True)
    ]


def _each(unit: re2.Pattern, read: Callable[[bytes], str]) -> Callable[[str], Iterator[Edit]]:
    def edits(text: str) -> Iterator[Edit]:
        raw = text.encode("utf-8", "replace")
        place = point = 0
        for match in unit.finditer(raw):
            start, end = match.span()
            first = point + len(raw[place:start].decode("utf-8", "replace"))
            point, place = first + end - start, end
            yield first, point, read(raw[start:end])

    return edits


def _read(raw: bytes) -> str:
    r"""Return what a run of coded escapes of one kind spells."""
    text = raw.decode()
    kind = text[1]
    if kind in "xUu+" or text.startswith("%u"):
        codes = _hex_codes(text)
    elif text.startswith("\\0000") or " " in text or not _octal(text[1:3]):
        codes = [int(part, 16) for part in text.replace("\\", " ").split()]
    else:
        codes = [int(part, 8) for part in text.split("\\") if part]
    if kind in "xu0123" and any(0x80 <= code < 0x100 for code in codes) and max(codes) < 0x100:
        return bytes(codes).decode("utf-8", "replace")
    return _characters(codes)


def _octal(text: str) -> bool:
    return not text.strip("01234567")


def _hex_codes(text: str) -> list[int]:
    for sign in ("\\", "%", "U+", "u+", "u", "x", "U", "{", "}", ",", ";"):
        text = text.replace(sign, " ")
    return [int(part, 16) for part in text.split()]


def _characters(codes: list[int]) -> str:
    text = "".join([chr(code) if code < 0x110000 else "\ufffd" for code in codes])
    # Two halves of one character, as JSON writes what lies beyond the first plane.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
