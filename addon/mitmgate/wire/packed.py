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


_LEAST_MEDIA = 4096
_MEDIA = ("image/", "audio/", "video/")
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF", b"OggS", b"ID3",
          b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"fLaC", b"\x1a\x45\xdf\xa3")  # fmt: skip


def is_media(packed: Packed) -> bool:
    """Say whether this is a picture, sound or film, called so, and one to whoever decodes it.

    In megabytes of base64 that stands for no text, patterns of credentials match by chance.
    """
    text, media = packed.text, (packed.media_type or "").strip().lower()
    if len(text) < _LEAST_MEDIA or not media.startswith(_MEDIA) or "svg" in media:
        return False
    # One character of any other kind, and some decoder would begin to skip.
    odd = len(text.rstrip("=")) % 4 == 1 or not text.isascii()
    if odd or text.rstrip("=").encode().translate(None, _STRICT):
        return False
    data = base64.b64decode(f"{text.rstrip('=')}==")
    known = data.startswith(_MAGIC) or data[4:8] == b"ftyp"
    # Words in it are for somebody to read, whatever is around them.
    return known and b"a" * _WORDS not in data.translate(_PRINTABLE)


_WORDS = 64
_PRINTABLE = bytes(ord("a") if 0x20 <= byte < 0x7F else 0 for byte in range(256))
_STRICT = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
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
