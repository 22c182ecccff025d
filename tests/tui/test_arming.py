"""The keys' small clock, on its own."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mitmgate_tui.arming import ARM_AFTER, ARM_AFTER_DECISION, Arming


class Hand:
    """A clock, and the keys on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.arming = Arming(lambda: self.now)

    def after(self, seconds: float) -> Hand:
        self.now += seconds
        return self


def test_keys_count_after_the_row_has_stood_still() -> None:
    hand = Hand()
    hand.arming.see("row")
    assert not hand.after(ARM_AFTER - 0.01).arming.armed
    assert hand.after(0.01).arming.armed


def test_another_row_starts_the_wait_even_if_nobody_looked() -> None:
    hand = Hand()
    hand.arming.see("row")
    assert not hand.after(5).arming.take("another")
    assert hand.after(ARM_AFTER).arming.take("another")


def test_the_same_row_does_not_start_the_wait() -> None:
    hand = Hand()
    for _ in range(10):
        hand.arming.see("row")
        hand.after(0.1)
    assert hand.arming.armed


def test_a_refused_press_starts_the_wait() -> None:
    hand = Hand()
    hand.arming.see("row")
    assert not hand.after(0.2).arming.take("row")
    assert not hand.after(0.2).arming.take("row")


@given(st.floats(0.2, 0.9), st.floats(0.02, 0.1), st.integers(1, 200))
def test_a_held_key_decides_once(first: float, repeat: float, presses: int) -> None:
    hand = Hand()
    hand.arming.see(0)
    assert hand.after(1).arming.take(0)
    hand.after(first)
    for row in range(1, presses):
        assert not hand.arming.take(row)
        hand.after(repeat)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 3))))
def test_two_decisions_are_never_close(presses: list[tuple[float, int]]) -> None:
    hand = Hand()
    taken = []
    for gap, row in presses:
        if hand.after(gap).arming.take(row):
            taken.append(hand.now)
    assert all(b - a >= ARM_AFTER_DECISION - 1e-9 for a, b in pairwise(taken))
