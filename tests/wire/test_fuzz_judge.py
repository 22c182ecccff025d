"""Hostile messages in every place of an exchange get an outcome, whatever came before them."""

from __future__ import annotations

from fuzzing import check_judge, corpus, fuzz_judge, inputs_of, mutate
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.integers(0, 2**20)
STEPS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=4)
TURNS = st.lists(st.tuples(NUMBERS, STEPS, NUMBERS), min_size=1, max_size=4)


@given(TURNS)
def test_every_message_gets_an_outcome(
    turns: list[tuple[int, list[tuple[int, int, int]], int]],
) -> None:
    judge = fuzz_judge()
    for message, steps, what in turns:
        data = mutate(corpus()[message % len(corpus())], steps)
        for one in inputs_of(data, what):
            check_judge(judge, one)
