"""Pictures of the running console: the same events and keys give the same picture.

``python -m mitmgate_tui.screenshot docs`` draws those of the README and of the page about the
console; ``make docs`` does that.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mitmgate.control.models import Event, Model
from mitmgate_tui.app import Console
from mitmgate_tui.client import Absent, Gate, Heard
from mitmgate_tui.clock import Clock
from mitmgate_tui.example import NOW, example, pages

SIZE = (140, 40)
SMALL = (100, 30)
_LATER = 100.0  # seconds, after which nothing on the screen is new any more


@dataclass(frozen=True, slots=True)
class Picture:
    """What is pressed before the picture is taken, how large it is (columns, lines), its title."""

    title: str
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = SMALL


PICTURES: Final = {
    "console": Picture("The console", size=SIZE),
    "console-narrow": Picture("In 80 columns", size=(80, 24)),
    "console-scope": Picture("What an answer covers", ("e", "right", "down", "space"), (84, 12)),
    "console-preview": Picture(
        "A rule for ever, before it is written", ("e", "right", "right", "enter", "f"), (84, 20)
    ),
    "console-filter": Picture("A filter", ("slash", *"v:!allow")),
    "console-servers": Picture("The servers that were seen", ("2",)),
    "console-rules": Picture("The rules, and how often each decided", ("3",)),
    "console-health": Picture("How the gate is doing", ("4",)),
}
"""By name of the file in ``docs``."""


class Replay(Gate):
    """A gate that says what it was given, and then nothing."""

    has_key = True

    def __init__(self, events: Iterable[Heard], answers: Mapping[str, bytes] | None = None) -> None:
        self._events = tuple(events)
        self._answers = answers or {}

    async def follow(self) -> AsyncGenerator[Heard]:
        """Yield the events, then wait."""
        for event in self._events:
            yield event
        await asyncio.Event().wait()

    async def post(self, path: str, _: Model) -> bytes:
        """Return the answer given for *path*, or take anything."""
        return self._answers.get(path, b"{}")

    async def get(self, path: str) -> bytes:
        """Return the answer given for *path*."""
        if path not in self._answers:
            raise Absent("The proxy does not offer this.")
        return self._answers[path]


def svg_of(picture: Picture, events: Sequence[Event] | None = None) -> str:
    """Run the console headless on *events*, press the picture's keys, and return it as SVG."""
    return asyncio.run(_draw(picture, example() if events is None else events))


async def _draw(picture: Picture, events: Sequence[Event]) -> str:
    passed = 0.0
    clock = Clock(wall=lambda: NOW, steady=lambda: passed, calendar=time.gmtime)
    app = Console(Replay(events, pages()), clock=clock)
    async with app.run_test(size=picture.size) as pilot:
        while app.board.version < len(events):
            await pilot.pause()
        for key in ("", *picture.keys, ""):
            if key:
                await pilot.press(key)
            while app.board.feed.busy or app.waits_for_more:
                await pilot.pause()
            for _ in range(2):  # what came up in the first is no longer new in the second
                passed += _LATER
                app.drain()
                await pilot.pause()
        return app.export_screenshot(title=picture.title)


def write(folder: Path) -> None:
    """Write every picture into *folder*."""
    for name, picture in PICTURES.items():
        file = folder / f"{name}.svg"
        new = file.with_suffix(".svg.new")
        new.write_text(svg_of(picture) + "\n", encoding="utf-8", newline="\n")
        new.replace(file)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
