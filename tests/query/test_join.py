"""Joining decisions with what became of them, in bounded memory and in order."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mitmgate.query.filters import Filters, parse_since
from mitmgate.query.join import Entry, join
from mitmgate.query.records import Damage, Record

EXCHANGES = st.sampled_from("abcd")


def _decision(exchange: str, number: int) -> dict[str, Any]:
    return {"type": "decision", "id": f"{exchange}.{number}", "exchange": exchange, "time": "t"}


STEPS = st.lists(
    st.builds(_decision, EXCHANGES, st.integers(0, 3))
    | st.builds(lambda e: {"type": "completion", "exchange": e}, EXCHANGES)
    | st.builds(lambda e, n: {"type": "resolution", "id": f"{e}.{n}"}, EXCHANGES, st.integers(0, 3))
    | st.just({"type": "note"}),
    max_size=40,
)


def _unexpected(damage: Damage) -> None:
    raise AssertionError(damage)


@given(STEPS, st.integers(1, 5))
def test_every_decision_comes_once_and_in_order(steps: list[Record], window: int) -> None:
    entries = list(join(steps, Filters(), _unexpected, window=window))
    decisions = [step for step in steps if step["type"] == "decision"]
    assert [entry.decision for entry in entries] == decisions


def test_no_more_than_the_window_waits() -> None:
    pulled = 0

    def records() -> Any:
        nonlocal pulled
        for number in range(100):
            pulled += 1
            yield _decision(f"x{number}", 0)

    first = next(join(records(), Filters(), _unexpected, window=10))
    assert first.decision["exchange"] == "x0"
    assert pulled == 11


def test_a_completion_belongs_to_every_decision_of_its_exchange() -> None:
    done = {"type": "completion", "exchange": "a"}
    entries = list(join([_decision("a", 0), _decision("a", 1), done], Filters(), _unexpected))
    assert entries == [Entry(_decision("a", 0), None, done), Entry(_decision("a", 1), None, done)]


def test_durations_count_back_from_now() -> None:
    assert [parse_since(text, now=1e6) for text in ("90s", "30m", "1h", "7d")] == [
        1e6 - 90, 1e6 - 1800, 1e6 - 3600, 1e6 - 604_800,
    ]  # fmt: skip
