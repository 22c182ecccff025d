"""Taking back what was said for more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mitmgate.control.models import GrantList, GrantView
from mitmgate_tui.screens.undo import UndoScreen

if TYPE_CHECKING:
    from tests.tui.conftest import Desk

from tests.tui.conftest import NOW


def grant(name: str, operator: str | None, **changes: Any) -> GrantView:
    facts: dict[str, Any] = {
        "id": name, "kind": "grant", "answer": "allow", "covers": f"every [b]{name}[/b]",
        "on": "tool", "lasting": "session", "agent": "claude@lap", "operator": operator,
        "outcome": "c1.0", "made": NOW, "left": None,
    }  # fmt: skip
    return GrantView.model_validate(facts | changes)


async def listed(desk: Desk, *grants: GrantView) -> None:
    desk.proxy.pages["grants"] = GrantList(grants=grants).model_dump_json()
    await desk.press("u")
    await desk.opens(UndoScreen)


GRANTS = (
    grant("g1", "test"), grant("g2", "test", answer="deny", lasting="time", left=90.0),
    grant("g3", "tom"),
)  # fmt: skip


async def test_it_begins_with_the_last_one_of_this_operator(desk: Desk) -> None:
    await listed(desk, *GRANTS)
    await desk.shows("▌✗ 1:30 left, test: every [b]g2[/b]")
    await desk.shows("cannot be undone")
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: desk.proxy.undone)
    assert (desk.proxy.undone[0].grant, desk.proxy.undone[0].operator) == ("g2", "test")
    await desk.until(lambda: any("taken back: every [b]g2" in note for note in desk.notices()))


async def test_another_one_is_chosen_with_the_arrow_keys(desk: Desk) -> None:
    await listed(desk, *GRANTS)
    await desk.press("down")
    await desk.press("y")
    await desk.settled()
    assert desk.nothing_came()
    await desk.arm()
    await desk.press("y")
    await desk.until(lambda: desk.proxy.undone)
    assert desk.proxy.undone[0].grant == "g1"


async def test_a_thousand_of_them_are_a_window(desk: Desk) -> None:
    await listed(desk, *(grant(f"g{at}", "test") for at in range(1000)))
    await desk.press(*["down"] * 20)
    await desk.shows("▌✓ this session, test: every [b]g979[/b]")
    assert len(desk.text().split("\n")) == 45


async def test_nothing_counts(desk: Desk) -> None:
    desk.proxy.pages["grants"] = GrantList(grants=()).model_dump_json()
    await desk.press("u")
    await desk.until(lambda: any("nothing to take back" in note for note in desk.notices()))
    assert not isinstance(desk.app.screen, UndoScreen)
