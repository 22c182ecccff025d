"""Every screen at two sizes, as it was when somebody last looked at it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import snapshots
from tests.tui.conftest import NOW, FakeClock

from mitmgate.control.models import Snapshot
from mitmgate.control.switch import Switch
from mitmgate_tui.app import Console, Options
from mitmgate_tui.client import Gone
from mitmgate_tui.clock import Clock
from mitmgate_tui.example import example, pages
from mitmgate_tui.screenshot import Replay
from mitmgate_tui.themes import THEMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.pilot import Pilot

    from mitmgate.control.models import Event
    from mitmgate_tui.client import Heard

SIZES = {"80x24": (80, 24), "140x45": (140, 45)}
SCREENS: dict[str, Sequence[str]] = {
    "live": (),
    "selected": ("tab", "g"),
    "filter": ("slash", *"v:!allow server:"),
    "paused": ("p", "o"),
    "columns": ("v",),
    "detail": ("enter",),
    "reason": ("r",),
    "scope": ("e", "right", "down", "space"),
    "length": ("e", "right", "right", "enter", "t"),
    "preview": ("e", "right", "right", "enter", "f"),
    "marked": ("space", "down", "space", "A"),
    "undo": ("u",),
    "kill": ("k",),
    "help": ("question_mark",),
    "servers": ("2",),
    "servers-next": ("2", "down"),
    "rules": ("3",),
    "rules-next": ("3", "down", "down", "down"),
    "health": ("4",),
}


class Still:
    """The example's minute, on a clock that stands still between looks."""

    def __init__(self, *, size: tuple[int, int], options: Options | None = None,
                 events: Sequence[Heard] | None = None) -> None:  # fmt: skip
        self.clock = FakeClock()
        clock = Clock(wall=lambda: NOW, steady=lambda: self.clock.elapsed, calendar=time.gmtime)
        self.events = example() if events is None else events
        self.app = Console(Replay(self.events, pages()), clock=clock, options=options)
        self.size = size

    async def after(self, keys: Sequence[str]) -> str:
        async with self.app.run_test(size=self.size) as pilot:
            while self.app.board.version < len(self.events):
                await pilot.pause()
            await self.rest(pilot)
            await self.press(pilot, keys)
            return snapshots.picture(self.app)

    async def press(self, pilot: Pilot[None], keys: Sequence[str]) -> None:
        """Press keys, each when the screen has settled."""
        for key in keys:
            await pilot.press(key)
            while self.app._intent is not None:
                await pilot.pause()
            await self.rest(pilot)

    async def resized(self) -> None:
        """Wait until Textual takes the drag of a corner for over."""
        while self.app._resize_timer is not None:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)

    async def rest(self, pilot: Pilot[None]) -> None:
        """Let all work be done, and the keys arm."""
        while self.app.board.feed.busy:
            await pilot.pause()
        for _ in range(3):
            self.clock.advance(1.0)
            self.app.drain()
            await asyncio.sleep(0)
            await pilot.pause()


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--snapshot-update", default=False))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", SCREENS)
async def test_screen(screen: str, size: str, update: bool) -> None:
    got = await Still(size=SIZES[size]).after(SCREENS[screen])
    snapshots.check(f"{screen}-{size}", got, update=update)


HALT = Switch(on=True, by="tom", since=NOW - 60, reason="an agent ran wild")


def _high(event: Event) -> Event:
    """Let what was found be severe: the name of the tool has to be typed."""
    if not isinstance(event, Snapshot):
        return event
    pending, *others = event.pending
    severe = tuple(f.model_copy(update={"severity": "high"}) for f in pending.row.findings)
    row = pending.row.model_copy(update={"findings": severe, "severity": "high"})
    first = pending.model_copy(update={"row": row})
    return event.model_copy(update={"pending": (first, *others)})


OTHERS: dict[str, dict[str, Any]] = {
    "light": {"options": Options(theme=THEMES["light"].name)},
    "ansi": {"options": Options(theme=THEMES["ansi"].name)},
    "gone": {"events": [*example(), Gone("the proxy closed the stream")]},
    "stopped": {"events": [
        event.model_copy(update={"state": event.state.model_copy(update={"halt": HALT})})
        if isinstance(event, Snapshot) else event for event in example()]},
    "typed": {"events": [_high(event) for event in example()], "keys": ("a",)},
    "empty": {"events": [e.model_copy(update={"rows": (), "pending": ()})
                         for e in example() if isinstance(e, Snapshot)]},
    "read-only": {"events": [e.model_copy(update={"operator": False})
                             for e in example() if isinstance(e, Snapshot)]},
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", OTHERS)
async def test_other_looks(name: str, size: str, update: bool) -> None:
    facts = dict(OTHERS[name])
    keys = facts.pop("keys", ())
    got = await Still(size=SIZES[size], **facts).after(keys)
    snapshots.check(f"{name}-{size}", got, update=update)


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_terminal_resized_to_nothing_and_back_shows_the_same(screen: str) -> None:
    still = Still(size=(140, 45))
    expected = (await Still(size=(140, 45)).after(SCREENS[screen])).split("\n\n")[0]
    async with still.app.run_test(size=(140, 45)) as pilot:
        while still.app.board.version < len(still.events):
            await pilot.pause()
        await still.rest(pilot)
        await still.press(pilot, SCREENS[screen])
        for width, height in ((80, 24), (10, 5), (1, 1), (2, 40), (140, 1), (140, 45)):
            await pilot.resize_terminal(width, height)
            await still.resized()
            await still.rest(pilot)
        await still.rest(pilot)
        assert snapshots.picture(still.app).split("\n\n")[0] == expected
