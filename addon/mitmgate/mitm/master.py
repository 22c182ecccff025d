"""mitmproxy's master with the few addons that a gate needs, and the hook table that denies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from mitmproxy import hooks
from mitmproxy.addons import core, disable_h2c, next_layer, proxyserver, tlsconfig
from mitmproxy.connection import Client, Connection
from mitmproxy.exceptions import OptionsError
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy.mode_specs import ProxyMode

from mitmgate.errors import ConfigError, Problem
from mitmgate.mitm.guard import Guard
from mitmgate.mitm.options import apply_options, unsafe_options
from mitmgate.mitm.table import HookTable

_MODES = ("regular", "reverse", "transparent")


class LeanMaster(Master):
    """Proxies with six addons; start it with :meth:`start`, end it with :meth:`stop`."""

    def __init__(self) -> None:
        super().__init__(Options(), event_loop=asyncio.get_running_loop())
        # Records for a log viewer that nobody opens cost a tenth of every call.
        self._legacy_log_events.uninstall()
        self._proxyserver = proxyserver.Proxyserver()

    @property
    def listen_addresses(self) -> tuple[tuple[str, int], ...]:
        """The addresses and ports the proxy listens on."""
        return tuple((str(a[0]), int(a[1])) for a in self._proxyserver.listen_addrs())

    def configure(
        self, gate: object, settings: Mapping[str, object], chosen: Sequence[str] = ()
    ) -> None:
        """Load the addons and set the options; raise ConfigError for every unsafe one."""
        addons = (
            core.Core(),
            self._proxyserver,
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            disable_h2c.DisableH2C(),
            gate,
        )
        self.addons.add(*addons)
        try:
            apply_options(self.options, settings, chosen)
        except OptionsError as error:
            raise ConfigError(Problem(str(error), hint="see `mitmgate run --help`")) from error
        problems = [*_unsupported_modes(self.options.mode), *unsafe_options(self.options)]
        if problems:
            raise ConfigError(*problems)
        table = HookTable(addons, Guard(self._abort))
        self.addons.handle_lifecycle = table.handle_lifecycle  # type: ignore[method-assign]

    async def start(self) -> None:
        """Listen; raise ConfigError where that is not possible."""
        if not await self._proxyserver.setup_servers():
            reasons = [s.last_exception for s in self._proxyserver.servers if s.last_exception]
            raise ConfigError(*(_cannot_listen(reason) for reason in reasons))
        await self.running()

    async def stop(self) -> None:
        """Stop listening, close every connection, end the addons."""
        await self._proxyserver.servers.update([])
        for handler in list(self._proxyserver.connections.values()):
            for transport in list(handler.transports.values()):
                if transport.handler is not None:
                    transport.handler.cancel("shutdown")
        await self.addons.trigger_event(hooks.DoneHook())

    def _abort(self, client: Client, connection: Connection) -> None:
        handler = self._proxyserver.connections.get(client.id)
        transport = handler.transports.get(connection) if handler is not None else None
        writer = transport.writer if transport is not None else None
        if isinstance(writer, asyncio.StreamWriter):
            writer.transport.abort()


def _unsupported_modes(modes: Sequence[str]) -> list[Problem]:
    problems = []
    for mode in modes:
        try:
            name = ProxyMode.parse(mode).type_name
        except ValueError as error:
            problems.append(Problem(f"not a proxy mode: {error}", key="--mode"))
            continue
        if name not in _MODES:
            problems.append(
                Problem(
                    f"mode {name} is not supported",
                    key="--mode",
                    hint=f"use one of {', '.join(_MODES)}",
                )
            )
    return problems


def _cannot_listen(reason: Exception) -> Problem:
    text = str(reason.args[1]) if isinstance(reason, OSError) and len(reason.args) > 1 else ""
    first = (text or str(reason)).splitlines()[0]
    return Problem(first, key="--listen", hint="choose another port; port 0 picks a free one")
