"""Every screen at two sizes, as it was when somebody last looked at it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import snapshots
from tests.tui.conftest import NOW, FakeClock

from mitmgate.control.models import PolicyView, ServerList, ServerView, Snapshot
from mitmgate_tui.app import Console, Options
from mitmgate_tui.clock import Clock
from mitmgate_tui.screenshot import Replay, example
from mitmgate_tui.themes import THEMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.pilot import Pilot

    from mitmgate.control.models import Event

SIZES = {"80x24": (80, 24), "140x45": (140, 45)}
SERVERS = ServerList(
    servers=(
        ServerView(
            url="https://mcp.github.com/mcp", server="github", name="github-mcp",
            title="GitHub", version="1.4.0", protocol_versions=("2025-06-18",),
            transports=("streamable_http",), tools=("get_issue", "create_issue"), tools_total=2,
            agents=("claude@lap",), agents_total=1, calls=41, first_seen=NOW, last_seen=NOW,
        ),
        ServerView(
            url="https://mcp.elsewhere.example/mcp", server=None, name=None, title=None,
            version=None, protocol_versions=(), transports=("sse",), tools=(), tools_total=0,
            agents=("ci-runner",), agents_total=1, calls=0, first_seen=NOW, last_seen=NOW,
        ),
    )
)  # fmt: skip
POLICY = PolicyView(
    policy="sha256:3f9c21a04be7", source="policy.yaml", mode="enforce", rules=7, problem=None,
    waiting=None, changes=(), applied=1, refused=0,
)  # fmt: skip
PAGES = {
    "servers": SERVERS.model_dump_json().encode(),
    "policy": POLICY.model_dump_json().encode(),
    "metrics": b'mitmgate_decisions_total{verdict="allow"} 17\n',
}
SCREENS: dict[str, Sequence[str]] = {
    "live": (),
    "selected": ("tab", "g"),
    "filter": ("slash", *"v:!allow server:"),
    "paused": ("p", "o"),
    "columns": ("c",),
    "detail": ("enter",),
    "reason": ("r",),
    "help": ("question_mark",),
    "servers": ("2",),
    "rules": ("3",),
    "health": ("4",),
}


class Still:
    """The example's minute, on a clock that stands still between looks."""

    def __init__(self, *, size: tuple[int, int], options: Options | None = None,
                 events: Sequence[Event] | None = None) -> None:  # fmt: skip
        self.clock = FakeClock()
        clock = Clock(wall=lambda: NOW, steady=lambda: self.clock.elapsed, calendar=time.gmtime)
        self.events = example() if events is None else events
        self.app = Console(Replay(self.events, PAGES), clock=clock, options=options)
        self.size = size

    async def after(self, keys: Sequence[str]) -> str:
        async with self.app.run_test(size=self.size) as pilot:
            while self.app.board.version < len(self.events):
                await pilot.pause()
            await self.rest(pilot)
            for key in keys:
                await pilot.press(key)
                while self.app._intent is not None:
                    await pilot.pause()
            await self.rest(pilot)
            return snapshots.picture(self.app)

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


OTHERS: dict[str, dict[str, Any]] = {
    "light": {"options": Options(theme=THEMES["light"].name)},
    "ansi": {"options": Options(theme=THEMES["ansi"].name)},
    "empty": {"events": [e.model_copy(update={"rows": (), "pending": ()})
                         for e in example() if isinstance(e, Snapshot)]},
    "read-only": {"events": [e.model_copy(update={"operator": False})
                             for e in example() if isinstance(e, Snapshot)]},
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", OTHERS)
async def test_other_looks(name: str, size: str, update: bool) -> None:
    got = await Still(size=SIZES[size], **OTHERS[name]).after(())
    snapshots.check(f"{name}-{size}", got, update=update)


@pytest.mark.parametrize("screen", SCREENS)
async def test_a_terminal_resized_to_nothing_and_back_shows_the_same(screen: str) -> None:
    still = Still(size=(140, 45))
    expected = (await Still(size=(140, 45)).after(SCREENS[screen])).split("\n\n")[0]
    async with still.app.run_test(size=(140, 45)) as pilot:
        while still.app.board.version < len(still.events):
            await pilot.pause()
        await still.rest(pilot)
        for key in SCREENS[screen]:
            await pilot.press(key)
            while still.app._intent is not None:
                await pilot.pause()
        for width, height in ((80, 24), (10, 5), (1, 1), (2, 40), (140, 1), (140, 45)):
            await pilot.resize_terminal(width, height)
            await still.rest(pilot)
        await still.rest(pilot)
        assert snapshots.picture(still.app).split("\n\n")[0] == expected
