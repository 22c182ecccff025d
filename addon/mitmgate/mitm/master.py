"""mitmproxy's master with the few addons that a gate needs, and the hook table that denies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

from mitmproxy import hooks
from mitmproxy.addons import core, next_layer, proxyserver
from mitmproxy.connection import Client, Connection
from mitmproxy.exceptions import OptionsError
from mitmproxy.master import Master
from mitmproxy.options import Options
from mitmproxy.proxy.mode_specs import ProxyMode

from mitmgate.errors import ConfigError, Problem
from mitmgate.mitm.fast import is_on
from mitmgate.mitm.gate import Gate
from mitmgate.mitm.guard import Guard
from mitmgate.mitm.handler import install
from mitmgate.mitm.options import apply_options, misplaced_options, unsafe_options
from mitmgate.mitm.reusing import Pool
from mitmgate.mitm.secure import GateTls
from mitmgate.mitm.table import HookTable

_MODES = ("regular", "reverse", "transparent")
_STOP_SECONDS = 3.0


class LeanMaster(Master):
    """Proxies with five addons; start it with :meth:`start`, end it with :meth:`stop`."""

    def __init__(self) -> None:
        super().__init__(Options(), event_loop=asyncio.get_running_loop())
        install()
        if is_on("records"):
            self._legacy_log_events.uninstall()
        self._proxyserver = proxyserver.Proxyserver()
        self.pool: Pool | None = None

    @property
    def listen_addresses(self) -> tuple[tuple[str, int], ...]:
        """The addresses and ports the proxy listens on."""
        return tuple((str(a[0]), int(a[1])) for a in self._proxyserver.listen_addrs())

    def configure(
        self, gate: object, settings: Mapping[str, object], chosen: Sequence[str] = ()
    ) -> None:
        """Load the addons and set the options; raise ConfigError for every unsafe one."""
        secure = GateTls()
        addons = (core.Core(), self._proxyserver, next_layer.NextLayer(), secure, gate)
        if is_on("pool") and isinstance(gate, Gate):
            self.pool = Pool(gate.owner, secure)
        self.addons.add(*addons)
        try:
            apply_options(self.options, settings, chosen)
        except OptionsError as error:
            raise ConfigError(Problem(str(error), hint="see `mitmgate run --help`")) from error
        problems = [*_unsupported_modes(self.options.mode), *misplaced_options(chosen),
                    *unsafe_options(self.options, http2=settings.get("http2") is True)]  # fmt: skip
        if problems:
            raise ConfigError(*problems)
        table = HookTable(addons, Guard(self._abort), once=is_on("table"))
        self.addons.handle_lifecycle = table.handle_lifecycle  # type: ignore[method-assign]

    async def start(self) -> None:
        """Listen; raise ConfigError where that is not possible."""
        with _unlogged("mitmproxy.addons.proxyserver"):  # the error below says it, once and clearer
            listening = await self._proxyserver.setup_servers()
        if not listening:
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
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._connections_ended()
        if self.pool is not None:
            self.pool.clear()  # what the last of them left
        await self.addons.trigger_event(hooks.DoneHook())

    async def _connections_ended(self) -> None:
        # Their last hooks record how each exchange ended.
        while self._proxyserver.connections:  # noqa: ASYNC110 - mitmproxy has no event for it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)

    def _abort(self, client: Client, connection: Connection) -> None:
        handler = self._proxyserver.connections.get(client.id)
        transport = handler.transports.get(connection) if handler is not None else None
        writer = transport.writer if transport is not None else None
        if isinstance(writer, asyncio.StreamWriter):
            writer.transport.abort()


@contextlib.contextmanager
def _unlogged(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _unsupported_modes(modes: Sequence[str]) -> list[Problem]:
    problems = []
    for mode in modes:
        try:
            parsed = ProxyMode.parse(mode)
        except ValueError as error:
            problems.append(Problem(f"not a proxy mode: {error}", key="--mode"))
            continue
        if parsed.custom_listen_host is not None or parsed.custom_listen_port is not None:
            # It would go around the check that keeps other machines out.
            problems.append(
                Problem("a mode does not say where to listen", key="--mode", hint="use --listen")
            )
        if parsed.type_name not in _MODES:
            problems.append(
                Problem(
                    f"mode {parsed.type_name} is not supported",
                    key="--mode",
                    hint="name the proxy with --upstream"
                    if parsed.type_name == "upstream"
                    else f"use one of {', '.join(_MODES)}",
                )
            )
    return problems


def _cannot_listen(reason: Exception) -> Problem:
    text = str(reason.args[1]) if isinstance(reason, OSError) and len(reason.args) > 1 else ""
    first = (text or str(reason)).splitlines()[0]
    return Problem(first, key="--listen", hint="choose another port; port 0 picks a free one")
