"""Streams of events are cut exactly, wherever the network cuts them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import WireError
from mitmgate.wire.sse import SseBlock, SseDecoder, drop_block, drop_notes, replace_data

STREAM = (
    b"\xef\xbb\xbf: hello\n\n"
    b"id: 1\r\ndata:\r\nretry: 100\r\n\r\n"
    b"event: message\rdata: one\rdata: two\r\r"
    b"data: caf\xc3\xa9 \xf0\x9f\x98\x80\n\n"
    b"\r\n"
    b"data:  two blanks\r\nid\r\n\r\n"
    b"data\n\n"
    b"event: endpoint\ndata: /message?sessionId=1\r\n\n"
    b": one\r\nretry: soon\rx: n\xc3\xa4h\nevent: a\nid: 7\ndata: x\nid: 8\nevent: b\r\n\r\n"
    b"data: cut off\n"
)
EVENTS = [
    ("message", None, None),
    ("message", "", "1"),
    ("message", "one\ntwo", None),
    ("message", "café 😀", None),
    ("message", None, None),
    ("message", " two blanks", ""),
    ("message", "", None),
    ("endpoint", "/message?sessionId=1", None),
    ("b", "x", "8"),
]
NOTES = [("hello",), *[()] * 7, ("one", "retry: soon", "x: näh", "7", "a")]


def told(blocks: list[SseBlock]) -> list[tuple[str, str | None, str | None]]:
    """Everything but the LF of a CRLF that was cut in two."""
    return [(b.event, b.data, b.id) for b in blocks if b.raw != b"\n"]


def noted(blocks: list[SseBlock]) -> list[tuple[str, ...]]:
    return [block.notes for block in blocks if block.raw != b"\n"]


def test_a_hard_stream_fed_whole() -> None:
    decoder = SseDecoder()
    blocks = list(decoder.feed(STREAM))
    assert told(blocks) == EVENTS
    assert noted(blocks) == NOTES
    assert decoder.finish() == b"data: cut off\n"
    assert b"".join(block.raw for block in blocks) + decoder.finish() == STREAM


def test_a_hard_stream_fed_byte_by_byte() -> None:
    decoder = SseDecoder()
    blocks = [block for byte in STREAM for block in decoder.feed(bytes([byte]))]
    assert told(blocks) == EVENTS
    assert noted(blocks) == NOTES
    assert b"".join(block.raw for block in blocks) + decoder.finish() == STREAM


@given(st.lists(st.integers(0, len(STREAM))))
def test_chunk_boundaries_do_not_matter(cuts: list[int]) -> None:
    decoder = SseDecoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    blocks = [block for a, b in pairwise(edges) for block in decoder.feed(STREAM[a:b])]
    assert told(blocks) == EVENTS
    assert noted(blocks) == NOTES
    assert b"".join(block.raw for block in blocks) + decoder.finish() == STREAM


def test_an_event_leaves_at_its_cr_and_its_late_lf_leaves_at_once() -> None:
    decoder = SseDecoder()
    assert list(decoder.feed(b"data: 1\r\n\r")) == [SseBlock(b"data: 1\r\n\r", data="1")]
    assert list(decoder.feed(b"\n")) == [SseBlock(b"\n")]
    assert list(decoder.feed(b"data: 2\r\n\r\n")) == [SseBlock(b"data: 2\r\n\r\n", data="2")]


def test_events_before_a_bad_one_are_not_lost() -> None:
    blocks = SseDecoder().feed(b"data: 1\n\ndata: 2\n\ndata: \xff\n\ndata: 3\n\n")
    assert next(blocks).data == "1"
    assert next(blocks).data == "2"
    with pytest.raises(WireError, match="UTF-8"):
        next(blocks)


def test_events_before_an_endless_one_are_not_lost() -> None:
    blocks = SseDecoder(limit=20).feed(b"data: 1\n\ndata: " + b"x" * 20)
    assert next(blocks).data == "1"
    with pytest.raises(WireError, match="larger"):
        next(blocks)


def test_blocks_that_nobody_took_come_with_the_next_chunk() -> None:
    decoder = SseDecoder()
    decoder.feed(b"data: 1\n\ndata:")
    assert [block.data for block in decoder.feed(b" 2\n\n")] == ["1", "2"]


READINGS: dict[str, tuple[bytes, SseBlock]] = {
    "one blank after the colon is dropped": (b"data:  x\n\n", SseBlock(b"", data=" x")),
    "no blank is needed": (b"data:x\n\n", SseBlock(b"", data="x")),
    "field names are exact": (
        b"Data: x\ndata : y\n\n",
        SseBlock(b"", notes=("Data: x", "data : y")),
    ),
    "the last event name wins": (
        b"event: a\nevent: b\n\n",
        SseBlock(b"", event="b", notes=("a",)),
    ),
    "an empty event name is the default": (b"event:\ndata:x\n\n", SseBlock(b"", data="x")),
    "an event name taken back is a note": (
        b"event: a\nevent\ndata:x\n\n",
        SseBlock(b"", data="x", notes=("a",)),
    ),
    "an id with NUL is none": (
        b"id: a\0\ndata:x\n\n",
        SseBlock(b"", data="x", notes=("id: a\0",)),
    ),
    "the last id wins": (b"id: a\nid: b\n\n", SseBlock(b"", id="b", notes=("a",))),
    "a comment has no data": (b": ping\n\n", SseBlock(b"", notes=("ping",))),
    "a comment without text is a note all the same": (b":\n\n", SseBlock(b"", notes=("",))),
    "a line without a colon is a field": (
        b"hello there\n\n",
        SseBlock(b"", notes=("hello there",)),
    ),
    "two empty data lines are one line end": (b"data\ndata\n\n", SseBlock(b"", data="\n")),
    "retry alone has no data": (b"retry: 5\n\n", SseBlock(b"")),
    "a retry in other digits is a note": (
        "retry: ٥\n\n".encode(),
        SseBlock(b"", notes=("retry: ٥",)),
    ),
    "a mark before the first field is dropped": (
        b"\xef\xbb\xbfdata: x\n\n",
        SseBlock(b"", data="x"),
    ),
    "only the first mark is dropped": (
        b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n",
        SseBlock(b"", notes=("\ufeffdata: x",)),
    ),
    "a mark and a blank line": (b"\xef\xbb\xbf\n", SseBlock(b"")),
    "a line separator inside a string stays": (
        'data: "a\u2028b"\n\n'.encode(),
        SseBlock(b"", data='"a\u2028b"'),
    ),
}


@pytest.mark.parametrize(("raw", "block"), READINGS.values(), ids=READINGS)
def test_reads(raw: bytes, block: SseBlock) -> None:
    expected = replace(block, raw=raw)
    assert list(SseDecoder().feed(raw)) == [expected]


REFUSED = {
    "bytes that are no UTF-8": (b"data: \xff\n\n", "not_utf8"),
    "half a character at the end of a line": (b"data: \xc3\n\n", "not_utf8"),
    "a complete event beyond the limit": (b"data: " + b"x" * 100 + b"\n\n", "event_too_large"),
    "an endless line": (b"data: " + b"x" * 100, "event_too_large"),
    "endless lines": (b"data: x\n" * 20, "event_too_large"),
    "a field behind a line separator": (": \u2028data: {}\n\n".encode(), "ambiguous_line"),
    "a field behind a form feed": (b"data: {}\x0cdata: {}\n\n", "ambiguous_line"),
    "a field behind NEL": ("data: {}\x85event: endpoint\n\n".encode(), "ambiguous_line"),
}


@pytest.mark.parametrize(("raw", "code"), REFUSED.values(), ids=REFUSED)
def test_refuses(raw: bytes, code: str) -> None:
    with pytest.raises(WireError) as refusal:
        list(SseDecoder(limit=80).feed(raw))
    assert refusal.value.code == code


def test_the_limit_counts_events_and_not_streams() -> None:
    decoder = SseDecoder(limit=20)
    assert len(list(decoder.feed(b"data: 0123456789\n\n" * 50))) == 50


@given(st.lists(st.binary()))
def test_any_bytes_are_blocks_or_a_wire_error(chunks: list[bytes]) -> None:
    decoder, raw = SseDecoder(limit=50), b""
    try:
        for chunk in chunks:
            raw += b"".join(block.raw for block in decoder.feed(chunk))
    except WireError as refusal:
        assert refusal.code in {"not_utf8", "event_too_large", "ambiguous_line"}
    else:
        assert raw + decoder.finish() == b"".join(chunks)


PARTS = st.sampled_from(
    [
        "data",
        "event",
        "id",
        "retry",
        "x",
        ":",
        ": ",
        "\r",
        "\n",
        "\r\n",
        "\ufeff",
        "é",
        "😀",
        "7",
        "\0",
    ]
)


@given(st.lists(PARTS, max_size=40).map("".join), st.data())
def test_no_cut_changes_what_any_stream_says(stream: str, data: st.DataObject) -> None:
    raw = stream.encode()
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=8))
    whole, cut = SseDecoder(), SseDecoder()
    expected = list(whole.feed(raw))
    edges = [0, *sorted(cuts), len(raw)]
    got = [block for a, b in pairwise(edges) for block in cut.feed(raw[a:b])]
    assert b"".join(block.raw for block in got) + cut.finish() == raw
    # The LF of a CRLF that was cut in two is one more blank line.
    said = [replace(block, raw=b"") for block in expected]
    assert [block for block in (replace(b, raw=b"") for b in got) if block != SseBlock(b"")] == [
        block for block in said if block != SseBlock(b"")
    ]


def only(raw: bytes) -> SseBlock:
    (block,) = SseDecoder().feed(raw)
    return block


REPLACED = {
    "the id is kept": (b"id: 1\nevent: message\ndata: x\n\n", True,
                       b"id: 1\nevent: message\ndata: y\n\n"),
    "the id is dropped": (b"id: 1\nretry: 5\ndata: x\n\n", False, b"retry: 5\ndata: y\n\n"),
    "line ends stay": (b"id: 1\r\ndata: x\r\n\r\n", True, b"id: 1\r\ndata: y\r\n\r\n"),
    "line ends of the old kind stay": (b"id: 1\rdata: x\r\r", True, b"id: 1\rdata: y\r\r"),
    "comments go": (b": psst\ndata: x\n\n", True, b"data: y\n\n"),
    "every data line is replaced": (b"data: x\ndata: z\n\n", True, b"data: y\n\n"),
    "unknown fields go": (b"x: psst\ndata: x\n\n", True, b"data: y\n\n"),
    "a retry that is none goes": (b"retry: psst\ndata: x\n\n", True, b"data: y\n\n"),
    "only the last event and id stay": (b"id: 1\nevent: a\ndata: x\nevent: b\nid: 2\n\n", True,
                                        b"id: 2\nevent: b\ndata: y\n\n"),
    "a mark goes": (b"\xef\xbb\xbfevent: e\ndata: x\n\n", True, b"event: e\ndata: y\n\n"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "keep_id", "replaced"), REPLACED.values(), ids=REPLACED)
def test_replaces_data(raw: bytes, keep_id: bool, replaced: bytes) -> None:
    assert replace_data(only(raw), "y", keep_id=keep_id) == replaced


@given(st.text(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_replaced_data_reads_back(data: str, end: str) -> None:
    block = only(f"id: 7{end}event: e{end}data: x{end}{end}".encode())
    data = "".join(c for c in data if c not in "\v\f\x1c\x1d\x1e\x85\u2028\u2029")
    got = only(replace_data(block, data, keep_id=True))
    normal = data.replace("\r\n", "\n").replace("\r", "\n")
    assert (got.event, got.data, got.id) == ("e", normal, "7")


DROPPED = {
    "an event without an id leaves nothing": (b"data: x\n\n", b""),
    "an id stays with empty data": (b"id: 4\nevent: e\ndata: x\n\n", b"id: 4\ndata:\n\n"),
    "an empty id stays too": (b"id\r\ndata: x\r\n\r\n", b"id: \r\ndata:\r\n\r\n"),
}


@pytest.mark.parametrize(("raw", "left"), DROPPED.values(), ids=DROPPED)
def test_drops(raw: bytes, left: bytes) -> None:
    assert drop_block(only(raw)) == left


UNNOTED = {
    "a comment beside data": (b": psst\ndata: x\ndata: z\nid: 1\n\n",
                              b"data: x\ndata: z\nid: 1\n\n"),
    "a comment alone keeps the connection alive": (b": psst\r\n: psst\r\n\r\n", b":\r\n\r\n"),
    "fields stay as they were written": (b"x: y\ndata:x\nretry: 5\n\n", b"data:x\nretry: 5\n\n"),
    "an id that is none goes": (b"id: a\0\ndata: x\n\n", b"data: x\n\n"),
    "what is overridden goes": (b"event: psst\ndata: x\nevent: e\n\n", b"event: e\ndata: x\n\n"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "left"), UNNOTED.values(), ids=UNNOTED)
def test_drops_notes(raw: bytes, left: bytes) -> None:
    assert drop_notes(only(raw)) == left


def test_a_mark_inside_a_stream_makes_an_unknown_field() -> None:
    *_, block = SseDecoder().feed(b": 1\n\n\xef\xbb\xbfevent: endpoint\ndata: x\n\n")
    assert block == SseBlock(block.raw, data="x", notes=("\ufeffevent: endpoint",))
    assert drop_notes(block) == b"data: x\n\n"
    assert replace_data(block, "y", keep_id=True) == b"data: y\n\n"


@given(st.lists(PARTS, max_size=40).map("".join))
def test_without_notes_a_block_says_the_same(stream: str) -> None:
    for block in SseDecoder().feed(stream.encode() + b"\n\n"):
        (got,) = SseDecoder().feed(drop_notes(block))
        assert (got.event, got.data, got.id) == (block.event, block.data, block.id)
        assert not any(got.notes)
