"""What a text says after the decodings that a secret may hide under."""

from __future__ import annotations

import binascii
import html
from collections.abc import Iterator
from urllib.parse import unquote

_LONGEST_BASE64 = 64 * 1024
_DEEPEST = 3
_MOST = 3  # at each depth
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_\r\n")


def views(text: str) -> Iterator[str]:
    """Yield what *text* says after the decodings that a secret may hide under, a few at each depth.

    That is percent-encoding, escapes of JSON, references of HTML, base64, and one in the other.
    """
    if "%" not in text and "\\" not in text and "&#" not in text and _from_base64(text) is None:
        return  # nearly always
    known, todo = {text}, [text]
    for _ in range(_DEEPEST):
        inner: list[str] = []
        for view in todo:
            inner += [one for one in _decoded(view) if one not in known]
            known.update(inner)
        todo = list(dict.fromkeys(inner))[:_MOST]
        yield from todo


def _decoded(text: str) -> Iterator[str]:
    if "%" in text:
        yield unquote(text)
    if "\\" in text:
        yield _unescaped(text)
    if "&#" in text:
        yield html.unescape(text)
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
