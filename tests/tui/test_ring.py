"""The ring and the views on it, against lists that are made anew each time."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.tui.conftest import make_row

from mitmgate.control.models import FindingView, Row
from mitmgate_tui.entry import Entry
from mitmgate_tui.ring import Ring
from mitmgate_tui.views import Feed, Picked

if TYPE_CHECKING:
    from collections.abc import Callable

EMAIL = FindingView(
    detector="pii", rule="pii.email", severity="medium", surface="arguments", pointer="/to"
)
CAPACITY = 12


def ring_of(count: int, capacity: int) -> Ring:
    ring = Ring(capacity)
    for number in range(count):
        ring.append(Entry(make_row(f"n{number}")))
    return ring


def test_a_packed_row_is_the_row() -> None:
    row = make_row("pay", findings=(EMAIL, EMAIL), severity="high", shadow="deny by x", held=True)
    entry = Entry(row)
    assert entry.row == row
    assert entry.row.model_dump_json() == row.model_dump_json()
    assert (entry.id, entry.get("severity")) == ("pay.0", "high")


def test_equal_values_of_two_rows_are_kept_once() -> None:
    one, two = (
        Entry(Row.model_validate_json(make_row("x", reason="r" * 90).model_dump_json()))
        for _ in range(2)
    )
    assert one.get("reason") is two.get("reason")


def test_the_oldest_rows_leave_and_the_others_keep_their_numbers() -> None:
    ring = ring_of(25, 10)
    assert [entry.id for entry in ring] == [f"n{number}.0" for number in range(15, 25)]
    assert (ring.first, ring.end, len(ring)) == (15, 25, 10)
    assert "n14.0" not in ring
    entry = ring.get("n20.0")
    assert entry is not None
    assert ring.index(entry) == 5
    assert ring.at(5) is entry


def test_a_row_takes_less_than_a_kilobyte() -> None:
    lines = [make_row(f"n{number}", tool="get_issue").model_dump_json() for number in range(2_000)]
    ring = Ring(2_000)
    tracemalloc.start()
    try:
        for line in lines:
            ring.append(Entry(Row.model_validate_json(line)))
        each = tracemalloc.get_traced_memory()[0] / len(lines)
    finally:
        tracemalloc.stop()
    assert each < 1_000


def test_a_filter_shows_the_newest_rows_after_its_first_slice() -> None:
    ring = ring_of(10_000, 10_000)
    feed = Feed(ring)
    feed.pick(lambda entry: entry.seq % 2 == 0)
    assert feed.step(100)
    assert [feed.at(i).seq for i in range(len(feed))] == list(range(9_900, 10_000, 2))
    while feed.step(1_000):
        pass
    assert len(feed) == 5_000


class Views(RuleBasedStateMachine):
    """Entries come, change and leave while the operator filters, sorts and pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = Ring(CAPACITY)
        self.feed = Feed(self.ring)
        self.keep: Callable[[Entry], bool] = lambda _: True
        self.still: list[Entry] | None = None
        self.key: Callable[[Entry], int] | None = None
        self.count = 0

    @rule(edits=st.integers(0, 3))
    def come(self, edits: int) -> None:
        entry = Entry(make_row(f"n{self.count}", edits=edits))
        self.count += 1
        left = self.ring.append(entry)
        if left is not None:
            self.feed.left(left)
        self.feed.added(entry)

    @precondition(lambda self: len(self.ring) > 0 and self.key is None)
    @rule(data=st.data(), edits=st.integers(0, 3))
    def change(self, data: st.DataObject, edits: int) -> None:
        entry = self.ring.at(data.draw(st.integers(0, len(self.ring) - 1)))
        entry.row = entry.row.model_copy(update={"edits": edits})
        self.feed.changed(entry)

    @rule(least=st.one_of(st.none(), st.integers(0, 3)))
    def filter(self, least: int | None) -> None:
        self.keep = lambda entry: least is None or entry.get("edits") >= least
        self.feed.pick(None if least is None else self.keep)

    @rule()
    def pause(self) -> None:
        if self.still is None:
            self.still = list(self.ring)
        self.feed.pause()

    @rule()
    def resume(self) -> None:
        self.still = self.key = None
        self.feed.resume()

    @rule(reverse=st.booleans())
    def sort(self, reverse: bool) -> None:
        self.pause()
        self.key = lambda entry: -entry.get("edits") if reverse else entry.get("edits")
        self.feed.sort(lambda entry: entry.get("edits"), reverse=reverse)

    @rule(size=st.integers(1, 5))
    def work_a_little(self, size: int) -> None:
        self.feed.step(size)

    @invariant()
    def what_is_shown_is_found_again(self) -> None:
        for line in range(len(self.feed)):
            assert self.feed.index(self.feed.at(line)) == line

    @invariant()
    def after_the_work_it_is_what_a_list_would_show(self) -> None:
        if self.feed.busy:
            return
        source = list(self.ring) if self.still is None else self.still
        wanted = [entry for entry in source if self.keep(entry)]
        if self.key is not None:
            wanted.sort(key=self.key)
        assert [self.feed.at(line) for line in range(len(self.feed))] == wanted


TestViews = Views.TestCase
TestViews.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_row_under_the_cursor_stays_until_it_is_let_go() -> None:
    ring = ring_of(3, 10)
    feed = Feed(ring)
    feed.pick(lambda entry: not entry.get("edits"))
    feed.step()
    entry = ring.at(1)
    feed.hold(entry)
    entry.row = entry.row.model_copy(update={"edits": 1})
    feed.changed(entry)
    assert feed.index(entry) == 1
    feed.hold(None)
    assert feed.index(entry) is None
    assert len(feed) == 2


def test_a_view_that_stands_still_keeps_rows_that_left_the_ring() -> None:
    ring = ring_of(10, 10)
    feed = Feed(ring)
    feed.pause()
    for number in range(100, 115):
        left = ring.append(Entry(make_row(f"n{number}")))
        assert left
        feed.left(left)
    assert [feed.at(i).id for i in range(len(feed))] == [f"n{number}.0" for number in range(10)]
    assert feed.arrived == 15
    feed.resume()
    assert feed.at(9).id == "n114.0"


def test_picked_entries_are_found_by_number() -> None:
    picked = Picked()
    entries = [Entry(make_row(f"n{seq}"), seq) for seq in range(0, 20, 2)]
    for entry in entries[5:]:
        picked.append(entry)
    for entry in reversed(entries[:5]):
        picked.prepend(entry)
    assert [picked.at(i) for i in range(len(picked))] == entries
    assert [picked.index(entry) for entry in entries] == list(range(10))
    assert picked.index(Entry(make_row("other"), 3)) is None
    for _ in range(10):
        picked.drop(0)
    assert len(picked) == 0
