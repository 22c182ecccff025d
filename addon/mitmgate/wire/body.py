"""Bodies of HTTP messages: content codings and charsets undone, capped and chunk by chunk."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import brotli
import zstandard

from mitmgate.errors import WireError
from mitmgate.wire.strictjson import PARSE_ERROR

MAX_CODINGS = 3
PIECE = 64 * 1024
"""The most bytes that one step of a decoder may give (brotli may give twice as many)."""

ZSTD_STEP = 64
# zstandard has no output limit: a 4-byte block can hold 128 KiB, so 64 bytes at a time keep
# the worst step at 2 MiB.
ZSTD_WINDOW = 8 * 1024 * 1024  # RFC 9659: no sender may need more for a content coding


def decode_body(body: bytes, content_encoding: str | None, *, limit: int) -> bytes:
    """Return *body* without its content codings, at most *limit* bytes of it.

    Codes: ``unknown_encoding``, ``bad_encoding``, ``body_too_large``.
    """
    if not content_encoding and len(body) <= limit:
        return body
    decoder = BodyDecoder(content_encoding, limit=limit)
    return decoder.feed(body) + decoder.finish()


class BodyDecoder:
    """Undo content codings of a stream; *limit* counts the bytes of every layer."""

    def __init__(self, content_encoding: str | None, *, limit: int) -> None:
        codings = _codings(content_encoding)
        self._limit = limit
        self._stages = [_STAGES[name]() for name in reversed(codings)]
        # One counter for what came in, one for each layer below it.
        self._seen = [0] * (len(self._stages) + 1)

    def feed(self, data: bytes) -> bytes:
        """Return what *data* adds to the decoded body."""
        return b"".join(self.pieces(data))

    def pieces(self, data: bytes) -> Iterable[bytes]:
        """Return what :meth:`feed` does in pieces, each decoded when it is asked for."""
        if not data:
            return ()
        self._count(0, len(data))
        if not self._stages:
            return (data,)
        # Small slices: a decoder copies the rest of its input at every step.
        pieces: Iterable[bytes] = (data[at : at + PIECE] for at in range(0, len(data), PIECE))
        for number, stage in enumerate(self._stages, start=1):
            pieces = self._through(number, stage, pieces)
        return pieces

    def finish(self) -> bytes:
        """Say that the body is over; raise ``bad_encoding`` when it was cut short."""
        for number, stage in enumerate(self._stages):
            # No byte at all is how an answer without a body (204, HEAD) looks.
            if self._seen[number] and not stage.complete():
                raise _corrupt("the body ends before its content coding does")
        return b""

    def _through(self, number: int, stage: _Stage, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for decoded in stage.feed(piece):
                self._count(number, len(decoded))
                yield decoded

    def _count(self, number: int, size: int) -> None:
        self._seen[number] += size
        if self._seen[number] > self._limit:
            raise WireError(
                "body_too_large", f"the body is larger than {self._limit} bytes", rpc_code=-32600
            )


class _Stage(Protocol):
    def feed(self, data: bytes, /) -> Iterator[bytes]:
        """Yield decoded pieces of bounded size."""

    def complete(self) -> bool:
        """Say whether the coding's own end was seen."""


class _Zlib:
    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        while data:
            if self._inner.eof:
                # A second gzip member is read by some decoders and dropped by others.
                raise _corrupt("bytes follow the end of the content coding")
            try:
                piece = self._inner.decompress(data, PIECE)
            except zlib.error:
                raise _corrupt("the body does not follow its content coding") from None
            data = self._inner.unconsumed_tail or self._inner.unused_data
            if piece:
                yield piece
        # Output may wait inside although all input was taken.
        while not self._inner.eof and (piece := self._inner.decompress(b"", PIECE)):
            yield piece

    def complete(self) -> bool:
        return self._inner.eof


class _Deflate:
    """RFC 9110 means zlib's format; half the field sends the bare one."""

    def __init__(self) -> None:
        self._head = b""
        self._inner: _Zlib | None = None

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        if self._inner is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            framed = data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
            self._inner = _Zlib(zlib.MAX_WBITS if framed else -zlib.MAX_WBITS)
        yield from self._inner.feed(data)

    def complete(self) -> bool:
        return self._inner is not None and self._inner.complete()


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        if data and self._inner.is_finished():
            raise _corrupt("bytes follow the end of the content coding")
        while True:
            try:
                piece = self._inner.process(data, output_buffer_limit=PIECE)
            except brotli.error:
                raise _corrupt("the body does not follow its content coding") from None
            if piece:
                # It says that it takes more data while a piece of its output still waits.
                yield piece
            elif self._inner.is_finished() or self._inner.can_accept_more_data():
                return
            data = b""

    def complete(self) -> bool:
        return self._inner.is_finished()


class _Zstd:
    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        self._inner = decompressor.decompressobj()

    def feed(self, data: bytes, /) -> Iterator[bytes]:
        for start in range(0, len(data), ZSTD_STEP):
            if self._inner.eof:
                raise _corrupt("bytes follow the end of the content coding")
            try:
                piece = self._inner.decompress(data[start : start + ZSTD_STEP])
            except zstandard.ZstdError:
                raise _corrupt("the body does not follow its content coding") from None
            if self._inner.unused_data:
                raise _corrupt("bytes follow the end of the content coding")
            if piece:
                yield piece

    def complete(self) -> bool:
        return self._inner.eof


def _gzip() -> _Zlib:
    return _Zlib(zlib.MAX_WBITS | 16)


_STAGES: dict[str, Callable[[], _Stage]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _Deflate,
    "br": _Brotli,
    "zstd": _Zstd,
}


def _codings(content_encoding: str | None) -> list[str]:
    names = [name.strip(" \t").lower() for name in (content_encoding or "").split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if len(codings) > MAX_CODINGS or any(name not in _STAGES for name in codings):
        raise WireError("unknown_encoding", "the body has a content coding that is not supported")
    return codings


def _corrupt(message: str) -> WireError:
    return WireError("bad_encoding", message, rpc_code=PARSE_ERROR)


_CHARSETS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32",
    "utf-32le": "utf-32-le",
    "utf-32be": "utf-32-be",
}

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


_MARK_STARTS = frozenset(mark[:1] for mark, _ in _MARKS)


def decode_text(body: bytes, content_type: str | None) -> str:
    """Return *body* as text by the charset of *content_type*, UTF-8 without one, no BOM.

    Codes: ``not_utf8`` for UTF-8 that is none, ``bad_charset`` for all else.
    """
    codec = _codec(content_type)
    mark, marked = _mark(body)
    if marked is None and codec in ("utf-16", "utf-32"):
        raise _bad_charset(f"{codec} without a byte order mark can be read in two ways")
    if marked is not None and codec == "utf-8" != marked:
        raise WireError("not_utf8", "the body is not UTF-8", rpc_code=PARSE_ERROR)
    if marked is not None and not marked.startswith(codec):
        # Browsers believe the mark, servers the header: two readings of one body.
        raise _bad_charset("the byte order mark contradicts the charset")
    try:
        return body[len(mark) :].decode(marked or codec)
    except UnicodeDecodeError:
        if codec == "utf-8":
            raise WireError("not_utf8", "the body is not UTF-8", rpc_code=PARSE_ERROR) from None
        raise _bad_charset("the body does not follow its charset") from None


def _mark(body: bytes) -> tuple[bytes, str | None]:
    """Return the byte order mark that *body* begins with, and the codec that it names."""
    if body[:1] in _MARK_STARTS:
        for mark, codec in _MARKS:
            if body.startswith(mark):
                return mark, codec
    return b"", None


def is_utf8(content_type: str | None, body: bytes) -> bool:
    """Say whether *body* is plain UTF-8 by name and by bytes, which MCP demands.

    A UTF-8 byte order mark is allowed: who reads past it reads the same as we do.
    """
    try:
        if _codec(content_type) not in ("utf-8", "ascii"):
            return False
        if not body.isascii():
            decode_text(body, "text/plain")
    except WireError:
        return False
    return True


def _bad_charset(message: str) -> WireError:
    return WireError("bad_charset", message, rpc_code=PARSE_ERROR)


def _codec(content_type: str | None) -> str:
    if content_type is None or ";" not in content_type:
        return "utf-8"
    names = {value.lower() for key, value in _parameters(content_type) if key == "charset"}
    if not names:
        return "utf-8"
    if len(names) > 1 or (name := names.pop()) not in _CHARSETS:
        # Of two charsets some parsers take the first and some the last.
        raise _bad_charset("the charset is unknown, or there are two of them")
    return _CHARSETS[name]


def _parameters(content_type: str) -> Iterator[tuple[str, str]]:
    """Yield the parameters after the media type, quoted strings (RFC 9110) unquoted."""
    rest = content_type.partition(";")[2]
    while rest:
        name, equals, rest_of_value = rest.partition("=")
        if ";" in name or not equals:
            rest = rest.partition(";")[2]
            continue
        if rest_of_value.startswith('"'):
            value, rest = _quoted(rest_of_value)
            rest = rest.partition(";")[2]
        else:
            value, _, rest = rest_of_value.partition(";")
        yield name.strip().lower(), value.strip()


def _quoted(text: str) -> tuple[str, str]:
    """Return the quoted string at the start of *text*, and what follows it."""
    value, index = "", 1
    while index < len(text) and text[index] != '"':
        index += text[index] == "\\"
        value += text[index : index + 1]
        index += 1
    return value, text[index + 1 :]
