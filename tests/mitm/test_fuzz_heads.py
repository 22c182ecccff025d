"""Mutated requests into the real layers, hooks and judge: refused, or read alike by the server."""

from __future__ import annotations

import random

import pytest
from fuzz_heads import CORPUS, check_request, mutated
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmgate.judge import prepare

ENOUGH = settings.default.max_examples * 6 if settings.default else 360
NUMBER = st.integers(0, 2**20)
STEPS = st.lists(st.tuples(NUMBER, NUMBER, NUMBER), min_size=1, max_size=5)
CUTS = st.lists(st.integers(0, 300), max_size=3)
# How many requests of the corpus pass, and how many are refused.
PASS = [(1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (0, 1), (2, 0), (1, 0), (0, 1), (0, 1)]


@pytest.mark.parametrize(("raw", "wanted"), zip(CORPUS, PASS, strict=True))
@pytest.mark.parametrize("cuts", [(), (1, 20, 70), range(300)], ids=["whole", "cut", "bytes"])
def test_the_ground_of_the_mutations(raw: bytes, wanted: tuple[int, int], cuts: range) -> None:
    assert check_request(raw, cuts) == wanted


@settings(max_examples=ENOUGH)
@given(NUMBER, STEPS, CUTS)
def test_a_request_is_refused_or_arrives_as_it_was_judged(
    base: int, steps: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    check_request(mutated(base, steps), cuts)


def test_the_oracle_sees_what_an_open_gate_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "check_head", lambda _: None)
    monkeypatch.setattr(prepare, "check_names", lambda _: None)
    chance, seen = random.Random(1), 0  # noqa: S311 - repeatable, not secret
    for _ in range(600):
        steps = [tuple(chance.randrange(2**20) for _ in range(3))]
        try:
            check_request(mutated(chance.randrange(2**20), steps), ())  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - whatever it says
            seen += 1
    assert seen > 5
