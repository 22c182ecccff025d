"""The live view's keys: filter, pause, order, columns; and the panes behind the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual.widgets import Input

from mitmgate.control.models import Completed, CompletedEvent
from mitmgate_tui.columns import BY_NAME, COLUMNS, fitting, line, seconds, size
from mitmgate_tui.screens.columns import ColumnsScreen
from mitmgate_tui.screens.main import MainScreen
from mitmgate_tui.widgets.live import Live

if TYPE_CHECKING:
    from tests.tui.conftest import Desk, OpenDesk

from rich.cells import cell_len
from tests.tui.conftest import FakeClock, make_pending, make_row

from mitmgate_tui.entry import Entry


def live(desk: Desk) -> Live:
    return desk.app.screen.query_one(Live)


def listed(desk: Desk) -> list[str]:
    view = live(desk)
    return [view.rows.at(at).id.removesuffix(".0") for at in range(len(view.rows))]


async def filled(desk: Desk, *names: str) -> None:
    desk.proxy.row(*(make_row(name) for name in names))
    await desk.until(lambda: f"{names[-1]}.0" in desk.app.board.entries)
    await desk.pilot.pause()


def ended(name: str, latency: float) -> CompletedEvent:
    done = Completed(
        exchange=name, status=200, request_bytes=10, response_bytes=int(latency * 1000),
        latency=latency, fate="answered",
    )  # fmt: skip
    return CompletedEvent(completed=done)


# Filter


async def test_the_view_is_filtered_as_you_type(desk: Desk) -> None:
    await filled(desk, "create_issue", "get_issue", "search")
    await desk.press("slash", *"tool:*_issue")
    await desk.until(lambda: listed(desk) == ["create_issue", "get_issue"])
    await desk.shows("Live · / tool:*_issue")
    await filled(desk, "close_issue", "find")
    await desk.until(lambda: listed(desk) == ["create_issue", "get_issue", "close_issue"])


async def test_a_half_typed_word_shows_all_and_says_so(desk: Desk) -> None:
    await filled(desk, "one", "two")
    await desk.press("slash", *"server:")
    await desk.shows("server: wants a value")
    assert listed(desk) == ["one", "two"]


async def test_enter_keeps_the_filter_and_escape_clears_it(desk: Desk) -> None:
    await filled(desk, "one", "two")
    await desk.press("slash", *"one", "enter")
    await desk.until(lambda: live(desk).has_focus)
    assert listed(desk) == ["one"]
    await desk.press("slash", "escape")
    await desk.until(lambda: live(desk).has_focus)
    await desk.until(lambda: listed(desk) == ["one", "two"])
    assert not desk.app.screen.query_one(Input).value


async def test_a_filter_that_nothing_matches_says_so(desk: Desk) -> None:
    await filled(desk, "one")
    await desk.press("slash", *"zzz")
    await desk.shows("no row matches")


async def test_letters_of_a_filter_never_decide(desk: Desk) -> None:
    desk.proxy.hold(make_pending("pay"))
    await desk.shows("pay")
    await desk.arm()
    await desk.press("slash")
    await desk.until(lambda: isinstance(desk.app.focused, Input))
    for key in "adr":
        desk.clock.advance(1.0)
        await desk.pilot.pause()
        assert not desk.app.armed
        await desk.press(key)
        desk.app.action_decide("once")
    assert desk.app.screen.query_one(Input).value == "adr"
    await desk.pilot.pause()
    assert desk.app._intent is None
    assert not desk.proxy.decided
    await desk.press("escape")


async def test_the_end_of_an_exchange_may_bring_a_row_in(desk: Desk) -> None:
    await filled(desk, "one", "two")
    await desk.press("slash", *"~c 200")
    await desk.until(lambda: listed(desk) == [])
    desk.proxy.send(ended("one", 0.1))
    await desk.until(lambda: listed(desk) == ["one"])


async def test_filter_and_only_not_allowed_go_together(desk: Desk) -> None:
    desk.proxy.row(make_row("a"), make_row("b", verdict="deny"), make_row("c", verdict="deny"))
    await desk.shows(" c ")
    await desk.press("x", "slash", *"tool:b", "enter")
    await desk.until(lambda: listed(desk) == ["b"])
    await desk.press("x")
    await desk.until(lambda: listed(desk) == ["b"])


# Pause and order


async def test_a_paused_view_stands_still_and_counts(desk: Desk) -> None:
    await filled(desk, "one")
    await desk.press("p")
    await filled(desk, "two", "three")
    await desk.shows("paused, 2 new")
    assert listed(desk) == ["one"]
    await desk.press("p")
    await desk.until(lambda: listed(desk) == ["one", "two", "three"])
    await desk.shows("following")


async def test_escape_lets_a_paused_view_go_on(desk: Desk) -> None:
    await filled(desk, "one")
    await desk.press("p", "up")
    await filled(desk, "two")
    await desk.press("escape")
    await desk.until(lambda: listed(desk) == ["one", "two"])
    await desk.shows("following")


async def test_rows_are_ordered_by_latency_and_stand_still_meanwhile(desk: Desk) -> None:
    await filled(desk, "slow", "fast", "middle")
    desk.proxy.send(ended("slow", 3), ended("fast", 0.01), ended("middle", 0.5))
    await desk.shows("500 ms")
    await desk.press("o")
    await desk.until(lambda: listed(desk) == ["slow", "middle", "fast"])
    await desk.shows("by latency ↓ · paused")
    await filled(desk, "late")
    assert "late" not in listed(desk)
    await desk.press("escape")
    await desk.until(lambda: listed(desk) == ["slow", "fast", "middle", "late"])


async def test_after_the_last_order_comes_arrival(desk: Desk) -> None:
    await filled(desk, "b", "a")
    seen = []
    for _ in range(9):
        await desk.press("o")
        await desk.pilot.pause()
        seen.append(str(live(desk).border_title))
    assert "by what ↑" in seen[6]
    assert "following" in seen[8]
    assert listed(desk) == ["b", "a"]


async def test_a_row_under_the_cursor_stays_in_sight_while_the_order_changes(desk: Desk) -> None:
    await filled(desk, *(f"n{number}" for number in range(100)))
    await desk.press("g", "o")
    assert live(desk).selected == "n0.0"


# Columns


def test_the_most_wanted_columns_fit_first() -> None:
    assert [column.name for column in fitting(40)] == ["time", "verdict", "what", "findings"]
    assert {column.name for column in fitting(200)} == set(BY_NAME)
    assert [column.name for column in fitting(200, ("bytes", "time"))] == ["bytes", "time", "what"]


@pytest.mark.parametrize("width", range(10, 160, 7))
@pytest.mark.parametrize("channel", ["mcp", "egress"])
def test_a_line_is_as_wide_as_it_should_be(width: int, channel: str) -> None:
    entry = Entry(make_row("x" * 300, channel=channel, agent="支払い" * 9, rule="ש" * 60))
    clock = FakeClock().clock()
    parts = line(entry, fitting(width), width, clock)
    assert sum(cell_len(text) for text, _ in parts) == width


async def test_columns_are_chosen_in_a_box(open_desk: OpenDesk) -> None:
    async with open_desk(size=(200, 45)) as desk:
        await filled(desk, "one")
        desk.proxy.send(ended("one", 2))
        await desk.shows("2.0 s")
        await desk.press("v")
        await desk.until(lambda: isinstance(desk.app.screen, ColumnsScreen))
        await desk.shows("bytes out and back")
        await desk.press(*["down"] * 8, "enter", "escape")
        await desk.until(lambda: isinstance(desk.app.screen, MainScreen))
        await desk.until(lambda: "2.0 s" not in desk.text().split("Detail")[0])
        names = live(desk).chosen_columns
        assert names is not None
        assert "latency" not in names
        assert "what" in names


SIZES = {0: "0 B", 999: "999 B", 1_000: "1.0 kB", 13_400: "13 kB", 5 * 10**6: "5.0 MB"}


@pytest.mark.parametrize(("count", "expected"), SIZES.items())
def test_sizes_are_short(count: int, expected: str) -> None:
    assert size(count) == expected


def test_latencies_are_short() -> None:
    assert [seconds(s) for s in (None, 0.0123, 1.25, 345.6)] == ["", "12 ms", "1.2 s", "346 s"]


def test_every_column_can_be_drawn_and_sorted() -> None:
    entry = Entry(make_row("one", server=None, tool=None))
    for column in COLUMNS:
        assert isinstance(column.draw(entry, entry.row, FakeClock().clock())[0], str)
        assert column.key(entry) is not None
