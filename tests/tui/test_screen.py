"""What stands on the screen: panes, signs, strangers' text, and rows that stay where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from mitmgate.control.models import Completed, CompletedEvent, FindingView
from mitmgate_tui.app import Console
from mitmgate_tui.screens.detail import DetailScreen
from mitmgate_tui.screens.help import HelpScreen
from mitmgate_tui.screenshot import Replay
from mitmgate_tui.widgets.live import Live

if TYPE_CHECKING:
    from tests.tui.conftest import Desk, OpenDesk

from tests.tui.conftest import make_pending, make_row

EMAIL = FindingView(
    detector="pii", rule="pii.email", severity="medium", surface="arguments",
    pointer="/arguments/customer",
)  # fmt: skip


def live(desk: Desk) -> Live:
    return desk.app.screen.query_one(Live)


def target(desk: Desk) -> str | None:
    assert desk.app.view
    return desk.app.view.target


async def filled(desk: Desk, *names: str) -> None:
    desk.proxy.row(*(make_row(name) for name in names))
    await desk.until(lambda: f"{names[-1]}.0" in desk.app.board.entries)
    await desk.pilot.pause()


async def test_the_wide_screen_shows_panes_side_by_side(open_desk: OpenDesk) -> None:
    async with open_desk(size=(140, 45)) as desk:
        desk.proxy.row(make_row("get_issue"))
        desk.proxy.send(
            CompletedEvent(
                completed=Completed(
                    exchange="get_issue", status=200, request_bytes=9, response_bytes=99,
                    latency=0.012, fate="answered",
                )
            )
        )  # fmt: skip
        desk.proxy.hold(make_pending("pay", arguments={"amount": 4200}, findings=(EMAIL,)))
        await desk.shows("amount 4200")
        for text in (
            "⏸ 1 waiting, next denied in 0:45", "✗ 3 denied", "● healthy", "policy 3f9c21a0",
            "enforce", "127.0.0.1:8080", "0:45 ██████", "✓ allowed", "12 ms", "⚠ medium pii.email",
            "⏸ held, denied in 0:45", "Live · following", "a once", "q leave",
        ):  # fmt: skip
            assert text in desk.text()


async def test_the_narrow_screen_has_the_same_news(open_desk: OpenDesk) -> None:
    async with open_desk(size=(80, 24)) as desk:
        desk.proxy.row(make_row("get_issue"))
        desk.proxy.hold(make_pending("pay", arguments={"amount": 4200}))
        await desk.shows("amount 4200")
        for text in ("⏸ 1 (0:45)", "✗ 3 denied", "● healthy", "✓ allowed", "? help", "q leave"):
            assert text in desk.text()
        assert all(len(line) <= 80 for line in desk.text().split("\n"))
        await desk.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, DetailScreen))
        await desk.shows("amount 4200")
        await desk.press("escape")
        await desk.until(lambda: not isinstance(desk.app.screen, DetailScreen))


async def test_time_left_runs_down(desk: Desk) -> None:
    desk.proxy.hold(make_pending("pay"))
    await desk.shows("0:45 ██████")
    desk.clock.advance(30)
    await desk.shows("0:15 ██░░░░")
    await desk.shows("next denied in 0:15")


async def test_an_empty_waiting_pane_is_one_line(desk: Desk) -> None:
    await desk.shows("⏸ nothing waits")
    desk.proxy.hold(make_pending("pay"))
    await desk.shows("Waiting")
    desk.proxy.resolve("pay.0", "deny")
    await desk.shows("⏸ nothing waits")
    await desk.shows("✗ denied")


SIGNS = {
    "an allowed call": ({}, "✓ allowed"),
    "a denied call": ({"verdict": "deny"}, "✗ denied"),
    "a redacted call": ({"edits": 2}, "✎ redacted"),
    "a call that is asked about": ({"verdict": "ask", "held": True}, "⏸ held"),
    "a call that shadow mode let through": ({"verdict": "deny", "enforced": False}, "◌ shadow"),
}


@pytest.mark.parametrize(("changes", "sign"), SIGNS.values(), ids=list(SIGNS))
async def test_each_row_has_a_sign_and_a_word(
    desk: Desk, changes: dict[str, object], sign: str
) -> None:
    desk.proxy.row(make_row("tool", **changes))
    await desk.shows(sign)


async def test_shadow_mode_is_told_in_words(open_desk: OpenDesk) -> None:
    async with open_desk(size=(80, 24)) as desk:
        beat = desk.proxy.state().model_copy(update={"mode": "shadow"})
        desk.app.board.state = beat
        desk.app.board.version += 1
        await desk.shows("◌ shadow: nothing stopped")


async def test_trouble_is_told_in_words(desk: Desk) -> None:
    desk.proxy.trouble = "audit disk is full"
    desk.proxy.beat()
    await desk.shows("▲ audit disk is full")


async def test_a_policy_that_waits_or_is_broken_is_told_in_words(desk: Desk) -> None:
    desk.proxy.policy_trouble = "a policy that loosens waits"
    desk.proxy.beat()
    await desk.shows("▲ a policy that loosens waits")


async def test_severity_and_shadow_of_a_decision_are_shown(desk: Desk) -> None:
    desk.proxy.hold(make_pending("pay", severity="critical", shadow="deny by no-rm"))
    await desk.shows("critical")
    await desk.shows("◌ deny by no-rm")


async def test_strangers_text_is_never_markup(desk: Desk) -> None:
    name = "[bold]x[/] [@click=app.leave]y[/]"
    desk.proxy.row(make_row("row", tool=name, rule="[red]r[/]"))
    desk.proxy.hold(make_pending("held", tool=name, agent="[b]a[/b]", reason="[link=x]why[/link]"))
    await desk.shows("[link=x]why[/link]")
    for text in ("[bold]x[/] [@click=app.leave]y[/]", "[red]r[/]", "[b]a[/b]"):
        assert text in desk.text()
    await desk.arm()
    await desk.press("a")
    await desk.until(desk.notices)
    await desk.shows("approved once: [bold]x[/]")


async def test_strangers_text_is_never_markup_on_the_narrow_screen(open_desk: OpenDesk) -> None:
    async with open_desk(size=(80, 24)) as desk:
        desk.proxy.hold(make_pending("held", tool="[bold]x[/]", arguments="[red]y[/red]"))
        await desk.shows("[red]y[/red]")
        assert " [bold]x[/]\n" in "\n".join(line.rstrip() for line in desk.text().split("\n"))


async def test_a_refusal_of_the_proxy_is_never_markup(desk: Desk) -> None:
    desk.proxy.answer_status = 500
    desk.proxy.hold(make_pending("pay"))
    await desk.shows("pay")
    await desk.arm()
    await desk.press("d")
    await desk.shows("[b]no[/b]")


async def test_the_reason_box_shows_names_as_they_are(desk: Desk) -> None:
    desk.proxy.hold(make_pending("held", tool="[b]x[/b]"))
    await desk.shows("[b]x[/b]")
    await desk.arm()
    await desk.press("r")
    await desk.shows("Deny [b]x[/b] of claude@lap")


async def test_escapes_and_bidi_are_made_visible(desk: Desk) -> None:
    evil = "a\x1b[2J\x9b1mb\u202etxt\nc"
    desk.proxy.row(make_row("row", tool=evil, agent=evil, server=evil, rule=evil))
    desk.proxy.hold(make_pending("held", tool=evil, reason=evil, arguments=[evil, {evil: evil}]))
    await desk.shows("a␛[2J‹U+009B›1mb‹U+202E›txt␊c")
    shown = desk.text()
    assert not any(char in shown for char in "\x1b\x9b\u202e\r")


async def test_the_body_of_a_plain_request_is_shown_line_by_line(desk: Desk) -> None:
    desk.proxy.hold(make_pending("post", channel="egress", arguments="one\ntwo\x1b\rthree"))
    await desk.shows("two␛␍three")


async def test_the_selection_stays_on_its_row_when_new_ones_come(desk: Desk) -> None:
    await filled(desk, "one", "two")
    await desk.press("up", "up")
    assert live(desk).selected == "one.0"
    at = live(desk).scroll_y
    await filled(desk, *(f"n{number}" for number in range(60)))
    assert live(desk).selected == "one.0"
    assert live(desk).scroll_y == at
    assert "following" not in desk.text()
    await desk.press("G")
    await desk.shows("following")
    assert "n59" in desk.text()


async def test_the_view_follows_the_newest_row(desk: Desk) -> None:
    await filled(desk, *(f"n{number}" for number in range(100)))
    await desk.shows("n99")
    assert "n1 " not in desk.text()
    await desk.press("g")
    await desk.shows("n1 ")
    assert live(desk).selected == "n0.0"
    await desk.press("escape")
    await desk.shows("n99")


async def test_rows_that_fall_out_do_not_move_the_one_under_the_cursor(open_desk: OpenDesk) -> None:
    async with open_desk(max_rows=80) as desk:
        await filled(desk, *(f"n{number}" for number in range(80)))
        await desk.press(*["up"] * 3)
        assert live(desk).selected == "n77.0"
        line = next(i for i, text in enumerate(desk.text().split("\n")) if "▌" in text)
        await filled(desk, *(f"m{number}" for number in range(20)))
        assert "▌" in desk.text().split("\n")[line]
        assert "n77" in desk.text().split("\n")[line]
        assert len(live(desk).rows) == 80
        await filled(desk, *(f"o{number}" for number in range(80)))
        assert live(desk).selected is None


async def test_the_filter_hides_plainly_allowed_rows(desk: Desk) -> None:
    await filled(desk, "plain")
    desk.proxy.row(make_row("stopped", verdict="deny"), make_row("changed", edits=1))
    await desk.shows("changed")
    await desk.press("x")
    await desk.shows("only not allowed")
    await desk.until(lambda: "plain" not in desk.text())
    assert "stopped" in desk.text()
    await desk.press("x")
    await desk.shows("plain")


async def test_tab_goes_round_the_panes_and_enter_opens_the_detail(desk: Desk) -> None:
    desk.proxy.hold(make_pending("pay"))
    await desk.until(lambda: desk.app.focused and desk.app.focused.id == "waiting")
    seen = []
    for _ in range(3):
        await desk.press("tab")
        seen.append(desk.app.focused.id if desk.app.focused else None)
    assert seen == ["live", "detail", "waiting"]
    await desk.press("enter")
    await desk.until(lambda: desk.app.focused and desk.app.focused.id == "detail")
    await desk.press("escape")
    await desk.until(lambda: desk.app.focused and desk.app.focused.id == "waiting")


async def test_a_new_call_does_not_take_the_focus_from_a_reader(desk: Desk) -> None:
    await filled(desk, "one", "two")
    await desk.press("up")
    desk.proxy.hold(make_pending("pay"))
    await desk.shows("Waiting")
    assert cast("Live", desk.app.focused).id == "live"
    assert target(desk) == "two.0"


async def test_a_new_call_does_not_take_the_focus_from_a_filter_that_is_typed(desk: Desk) -> None:
    await filled(desk, "get")
    await desk.press("slash", "g", "e")
    await desk.hold(make_pending("pay"))
    desk.app.drain()
    assert desk.app.view
    assert desk.app.view.typing
    desk.clock.advance(2)
    await desk.press("a", "d")
    await desk.settled()
    assert desk.nothing_came()
    await desk.shows("gead")


async def test_a_new_call_does_not_take_the_focus_from_the_detail(desk: Desk) -> None:
    await filled(desk, "one")
    await desk.press("tab")
    assert desk.app.focused
    assert desk.app.focused.id == "detail"
    await desk.hold(make_pending("pay"))
    desk.app.drain()
    assert desk.app.focused.id == "detail"


async def test_a_clock_that_jumps_moves_no_time_left(desk: Desk) -> None:
    await desk.hold(make_pending("pay"))
    desk.clock.jump(-3600)
    desk.clock.advance(5)
    await desk.shows("0:40 █████")
    desk.clock.jump(7200)
    await desk.shows("next denied in 0:40")
    await desk.shows("⏸ held, denied in 0:40")


async def test_a_notice_is_one_line_and_goes_when_a_box_opens(desk: Desk) -> None:
    desk.app.warn("one " * 200)
    desk.app.warn("two " * 200)
    await desk.shows("two two")
    assert len(desk.app._notifications) == 1
    lines = desk.text().split("\n")
    assert sum("two two" in line for line in lines) == 1
    await desk.until(lambda: "one one" not in desk.text())
    await desk.press("question_mark")
    await desk.until(lambda: isinstance(desk.app.screen, HelpScreen))
    await desk.until(lambda: "two two" not in desk.text())


async def test_the_pane_with_the_keys_is_told_without_colours(desk: Desk) -> None:
    await filled(desk, "get")
    await desk.hold(make_pending("pay"))
    await desk.press("tab", "up")
    await desk.until(lambda: desk.text().count("▌") == 1 and desk.text().count("▏") == 1)


async def test_calls_that_nobody_waits_behind_are_counted_and_said(desk: Desk) -> None:
    await desk.hold(make_pending("pay", detached=True, wait=3600))
    await desk.shows("⏸ 0 waiting, 1 retry")
    await desk.shows("nobody waits: for 60:00")


async def test_a_wait_too_long_for_the_pane_scrolls(desk: Desk) -> None:
    desk.proxy.hold(*(make_pending(f"call{number:02d}") for number in range(30)))
    await desk.shows("call00")
    await desk.press("G")
    await desk.shows("call29")
    assert target(desk) == "call29.0"


async def test_help_lists_the_keys(desk: Desk) -> None:
    await desk.press("question_mark")
    await desk.until(lambda: isinstance(desk.app.screen, HelpScreen))
    await desk.shows("approve the selected call, once")
    await desk.press("escape")
    await desk.until(lambda: not isinstance(desk.app.screen, HelpScreen))


def test_a_heartbeat_after_the_last_screen_draws_nothing() -> None:
    # A timer may fire while the app ends; it is the same as before its first screen.
    console = Console(Replay(()))
    assert console.view is None
    console._tick()
