"""A client's connection whose hooks run at once, as far as they come without waiting.

mitmproxy makes a task for every hook, gives each task a name and a time, and takes a lock for every
event: some ten tasks for a call. Here a hook starts as soon as the event that asked for it is over,
and only one that then waits becomes a task of its own. The order is mitmproxy's: one event after
the other, a hook after the event that asked for it, and what a hook brings about after that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from mitmproxy import flow, http
from mitmproxy.proxy import commands, events, mode_servers, server
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler

from mitmgate.mitm.fast import is_on
from mitmgate.mitm.reusing import Reusing

_RUNNING: set[asyncio.Task[None]] = set()  # the loop keeps only weak references


def install() -> None:
    """Put what is wanted of the fast path in the place of mitmproxy's own, in this process."""
    kinds = {"hooks": FastHandler, "pool": Reusing}
    bases = tuple(kind for name, kind in kinds.items() if is_on(name))
    if bases:
        vars(mode_servers)["ProxyConnectionHandler"] = type("GateHandler", bases, {})
    if is_on("checks"):
        http.MessageData.__post_init__ = _unchecked  # type: ignore[method-assign]


def _unchecked(_: http.MessageData) -> None:
    """Take the fields as they are: only mitmproxy and this package make messages."""


class FastHandler(ProxyConnectionHandler):
    """Takes the place of ``ProxyConnectionHandler``; what is not said here is as there."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self._next: deque[events.Event | commands.StartHook] = deque()
        self._busy = False

    async def server_event(self, event: events.Event) -> None:
        """Let the layers see *event*, and then what comes of it; never waits."""
        self._next.append(event)
        self._turn()

    def _turn(self) -> None:
        if self._busy:
            return  # within an event: its turn comes when that one is over
        self._busy = True
        try:
            while self._next:
                one = self._next.popleft()
                if isinstance(one, commands.StartHook):
                    self._start(one)
                else:
                    self._take(one)
        finally:
            self._busy = False

    def _take(self, event: events.Event) -> None:
        self.timeout_watchdog.register_activity()
        try:
            for command in self.layer.handle_event(event):
                if isinstance(command, commands.SendData):
                    self._send(command)
                elif isinstance(command, commands.StartHook):
                    self._next.append(command)
                else:
                    self._obey(command)
        except Exception:  # noqa: BLE001 - as mitmproxy has it
            self.log("mitmproxy has crashed!", logging.ERROR, exc_info=True)

    def _send(self, command: commands.SendData) -> None:
        transport = self.transports.get(command.connection)
        if transport is None:
            return  # it is closed already
        writer = transport.writer
        if writer is not None and not writer.is_closing():
            writer.write(command.data)

    def _obey(self, command: commands.Command) -> None:
        if isinstance(command, commands.OpenConnection):
            opening = asyncio.get_running_loop().create_task(self.open_connection(command))
            self.transports[command.connection] = server.ConnectionIO(handler=opening)
        elif isinstance(command, commands.RequestWakeup):
            self.wakeup_timer.add(asyncio.get_running_loop().create_task(self.wakeup(command)))
        elif isinstance(command, commands.ConnectionCommand):
            if command.connection in self.transports:
                half = isinstance(command, commands.CloseTcpConnection) and command.half_close
                self.close_connection(command.connection, half)
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        else:
            raise RuntimeError(f"Unexpected command: {command}")

    def _start(self, hook: commands.StartHook) -> None:
        loop = asyncio.get_running_loop()
        running = asyncio.Task(self._run_hook(hook), loop=loop, eager_start=True)
        if running.done():
            self._ended(hook, running)
            return
        watchdog = self.timeout_watchdog
        watchdog.can_timeout.clear()  # as handle_hook does, which few hooks last long enough for
        watchdog.blocker += 1
        _RUNNING.add(running)
        running.add_done_callback(lambda done: self._ended_late(hook, done))

    async def _run_hook(self, hook: commands.StartHook) -> None:
        await self.master.addons.handle_lifecycle(hook)
        (data,) = hook.args()
        if isinstance(data, flow.Flow):
            await data.wait_for_resume()

    def _ended(self, hook: commands.StartHook, done: asyncio.Task[None]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            # The hook table lets none through; without one the layer waits for ever, as there.
            self.log("mitmproxy has crashed!", logging.ERROR)
        elif hook.blocking:
            self._next.append(events.HookCompleted(hook))

    def _ended_late(self, hook: commands.StartHook, done: asyncio.Task[None]) -> None:
        _RUNNING.discard(done)
        watchdog = self.timeout_watchdog
        watchdog.blocker -= 1
        if watchdog.blocker == 0:
            watchdog.register_activity()
            watchdog.can_timeout.set()
        self._ended(hook, done)
        self._turn()

    async def drain_writers(self) -> None:
        """Wait where a writer holds more than it has sent; most hold nothing."""
        for transport in self.transports.values():
            writer = transport.writer
            if writer is None or not isinstance(writer, asyncio.StreamWriter):
                continue
            if writer.transport.get_write_buffer_size():
                await super().drain_writers()  # type: ignore[no-untyped-call]
                return

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Log what somebody listens to."""
        if server.logger.isEnabledFor(level):
            super().log(message, level, exc_info)
