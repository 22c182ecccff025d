"""The keys that decide, and everything that must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual import events
from textual.widgets import Input

from mitmgate_tui.app import Options
from mitmgate_tui.screens.detail import DetailScreen
from mitmgate_tui.screens.reason import ReasonScreen
from mitmgate_tui.widgets.waiting import MAX_GHOSTS, Waiting

if TYPE_CHECKING:
    from tests.tui.conftest import Desk, OpenDesk

from tests.tui.conftest import SCOPES, make_pending, make_row


async def held(desk: Desk, *names: str) -> None:
    desk.proxy.hold(*(make_pending(name) for name in names))
    await desk.until(lambda: len(desk.app.board.waiting) == len(names))
    await desk.pilot.pause()


def answers(desk: Desk) -> list[tuple[str, str, str | None]]:
    return [(entry, body.decision, body.reason) for entry, body in desk.proxy.decided]


@pytest.mark.parametrize(("key", "answer"), [("a", "allow"), ("d", "deny")])
async def test_one_key_decides_the_call_under_the_cursor(desk: Desk, key: str, answer: str) -> None:
    await held(desk, "first", "second")
    await desk.arm()
    await desk.press(key)
    await desk.until(lambda: desk.proxy.decided)
    await desk.until(lambda: len(desk.app.board.waiting) == 1)
    assert answers(desk) == [("first.0", answer, None)]
    assert desk.proxy.decided[0][1].via == "console"
    assert desk.proxy.decided[0][1].operator == "test"


async def test_the_second_row_is_decided_when_it_is_selected(desk: Desk) -> None:
    await held(desk, "first", "second")
    await desk.press("j")
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: desk.proxy.decided)
    assert answers(desk) == [("second.0", "allow", None)]


async def test_a_reason_goes_to_the_agent(desk: Desk) -> None:
    await held(desk, "pay")
    await desk.arm()
    await desk.press("r")
    await desk.until(lambda: isinstance(desk.app.screen, ReasonScreen))
    await desk.press(*"too much", "enter")
    await desk.until(lambda: desk.proxy.decided)
    assert answers(desk) == [("pay.0", "deny", "too much")]


@pytest.mark.parametrize("keys", [["escape"], ["n", "o", "escape"], ["enter", "escape"]])
async def test_a_reason_that_was_not_sent_decides_nothing(desk: Desk, keys: list[str]) -> None:
    await held(desk, "pay")
    await desk.arm()
    await desk.press("r")
    await desk.until(lambda: isinstance(desk.app.screen, ReasonScreen))
    await desk.press(*keys)
    await desk.until(lambda: not isinstance(desk.app.screen, ReasonScreen))
    await desk.settled()
    assert answers(desk) == []


async def test_a_pasted_line_break_does_not_send_the_reason(desk: Desk) -> None:
    await held(desk, "pay")
    await desk.arm()
    await desk.press("r")
    await desk.until(lambda: isinstance(desk.app.screen, ReasonScreen))
    desk.app.post_message(events.Paste("copied\ntext\n"))
    await desk.until(lambda: desk.app.screen.query_one(Input).value == "copied")
    await desk.settled()
    assert answers(desk) == []


@pytest.mark.parametrize("size", [(140, 45), (80, 24)], ids=["wide", "narrow"])
@pytest.mark.parametrize("keys", [["enter"], ["space"], ["enter", "enter", "space", "escape"]])
async def test_enter_space_and_escape_never_decide(
    open_desk: OpenDesk, size: tuple[int, int], keys: list[str]
) -> None:
    async with open_desk(size=size) as desk:
        await held(desk, "pay")
        for key in keys:
            await desk.arm()
            await desk.press(key)
        await desk.settled()
        assert answers(desk) == []


async def test_a_click_selects_and_never_decides(desk: Desk) -> None:
    await held(desk, "first", "second")
    await desk.arm()
    await desk.pilot.click("#waiting", offset=(5, 2))
    await desk.until(lambda: desk.app.view and desk.app.view.target == "second.0")
    await desk.settled()
    assert answers(desk) == []


async def test_a_key_before_the_row_has_stood_still_does_nothing(desk: Desk) -> None:
    await held(desk, "pay")
    desk.clock.advance(0.2)
    await desk.press("a", "d", "r")
    await desk.settled()
    assert answers(desk) == []


async def test_moving_the_cursor_disarms(desk: Desk) -> None:
    await held(desk, "first", "second")
    await desk.arm()
    await desk.press("j", "a")
    await desk.settled()
    assert answers(desk) == []


async def test_changing_the_pane_disarms(desk: Desk) -> None:
    await held(desk, "pay")
    await desk.arm()
    await desk.press("tab", "a")
    await desk.settled()
    assert answers(desk) == []


async def test_coming_back_to_the_window_disarms(desk: Desk) -> None:
    await held(desk, "pay")
    await desk.arm()
    desk.app.post_message(events.AppFocus())
    await desk.press("a")
    await desk.settled()
    assert answers(desk) == []


async def test_a_row_that_slips_under_the_cursor_is_not_decided(desk: Desk) -> None:
    await held(desk, "first", "second")
    await desk.arm()
    desk.proxy.resolve("first.0", "deny")
    await desk.until(lambda: len(desk.app.board.waiting) == 1)
    desk.app.action_decide("once")
    await desk.settled()
    assert answers(desk) == []


async def test_a_call_that_leaves_at_the_key_press_does_not_pass_it_on(desk: Desk) -> None:
    await held(desk, "first", "second")
    await desk.arm()
    desk.app.action_decide("once")
    desk.app.board.waiting.pop("first.0")
    await desk.until(lambda: any("Too late" in note for note in desk.notices()))
    await desk.settled()
    assert answers(desk) == []


async def test_a_key_held_down_decides_once(desk: Desk) -> None:
    await held(desk, "first", "second", "third")
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: len(desk.app.board.waiting) == 2)
    desk.clock.advance(0.66)
    for _ in range(40):
        await desk.press("a")
        desk.clock.advance(0.035)
    await desk.settled()
    assert answers(desk) == [("first.0", "allow", None)]


async def test_two_calls_take_two_looks(desk: Desk) -> None:
    await held(desk, "first", "second")
    for _ in range(2):
        await desk.arm()
        await desk.press("a")
        await desk.until(lambda: desk.app.board.version and not desk.app._asked)
        await desk.settled()
    assert [entry for entry, _, _ in answers(desk)] == ["first.0", "second.0"]


@pytest.mark.parametrize("text", ["aa", "d\n", "approve", "rm -rf /\n"])
async def test_text_pasted_as_keys_decides_nothing(desk: Desk, text: str) -> None:
    await held(desk, "pay")
    await desk.arm()
    for char in text:
        key = {"\n": "enter", " ": "space", "/": "slash", "-": "minus"}.get(char, char)
        desk.app.post_message(events.Key(key, char))
    await desk.settled()
    assert answers(desk) == []
    assert not isinstance(desk.app.screen, ReasonScreen)


async def test_bracketed_paste_decides_nothing_and_disarms(desk: Desk) -> None:
    await held(desk, "pay")
    await desk.arm()
    desk.app.post_message(events.Paste("aaa"))
    await desk.press("a")
    await desk.settled()
    assert answers(desk) == []


@pytest.mark.parametrize(
    ("status", "says"),
    [(409, "Too late"), (404, "Too late"), (403, "did not accept"), (500, "refused the answer")],
)
async def test_an_answer_that_was_not_taken_is_told(desk: Desk, status: int, says: str) -> None:
    desk.proxy.answer_status = status
    await held(desk, "pay")
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: any(says in note for note in desk.notices()))
    await desk.shows(says)
    assert answers(desk) == []


async def test_a_row_that_does_not_wait_cannot_be_decided(desk: Desk) -> None:
    desk.proxy.row(make_row("get_issue"))
    await desk.shows("get_issue")
    await desk.press("up")
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: any("does not wait" in note for note in desk.notices()))
    assert answers(desk) == []


@pytest.mark.parametrize("key", [None, "not-the-key"], ids=["no key", "a wrong key"])
async def test_without_the_key_the_console_only_watches(
    open_desk: OpenDesk, key: str | None
) -> None:
    async with open_desk(key=key) as desk:
        desk.proxy.hold(make_pending("pay"))
        await desk.shows("shown only with the operator key")
        await desk.shows("◇ read-only")
        await desk.arm()
        await desk.press("a", "d", "r")
        await desk.until(lambda: any("Read-only" in note for note in desk.notices()))
        assert answers(desk) == []


async def test_the_detail_screen_decides_about_its_own_row(open_desk: OpenDesk) -> None:
    async with open_desk(size=(80, 24)) as desk:
        await held(desk, "first", "second")
        await desk.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, DetailScreen))
        desk.proxy.resolve("first.0", "deny")
        await desk.shows("✗ denied")
        await desk.arm()
        await desk.press("a")
        await desk.settled()
        assert answers(desk) == []
        await desk.press("escape", "j")
        await desk.arm()
        await desk.press("a")
        await desk.until(lambda: desk.proxy.decided)
        assert answers(desk) == [("second.0", "allow", None)]


async def test_a_row_that_left_stays_as_a_ghost_and_nothing_slides(desk: Desk) -> None:
    await held(desk, "first", "second", "third")
    await desk.until(lambda: desk.text().count("0:45 █") == 3)
    await desk.press("j")
    await desk.pilot.pause()
    place = where(desk, "second")
    desk.proxy.resolve("first.0", "deny", "timeout")
    await desk.shows("✗ denied by timeout: first")
    assert where(desk, "second") == place
    assert desk.app.view
    assert desk.app.view.target == "second.0"
    desk.proxy.resolve("second.0", "allow", "api")
    await desk.shows("✓ approved by api: second")
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: any("does not wait" in note for note in desk.notices()))
    assert answers(desk) == []
    await desk.press("j")
    await desk.until(lambda: "approved by api: second" not in desk.text())
    assert desk.app.view.target == "third.0"


async def test_after_an_answer_the_next_call_is_under_the_cursor(desk: Desk) -> None:
    await held(desk, "first", "second", "third")
    await desk.press("G")
    await desk.arm()
    await desk.press("d")
    await desk.until(lambda: len(desk.app.board.waiting) == 2)
    await desk.until(lambda: desk.app.view and desk.app.view.target == "second.0")


async def test_after_all_of_a_row_were_denied_the_next_call_is_under_the_cursor(
    desk: Desk,
) -> None:
    calls = [make_pending("pay", id=f"{at}.0", fingerprint="same") for at in range(3)]
    await desk.hold(*calls, make_pending("next", fingerprint="next"))
    await desk.arm()
    desk.proxy.released = 3
    await desk.press("d")
    await desk.until(lambda: desk.app.view and desk.app.view.target == "next.0")


@pytest.mark.parametrize(("left", "target"), [(1, "1.0"), (2, "next.0")])
async def test_an_answer_that_comes_behind_its_events_moves_the_cursor_as_well(
    desk: Desk, left: int, target: str
) -> None:
    calls = [make_pending("pay", id=f"{at}.0", fingerprint="same") for at in range(2)]
    await desk.hold(*calls, make_pending("next", fingerprint="next"))
    desk.proxy.resolve("0.0", "deny", "console")
    await desk.until(lambda: desk.app.view and desk.app.view.target == "1.0")
    assert desk.app.view
    desk.app.view.answered("0.0", left)
    await desk.pilot.pause()
    assert desk.app.view.target == target


async def test_an_answer_in_the_detail_moves_the_cursor_of_the_list(open_desk: OpenDesk) -> None:
    async with open_desk(size=(80, 24)) as desk:
        await held(desk, "first", "second")
        await desk.press("enter")
        await desk.opens(DetailScreen)
        await desk.arm()
        await desk.press("a")
        await desk.until(lambda: desk.proxy.decided)
        await desk.settled()
        await desk.press("escape")
        await desk.until(lambda: desk.app.view and desk.app.view.target == "second.0")


async def test_a_wider_scope_ends_with_its_call(open_desk: OpenDesk) -> None:
    async with open_desk(size=(80, 24)) as desk:
        await desk.hold(make_pending("pay", fingerprint="p", scopes=SCOPES))
        await desk.arm()
        await desk.press("e", "right", "right", "enter")
        await desk.shows("scope: tool")
        await desk.arm()
        await desk.press("a")
        await desk.settled()
        await desk.hold(make_pending("pay", id="later.0", fingerprint="p", scopes=SCOPES))
        assert "scope: tool" not in desk.text()
        await desk.arm()
        await desk.press("s")
        await desk.until(lambda: len(desk.proxy.decided) == 2)
        assert desk.proxy.decided[1][1].on == "call"


async def test_a_detached_call_that_is_approved_is_a_ticket(desk: Desk) -> None:
    await desk.hold(make_pending("pay", detached=True, wait=3600))
    await desk.arm()
    await desk.press("a")
    await desk.shows("↻ ticket")
    assert "✓ approved" not in desk.text().replace("✓ approved once", "")


@pytest.mark.parametrize(("bell", "rings"), [(True, 2), (False, 0)])
async def test_the_bell_rings_for_new_calls_once_a_second(
    open_desk: OpenDesk, bell: bool, rings: int
) -> None:
    async with open_desk(options=Options(bell=bell)) as desk:
        rung: list[float] = []
        desk.app.bell = lambda: rung.append(1)  # type: ignore[method-assign]
        await held(desk, "first", "second")
        desk.clock.advance(1)
        await desk.hold(make_pending("third"), make_pending("kept", detached=True))
        assert len(rung) == rings


async def test_ghosts_are_few_and_go_when_nothing_waits(desk: Desk) -> None:
    names = [f"call{number:02d}" for number in range(40)]
    await held(desk, *names)
    for name in names[1:30]:
        desk.proxy.resolve(f"{name}.0", "deny")
    await desk.until(lambda: len(desk.app.board.waiting) == 11)
    waiting = desk.app.screen.query_one(Waiting)
    await desk.until(lambda: len(waiting.rows) == 11 + MAX_GHOSTS)
    assert waiting.selected == "call00.0"
    for name in (names[0], *names[30:]):
        desk.proxy.resolve(f"{name}.0", "deny")
    await desk.shows("⏸ nothing waits")
    assert waiting.selected is None


# The proxy's own word


async def test_the_proxy_refuses_what_moved_on_its_side(desk: Desk) -> None:
    await desk.hold(make_pending("pay", fingerprint="f1"))
    desk.proxy.pending["pay.0"] = make_pending("pay", fingerprint="f2")
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: any("another call by now" in note for note in desk.notices()))
    assert desk.nothing_came()


async def test_who_was_faster_is_told(desk: Desk) -> None:
    desk.proxy.answer_status = 409
    desk.proxy.problem = {
        "code": "already_left", "detail": "Too late: t\x1bom denied it 2 s ago (shell).",
    }  # fmt: skip
    await desk.hold(make_pending("pay"))
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: "Too late: t␛om denied it 2 s ago (shell)." in desk.notices())


async def test_a_proxy_that_dies_on_the_way_leaves_it_unknown(desk: Desk) -> None:
    desk.proxy.hangs_up = True
    await desk.hold(make_pending("pay"))
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: any("unknown whether it counted" in note for note in desk.notices()))
    assert len(desk.proxy.decided) == 1


def where(desk: Desk, name: str) -> int:
    lines = desk.text().split("\n")
    return next(at for at, line in enumerate(lines) if "█" in line and name in line[:80])
