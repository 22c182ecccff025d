"""A severe finding wants the tool's name typed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual import events

from mitmgate.control.models import FindingView
from mitmgate_tui.screens.typed import TypedScreen, wanted_of

if TYPE_CHECKING:
    from tests.tui.conftest import Desk

from tests.tui.conftest import SCOPES, make_pending, make_row


def found(severity: str) -> tuple[FindingView, ...]:
    return (
        FindingView(detector="secrets", rule="secret.key", severity=severity, surface="arguments",
                    pointer="/params/arguments/body"),
    )  # fmt: skip


async def asked_to_type(desk: Desk, key: str = "a", severity: str = "high") -> None:
    await desk.hold(make_pending("pays", scopes=SCOPES, findings=found(severity)))
    await desk.arm()
    await desk.press(key)
    await desk.opens(TypedScreen)
    await desk.arm()


async def typed(desk: Desk, *keys: str) -> None:
    for key in keys:
        desk.clock.advance(0.12)
        await desk.press(key)


@pytest.mark.parametrize("severity", ["high", "critical"])
async def test_the_whole_name_approves(desk: Desk, severity: str) -> None:
    await asked_to_type(desk, severity=severity)
    await desk.shows("Something severe was found. Type its name")
    await typed(desk, *"pay")
    await desk.settled()
    assert desk.nothing_came()
    await typed(desk, "s")
    await desk.until(lambda: desk.proxy.decided)
    assert desk.proxy.decided[0][1].decision == "allow"


@pytest.mark.parametrize("severity", ["low", "medium"])
async def test_less_than_high_wants_no_typing(desk: Desk, severity: str) -> None:
    await desk.hold(make_pending("pays", findings=found(severity)))
    await desk.arm()
    await desk.press("a")
    await desk.until(lambda: desk.proxy.decided)


async def test_a_denial_wants_no_typing(desk: Desk) -> None:
    await desk.hold(make_pending("pays", findings=found("critical")))
    await desk.arm()
    await desk.press("d")
    await desk.until(lambda: desk.proxy.decided)
    assert desk.proxy.decided[0][1].decision == "deny"


NOT_TYPED: dict[str, list[str]] = {
    "enter and space": ["enter", "space", "enter"],
    "the key that opened it, again": ["a", "a", "a"],
    "a part of the name and enter": ["p", "a", "y", "enter"],
    "the name with a mistake": ["p", "a", "x", "s"],
    "more than the name": ["p", "a", "y", "space", "s"],
    "the name, then escape": ["p", "a", "y", "escape"],
}


@pytest.mark.parametrize("keys", NOT_TYPED.values(), ids=list(NOT_TYPED))
async def test_anything_else_approves_nothing(desk: Desk, keys: list[str]) -> None:
    await asked_to_type(desk)
    await typed(desk, *keys)
    await desk.settled()
    assert desk.nothing_came()


async def test_a_mistake_can_be_taken_back(desk: Desk) -> None:
    await asked_to_type(desk)
    await typed(desk, "p", "x", "backspace", "a", "y", "s")
    await desk.until(lambda: desk.proxy.decided)


async def test_a_pasted_name_approves_nothing(desk: Desk) -> None:
    await asked_to_type(desk)
    desk.app.post_message(events.Paste("pays"))
    await desk.shows("too fast to be typed")
    await desk.settled()
    assert desk.nothing_came()


async def test_a_name_that_comes_as_keys_at_once_approves_nothing(desk: Desk) -> None:
    await asked_to_type(desk)
    desk.clock.advance(1)
    await desk.press(*"pays")
    await desk.shows("too fast to be typed")
    await desk.settled()
    assert desk.nothing_came()


async def test_a_call_that_left_meanwhile_is_not_approved(desk: Desk) -> None:
    await asked_to_type(desk)
    await typed(desk, *"pay")
    desk.proxy.resolve("pays.0", "deny")
    await desk.shows("this call has left")
    await typed(desk, "s")
    await desk.settled()
    assert desk.nothing_came()


async def test_it_comes_after_how_long(desk: Desk) -> None:
    await desk.hold(make_pending("pays", scopes=SCOPES, findings=found("high")))
    await desk.arm()
    await desk.press("t")
    await desk.arm()
    await desk.press("2")
    await desk.opens(TypedScreen)
    await desk.arm()
    assert desk.nothing_came()
    await typed(desk, *"pays")
    await desk.until(lambda: desk.proxy.decided)
    assert desk.proxy.decided[0][1].seconds == 900


WANTED = {
    "a tool": ({"tool": "create_payment"}, "create_payment"),
    "a host": ({"tool": None, "channel": "egress", "host": "api.example"}, "api.example"),
    "a method": ({"tool": None, "method": "prompts/get"}, "prompts/get"),
    "letters that look like others": ({"tool": "p\u0430y"}, "c1.0"),
    "control characters": ({"tool": "a\x1b[2J"}, "c1.0"),
    "ten thousand characters": ({"tool": "x" * 10_000}, "c1.0"),
    "blanks at its end": ({"tool": "pay "}, "c1.0"),
    "nothing": ({"tool": ""}, "tools/call"),
    "three letters": ({"tool": "pay"}, "c1.0"),
    "one letter again and again": ({"tool": "aaaaaa"}, "c1.0"),
    "one letter in both cases": ({"tool": "aAaA"}, "c1.0"),
}


@pytest.mark.parametrize(("facts", "wanted"), WANTED.values(), ids=list(WANTED))
def test_what_has_to_be_typed(facts: dict[str, str], wanted: str) -> None:
    assert wanted_of(make_row("x", **facts), "c1.0") == wanted


async def test_letters_before_the_box_stood_still_are_not_taken(desk: Desk) -> None:
    await desk.hold(make_pending("aab", id="aaaa.0", findings=found("high")))
    await desk.arm()
    await desk.press("a")
    await desk.opens(TypedScreen)
    for _ in range(30):  # the key that opened it is held down
        desk.clock.advance(0.035)
        await desk.pilot.press("a")
    await desk.shows("> ▏")
    await desk.settled()
    assert desk.nothing_came()
