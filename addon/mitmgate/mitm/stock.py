"""The same gate inside stock mitmdump or mitmweb (``-s``): it works there, and says what is open.

Stock forwards a flow when a hook raises, so here every hook of the gate carries the guard.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol

from mitmproxy import ctx, hooks
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client, Connection
from mitmproxy.exceptions import OptionsError

from mitmgate.errors import ConfigError
from mitmgate.mitm.core import Core
from mitmgate.mitm.dialling import Resolver
from mitmgate.mitm.gate import Gate
from mitmgate.mitm.guard import Guard
from mitmgate.mitm.options import unsafe_options

logger = logging.getLogger("mitmgate")

ALWAYS_OPEN = (
    "another addon whose hook raises is skipped, and what it would have stopped goes on",
    "an edit that breaks this script unloads the gate while the proxy goes on",
    "options may be changed while it runs; only `mitmgate run` refuses the unsafe ones",
)


class Service(Protocol):
    """The core and what belongs to it; ``start`` is told where the proxy listens."""

    @property
    def core(self) -> Core:
        """Judges, records, holds."""

    async def start(self, listen: str) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End."""


class StockAddon:
    """Loads the gate into a stock mitmproxy. *open_service* takes policy file and state folder."""

    name = "mitmgate-stock"

    def __init__(self, open_service: Callable[[str, str], Service], resolver: Resolver) -> None:
        self._open_service = open_service
        self._resolver = resolver
        self._service: Service | None = None
        self._gate: Gate | None = None
        self.addons: list[object] = []

    def load(self, loader: Loader) -> None:
        """Add our two options."""
        loader.add_option("mitmgate_policy", str, "", "The policy; else the one in force.")
        loader.add_option("mitmgate_state_dir", str, "", "Where mitmgate keeps its files.")
        # From the first connection on something must stand here: until the gate is built, a wall.
        for name in ("requestheaders", "request", "http_connect"):
            setattr(self, name, _Wall(self, name))

    def configure(self, _: set[str]) -> None:
        """Build the gate from the options, once."""
        if self._service is not None:
            return
        try:
            service = self._open_service(
                ctx.options.mitmgate_policy, ctx.options.mitmgate_state_dir
            )
        except ConfigError as error:
            raise OptionsError(str(error)) from error
        self._service = service
        self._gate = guarded(Gate(service.core, self._resolver, _listen_addresses), Guard(_abort))
        self.addons.append(self._gate)

    @property
    def built(self) -> bool:
        """Whether the gate stands."""
        return self._gate is not None

    async def running(self) -> None:
        """Start what belongs to the gate, and say what stock mitmproxy leaves open."""
        if self._service is None:
            return
        open_points = [str(problem) for problem in unsafe_options(ctx.options)]
        for point in (*open_points, *ALWAYS_OPEN):
            logger.warning("mitmgate: stock mitmproxy leaves open: %s", point)
        host, port = _listen_addresses()[0]
        await self._service.start(f"{host}:{port}")

    async def done(self) -> None:
        """End what belongs to the gate."""
        if self._service is not None:
            await self._service.stop()
            self._service = None


class _Wall:
    """Denies while there is no gate: the hook of that name, until the gate is built."""

    def __init__(self, addon: StockAddon, name: str) -> None:
        self._addon = addon
        self._name = name

    def __call__(self, data: Any) -> None:
        if not self._addon.built:
            Guard(_abort).deny(self._name, data, RuntimeError())


def guarded(gate: Gate, guard: Guard) -> Gate:
    """Return *gate* with the guard around each of its hooks."""
    for name in hooks.all_hooks:
        hook = getattr(gate, name, None)
        if callable(hook):
            setattr(gate, name, _guard_one(name, hook, guard))
    return gate


def _guard_one(name: str, hook: Callable[[Any], Any], guard: Guard) -> Callable[[Any], Any]:
    async def run(data: Any) -> None:
        try:
            result = hook(data)
            if inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all of it denies
            guard.deny(name, data, error)
        guard.seal(name, data)

    return run


def _listen_addresses() -> tuple[tuple[str, int], ...]:
    server = ctx.master.addons.get("proxyserver")
    return tuple((str(a[0]), int(a[1])) for a in server.listen_addrs())


def _abort(client: Client, connection: Connection) -> None:
    handler = ctx.master.addons.get("proxyserver").connections.get(client.id)
    transport = handler.transports.get(connection) if handler is not None else None
    writer = transport.writer if transport is not None else None
    if isinstance(writer, asyncio.StreamWriter):
        writer.transport.abort()
