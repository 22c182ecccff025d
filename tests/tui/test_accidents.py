"""Every key that acts, and everything that must not make it act."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual import events
from textual.screen import ModalScreen

from mitmgate.control.models import GrantList, GrantView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.tui.conftest import Desk

from tests.tui.conftest import NOW, SCOPES, make_pending

KEYS: dict[str, tuple[list[str], str]] = {
    # what is pressed before, with the keys armed each time, and the key that acts
    "a": ([], "a"), "s": ([], "s"), "d": ([], "d"), "D": ([], "D"),
    "s with the scope that e chose": (["e right enter"], "s"),
    "the second key of t": (["t"], "2"), "the second key of f": (["f"], "y"),
    "the second key of A": (["space", "A"], "y"), "the second key of X": (["space", "X"], "y"),
    "the second key of k": (["k"], "y"), "the second key of u": (["u"], "y"),
}  # fmt: skip


async def ready(desk: Desk, before: list[str]) -> None:
    """Press everything but the key that acts, and let the keys arm."""
    grant = GrantView(
        id="g1", kind="grant", answer="allow", covers="x", on="tool", lasting="session",
        agent="a", operator="test", outcome="c1.0", made=NOW, left=None,
    )  # fmt: skip
    desk.proxy.pages["grants"] = GrantList(grants=(grant,)).model_dump_json()
    if not desk.app.board.waiting:
        await desk.hold(make_pending("pay", scopes=SCOPES, fingerprint="f1"))
    for key in before:
        await desk.arm()
        first, *others = key.split()
        await desk.press(first)
        if first != "space":
            await desk.opens(ModalScreen)
        await desk.press(*others)
    await desk.arm()


@pytest.mark.parametrize(("before", "key"), KEYS.values(), ids=list(KEYS))
async def test_the_key_acts(desk: Desk, before: list[str], key: str) -> None:
    await ready(desk, before)
    assert desk.nothing_came()
    await desk.press(key)
    await desk.until(lambda: not desk.nothing_came())


ACCIDENTS: dict[str, Callable[[Desk, str], Awaitable[None]]] = {}


def accident(said: str) -> Callable[[Callable[[Desk, str], Awaitable[None]]], None]:
    def kept(happens: Callable[[Desk, str], Awaitable[None]]) -> None:
        ACCIDENTS[said] = happens

    return kept


@accident("enter and space")
async def enter_and_space(desk: Desk, _: str) -> None:
    for key in ("enter", "space", "enter"):
        await desk.press(key)
        await desk.arm()


@accident("the key after something was pasted")
async def after_a_paste(desk: Desk, key: str) -> None:
    desk.app.post_message(events.Paste(key * 3))
    await desk.press(key)


@accident("the key in a burst")
async def in_a_burst(desk: Desk, key: str) -> None:
    for one in (key, key):
        desk.app.post_message(events.Key(one, one))


@accident("the key after another key")
async def after_another_key(desk: Desk, key: str) -> None:
    await desk.press("z", key)


@accident("the key just after the window came back")
async def after_the_window_came_back(desk: Desk, key: str) -> None:
    desk.app.post_message(events.AppFocus())
    await desk.press(key)


@accident("escape, and the key")
async def after_escape(desk: Desk, key: str) -> None:
    await desk.press("escape", key)


@pytest.mark.parametrize(("before", "key"), KEYS.values(), ids=list(KEYS))
async def test_no_accident_does_anything(desk: Desk, before: list[str], key: str) -> None:
    for said, happens in ACCIDENTS.items():
        await ready(desk, before)
        await happens(desk, key)
        await desk.settled()
        assert desk.nothing_came(), said
        while isinstance(desk.app.screen, ModalScreen):
            await desk.press("escape")
            await desk.pilot.pause()
        desk.app.chosen.marked.clear()


ABOUT_THE_ROW = [name for name in KEYS if name[-1] not in "ku"]


@pytest.mark.parametrize("name", ABOUT_THE_ROW)
async def test_a_row_that_became_another_call_is_not_decided(desk: Desk, name: str) -> None:
    before, key = KEYS[name]
    await ready(desk, before)
    desk.proxy.hold(make_pending("pay", scopes=SCOPES, fingerprint="f2"))
    await desk.until(lambda: desk.app.board.waiting["pay.0"].pending.fingerprint == "f2")  # type: ignore[union-attr]
    await desk.press(key)
    await desk.settled()
    assert desk.nothing_came()


@pytest.mark.parametrize("name", ABOUT_THE_ROW)
async def test_a_row_that_left_is_not_decided(desk: Desk, name: str) -> None:
    before, key = KEYS[name]
    await ready(desk, before)
    desk.proxy.resolve("pay.0", "deny")
    await desk.until(lambda: not desk.app.board.waiting)
    await desk.press(key)
    await desk.arm() if before else None
    await desk.press(key)
    await desk.settled()
    assert desk.nothing_came()


@pytest.mark.parametrize(("before", "key"), [([], "t"), ([], "f"), (["space"], "A"), ([], "r")])
async def test_a_key_that_opens_a_box_and_is_held_down_answers_nothing(
    desk: Desk, before: list[str], key: str
) -> None:
    await ready(desk, before)
    for _ in range(40):
        await desk.press(key)
        desk.clock.advance(0.035)
    await desk.settled()
    assert desk.nothing_came()


@pytest.mark.parametrize("became", ["left", "another call"])
async def test_a_reason_for_a_row_that_moved_meanwhile_is_not_sent(desk: Desk, became: str) -> None:
    await ready(desk, [])
    await desk.press("r")
    await desk.opens(ModalScreen)
    await desk.press("n", "o")
    if became == "left":
        desk.proxy.resolve("pay.0", "deny")
    else:
        desk.proxy.hold(make_pending("pay", scopes=SCOPES, fingerprint="f2"))
    await desk.shows("this call has left, or is another one by now")
    await desk.press("enter")
    await desk.until(lambda: any("oo late" in n or "another call" in n for n in desk.notices()))
    await desk.settled()
    assert desk.nothing_came()


@pytest.mark.parametrize("key", ["r", "e"])
async def test_the_key_of_a_box_for_text_or_scope_held_down_answers_nothing(
    desk: Desk, key: str
) -> None:
    await ready(desk, [])
    for _ in range(20):
        await desk.pilot.press(key)
        desk.clock.advance(0.035)
    for one in ("escape", "space"):
        await desk.press(one)
    await desk.settled()
    assert desk.nothing_came()
