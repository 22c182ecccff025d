"""Text that messages carry in base64 strings, read as the most lenient program would."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.wire.body import decode_text

MAX_DERIVED = 1024 * 1024
"""So many bytes of a base64 string are read; what stands behind them is not."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A string that may be base64, and the media type its sender gave it."""

    text: str
    media_type: str | None


def may_be_packed(key: str, members: Mapping[str, Any]) -> bool:
    """Say whether the member *key* of *members* may be a string of base64."""
    if key == "blob":
        return True
    if key != "data":
        return False
    return isinstance(members.get("type"), str) or isinstance(members.get("mimeType"), str)


_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_NO_BASE64 = bytes(set(range(256)) - {*_BASE64, *b"="})
_TO_PLAIN = bytes.maketrans(b"-_", b"+/")
_TEXTUAL = ("json", "xml", "html", "yaml", "javascript", "ecmascript", "svg")


def read_packed(packed: Packed) -> str | None:
    """Return the text in a base64 string, None where there is none that a model would see."""
    media = (packed.media_type or "").strip().lower()
    textual = not media or media.startswith("text/") or any(part in media for part in _TEXTUAL)
    # Pictures are large, and their first bytes tell already.
    if not textual and _utf8(_unpacked(packed.text[:256])[:-3]) is None:
        return None
    data = _unpacked(packed.text)[:MAX_DERIVED]
    text = _utf8(data, final=len(data) < MAX_DERIVED)
    if text is None and textual:
        text = _any_charset(data, packed.media_type)
    # ASCII in UTF-16 that nobody declared is valid UTF-8, half of it NULs.
    return (text or "").replace("\0", "") or None


def _unpacked(text: str) -> bytes:
    """Return the bytes that the most lenient decoder in the field reads out of *text*.

    Python's and Node's skip what is no base64, Node's takes the URL alphabet, and padding may
    be missing: a stricter reading of ours would be a way past the scanner.
    """
    packed = text.encode("ascii", "ignore").translate(_TO_PLAIN, _NO_BASE64)
    pieces = []
    for piece in packed[: MAX_DERIVED // 3 * 4 + 8].split(b"="):
        whole = piece[:-1] if len(piece) % 4 == 1 else piece
        pieces.append(base64.b64decode(whole + b"=" * (-len(whole) % 4)))
    return b"".join(pieces)


def _utf8(data: bytes, *, final: bool = False) -> str | None:
    """Return *data* as text, None if it is no UTF-8; half a character may end it if not *final*."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final)
    except UnicodeDecodeError:
        return None


def _any_charset(data: bytes, media_type: str | None) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return decode_text(data, media_type)
    except WireError:
        return data.decode("utf-8", "replace")
