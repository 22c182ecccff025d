"""The way to a server: resolve once, check every address, dial the checked ones in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from mitmgate.judge.inputs import DialInput
from mitmgate.mitm.convert import address_of, normalised
from mitmgate.mitm.core import Core, Ruling
from mitmgate.mitm.reach import cut_dial

MOST_ATTEMPTS = 4  # addresses of one name that are dialled, one after the other
NEXT_SECONDS = 5.0  # for an address where another one is left
LAST_SECONDS = 30.0

type Resolver = Callable[[str, int], Awaitable[tuple[str, ...]]]
type Own = Callable[[], tuple[tuple[str, int], ...]]


@dataclass(slots=True)
class _Attempt:
    """The addresses that are left for an exchange; ``failed``: the last one dialled is dead."""

    host: str
    port: int
    rest: list[str]
    failed: bool = False


@dataclass(slots=True)
class _Dial:
    """A connection that is being opened: for which exchange, to what name, and its time limit."""

    exchange: str
    name: tuple[str, int] | None = None
    limit: asyncio.TimerHandle | None = field(default=None, repr=False)


class Dialling:
    """Opens connections to servers. ``own`` gives the addresses that the proxy listens on."""

    def __init__(self, core: Core, resolver: Resolver, own: Own) -> None:
        self._core = core
        self._resolve = resolver
        self._own = own
        self._dials: dict[str, dict[str, _Dial]] = {}  # by client, then by server connection
        self._attempts: dict[str, _Attempt] = {}
        self._refused: dict[str, Ruling] = {}

    def opens(self, exchange: str, *, client: str, server: str) -> None:
        """Note that connection *server* of *client* is opened for *exchange*."""
        self._dials.setdefault(client, {}).setdefault(server, _Dial(exchange))

    def refusal(self, exchange: str) -> Ruling | None:
        """Return why the address for *exchange* was refused, once; None where it was not."""
        return self._refused.pop(exchange, None)

    def tries_next(self, exchange: str) -> bool:
        """Tell whether an address is left after the one that could not be reached."""
        attempt = self._attempts.get(exchange)
        return attempt is not None and attempt.failed and bool(attempt.rest)

    def forget(self, exchange: str) -> None:
        """Forget *exchange*: it is over."""
        self._refused.pop(exchange, None)
        self._attempts.pop(exchange, None)

    def client_left(self, client: str) -> None:
        """Forget what *client* had begun."""
        for dial in self._dials.pop(client, {}).values():
            _unlimited(dial)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Give the connection a checked address; none is dialled that was not judged."""
        address = data.server.address
        if address is None:
            return
        host, port = address[0], address[1]
        dials = self._dials.setdefault(data.client.id, {})
        dial = dials.setdefault(data.server.id, _Dial(""))
        attempt = self._attempts.get(dial.exchange)
        if attempt is None or not attempt.failed or (attempt.host, attempt.port) != (host, port):
            attempt = await self._checked(data, dial.exchange, host, port)
        if attempt is None:
            return
        if not attempt.rest:
            data.server.error = "unresolvable"
            return
        data.server.alpn_offers = (b"http/1.1",)  # whatever a client speaks: one framing to judge
        dial.name = host, port
        attempt.failed = False
        data.server.address = (attempt.rest.pop(0), port)
        seconds = NEXT_SECONDS if attempt.rest else LAST_SECONDS
        loop = asyncio.get_running_loop()
        dial.limit = loop.call_later(seconds, cut_dial, data.client.id, data.server)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Give the connection its name back: mitmproxy finds it for reuse by this."""
        dial = self._done(data)
        if dial is not None and dial.name is not None:
            data.server.__dict__["address"] = dial.name
            self._attempts.pop(dial.exchange, None)

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """Note that an address cannot be reached: the next one may be."""
        dial = self._done(data)
        attempt = self._attempts.get(dial.exchange) if dial is not None else None
        if attempt is not None:
            attempt.failed = True

    def _done(self, data: ServerConnectionHookData) -> _Dial | None:
        dials = self._dials.get(data.client.id, {})
        dial = dials.pop(data.server.id, None)
        if not dials:
            self._dials.pop(data.client.id, None)
        if dial is not None:
            _unlimited(dial)
        return dial

    async def _checked(
        self, data: ServerConnectionHookData, exchange: str, host: str, port: int
    ) -> _Attempt | None:
        """Return the addresses of *host* where all of them may be dialled."""
        name = normalised(host)
        static = self._core.judge.policy.resolve(name)
        addresses = (static,) if static else await self._resolve(host, port)
        # In reverse mode the operator named the only server there is.
        chosen = static is not None or isinstance(data.client.proxy_mode, ReverseMode)
        given = DialInput(
            exchange=exchange or self._core.next_exchange(),
            agent=address_of(data.client),
            host=name,
            port=port,
            addresses=addresses,
            static=chosen,
            own=self._own(),
        )
        ruling = await self._core.decide(given, connection=data.client.id)
        if ruling is not None and not ruling.released:
            data.server.error = ruling.outcome.code
            if exchange:
                self._refused[exchange] = ruling
            else:
                self._core.end(given.exchange)  # nobody asks for it
            return None
        attempt = _Attempt(host, port, list(addresses[:MOST_ATTEMPTS]))
        if exchange:
            self._attempts[exchange] = attempt
        return attempt


def _unlimited(dial: _Dial) -> None:
    if dial.limit is not None:
        dial.limit.cancel()
        dial.limit = None
