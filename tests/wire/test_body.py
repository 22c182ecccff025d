"""Bodies are decoded whole, capped, or refused."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.wire.body import BodyDecoder, decode_body, decode_text, is_utf8

LIMIT = 1 << 20
PLAIN = b'{"jsonrpc":"2.0"} ' * 500


def deflate(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


ENCODED = {
    "identity": (None, PLAIN),
    "the word identity": ("identity", PLAIN),
    "an empty header": ("", PLAIN),
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "x-gzip in capitals": ("X-GZIP", gzip.compress(PLAIN)),
    "deflate with zlib's frame": ("deflate", zlib.compress(PLAIN)),
    "deflate without a frame": ("deflate", deflate(PLAIN, -15)),
    "brotli": ("br", brotli.compress(PLAIN)),
    "zstandard": ("zstd", zstandard.compress(PLAIN)),
    "three codings, undone from the last": (
        "gzip, br,zstd",
        zstandard.compress(brotli.compress(gzip.compress(PLAIN))),
    ),
}
CODINGS = {name: case for name, case in ENCODED.items() if case[0] not in (None, "", "identity")}


@pytest.mark.parametrize(("coding", "body"), ENCODED.values(), ids=ENCODED)
def test_decodes(coding: str | None, body: bytes) -> None:
    assert decode_body(body, coding, limit=LIMIT) == PLAIN


@pytest.mark.parametrize(("coding", "body"), ENCODED.values(), ids=ENCODED)
def test_decodes_byte_by_byte(coding: str | None, body: bytes) -> None:
    decoder = BodyDecoder(coding, limit=LIMIT)
    pieces = [decoder.feed(bytes([byte])) for byte in body]
    assert b"".join(pieces) + decoder.finish() == PLAIN


@pytest.mark.parametrize(("coding", "body"), CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("cut", [1, 5, -1])
def test_a_truncated_body_is_refused(coding: str, body: bytes, cut: int) -> None:
    with pytest.raises(WireError) as refusal:
        decode_body(body[:cut], coding, limit=LIMIT)
    assert refusal.value.code == "bad_encoding"


@pytest.mark.parametrize(("coding", "body"), CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("tail", [b"x", b"\0" * 200])
def test_bytes_after_the_end_are_refused(coding: str, body: bytes, tail: bytes) -> None:
    with pytest.raises(WireError) as refusal:
        decode_body(body + tail, coding, limit=LIMIT)
    assert refusal.value.code == "bad_encoding"
    decoder = BodyDecoder(coding, limit=LIMIT)
    decoder.feed(body)
    with pytest.raises(WireError):
        decoder.feed(tail)


@pytest.mark.parametrize(("coding", "body"), ENCODED.values(), ids=ENCODED)
def test_the_limit_is_exact(coding: str | None, body: bytes) -> None:
    assert decode_body(body, coding, limit=len(PLAIN)) == PLAIN
    with pytest.raises(WireError) as refusal:
        decode_body(body, coding, limit=len(PLAIN) - 1)
    assert refusal.value.code == "body_too_large"


@pytest.mark.parametrize(("coding", "body"), CODINGS.values(), ids=CODINGS)
def test_an_empty_body_needs_no_coding(coding: str, body: bytes) -> None:
    del body
    assert decode_body(b"", coding, limit=LIMIT) == b""


def wide_window() -> bytes:
    """A frame that asks its reader for 128 MiB."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(b"a") + packer.flush()


REFUSED = {
    "a zstandard window beyond RFC 9659": ("zstd", wide_window(), "bad_encoding"),
    "an unknown coding": ("compress", b"x", "unknown_encoding"),
    "four codings": ("gzip,gzip,gzip,gzip", b"x", "unknown_encoding"),
    "plain text that claims gzip": ("gzip", b"plain text", "bad_encoding"),
    "plain text that claims brotli": ("br", b"\xff" * 40, "bad_encoding"),
    "plain text that claims zstandard": ("zstd", b"plain text here", "bad_encoding"),
    "a second gzip member": ("gzip", gzip.compress(b"a") + gzip.compress(b"b"), "bad_encoding"),
    "a second zstandard frame": ("zstd", zstandard.compress(b"a") * 2, "bad_encoding"),
}


@pytest.mark.parametrize(("coding", "body", "code"), REFUSED.values(), ids=REFUSED)
def test_refuses(coding: str, body: bytes, code: str) -> None:
    with pytest.raises(WireError) as refusal:
        decode_body(body, coding, limit=LIMIT)
    assert refusal.value.code == code


def bomb(coding: str) -> bytes:
    zeros = b"\0" * 100_000_000
    if coding == "zstd":
        return zstandard.compress(zeros)
    return brotli.compress(zeros, quality=1) if coding == "br" else gzip.compress(zeros, 1)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_bomb_costs_little_more_than_its_limit(coding: str) -> None:
    body = bomb(coding)
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="larger than"):
            decode_body(body, coding, limit=LIMIT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * LIMIT


def test_a_flushed_stream_is_not_held_back() -> None:
    packer = zlib.compressobj(wbits=31)
    decoder = BodyDecoder("gzip", limit=LIMIT)
    sent = packer.compress(b"data: 1\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    assert decoder.feed(sent) == b"data: 1\n\n"


@given(st.sampled_from(sorted(CODINGS)), st.lists(st.integers(0, 400)))
def test_chunk_boundaries_do_not_matter(name: str, cuts: list[int]) -> None:
    coding, body = CODINGS[name]
    decoder = BodyDecoder(coding, limit=LIMIT)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    got = b"".join(decoder.feed(body[start:end]) for start, end in pairwise(edges))
    assert got + decoder.finish() == PLAIN


@given(st.binary(), st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip,br", None, "x"]))
def test_any_bytes_are_a_body_or_a_wire_error(body: bytes, coding: str | None) -> None:
    try:
        decode_body(body, coding, limit=4096)
    except WireError as refusal:
        assert refusal.code in {"unknown_encoding", "bad_encoding", "body_too_large"}


TEXTS = {
    "UTF-8 without a type": ("é".encode(), None, "é"),
    "UTF-8 without a charset": ("é".encode(), "application/json", "é"),
    "the charset may be quoted": (b"a", 'text/plain; x="a;charset=utf-16"; charset="UTF-8"', "a"),
    "a mark is dropped": (b"\xef\xbb\xbfa", None, "a"),
    "UTF-16 little endian": ("aé".encode("utf-16-le"), "a/b; charset=utf-16le", "aé"),
    "UTF-16 by its mark": ("aé".encode("utf-16"), "a/b;charset=UTF-16", "aé"),
    "UTF-16 big endian by its mark": (b"\xfe\xff\x00a", "a/b;charset=utf-16", "a"),
    "UTF-16 little endian with its mark": (b"\xff\xfea\0", "a/b;charset=utf-16le", "a"),
    "UTF-32 big endian": ("a".encode("utf-32-be"), "a/b;charset=utf-32be", "a"),
    "Latin-1": (b"\xe9", "text/html; charset=iso-8859-1", "é"),
    "ASCII": (b"a", "text/html; charset=us-ascii", "a"),
    "a parameter without a value": (b"a", "text/html; foo; charset=utf-8", "a"),
    "the same charset twice": (b"a", "a/b;charset=utf-8;charset=UTF-8", "a"),
}


@pytest.mark.parametrize(("body", "kind", "text"), TEXTS.values(), ids=TEXTS)
def test_decodes_text(body: bytes, kind: str | None, text: str) -> None:
    assert decode_text(body, kind) == text


BAD_TEXTS = {
    "Latin-1 bytes are no UTF-8": (b"\xe9", None, "not_utf8"),
    "a UTF-16 mark is no UTF-8": (b"\xff\xfea\0", None, "not_utf8"),
    "an unknown charset": (b"a", "a/b; charset=utf-7", "bad_charset"),
    "two charsets": (b"a", "a/b; charset=utf-8; charset=utf-16le", "bad_charset"),
    "UTF-16 with no order": (b"a\0", "a/b; charset=utf-16", "bad_charset"),
    "UTF-16 with half a character": (b"a", "a/b; charset=utf-16le", "bad_charset"),
    "UTF-16 of the other order": (b"\xfe\xff\x00a", "a/b; charset=utf-16le", "bad_charset"),
    "UTF-16 that begins as UTF-32": (b"\xff\xfe\0\0", "a/b; charset=utf-16le", "bad_charset"),
    "ASCII with more than ASCII": (b"\xe9", "a/b; charset=us-ascii", "bad_charset"),
    "a UTF-8 mark under Latin-1": (b"\xef\xbb\xbfa", "a/b; charset=latin1", "bad_charset"),
}


@pytest.mark.parametrize(("body", "kind", "code"), BAD_TEXTS.values(), ids=BAD_TEXTS)
def test_refuses_text(body: bytes, kind: str | None, code: str) -> None:
    with pytest.raises(WireError) as refusal:
        decode_text(body, kind)
    assert refusal.value.code == code


@given(st.binary(), st.text() | st.none())
def test_any_bytes_are_a_text_or_a_wire_error(body: bytes, kind: str | None) -> None:
    try:
        decode_text(body, kind)
    except WireError as refusal:
        assert refusal.code in {"not_utf8", "bad_charset"}


PLAIN_UTF8 = {
    "UTF-8": ("application/json", "é".encode(), True),
    "no type at all": (None, b"a", True),
    "a UTF-8 mark": (None, b"\xef\xbb\xbfa", True),
    "UTF-16 by name": ("a/b; charset=utf-16le", b"a\0", False),
    "Latin-1 by name, although the bytes are ASCII": ("a/b; charset=latin1", b"a", False),
    "bytes that are no UTF-8": (None, b"\xff", False),
    "an unknown charset": ("a/b; charset=x", b"a", False),
}


@pytest.mark.parametrize(("kind", "body", "plain"), PLAIN_UTF8.values(), ids=PLAIN_UTF8)
def test_knows_plain_utf8(kind: str | None, body: bytes, plain: bool) -> None:
    assert is_utf8(kind, body) is plain
