"""Answers for more than once: how long, and what they cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mitmgate.control.models import ScopeChoice
from mitmgate_tui.chosen import MAX_NAMES, begin, with_name
from mitmgate_tui.screens.length import LengthScreen
from mitmgate_tui.screens.scope import ScopeScreen

if TYPE_CHECKING:
    from tests.tui.conftest import Desk

from tests.tui.conftest import SCOPES, make_pending

ANSWERS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "a: once, nothing is remembered": (
        ["a"], {"decision": "allow", "lasting": "once", "on": None, "key": "a"},
    ),
    "s: the narrowest scope, this session": (
        ["s"], {"decision": "allow", "lasting": "session", "on": "call", "seconds": None},
    ),
    "t 1: five minutes": (
        ["t", "1"], {"decision": "allow", "lasting": "time", "on": "call", "seconds": 300},
    ),
    "t 2: fifteen minutes": (["t", "2"], {"lasting": "time", "seconds": 900, "key": "t"}),
    "t 3: an hour": (["t", "3"], {"lasting": "time", "seconds": 3600}),
    "D: deny, for as long as the policy says": (
        ["D"], {"decision": "deny", "lasting": "time", "seconds": None, "on": "call", "key": "D"},
    ),
    "e right right s: the tool": (
        ["e", "right", "right", "enter", "s"], {"lasting": "session", "on": "tool", "names": ()},
    ),
    "e right s: all values": (
        ["e", "right", "e", "s"], {"on": "values", "names": ("amount", "to")},
    ),
    "e right space s: the values that are marked": (
        ["e", "right", "space", "enter", "s"], {"on": "values", "names": ("to",)},
    ),
    "e right left s: back to the narrowest": (
        ["e", "right", "left", "left", "enter", "s"], {"on": "call"},
    ),
    "e right escape s: it stays as it was": (["e", "right", "escape", "s"], {"on": "call"}),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "wanted"), ANSWERS.values(), ids=list(ANSWERS))
async def test_what_is_sent(desk: Desk, keys: list[str], wanted: dict[str, Any]) -> None:
    await desk.hold(make_pending("pay", scopes=SCOPES, fingerprint="f1"))
    for key in keys:
        if not isinstance(desk.app.screen, ScopeScreen):
            await desk.arm()
        await desk.press(key)
        await desk.pilot.pause()
    await desk.until(lambda: desk.proxy.decided)
    [(entry, asked)] = desk.proxy.decided
    assert entry == "pay.0"
    assert asked.fingerprint == "f1"
    assert asked.operator == "test"
    assert asked.via == "console"
    assert {name: getattr(asked, name) for name in wanted} == wanted


@pytest.mark.parametrize("key", ["s", "t", "f", "D", "e"])
async def test_a_call_without_scopes_is_answered_for_once_only(desk: Desk, key: str) -> None:
    await desk.hold(make_pending("pay"))
    await desk.arm()
    await desk.press(key)
    await desk.until(lambda: any("for once only" in note for note in desk.notices()))
    assert desk.nothing_came()
    assert not desk.proxy.previewed
    line = desk.text().split("\n")[-1]
    assert "a once" in line
    assert "s session" not in line


async def test_another_scope_disarms(desk: Desk) -> None:
    await desk.hold(make_pending("pay", scopes=SCOPES))
    await desk.arm()
    before = desk.app.subject
    await desk.press("e")
    await desk.opens(ScopeScreen)
    await desk.press("right", "enter")
    await desk.until(lambda: not isinstance(desk.app.screen, ScopeScreen))
    assert desk.app.subject != before
    await desk.press("s")
    await desk.settled()
    assert desk.nothing_came()
    await desk.shows("◂ pay on stripe with the same values")


async def test_no_argument_chosen_is_no_scope(desk: Desk) -> None:
    await desk.hold(make_pending("pay", scopes=SCOPES))
    await desk.arm()
    await desk.press("e", "right", "space", "down", "space")
    await desk.shows("none chosen")
    await desk.press("enter")
    await desk.arm()
    await desk.press("s")
    await desk.until(lambda: desk.proxy.decided)
    assert desk.proxy.decided[0][1].on == "call"


def test_at_most_eight_arguments_are_kept() -> None:
    choice = ScopeChoice(on="values", covers="x", names=tuple("abcdefghij"))
    scoped = begin(choice)
    assert scoped.names == tuple("abcdefgh")
    assert len(scoped.names) == MAX_NAMES
    assert with_name(scoped, "j") == scoped
    assert with_name(with_name(scoped, "b"), "j").names == tuple("acdefghj")


async def test_a_folder_is_chosen_from_the_deepest_up(desk: Desk) -> None:
    folders = ScopeChoice(on="prefix", covers="GET below /a/b on x", prefixes=("/a/b", "/a"))
    await desk.hold(make_pending("get", scopes=(folders,), channel="egress", tool=None))
    await desk.arm()
    await desk.press("e", "down", "enter")
    await desk.arm()
    await desk.press("s")
    await desk.until(lambda: desk.proxy.decided)
    assert desk.proxy.decided[0][1].prefix == "/a"


async def test_what_each_key_would_come_to_is_told(desk: Desk) -> None:
    await desk.hold(make_pending("pay", scopes=SCOPES, arguments={"amount": 1}))
    for told in (
        "a         approve: this call only",
        "scope     ◂ exactly this pay on stripe ▸",
        "s         approve the scope, this session",
        "t         approve the scope, for 5m, 15m or 1h",
        "f         write a rule for the scope",
        "D         deny the scope, for a time",
        "d         deny: this call only",
    ):
        await desk.shows(told)


async def test_the_box_for_the_length_notes_that_its_call_left(desk: Desk) -> None:
    await desk.hold(make_pending("pay", scopes=SCOPES))
    await desk.arm()
    await desk.press("t")
    await desk.opens(LengthScreen)
    desk.proxy.resolve("pay.0", "deny")
    await desk.shows("this call has left")
    await desk.arm()
    await desk.press("2")
    await desk.until(lambda: any("Too late" in note for note in desk.notices()))
    assert desk.nothing_came()
