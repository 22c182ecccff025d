"""Unicode: what a reader sees of a text whose characters are not what they look like."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache

import re2

from mitmgate.scan.views.page import Page, pattern
from mitmgate.scan.views.tables import BRAILLE, CONFUSABLE, CYRILLIC, TURNED
from mitmgate.scan.views.unpack import readable
from mitmgate.scan.views.view import Edit, View

# Never seen and never needed: one is reason enough to look.
_HIDDEN = (
    r"\x{AD}\x{34F}\x{61C}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{200B}\x{200E}\x{200F}"
    r"\x{202A}-\x{202E}\x{2060}-\x{206F}\x{3164}\x{FEFF}\x{FFA0}\x{FFF9}-\x{FFFB}\x{1BCA0}-\x{1BCA3}"
    r"\x{1D173}-\x{1D17A}\x{E0000}-\x{E0FFF}"
)
# Emoji and some scripts need these: only next to ASCII are they odd.
_JOINING = r"\x{200C}\x{200D}\x{FE00}-\x{FE0E}"
_SPACES = r"\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{2800}\x{85}"
_COMPATIBLE = (
    r"\x{FF01}-\x{FF5E}\x{1D400}-\x{1D7FF}\x{1F100}-\x{1F189}\x{1F1E6}-\x{1F1FF}"
    r"\x{2460}-\x{24FF}\x{2070}-\x{209C}\x{2100}-\x{2121}\x{2123}-\x{214F}\x{2160}-\x{2188}"
    r"\x{FB00}-\x{FB06}\x{FE50}-\x{FE6B}\x{1D00}-\x{1DBF}\x{250}-\x{2B8}\x{2C6F}-\x{2C7F}"
    r"\x{A720}-\x{A7FF}\x{AB30}-\x{AB6F}\x{2776}-\x{2793}"
)
_MARKS = (
    r"\x{300}-\x{36F}\x{483}-\x{489}\x{1AB0}-\x{1AFF}\x{1DC0}-\x{1DFF}\x{20D0}-\x{20FF}"
    r"\x{FE20}-\x{FE2F}"
)
_FOREIGN = (
    r"\x{370}-\x{3FF}\x{400}-\x{52F}\x{531}-\x{587}\x{13A0}-\x{13FF}\x{AB70}-\x{ABBF}"
    r"\x{A4D0}-\x{A4F7}\x{2C80}-\x{2CFF}\x{1400}-\x{167F}\x{20A0}-\x{20B5}\x{E3F}"
)
_ACCENTED = r"\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{24F}\x{1E00}-\x{1EFF}"
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
ODD = (
    rf"{CONTROL}|[{_HIDDEN}]|[!-~][{_JOINING}]|[{_JOINING}][!-~]|[{_JOINING}]{{2}}"
    rf"|[A-Za-z0-9,.:=][{_SPACES}][A-Za-z0-9]"
    rf"|[{_COMPATIBLE}]{{2}}|[A-Za-z][{_COMPATIBLE}][A-Za-z]|[ -~][{_MARKS}]|[{_MARKS}]{{2}}"
    rf"|[A-Za-z][{_FOREIGN}]|[{_FOREIGN}][A-Za-z]|(?:[{_ACCENTED}][ A-Za-z]{{0,10}}){{3}}"
    rf"|[{_COMPATIBLE}] [{_COMPATIBLE}] |[{_ACCENTED}]\W[{_ACCENTED}]"
)
SMUGGLED = r"[\x{FE00}-\x{FE0F}\x{E0100}-\x{E01EF}]{6,}"
BITS = r"[\x{200B}-\x{200F}\x{2060}-\x{2064}\x{FEFF}]{24,}"
TURNED_LETTERS = r"(?:[ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ][a-z ]{0,3}){4}"
BRAILLE_LETTERS = r"[\x{2801}-\x{28FF}]{3}"

_ODD, _SMUGGLED, _BITS = pattern(ODD), pattern(SMUGGLED), pattern(BITS)
_TURNED, _BRAILLE = pattern(TURNED_LETTERS), pattern(BRAILLE_LETTERS)

type _Reader = Callable[[tuple[int, int], Page], str | None]


def letters(page: Page) -> Iterator[View]:
    """Yield *page* as its reader sees it: look-alikes in plain letters, nothing hidden."""
    for window in page.windows(_ODD):
        table = _table(window.text)
        yield from window.rewritten(
            "unicode", window.text.translate(table), lambda text: _edits(text, _table(text))
        )


def smuggled(page: Page) -> Iterator[View]:
    """Yield the text that selectors of variants stand for, a byte each."""
    return _hidden(page, _SMUGGLED, _selectors)


def bits(page: Page) -> Iterator[View]:
    """Yield the text that two invisible characters stand for, a bit each."""
    return _hidden(page, _BITS, _bits)


def turned(page: Page) -> Iterator[View]:
    """Yield letters that stand upside down as they are read."""
    table = {ord(key): value for key, value in TURNED.items()}
    for window in page.windows(_TURNED):
        view = window.turned("turned")
        yield View(view.index, view.name, view.text.translate(table), view.origin)


def braille(page: Page) -> Iterator[View]:
    """Yield Braille as letters."""
    table = {ord(key): value for key, value in BRAILLE.items()}
    for window in page.windows(_BRAILLE):
        yield from window.swapped("braille", window.text.translate(table))


def _hidden(page: Page, trigger: re2.Pattern, read: _Reader) -> Iterator[View]:
    at = 0
    while (match := page.search(trigger, at)) is not None:
        start, end = match.span()
        at = max(end, start + 1)
        window = page.window(start, end)
        text = read((start, end), page)
        if text:
            first = start - window.start
            yield window.whole("hidden", text, (first, first + end - start))


def _selectors(span: tuple[int, int], page: Page) -> str | None:
    codes = map(ord, page.data[span[0] : span[1]].decode("utf-8", "replace"))
    return readable(bytes([c - 0xFE00 if c < 0xFE10 else c - 0xE00F0 for c in codes]))


def _bits(span: tuple[int, int], page: Page) -> str | None:
    text = page.data[span[0] : span[1]].decode("utf-8", "replace")
    kinds = sorted(set(text))
    if len(kinds) > 3:
        return None
    if len(kinds) == 3:
        # The third parts the bytes, as a space would.
        text = text.replace(kinds[2], "")
    for zero in kinds[:2]:
        bits = "".join(["0" if character == zero else "1" for character in text])
        whole = bits[: len(bits) // 8 * 8]
        found = readable(int(whole, 2).to_bytes(len(whole) // 8)) if whole else None
        if found:
            return found
    return None


def _edits(text: str, table: dict[int, str]) -> Iterator[Edit]:
    for index, character in enumerate(text):
        seen = table[ord(character)]
        if seen != character:
            yield index, index + 1, seen


def _table(text: str) -> dict[int, str]:
    """Return what each character of *text* is seen as, in a text like this one."""
    kinds = set(text)
    table = {ord(kind): kind if kind.isascii() else plain(kind) for kind in kinds}
    for control in kinds & _CONTROLS:
        table[ord(control)] = ""
    foreign = [kind for kind in kinds if kind in CONFUSABLE and table[ord(kind)] == kind]
    russian = sum(map(text.count, _RUSSIAN & kinds))
    latin = sum(map(text.count, _ONLY_LATIN & kinds))
    if russian > latin:
        table |= {ord(kind): CYRILLIC[kind] for kind in kinds if kind in CYRILLIC}
    else:
        table |= {ord(kind): CONFUSABLE[kind] for kind in foreign}
    return table


_CONTROLS = {chr(code) for code in [*range(9), 11, 12, *range(14, 32), 127]}
_RUSSIAN = set("бгджзийлпфцчшщъыьэюя")
_ONLY_LATIN = set("bdfgklnqrstuvwz")


@lru_cache(maxsize=8192)
def plain(character: str) -> str:
    """Return what one *character* outside ASCII is seen as: ASCII, nothing, or itself."""
    code = ord(character)
    if 0xE0020 <= code <= 0xE007E:
        return chr(code - 0xE0000)
    if 0x1F1E6 <= code <= 0x1F1FF:
        return chr(code - 0x1F1E6 + 65)
    for first in (0x1F150, 0x1F170):
        if first <= code < first + 26:
            return chr(code - first + 65)
    if 0x2776 <= code <= 0x2793:
        return str((code - 0x2776) % 10 + 1)
    if character in "\u2028\u2029\x85":
        return "\n"
    return _by_properties(character, code)


def _by_properties(character: str, code: int) -> str:
    kind = unicodedata.category(character)
    if kind == "Zs" or code == 0x2800:
        return " "
    if kind in {"Cf", "Cc"} or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        return ""
    if code in {0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0} or 0x180B <= code <= 0x180F:
        return ""
    if kind in {"Mn", "Me"}:
        return "" if _accent(code) else character
    parts = unicodedata.normalize("NFKD", character)
    base = "".join([part for part in parts if not _accent(ord(part))])
    if base.isascii():
        return base
    if len(base) == 1 and base in CONFUSABLE and ord(base) < 0x370:
        return CONFUSABLE[base]
    return character


def _accent(code: int) -> bool:
    return (
        0x300 <= code <= 0x36F
        or 0x483 <= code <= 0x489
        or 0x1AB0 <= code <= 0x1AFF
        or 0x1DC0 <= code <= 0x1DFF
        or 0x20D0 <= code <= 0x20FF
        or 0xFE20 <= code <= 0xFE2F
    )
