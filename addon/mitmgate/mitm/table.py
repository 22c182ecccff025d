"""The one hook table: every hook is looked up once, and a hook that raises denies.

mitmproxy walks all addons for every event and forwards the flow when one raises
(``addonmanager.safecall``). This table replaces ``handle_lifecycle`` on our own instance: it is
the fail-closed guard and the fast dispatch at once.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from mitmproxy import hooks
from mitmproxy.exceptions import AddonHalt

from mitmgate.mitm.guard import Guard
from mitmgate.mitm.streams import SseEventHook


class HookTable:
    """All hooks of *addons*, by event name, in the order of the addons.

    ``once=False`` looks them up for each event, as mitmproxy does.
    """

    def __init__(self, addons: Sequence[object], guard: Guard, *, once: bool = True) -> None:
        self._guard = guard
        self._addons = None if once else addons
        self._table: dict[str, tuple[Callable[..., Any], ...]] = {}
        for name in {*hooks.all_hooks, SseEventHook.name}:
            self._table[name] = _hooks(addons, name)

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """Run the hooks of *event*; the first that raises denies and ends the round."""
        name = event.name
        data = event.args()[0]
        guard = self._guard
        if guard.refuses(name, data):
            return
        found = self._table.get(name, ())
        if self._addons is not None:
            found = _hooks(self._addons, name)
        try:
            for hook in found:
                result = hook(data)
                if result is not None and inspect.isawaitable(result):
                    await result
        except AddonHalt:
            pass
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all of it denies
            # A cancelled hook is denied like one that raised, and ends here: passed on, the
            # cancellation would leave the client waiting for an event that never comes.
            guard.deny(name, data, error)
        guard.seal(name, data)


def _hooks(addons: Sequence[object], name: str) -> tuple[Callable[..., Any], ...]:
    found = (getattr(addon, name, None) for addon in addons)
    return tuple(hook for hook in found if callable(hook))
