"""What a text says after the decodings that a secret may hide under."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from urllib.parse import unquote

_LONGEST_BASE64 = 64 * 1024
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_\r\n")


def views(text: str) -> Iterable[str]:
    """Yield what *text* says after the decodings that a secret may hide under."""
    if "%" in text:
        yield unquote(text)
    if "\\" in text:
        yield _unescaped(text)
    decoded = _from_base64(text)
    if decoded is not None:
        yield decoded


def _unescaped(text: str) -> str:
    first, *rest = text.split("\\u")
    out = [first]
    for part in rest:
        digits = part[:4]
        if len(digits) == 4 and all(char in "0123456789abcdefABCDEF" for char in digits):
            out += [chr(int(digits, 16)), part[4:]]
        else:
            out += ["\\u", part]
    return "".join(out).replace('\\"', '"').replace("\\/", "/").replace("\\n", "\n")


def _from_base64(text: str) -> str | None:
    if not 16 <= len(text) <= _LONGEST_BASE64 or not _BASE64.issuperset(text):
        return None
    plain = text.translate({45: "+", 95: "/", 13: None, 10: None, 61: None})
    try:
        return binascii.a2b_base64(plain + "=" * (-len(plain) % 4)).decode()
    except ValueError:
        return None
