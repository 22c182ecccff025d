"""Rows that stand for equal calls, and marks: several rows answered after one look at a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mitmgate.control.models import FindingView
from mitmgate_tui.chosen import seen
from mitmgate_tui.screens.marked import MarkedScreen
from mitmgate_tui.widgets.waiting import Waiting

if TYPE_CHECKING:
    from tests.tui.conftest import Desk

from tests.tui.conftest import make_pending

EMAIL = FindingView(
    detector="pii", rule="pii.email", severity="low", surface="arguments", pointer="/a"
)


async def marked(desk: Desk, key: str, *names: str) -> None:
    """Let calls wait, mark all of them, and open the list with *key*."""
    calls = [
        make_pending(name, findings=(EMAIL,) if name.startswith("found") else ()) for name in names
    ]
    await desk.hold(*calls)
    for at in range(len(names)):
        await desk.press("space", *(["down"] if at < len(names) - 1 else []))
    await desk.arm()
    await desk.press(key)
    await desk.opens(MarkedScreen)


@pytest.mark.parametrize(("key", "answer", "says"), [
    ("A", "allow", "Approve, once each: 2 calls"), ("X", "deny", "Deny: 2 calls"),
])  # fmt: skip
async def test_all_marked_are_answered_but_those_with_findings(
    desk: Desk, key: str, answer: str, says: str
) -> None:
    await marked(desk, key, "first", "found", "second")
    await desk.shows(says)
    await desk.shows("⚠ found  github  claude@lap: something was found, look at it alone")
    assert desk.nothing_came()
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: len(desk.proxy.decided) == 2)
    await desk.settled()
    assert [(entry, asked.decision, asked.lasting) for entry, asked in desk.proxy.decided] == [
        ("first.0", answer, "once"), ("second.0", answer, "once"),
    ]  # fmt: skip
    assert list(desk.app.board.waiting) == ["found.0"]


async def test_it_stops_at_the_first_refusal_and_says_which(desk: Desk) -> None:
    desk.proxy.refuses = frozenset({"second.0"})
    desk.proxy.problem = {"code": "already_left", "detail": "Too late: tom denied it 2 s ago."}
    await marked(desk, "A", "first", "second", "third")
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: any("Stopped at second" in note for note in desk.notices()))
    assert any("tom denied it" in note for note in desk.notices())
    assert any("1 left: Too late" in note for note in desk.notices())
    assert [entry for entry, _ in desk.proxy.decided] == ["first.0"]


async def test_one_that_left_is_passed_over_and_told(desk: Desk) -> None:
    await marked(desk, "A", "first", "second", "third")
    await desk.arm()
    listed = desk.app._marked
    those = tuple(seen(entry, key="A") for entry in listed())
    desk.proxy.resolve("second.0", "deny")
    await desk.until(lambda: len(desk.app.board.waiting) == 2)
    desk.app._answer_all("allow", those)
    await desk.until(lambda: any("1 call of 3 had left" in note for note in desk.notices()))
    assert [entry for entry, _ in desk.proxy.decided] == ["first.0", "third.0"]


async def test_the_list_tells_calls_apart(desk: Desk) -> None:
    await desk.hold(
        make_pending("pay", id="a.0", arguments={"arguments": {"amount": 1}}, fingerprint="1"),
        make_pending("pay", id="b.0", arguments={"arguments": {"amount": 2}}, fingerprint="2",
                     detached=True),
    )  # fmt: skip
    await desk.press("space", "down", "space")
    await desk.arm()
    await desk.press("A")
    await desk.opens(MarkedScreen)
    for told in ("amount 1", "amount 2", "its next try passes", "Approve, once each: 2 calls"):
        await desk.shows(told)


async def test_what_left_meanwhile_is_left_out_and_disarms(desk: Desk) -> None:
    await marked(desk, "A", "first", "second")
    await desk.arm()
    desk.proxy.resolve("first.0", "deny")
    await desk.shows("first  github  claude@lap: has left")
    await desk.press("y")
    await desk.settled()
    assert desk.nothing_came()
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: desk.proxy.decided)
    await desk.settled()
    assert [entry for entry, _ in desk.proxy.decided] == ["second.0"]


@pytest.mark.parametrize("key", ["A", "X"])
async def test_nothing_is_marked(desk: Desk, key: str) -> None:
    await desk.hold(make_pending("pay"))
    await desk.arm()
    await desk.press(key)
    await desk.until(lambda: any("Nothing is marked" in note for note in desk.notices()))
    assert desk.nothing_came()


async def test_a_mark_is_shown_and_taken_off(desk: Desk) -> None:
    await desk.hold(make_pending("pay"))
    await desk.press("space")
    await desk.shows("●0:45")
    await desk.press("space")
    await desk.until(lambda: "●0:45" not in desk.text())


async def test_a_mark_goes_with_its_row(desk: Desk) -> None:
    await desk.hold(make_pending("pay"), make_pending("other"))
    await desk.press("space")
    desk.proxy.resolve("pay.0", "deny")
    await desk.until(lambda: len(desk.app.board.waiting) == 1)
    assert not desk.app.chosen.marked


# Equal calls


async def equals(desk: Desk, count: int) -> None:
    await desk.hold(
        *(make_pending("pay", id=f"{at}.0", fingerprint="same") for at in range(count)),
        make_pending("other", fingerprint="another"),
    )


def lines(desk: Desk) -> list[str]:
    waiting = desk.app.screen.query_one(Waiting)
    return [waiting.rows.at(at).id for at in range(len(waiting.rows))]


async def test_equal_calls_stand_in_one_row(desk: Desk) -> None:
    await equals(desk, 3)
    await desk.shows("x3 ")
    assert lines(desk) == ["0.0", "other.0"]
    await desk.shows("one of them, the others")
    await desk.shows("deny all of this row")


async def test_once_releases_the_oldest_and_the_row_stays_under_the_cursor(desk: Desk) -> None:
    await equals(desk, 3)
    await desk.arm()
    await desk.press("a")
    await desk.shows("x2 ")
    await desk.settled()
    assert [entry for entry, _ in desk.proxy.decided] == ["0.0"]
    assert lines(desk) == ["1.0", "other.0"]
    assert desk.app.view
    assert desk.app.view.target == "1.0"


async def test_a_row_that_becomes_another_call_disarms(desk: Desk) -> None:
    await equals(desk, 2)
    await desk.arm()
    desk.proxy.resolve("0.0", "deny")
    await desk.until(lambda: lines(desk) == ["1.0", "other.0"])
    await desk.press("a")
    await desk.settled()
    assert desk.nothing_came()


async def test_a_row_that_grows_disarms(desk: Desk) -> None:
    await equals(desk, 2)
    await desk.arm()
    await desk.hold(make_pending("pay", id="9.0", fingerprint="same"))
    await desk.press("d")
    await desk.settled()
    assert desk.nothing_came()


async def test_a_call_that_nobody_waits_behind_any_more_says_so(desk: Desk) -> None:
    await desk.hold(make_pending("pay", detached=True, wait=3600))
    await desk.shows("60:00 retry")
    await desk.shows("next try passes, once")


async def test_a_ghost_says_by_whom(desk: Desk) -> None:
    await desk.hold(make_pending("pay"), make_pending("other"))
    await desk.press("down")
    desk.proxy.resolve("pay.0", "deny", "console", operator="tom")
    await desk.shows("✗ denied by tom: pay")
