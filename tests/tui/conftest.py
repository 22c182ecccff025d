"""A console in a terminal of its own, on a fake proxy."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.tui import settling
from tests.tui.fakes import (
    KEY,
    NOW,
    PATHS,
    PREVIEW,
    SCOPES,
    FakeProxy,
    make_pending,
    make_row,
)
from textual.pilot import Pilot
from textual.screen import Screen

from mitmgate.control.models import (
    Pending,
)
from mitmgate_tui.app import Console, Options
from mitmgate_tui.board import Board
from mitmgate_tui.client import Client
from mitmgate_tui.clock import Clock

__all__ = [
    "KEY", "NOW", "PATHS", "PREVIEW", "SCOPES", "Desk", "FakeClock", "FakeProxy", "OpenDesk",
    "make_pending", "make_row",
]  # fmt: skip

settling.install()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--snapshot-update", action="store_true", help="write tests/tui/snapshots")


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.jumped = 0.0

    def jump(self, seconds: float) -> None:
        """Set the clock on the wall; the steady one knows nothing of it."""
        self.jumped += seconds

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds

    def clock(self) -> Clock:
        return Clock(
            wall=lambda: NOW + self.elapsed + self.jumped,
            steady=lambda: self.elapsed,
            calendar=time.gmtime,
        )


@dataclass
class Desk:
    """A console in a terminal of its own, and the hands on its keyboard."""

    proxy: FakeProxy
    clock: FakeClock
    app: Console
    pilot: Pilot[None]
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        notify = self.app.notify

        def noted(message: str, **named: Any) -> None:
            self.told.append(message)
            notify(message, **named)

        self.app.notify = noted  # type: ignore[method-assign]

    async def until(self, condition: Callable[[], object], *, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                if self.app._exception is not None:
                    raise self.app._exception
                self.app.drain()
                await self.pilot.pause()
                if not condition():
                    await asyncio.sleep(0.005)  # a timer's turn

    async def shows(self, text: str) -> None:
        """Wait until *text* stands on the screen, and all that was drawn with it is laid out."""
        await self.until(lambda: text in self.text())
        for _ in range(2):
            await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys like a hand does, with the screen settled in between."""
        for key in keys:
            await self.pilot.press(key)
            await self.until(lambda: self.app._intent is None)

    async def arm(self) -> None:
        """Let the selection rest until the keys count, with all drawn that was on its way."""
        await self.pilot.pause()
        self.clock.advance(1.0)
        async with asyncio.timeout(60):
            while not await self._rests():
                # What came late started the wait again.
                self.clock.advance(0.4)

    async def _rests(self) -> bool:
        for _ in range(2):
            self.app.drain()
            await self.pilot.pause()
        return self.app.armed

    async def hold(self, *calls: Pending) -> None:
        """Let *calls* wait, and the screen show them."""
        before = len(self.app.board.waiting)
        self.proxy.hold(*calls)
        await self.until(lambda: len(self.app.board.waiting) == before + len(calls))
        await self.pilot.pause()

    async def opens(self, box: type[Screen[Any]]) -> None:
        """Wait until a screen of that kind is on top and its keys count, if it has any."""
        await self.until(lambda: isinstance(self.app.screen, box))
        await self.pilot.pause()

    async def settled(self) -> None:
        """Wait until a decision that is on its way would have arrived."""
        await self.pilot.pause()
        await self.until(lambda: self.app._intent is None and not self.app._asked)
        beats = self.app.board.version
        self.proxy.beat()
        await self.until(lambda: self.app.board.version > beats)
        await self.pilot.pause()

    def nothing_came(self) -> bool:
        """Whether nothing at all was decided, taken back or turned."""
        return not (self.proxy.decided or self.proxy.undone or self.proxy.switched)

    def text(self) -> str:
        """Return what stands on the screen."""
        screen = self.app.screen
        strips = screen._compositor.render_strips(self.app.size)
        return "\n".join(strip.text for strip in strips)

    def notices(self) -> list[str]:
        """Return every notice that was given, those that went too."""
        return self.told


type OpenDesk = Callable[..., contextlib.AbstractAsyncContextManager[Desk]]


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    # pytest's own folders have names longer than a Unix socket's path may be.
    with tempfile.TemporaryDirectory(prefix="tui") as folder:
        yield Path(folder)


@pytest.fixture
async def proxy(socket_folder: Path) -> AsyncIterator[FakeProxy]:
    proxy = FakeProxy(socket_folder / "control.sock")
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def open_desk(proxy: FakeProxy) -> OpenDesk:
    @contextlib.asynccontextmanager
    async def open_it(
        *,
        key: str | None = KEY,
        size: tuple[int, int] = (140, 45),
        options: Options | None = None,
        max_rows: int | None = None,
    ) -> AsyncIterator[Desk]:
        clock = FakeClock()
        client = Client(proxy.path, key, operator="test")
        app = Console(client, clock=clock.clock(), options=options)
        if max_rows is not None:
            app.board = Board(max_rows)
        async with app.run_test(size=size, notifications=True) as pilot:
            desk = Desk(proxy, clock, app, pilot)
            await desk.until(lambda: app.board.gone is None)
            await pilot.pause()
            yield desk

    return open_it


@pytest.fixture
async def desk(open_desk: OpenDesk) -> AsyncIterator[Desk]:
    async with open_desk() as desk:
        yield desk
