"""Encoded runs: base64 and its kin, hex, base32, lists of character codes, Morse."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence

import re2

from mitmgate.scan.views.page import Page, pattern
from mitmgate.scan.views.tables import MORSE
from mitmgate.scan.views.unpack import promising, unpacked
from mitmgate.scan.views.view import View

_B64 = "A-Za-z0-9+/_\\-"
_GAP = r"[\s\\]*"
# Four characters of base64 that are three of ASCII text: of random ones, one in ten is.
_ASCII_GROUP = (
    rf"[I-Za-fCD]{_GAP}[A-HQ-Xg-nw-z0-3]{_GAP}"
    rf"[ABEFIJMNQRUVYZcdghklopstwx014589]{_GAP}[{_B64}]{_GAP}"
)
_LITTLE_GROUP = r"[I-Za-f][AQgw][AB].A[A-H][AEIMQUYcgkosw048]A"
_BIG_GROUP = r"A[A-H][AEIMQUYcgkosw048]A[I-Za-f][AQgw][AB][A-Za-z0-9+/]"
# Where a token begins, or four characters on: anywhere in it would be too many ways at once.
_BEGUN = rf"(?:^|[^A-Za-z0-9+])(?:[{_B64}]{{4}})?"
BASE64 = rf"{_BEGUN}(?:{_ASCII_GROUP}){{5}}|(?:{_LITTLE_GROUP}){{3}}|(?:{_BIG_GROUP}){{3}}"
# Lines too short to be long tokens.
SHORT_LINES = rf"(?:[{_B64}]{{4,15}}[ \t\r]*(?:\n|\\n)[ \t]*){{3}}"
# Text in other scripts: three bytes to a character, or two.
_WIDE_GROUP = rf"[4-7][I-LY-bo-r4-7][CGKOSWaeimquy26+\\-][{_B64}]"
_FOREIGN_GROUP = (
    r"[w-z0-3][I-LY-bo-r4-7][DHLPTXbfjnrvz37/_][D-Za-f][g-v][MNcdst89][CGKOSWaeimquy26+\-]"
)
_PACKED = r"H4sI|\beJ[w-z]|\beN[o-r]|\beAE|\beF[4-7]|QlpoO|/Td6WF|KLUv_"
FOREIGN = rf"(?:{_WIDE_GROUP}){{4}}|(?:{_FOREIGN_GROUP}[{_B64}]){{2}}|(?:{_PACKED})[{_B64}]{{10}}"
# Deflated text without a header: its first bits are those of a last block (RFC 1951).
LONG = (
    rf"(?:^|[^{_B64}])(?:[ACEGIKMOQSUWYacegikmoqsuwy02468+\-][w-z0-9+/\-_]"
    rf"|[BDFHJLNPRTVXZbdfhjlnprtvxz13579/_][Q-Za-f])[{_B64}]{{30}}"
)
_HEX_SIGN = r"[\s:,;\-|]{0,2}"
_HEX_UNIT = (
    r"(?:[2-7][0-9A-Fa-f]|0[9AaDd]|[CcDd][0-9A-Fa-f][89ABab][0-9A-Fa-f]"
    r"|[Ee][0-9A-Fa-f](?:[89ABab][0-9A-Fa-f]){2})"
)
HEX = (
    rf"(?:^|[^A-Za-z0-9])(?:(?:0[xX])?{_HEX_UNIT}{_HEX_SIGN}){{10}}"
    r"|\b(?:0x)?(?i:1f8b08|78(?:9c|da|01|5e)|425a6839)[0-9A-Fa-f]{16}"
)
BASE32 = (
    r"(?:^|[^A-Za-z0-9])(?i:(?:[E-PB][ABEFIJMNQRUVYZ45][A-Z2-7][A-HQ-X]"
    r"[ACEGIKMOQSUWY246][A-Z2-7][A-DI-LQ-TYZ23][A-Z2-7]){3})"
)
_CODE = r"(?:3[2-9]|[4-9][0-9]|1[01][0-9]|12[0-6]|9|1[03])"
CODES = (
    rf"(?:\b{_CODE}(?:[,;+.|&/ \t\r\n)(\]\[-]|[Cc][Hh][Aa]?[Rr]W?|\\){{1,8}}){{8}}"
    r"|(?i:(?:chr|char|unichr|chrw)\s*\(\s*(?:0x|&h)?[0-9a-f]{1,3}\s*\)[\s.+|&,]*){4}"
)
BINARY = r"(?:(?:0?(?:01|1[01])[01]{5}|1[01]{7})[\s,;_-]{0,2}){6}"
OCTAL = r"(?:\b0?o?[01][0-7]{2}[\s,;]{1,2}){8}"
MORSE_CODE = r"(?:[.\-]{1,6}[ /|]{1,3}){10}"
ASCII85 = r"<~[!-uz\s]{8,}"

_BASE64 = pattern(BASE64)
_FOREIGN = pattern(FOREIGN)
_LONG = pattern(LONG)
_HEX = pattern(HEX)
_BASE32 = pattern(BASE32)
_CODES = pattern(CODES)
_BINARY = pattern(BINARY)
_OCTAL = pattern(OCTAL)
_MORSE = pattern(MORSE_CODE)
_ASCII85 = pattern(ASCII85)

_ASCII_RUN = pattern(rf"(?:{_ASCII_GROUP})+(?:[{_B64}]{{2,3}}={{0,2}})?")
_TOKENS = pattern(rf"[{_B64}]+(?:(?:\\r|\\n|[ \t\r])*(?:\n|\\n)[ \t]*[{_B64}]+)*={{0,2}}")
_HEX_RUN = pattern(rf"(?:(?:0[xX])?[0-9A-Fa-f]{{2}}{_HEX_SIGN})+")
_BASE32_RUN = pattern(r"(?i:[A-Z2-7]+(?:[ \t\r]*\n[ \t]*[A-Z2-7]+)*)={0,6}")
_CODE_RUN = pattern(
    r"(?i:(?:[a-z]{2,8}\s*\(\s*)?(?:0x|&h)?[0-9a-f]{1,4}(?:\s*\))?)"
    r"(?i:(?:[,;+.|&/ \t\r\n)(\[\]-]|chrw?|charw?|unichr|\\)+(?:0x|&h)?[0-9a-f]{1,4}(?:\s*\))?)+"
)
_BINARY_RUN = pattern(r"[01][01\s,;_-]+")
_OCTAL_RUN = pattern(r"[0-7o]+(?:[\s,;]+[0-7o]+)+")
_MORSE_RUN = pattern(r"[.\-]{1,6}(?:[ /|\r\n]{1,4}[.\-]{1,6})+[ /|]?")
_ASCII85_RUN = pattern(r"<~[!-uz\s]+~?>?")

_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BLANK = b" \t\r\n\\"
_B64_SIGNS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_HEX_DIGITS = b"-0123456789abcdefABCDEF"
_PROBE = 512
_LEAST = 6
_TRIED = 8
_FIXED, _DYNAMIC = 3, 5


def base64_runs(page: Page) -> Iterator[View]:
    """Yield what runs of base64 hold, where they hold ASCII text."""
    return _base64(page, _BASE64, (_TOKENS, _ASCII_RUN))


def foreign_runs(page: Page) -> Iterator[View]:
    """Yield what base64 holds of text that is not ASCII, or packed."""
    return _base64(page, _FOREIGN, (_TOKENS,))


def _base64(page: Page, trigger: re2.Pattern, runs: Sequence[re2.Pattern]) -> Iterator[View]:
    data, at = page.data, 0
    while (match := page.search(trigger, at)) is not None:
        start, at = match.span()
        before = data[max(0, start - _PROBE) : start]
        token = start - len(before) + len(before.rstrip(_B64_SIGNS))
        # The text before what was seen, if it is of the same alphabet and in step.
        first = token + (start - token) % 4
        for begin, run in [(first, runs[0])] * (first < start) + [(start, run) for run in runs]:
            # The first bytes of a long token show whether the rest is worth reading.
            found = run.search(data, begin, min(len(data), begin + _PROBE))
            if found is None or not _is_text(page, found.span()):
                continue
            found = run.search(data, begin) or found
            view = _view(page, found.span(), "base64", _from_base64)
            if view:
                at = max(at, found.span()[1])
                yield view
                break


def _is_text(page: Page, span: tuple[int, int]) -> bool:
    page.budget.spend(_PROBE)
    head = _from_base64(page.data[slice(*span)])
    return head is not None and promising(head)


def long_runs(page: Page) -> Iterator[View]:
    """Yield what the first few long tokens hold, if that is deflated text without a header."""
    at, data = 0, page.data
    for _ in range(_TRIED):
        match = page.search(_LONG, at)
        if match is None:
            return
        at = match.span()[1]
        start = max(match.span()[0], at - 32)
        if not _may_be_deflated(data[start:at]):
            continue
        found = _TOKENS.search(data, start, start + _PROBE)
        if found is None:
            return
        start, at = found.span()
        if at - start < _PROBE - 2 or _is_text(page, (start, at)):
            found = _TOKENS.search(data, start) or found
            at = found.span()[1]
            view = _view(page, (start, at), "base64", _from_base64)
            if view:
                yield view


def _may_be_deflated(head: bytes) -> bool:
    """Tell whether the base64 *head* begins like a last block whose first byte is a character."""
    if not head.translate(None, _HEX_DIGITS) or head.isalpha() or head.lower() == head:
        return False
    held = _from_base64(head[:8])
    if not held:
        return False
    first = held[0]
    if first & 7 == _DYNAMIC:
        return True
    # RFC 1951: a code of the fixed table begins with its highest bit.
    bits = f"{first | held[1] << 8:016b}"[::-1]
    return first & 7 == _FIXED and 0x50 <= int(bits[3:11], 2) <= 0xAE


def hex_runs(page: Page) -> Iterator[View]:
    """Yield what hexadecimal bytes spell."""
    return _runs(page, _HEX, _HEX_RUN, "hex", _from_hex)


def base32_runs(page: Page) -> Iterator[View]:
    """Yield what base32 holds."""
    return _runs(page, _BASE32, _BASE32_RUN, "base32", _from_base32)


def code_runs(page: Page) -> Iterator[View]:
    """Yield what lists of character codes spell."""
    yield from _runs(page, _CODES, _CODE_RUN, "codes", _from_codes)


def octal_runs(page: Page) -> Iterator[View]:
    """Yield what lists of octal character codes spell."""
    return _runs(page, _OCTAL, _OCTAL_RUN, "octal", _from_octal)


def binary_runs(page: Page) -> Iterator[View]:
    """Yield what groups of eight (or seven) zeros and ones spell."""
    return _runs(page, _BINARY, _BINARY_RUN, "binary", _from_binary)


def morse_runs(page: Page) -> Iterator[View]:
    """Yield what Morse code spells."""
    return _runs(page, _MORSE, _MORSE_RUN, "morse", _from_morse)


def ascii85_runs(page: Page) -> Iterator[View]:
    """Yield what Ascii85 holds."""
    return _runs(page, _ASCII85, _ASCII85_RUN, "ascii85", _from_ascii85)


def _runs(
    page: Page,
    trigger: re2.Pattern,
    run: re2.Pattern,
    name: str,
    decode: Callable[[bytes], bytes | None],
) -> Iterator[View]:
    at = 0
    while (match := page.search(trigger, at)) is not None:
        found = run.search(page.data, match.span()[0])
        at = match.span()[1]
        if found is None:
            break
        at = max(at, found.span()[1])
        view = _view(page, found.span(), name, decode)
        if view:
            yield view


def _view(
    page: Page, span: tuple[int, int], name: str, decode: Callable[[bytes], bytes | None]
) -> View | None:
    start, end = span
    raw = page.data[start:end]
    if end - start > 2 * _PROBE:
        # Most long ones are no text, and their first bytes show it.
        head = decode(raw[:_PROBE])
        page.budget.spend(_PROBE)
        if head is None or not promising(head):
            return None
    page.budget.spend(len(raw))
    held = decode(raw)
    if held is None or len(held) < _LEAST:
        return None
    found = unpacked(held, page.budget)
    if found is None:
        return None
    packing, text = found
    window = page.window(start, end)
    return window.whole(
        f"{name}/{packing}" if packing else name, text, (start - window.start, end - window.start)
    )


def _from_base64(raw: bytes) -> bytes | None:
    data = raw.translate(_URL_SAFE, _BLANK).rstrip(b"=")
    if len(data) % 4 == 1:
        data = data[:-1]
    try:
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
    except binascii.Error:
        return None


def _from_hex(raw: bytes) -> bytes | None:
    data = raw.replace(b"0x", b"").replace(b"0X", b"")
    data = data.translate(None, b" \t\r\n:,;-|")
    try:
        return binascii.unhexlify(data[: len(data) // 2 * 2])
    except binascii.Error:
        return None


def _from_base32(raw: bytes) -> bytes | None:
    data = raw.translate(None, b" \t\r\n=").upper()
    data = data[: len(data) - (len(data) % 8 in {1, 3, 6})]
    try:
        return base64.b32decode(data + b"=" * (-len(data) % 8))
    except binascii.Error:
        return None


def _from_codes(raw: bytes) -> bytes | None:
    text = raw.decode("ascii", "replace").lower().replace("&h", "0x")
    for word in ("unichr", "charw", "chrw", "char", "chr"):
        text = text.replace(word, " ")
    parts = "".join([c if c in "0123456789abcdefx" else " " for c in text]).split()
    codes = [code for part in parts if (code := _code(part)) is not None]
    if not codes or max(codes) > 0x10FFFF:
        return None
    return _worded("".join(map(chr, codes)))


def _code(part: str) -> int | None:
    try:
        return int(part, 16 if part.startswith("0x") else 10)
    except ValueError:
        return None


def _worded(text: str) -> bytes | None:
    """Return *text* as bytes if it is more letters and spaces than anything else."""
    words = sum([character.isalnum() or character in " _-" for character in text])
    letters = sum(map(str.isalpha, text))
    if words * 10 < len(text) * 7 or letters * 3 < len(text):
        return None
    return text.encode("utf-8", "replace")


def _from_octal(raw: bytes) -> bytes | None:
    parts = raw.replace(b",", b" ").replace(b";", b" ").split()
    try:
        return _worded("".join([chr(int(part.lstrip(b"0o") or b"0", 8)) for part in parts]))
    except (ValueError, OverflowError):
        return None


def _from_binary(raw: bytes) -> bytes | None:
    groups = raw.translate(bytes.maketrans(b",;_-", b"    ")).split()
    if len(groups) < 3:
        digits = b"".join(groups)
        groups = [digits[at : at + 8] for at in range(0, len(digits) // 8 * 8, 8)]
    if any(len(group) > 8 for group in groups):
        return None
    return bytes([int(group, 2) for group in groups])


def _from_morse(raw: bytes) -> bytes | None:
    text = (
        raw.decode("ascii", "replace").replace("|", "/").replace("\n", " / ").replace("   ", " / ")
    )
    signs = text.replace("/", " / ").split()
    letters = [" " if sign == "/" else MORSE.get(sign, "") for sign in signs]
    known = sum(map(bool, letters))
    if known * 10 < len(signs) * 9:
        return None
    return _worded("".join(letters))


def _from_ascii85(raw: bytes) -> bytes | None:
    try:
        return base64.a85decode(raw.removeprefix(b"<~").rstrip(b"~>"), adobe=False)
    except (ValueError, OverflowError):
        return None
