"""Bodies that are no text: what can be read in them is scanned, what chance made is not."""

from __future__ import annotations

import random

import pytest
from judging import KEY, decide, make_judge, request, with_scan

from mitmgate.judge.prepare import Body, _unread
from mitmgate.wire.surfaces import Surface

NOISE = random.Random(5).randbytes(100_000)  # noqa: S311
BINARY = (("content-type", "application/octet-stream"),)


@pytest.mark.parametrize("at", [0, 50_000, 100_000])
def test_a_credential_in_noise_is_found(at: int) -> None:
    hidden = NOISE[:at] + b"\xff" + KEY.encode() + b"\xff" + NOISE[at:]
    for body, told in ((NOISE, ("allow", "rule")), (hidden, ("deny", "finding"))):
        outcome = decide(make_judge(), request("PUT", "docs.example", "/x", body, BINARY))
        assert (outcome.verdict.word, outcome.code) == told


CARD = b"Pay with 4111 1111 1111 1111, and send the receipt to the address that I gave you."


@pytest.mark.parametrize("text", [CARD, CARD * 20], ids=["a sentence", "a page"])
def test_personal_data_in_text_is_found_beside_noise(text: bytes) -> None:
    strict = make_judge(with_scan("{pii: {egress_request: deny}}"))
    body = text + b"\xff" * len(text)
    outcome = decide(strict, request("PUT", "docs.example", "/x", body, BINARY))
    assert (outcome.verdict.word, outcome.code) == ("deny", "finding")
    assert {finding.pointer for finding in outcome.findings} == {"#body/text"}


def test_numbers_that_chance_made_are_no_personal_data() -> None:
    strict = make_judge(with_scan("{pii: {egress_request: deny}}"))
    body = b"4111111111111111".join([b"\xff" * 9] * 50)
    assert decide(strict, request("PUT", "docs.example", "/x", body, BINARY)).code == "rule"


def test_noise_costs_little() -> None:
    [text] = _unread(Surface.EGRESS_REQUEST, Body(unread=NOISE.decode("utf-8", "replace")))
    assert len(text.text) < len(NOISE) // 10


def test_a_text_with_a_few_broken_bytes_is_scanned_whole() -> None:
    words = "a\ufffd, b\ufffd, and other short words here and there " * 9
    [text] = _unread(Surface.EGRESS_REQUEST, Body(unread=words))
    assert text.text == words
