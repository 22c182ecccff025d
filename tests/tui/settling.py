"""When a console has settled: its loop has nothing left to do but to wait for a timer.

Textual's own wait sleeps at least 20 ms and looks at the CPU time of the process, so that a test
took ten times as long as its work, and longer where other tests ran beside it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import textual.app
import textual.pilot
from textual._compositor import Compositor
from textual._context import visible_screen_stack

MOST = 5.0
"""Seconds after which a loop that is never quiet is taken as it is."""
_ROUNDS = 3


async def quiet(*_: float) -> None:
    """Wait until the loop had nothing to run three times; what lies in a socket is read by then."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    end, calm = time.monotonic() + MOST, 0
    while calm < _ROUNDS and time.monotonic() < end:
        await asyncio.sleep(0)
        calm = 0 if ready else calm + 1


async def _screen_quiet(_: object, __: float = 0.0) -> bool:
    await quiet()
    return True


def install() -> None:
    """Let Textual's pilot wait like this, and let nothing be painted that nobody looks at.

    What stands on a screen is drawn when a test asks for it, and whole.
    """
    for module in (textual.app, textual.pilot):
        module.wait_for_idle = quiet  # type: ignore[attr-defined]
    textual.pilot.Pilot._wait_for_screen = _screen_quiet  # type: ignore[method-assign,assignment]
    painted = Compositor.render_update

    def unpainted(self: Compositor, full: bool = False, *args: Any, **named: Any) -> Any:
        if full:
            return painted(self, full, *args, **named)
        visible_screen_stack.set(named.get("screen_stack") or [])
        self._dirty_regions.clear()
        return None

    Compositor.render_update = unpainted  # type: ignore[method-assign]
