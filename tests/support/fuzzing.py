"""Hostile bytes, made of real messages, and what must hold for all that reads them.

What must hold for the judge stands in ``hostile_exchanges``. A mutation is three numbers, so that
hypothesis can shrink a list of them and a plain random loop can make millions. Each oracle takes
bytes and raises nothing but AssertionError.
"""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import brotli
import zstandard
from judging import JSON
from specification import MODERN, exchanges, spellings

from mitmgate.errors import WireError
from mitmgate.wire.body import BodyDecoder, decode_body, decode_text
from mitmgate.wire.edit import apply_edits
from mitmgate.wire.jsonrpc import (
    Batch,
    Failure,
    Message,
    Notification,
    Request,
    Result,
    looks_like_jsonrpc,
    parse_message,
)
from mitmgate.wire.mirror import header_mismatch
from mitmgate.wire.recognise import Recognition, is_modern, protocol_version, recognise, target_name
from mitmgate.wire.sse import SseBlock, SseDecoder
from mitmgate.wire.surfaces import Text, walk_error, walk_params, walk_result

type Step = tuple[int, int, int]
"""What to do, where (modulo the length) and with which token (modulo their number)."""

LIMIT = 64 * 1024
TOKENS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\r", b"\n", b"\r\n\r\n", b"\n\ndata: ",
    b"\nid: 1\nevent: endpoint\n", b": ", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe",
    b"\xfe\xff", b"\xe2\x80\xa8", b"\xc3", b"\\ud800", b"\\u0000", b"\\u017f", b"1e999", b"NaN",
    b"-0", b"9" * 5000, b"[" * 30_000, b'{"a":' * 200, b'"jsonrpc":"2.0",',
    b'"method":"tools/call",', b'"Method":"ping",', b'"id":null,', b'"id":true,', b'"params":[],',
    b'"result":{},', b'"error":{},', b'"name":"x",',
    b'"_meta":{"io.modelcontextprotocol/protocolVersion":"x"},',
    b"//", b"/**/", b"'", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"A" * 300,
)  # fmt: skip
CODECS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "latin-1")
CONTENT_TYPES = (
    None, "application/json", "application/json; charset=utf-8", "text/event-stream",
    "application/json; charset=utf-16le", 'application/json; charset="utf-8"; charset=x',
    "application/json;charset=utf-7", "text/plain;;=;charset", "image/png;x=application/json",
)  # fmt: skip
NAMES = ("", "t", "=?base64?/w==?=", "=?base64?w7?=", "=?base64?", "=?base64??=", "\xe9")
CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@functools.cache
def corpus() -> tuple[bytes, ...]:
    """Return each message of MCP once in each spelling, and batches of some of them."""
    values = [one for x in exchanges().values() for one in (x.message, *x.answers.values())]
    texts = {
        text: None for value in (*values, values[:3], values[-2:]) for text in spellings(value)
    }
    return tuple(text.encode() for text in texts)


def mutate(data: bytes, steps: Iterable[Step]) -> bytes:
    """Return *data* after *steps*; never more than a few times as long."""
    for kind, place, what in steps:
        at = place % (len(data) + 1)
        data = _KINDS[kind % len(_KINDS)](data, at, what)[: 4 * LIMIT]
    return data


def _insert(data: bytes, at: int, what: int) -> bytes:
    return data[:at] + TOKENS[what % len(TOKENS)] + data[at:]


def _overwrite(data: bytes, at: int, what: int) -> bytes:
    token = TOKENS[what % len(TOKENS)]
    return data[:at] + token + data[at + len(token) :]


def _flip(data: bytes, at: int, what: int) -> bytes:
    return data[:at] + bytes([(data[at] ^ (1 << what % 8))]) + data[at + 1 :] if data[at:] else data


def _cut(data: bytes, at: int, what: int) -> bytes:
    return data[:at] + data[at + what % 40 :]


def _truncate(data: bytes, at: int, _: int) -> bytes:
    return data[:at]


def _repeat(data: bytes, at: int, what: int) -> bytes:
    return data[:at] + data[at : at + what % 60] * 2 + data[at:]


def _splice(data: bytes, at: int, what: int) -> bytes:
    other = corpus()[what % len(corpus())]
    return data[:at] + other[at % len(other) :]


def _recode(data: bytes, _: int, what: int) -> bytes:
    return data.decode("utf-8", "replace").encode(CODECS[what % len(CODECS)], "replace")


_KINDS = (_insert, _overwrite, _flip, _cut, _truncate, _repeat, _splice, _insert, _recode)


def as_stream(data: bytes, what: int) -> bytes:
    """Return *data* as the data of events, their line ends and mark chosen by *what*."""
    end = (b"\n", b"\r\n", b"\r")[what % 3]
    mark = b"" if what % 5 else b"\xef\xbb\xbf"
    return (
        mark + b"event: message" + end + b"id: 1" + end + b"data: " + data + end + end + b":" + end
    )


def check_decoding(data: bytes, what: int) -> None:
    """A body of any coding and charset: bytes within the limit, or WireError."""
    for name, pack in CODINGS.items():
        if what % 2:
            assert decode_body(pack(data), name, limit=16 * LIMIT) == data
        for packed in (data, pack(data), mutate(pack(data), [(what, what // 7, what // 11)])):
            whole = _decoded([packed], name)
            for at in (1, what % (len(packed) + 1)):
                assert _decoded([packed[:at], packed[at:]], name) == whole
    assert decode_body(data, None, limit=16 * LIMIT) == data
    for content_type in CONTENT_TYPES:
        try:
            text = decode_text(data, content_type)
        except WireError as problem:
            assert problem.code in ("not_utf8", "bad_charset")
        else:
            assert len(text) <= len(data)


def _decoded(pieces: Sequence[bytes], coding: str) -> bytes | None:
    """Return the decoded pieces; None where they are refused, for size or for form, or empty.

    An empty zstd frame of a false size is refused in one piece and read in two by libzstd.
    """
    decoder, out = BodyDecoder(coding, limit=LIMIT), b""
    try:
        for piece in pieces:
            out += decoder.feed(piece)
        decoder.finish()
    except WireError:
        return None
    assert len(out) <= LIMIT
    return out or None


def check_parsing(data: bytes) -> None:
    """A text of any kind: a message that every question has an answer for, or WireError."""
    text = data.decode("utf-8", "replace")
    suspect = looks_like_jsonrpc(data)
    assert suspect in (True, False)
    assert apply_edits(text, ()) == text
    try:
        message = parse_message(text)
    except WireError as problem:
        assert problem.code
        return
    # What the strict parser reads, the sloppy one must see: it is asked what was refused.
    assert looks_like_jsonrpc(text)
    _check_questions(message)
    _check_walk(message)


def _check_questions(message: Message | Batch) -> None:
    method = message.method if isinstance(message, Request | Notification) else "x"
    named = (("mcp-protocol-version", MODERN), ("mcp-method", method))
    for headers in ((), JSON, *((*named, ("mcp-name", name)) for name in NAMES)):
        assert recognise(message, headers) in Recognition
        assert is_modern(message, headers) in (True, False)
        assert isinstance(header_mismatch(message, headers), str | None)
        assert isinstance(protocol_version(message, headers), str | None)
    if isinstance(message, Request | Notification):
        assert isinstance(target_name(message.method, message.params), str | None)


def _check_walk(message: Message | Batch) -> None:
    for text in _walk(message):
        assert isinstance(text.text, str)
        assert text.pointer.startswith("/")


def _walk(message: Message | Batch) -> Iterator[Text]:
    match message:
        case Request() | Notification():
            yield from walk_params(message.method, message.params)
        case Result():
            yield from walk_result("tools/list", message.result)
        case Failure():
            yield from walk_error(message.error)
        case Batch():
            for item in message.messages:
                yield from _walk(item)


def check_stream(data: bytes, cuts: Iterable[int]) -> None:
    """A stream cut anywhere: the same blocks, every byte kept, memory bounded, or WireError."""
    edges = sorted(cut % (len(data) + 1) for cut in cuts)
    whole, problem = _blocks([data])
    pieces = [data[start:end] for start, end in pairwise([0, *edges, len(data)])]
    parts, again = _blocks(pieces)
    assert problem == again
    if problem is None:
        assert [(b.event, b.data, b.id) for b in whole if b.data is not None] == [
            (b.event, b.data, b.id) for b in parts if b.data is not None
        ]
        joined = b"".join(block.raw for block in parts)
        assert data.startswith(joined)
        assert b"".join(block.raw for block in whole) == joined


def _blocks(pieces: Iterable[bytes]) -> tuple[list[SseBlock], str | None]:
    decoder, blocks, taken = SseDecoder(limit=16 * LIMIT), list[SseBlock](), 0
    try:
        for piece in pieces:
            taken += len(piece)
            blocks += decoder.feed(piece)
    except WireError as problem:
        return blocks, problem.code
    assert sum(len(block.raw) for block in blocks) + len(decoder.finish()) == taken
    return blocks, None
