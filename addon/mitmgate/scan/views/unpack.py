"""Bytes to text: what is compressed or in another encoding, and only what somebody could read."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Protocol

from mitmgate.scan.budget import Budget

MOST = 1 << 20
"""So many bytes of one compressed value are read. What is behind them is more than a message."""

_CONTROLS = bytes([*range(9), 11, 12, *range(14, 32), 127])
_PROBE = 256
_STEP = 4096
_STREAMS = (b"\x1f", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")
_MAGIC = (
    b"\x1f\x8b",
    b"x\x01",
    b"x\x5e",
    b"x\x9c",
    b"x\xda",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"]\x00\x00",
)


class _Unpacker(Protocol):
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def readable(raw: bytes) -> str | None:
    """Return *raw* as text, or None if it is none: not UTF-8 or UTF-16, or full of control bytes.

    A character that is cut off at the end does not count.
    """
    text = _decoded(raw)
    if text is None or not text.strip():
        return None
    controls = len(raw) - len(raw.translate(None, _CONTROLS))
    if controls * 8 > len(raw):
        return _wide(raw)
    return text


def unpacked(raw: bytes, budget: Budget) -> tuple[str, str] | None:
    """Return how *raw* was packed (or "") and the text that it holds; None if it holds none.

    OverBudget where that is more than the message is worth.
    """
    head = raw[:_PROBE]
    if head.startswith(_MAGIC):
        name, data = _inflated(raw, budget)
        text = readable(data) if data else None
        if text:
            return name, text
    text = readable(raw) if _promising(raw, head) else None
    if text:
        return "", text
    if len(raw) >= 24 and not raw.isascii():
        data = _bounded(zlib.decompressobj(-15), head, 64)
        if len(data) >= 12 and readable(data[: len(data) // 2]):
            data = _bounded(zlib.decompressobj(-15), raw, MOST)
            budget.spend(len(data))
            text = readable(data)
            if text:
                return "deflate", text
    return None


def promising(head: bytes) -> bool:
    """Tell whether bytes that begin with *head* may be text, or packed text."""
    if head.startswith(_STREAMS):
        unpacker = zlib.decompressobj(31 if head[:1] == _STREAMS[0] else 15)
        return bool(_bounded(unpacker, head, 64))
    if head.startswith(_MAGIC) or _decoded(head) is not None:
        return True
    return bool(_bounded(zlib.decompressobj(-15), head, 64)) or _wide(head) is not None


def _promising(raw: bytes, head: bytes) -> bool:
    return len(raw) <= _PROBE or _decoded(head) is not None


def _decoded(raw: bytes) -> str | None:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _wide(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        if error.start >= len(raw) - 3 and error.start:
            return raw[: error.start].decode()
        return None


def _wide(raw: bytes) -> str | None:
    """Return *raw* as UTF-16, if every second byte or so is zero."""
    if raw.count(0) * 3 < len(raw) and raw[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return None
    little = raw[1::2].count(0) >= raw[::2].count(0) if raw[:2] != b"\xfe\xff" else False
    text = raw[: len(raw) // 2 * 2].decode("utf-16-le" if little else "utf-16-be", "replace")
    text = text.removeprefix("\ufeff")
    printable = sum(map(str.isprintable, text[:_PROBE]))
    return text if text and printable * 10 >= len(text[:_PROBE]) * 8 else None


def _inflated(raw: bytes, budget: Budget) -> tuple[str, bytes]:
    makers: tuple[tuple[str, bytes, Callable[[], _Unpacker]], ...] = (
        ("gzip", b"\x1f\x8b", lambda: zlib.decompressobj(31)),
        ("zlib", b"x", lambda: zlib.decompressobj(15)),
        ("bzip2", b"BZh", bz2.BZ2Decompressor),
        ("xz", b"\xfd7zXZ", lambda: lzma.LZMADecompressor(memlimit=16 << 20)),
        ("lzma", b"]\x00", lambda: lzma.LZMADecompressor(memlimit=16 << 20)),
    )
    for name, magic, make in makers:
        if raw.startswith(magic):
            data = _bounded(make(), raw, MOST)
            budget.spend(len(data))
            return name, data
    return "", b""


def _bounded(unpacker: _Unpacker, raw: bytes, most: int) -> bytes:
    """Return what *raw* unpacks to, at most *most* bytes; what came before an error counts."""
    found: list[bytes] = []
    left = most
    try:
        for at in range(0, len(raw), _STEP):
            piece = unpacker.decompress(raw[at : at + _STEP], left)
            found.append(piece)
            left -= len(piece)
            if left <= 0:
                break
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError):
        pass
    return b"".join(found)
