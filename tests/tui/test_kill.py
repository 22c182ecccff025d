"""The kill switch asks before it does anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mitmgate.control.models import Switch
from mitmgate_tui.screens.kill import KillScreen

if TYPE_CHECKING:
    from tests.tui.conftest import Desk, OpenDesk

from tests.tui.conftest import NOW


async def test_the_key_alone_turns_nothing(desk: Desk) -> None:
    await desk.arm()
    await desk.press("k")
    await desk.opens(KillScreen)
    await desk.shows("Deny everything?")
    await desk.press("escape")
    await desk.settled()
    assert desk.nothing_came()


async def test_yes_denies_everything_and_another_yes_lifts_it(desk: Desk) -> None:
    await desk.press("k")
    await desk.opens(KillScreen)
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: desk.proxy.switched)
    assert (desk.proxy.switched[0].on, desk.proxy.switched[0].operator) == (True, "test")
    await desk.until(lambda: any("everything is denied" in note for note in desk.notices()))
    await desk.until(lambda: desk.app.board.state and desk.app.board.state.halt)
    await desk.press("k")
    await desk.shows("Judge calls again?")
    await desk.shows("by test.")
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: len(desk.proxy.switched) == 2)
    assert desk.proxy.switched[1].on is False


async def test_a_switch_that_somebody_else_turned_meanwhile_disarms(desk: Desk) -> None:
    await desk.press("k")
    await desk.opens(KillScreen)
    await desk.arm()
    desk.proxy.halt = Switch(on=True, by="tom", since=NOW, reason="[b]drill[/b]")
    desk.proxy.beat()
    await desk.shows("Judge calls again?")
    await desk.shows("[b]drill[/b]")
    await desk.press("y")
    await desk.settled()
    assert desk.nothing_came()


async def test_without_the_key_it_is_told(open_desk: OpenDesk) -> None:
    async with open_desk(key=None) as desk:
        await desk.shows("k kill switch")
        await desk.press("k")
        await desk.until(lambda: any("Read-only" in note for note in desk.notices()))
        assert desk.nothing_came()
