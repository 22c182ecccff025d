"""Hostile bytes get an event or ``WireError`` and nothing else; `make fuzz` looks for longer."""

from __future__ import annotations

import pytest
from fuzzing import (
    CODINGS,
    LIMIT,
    TOKENS,
    as_stream,
    check_decoding,
    check_parsing,
    check_stream,
    corpus,
    mutate,
)
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.wire.body import decode_body
from mitmgate.wire.jsonrpc import parse_message

NUMBERS = st.integers(0, 2**20)
STEPS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=6)
MUTATED = st.builds(mutate, st.integers(0, 2**20).map(lambda n: corpus()[n % len(corpus())]), STEPS)
BYTES = MUTATED | st.binary(max_size=200)


@given(BYTES, NUMBERS)
def test_a_body_is_decoded_within_its_limit_or_refused(data: bytes, what: int) -> None:
    check_decoding(data, what)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_large_body_comes_back_whole(coding: str) -> None:
    # So few bytes that a decoder has taken them all long before it has given the last.
    body = b"A" * 1_000_000
    assert decode_body(CODINGS[coding](body), coding, limit=2 * len(body)) == body


@given(BYTES)
def test_a_text_is_read_as_a_message_or_refused(data: bytes) -> None:
    check_parsing(data)


@given(BYTES, NUMBERS, STEPS, st.lists(NUMBERS, max_size=5))
def test_a_stream_is_the_same_however_it_is_cut(
    data: bytes, what: int, steps: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    check_stream(mutate(as_stream(data, what), steps), cuts)


HEAD, TAIL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"', b'"}}'
NASTY = {
    f"{token[:20]!r} {place}": data
    for token in TOKENS
    for place, data in {
        "alone": token,
        "before a call": token + HEAD + TAIL,
        "in a call": HEAD + token + TAIL,
        "after a call": HEAD + TAIL + token,
    }.items()
} | {"more than the limit": b" " * (2 * LIMIT)}


@pytest.mark.parametrize("data", NASTY.values(), ids=NASTY)
def test_each_token(data: bytes) -> None:
    number = len(data)
    check_parsing(data)
    check_decoding(data, number)
    for kind in range(15):
        check_stream(as_stream(data, kind), [number, 3, 4, 5])


def test_the_corpus_as_it_is() -> None:
    for data in corpus():
        check_parsing(data)
        parse_message(data.decode())


def test_the_corpus_is_large_and_mutations_do_what_they_say() -> None:
    assert len(corpus()) > 500
    before = corpus()[0]
    assert mutate(before, []) == before
    assert mutate(before, [(4, 5, 0)]) == before[:5]


def test_the_oracles_notice_a_lost_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzzing.SseDecoder.finish", lambda _: b"")
    with pytest.raises(AssertionError):
        check_stream(b"data: x", [])
