"""Values in pieces: string literals that are added, fields, items, and the strings of a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import re2

from mitmgate.scan.patterns import WALL
from mitmgate.scan.views.page import Page, pattern
from mitmgate.scan.views.view import Origin, View

_NUMBER = (
    "[0-9]{1,3}|one|two|three|four|five|six|seven|eight|first|second|third|fourth|fifth|last|[a-h]"
)
_KIND = (
    "part|chunk|piece|seg|segment|frag|fragment|block|section|slice|split|token|key|secret|value|"
    "val|data|text|str|string|line|msg|message|field|item|param|arg|var|half|word|col|row|step|"
    "s|p|k|v|t|c|d|x|f"
)
_PIECE = (
    rf"(?i:(?:{_KIND})?[_\-. ]?(?:{_NUMBER})"
    rf"|(?:{_NUMBER})[_\-. ]?(?:part|half|piece|chunk|segment|block|line)?"
    r"|[a-z]|head|tail|begin|beginning|start|middle|mid|end|rest|remainder|left|right|prefix|suffix|"
    r"body|part|chunk|piece|fragment|more|then|next|final|text|content|delta|data|value)"
)
_Q = r"(?:\\?[\"'`])"
_S = r"(?:[ \t\r\n]|\\n)*"
# Where one piece ends and the next begins.
ADDED = (
    rf"{_Q}{_S}(?: |\n)(?:\+|&|<>|\|\||\.\.){_S}(?:\\\r?\n{_S})?[fbru]?{_Q}"
    rf"|{_Q}(?:\+|&|<>|\|\||\.\.)(?:[ \n]{_S})(?:\\\r?\n{_S})?[fbru]?{_Q}"
    rf"|{_Q}(?:\+|&|\|\|){_Q}[A-Za-z0-9]|[A-Za-z0-9]{_Q}(?:\+|&|\|\|){_Q}"
    r"|[\"'] \. [\"']|[A-Za-z0-9 _\-][\"']\.[\"'][A-Za-z0-9 ]|\\[\"'] ?\. ?\\[\"'][A-Za-z0-9 ]"
    rf"|{_Q}[ \t]*\\?\r?\n[ \t]*[fbru]?{_Q}"
    r"|[\"'][ \t]+[\"'][A-Za-z0-9]|[A-Za-z0-9_\-](?:\"\"|''){1,3}[A-Za-z0-9_\-]"
    r"|\$\{(?:''|\"\"|``)?\}|\{\{(?:''|\"\")?\}\}"
)
_NAMED = r"(?:const |let |var |export |set )?[$]?"
FIELDS = (
    rf"{_Q}{_S}[,;]{_S}{_Q}{_PIECE}{_Q}{_S}(?::|=>?){_S}[fbru]?{_Q}"
    rf"|{_Q}{_S}\}}{_S},{_S}\{{{_S}{_Q}{_PIECE}{_Q}{_S}:{_S}{_Q}"
    rf"|{_Q}[ \t]*[,;]?[ \t]*(?:\r?\n[ \t]*)+{_NAMED}{_PIECE}[ \t]*[:=]{{1,2}}[ \t]*{_Q}"
    rf"|[&;]{_PIECE}="
    r"|\r?\n[ \t]*(?i:part|chunk|piece|fragment|segment)[ _\-]?[0-9]{1,3}[ \t]*[:=)][ \t]*"
)
# A list whose items go on: mid-word, or as one token of letters and digits.
ITEMS = (
    rf"[A-Za-z]{_Q}{_S},{_S}{_Q}[a-z]{{0,12}} [a-z]|[a-z,] {_Q}{_S},{_S}{_Q}[a-z]"
    r"|[A-Za-z0-9_\-]{3}[0-9][A-Za-z_\-]{0,6}\\?[\"']"
    rf"{_S},{_S}\\?[\"'][A-Za-z_\-]{{0,8}}[0-9][0-9_\-]{{0,8}}[A-Za-z]"
)
WORDS = (
    rf"(?i:{_Q}(?:ignore|disregard|forget|override|bypass|reveal|system|you){_Q}"
    rf"{_S},{_S}{_Q}[a-z]+{_Q})"
)
_ADDED = pattern(ADDED)
_FIELDS = pattern(FIELDS)
_JOINTS = pattern(f"{ADDED}|{FIELDS}")
_ITEMS = pattern(ITEMS)
_ITEM = pattern(rf"{_Q}{_S},{_S}[fbru]?{_Q}")
_WORDS = pattern(WORDS)
_ORDERS = pattern(
    rf"(?i:{_Q}(?:ignore|disregard|forget|override|bypass|pretend|act as|you (?:are|must)|reveal"
    r"|from now|new instruction|do not|jailbreak)[ _])"
)
_CAPITALS = pattern("[A-Z]{4}")
_DIGITS = b"0123456789"
_LEAST = 4
_MOST_TEXTS = 64
_MOST_BYTES = 1 << 14
_EDGE = 256
"""So much of the ends of a string shows whether it goes on in the next."""
_PAD = 192


def added(page: Page) -> Iterator[View]:
    """Yield string literals that are added to each other as one."""
    return _joined(page, "joined", _ADDED)


def fields(page: Page) -> Iterator[View]:
    """Yield the pieces in numbered fields as one."""
    return _joined(page, "fields", _FIELDS)


def _joined(page: Page, name: str, source: re2.Pattern) -> Iterator[View]:
    for window in page.gathered(source, chunk=64, pad=_PAD):
        raw = window.raw
        spans = []
        for span in window.found(_JOINTS):
            start, end = span
            # What stands beside the joint belongs to the pieces.
            while end > start and raw[end - 1 : end].isalnum():
                end -= 1
            while end > start and (raw[start : start + 1].isalnum() or raw[start] in b"_-"):
                start += 1
            if end > start:
                spans.append((start, end))
        yield from window.edited(name, [(*span, "") for span in window.points(spans)])


def items(page: Page) -> Iterator[View]:
    """Yield the items of a list of strings as one."""
    for window in page.gathered(_ITEMS):
        raw = window.raw
        if sum(1 for _ in _ORDERS.finditer(raw)) > 1:
            continue  # phrases that somebody looks for, each of them whole
        spans = [span for span in window.found(_ITEM) if not _names(raw, span[1])]
        yield from window.edited("items", [(*span, "") for span in window.points(spans)])


def words(page: Page) -> Iterator[View]:
    """Yield the words of a list of words as a sentence."""
    for window in page.windows(_WORDS, chunk=192, pad=64):
        spans = window.found(_ITEM)
        yield from window.edited("words", [(*span, " ") for span in window.points(spans)])


def _names(raw: bytes, start: int) -> bool:
    """Tell whether the string that begins at *start* is the name of a field."""
    end = start
    while (end := raw.find(b'"', end)) >= 0 and raw[end - 1 : end] == b"\\":
        end += 1
    return end >= 0 and raw[end + 1 : end + 8].lstrip().startswith(b":")


_NAME = pattern(rf"^{_PIECE}$")
_W = r"\n\x00\n"
_MIX = "(?:[0-9]|[A-Z]{4})"
# What ``_continues`` asks for, roughly; a zero byte for that of a wall, which is no UTF-8.
_NAMED_HINT = pattern(rf"{_W}(?:{_PIECE})?{_W}[A-Za-z0-9 _\-+/=.\"']")
_HINT = pattern(
    rf"[^\n\x00] {_W}[A-Za-z0-9 ]"
    rf"| [^ \n\x00]{{0,24}}[^.!?\n:]{_W}(?: |[a-z][^ \n\x00]{{0,24}} )"
    rf"|{_MIX}[!-?A-~]*{_W}[!-~]*{_MIX}"
)


def across(page: Page) -> Iterator[View]:
    """Yield the short strings of one message as one, for each of them.

    Names of numbered fields between them are left out.
    """
    texts = page.texts
    if not 1 < len(texts) <= _MOST_TEXTS or len(page.data) > _MOST_BYTES:
        return
    data = page.data
    raws = data[1:-1].split(WALL)
    edges = b"\n%b\n" % b"\n\0\n".join(map(_edges, raws))
    named = _NAMED_HINT.search(edges) is not None
    if not named and _HINT.search(edges) is None:
        return
    names = {data[slice(*match.span())] for match in _NAME.finditer(data)} if named else set()
    kept = [index for index, raw in enumerate(raws) if raw and raw not in names]
    for group in _groups(kept, raws):
        yield from _united(group, texts, page)


def _edges(raw: bytes) -> bytes:
    return raw if len(raw) <= 2 * _EDGE else b"%b\n%b" % (raw[:_EDGE], raw[-_EDGE:])


def _groups(kept: list[int], raws: list[bytes]) -> Iterator[list[int]]:
    group: list[int] = []
    for index in kept:
        if group and not _continues(group[-1], index, raws):
            if len(group) > 1:
                yield group
            group = []
        group.append(index)
    if len(group) > 1:
        yield group


def _continues(first: int, second: int, raws: list[bytes]) -> bool:
    """Tell whether the second string may go on where the first one stops.

    It may behind the name of a numbered field, in the middle of a sentence, or of a token.
    """
    before, after = raws[first], raws[second]
    if before[-1:] in b".!?\n:" or not (after[:1].isalnum() or after[:1] in b" _-+/=.\"'"):
        return False
    if second - first == 2:
        return True
    if b" " in before:
        in_words = before[-1:] == b" " or after[:1] == b" " or after[:1].islower()
        return b" " in after and in_words
    return b"@" not in before and _token(before) and _token(after)


def _token(raw: bytes) -> bool:
    if len(raw) < _LEAST or b" " in raw:
        return False
    if len(raw.translate(None, _DIGITS)) < len(raw):
        return True
    return raw.lower() != raw and _CAPITALS.search(raw) is not None


def _united(group: Sequence[int], texts: Sequence[str], page: Page) -> Iterator[View]:
    text = "".join([texts[index] for index in group])
    page.budget.spend(len(text) * 2)
    at = 0
    for index in group:
        yield View(index, "strings", text, _part(at, len(texts[index])))
        at += len(texts[index])


def _part(base: int, size: int) -> Origin:
    def origin(start: int, end: int) -> tuple[int, int]:
        first = min(max(start - base, 0), size)
        return first, max(first, min(max(end - base, 0), size))

    return origin
