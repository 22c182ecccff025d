"""The way to a server: resolve once, check every address, dial the checked ones in their order.

Where a proxy was named, the way goes through it: the same checks come first, and it is asked for
the checked address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mitmproxy.connection import Server
from mitmproxy.net.server_spec import ServerSpec
from mitmproxy.proxy.mode_specs import ReverseMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from mitmgate.judge.inputs import DialInput
from mitmgate.mitm.convert import address_of, normalised
from mitmgate.mitm.core import Core, Ruling
from mitmgate.mitm.reach import carry, cut_connection, cut_dial
from mitmgate.mitm.resolve import with_interfaces
from mitmgate.mitm.upstream import (
    FAILED,
    Upstream,
    is_address,
    is_here,
    is_loopback,
    is_own_name,
)

MOST_ATTEMPTS = 4  # addresses of one name that are dialled, one after the other
NEXT_SECONDS = 5.0  # for an address where another one is left
LAST_SECONDS = 30.0
SETUP_SECONDS = 10.0  # from the TCP connection to one that takes a request: a tunnel, TLS

type Resolver = Callable[[str, int], Awaitable[tuple[str, ...]]]
type Own = Callable[[], tuple[tuple[str, int], ...]]


@dataclass(slots=True)
class _Attempt:
    """The addresses that are left for an exchange; ``failed``: the last one dialled is dead.

    ``head`` asks the proxy for the server, where one is between.
    """

    host: str
    port: int
    rest: list[str]
    head: bytes | None = field(default=None, repr=False)
    failed: bool = False


@dataclass(slots=True)
class _Dial:
    """A connection that is being opened: for which exchange, to what name, and its time limit.

    ``inner`` is the connection to the server where this one is to the proxy.
    """

    exchange: str
    name: tuple[str, int] | None = None
    limit: asyncio.TimerHandle | None = field(default=None, repr=False)
    inner: Server | None = None


@dataclass(slots=True)
class _Setup:
    """A connection that is open and not ready; ``exchange`` is empty once nobody asks for it.

    ``outer`` is the one with a socket.
    """

    exchange: str
    limit: asyncio.TimerHandle
    outer: Server


class Dialling:
    """Opens connections to servers. ``own`` gives the addresses that the proxy listens on.

    ``upstream`` is the proxy that all of them go through, set before the first one.
    """

    def __init__(self, core: Core, resolver: Resolver, own: Own) -> None:
        self.upstream: Upstream | None = None
        self._core = core
        self._resolve = resolver
        self._own = own
        self._dials: dict[str, dict[str, _Dial]] = {}  # by client, then by server connection
        self._setups: dict[str, dict[str, _Setup]] = {}  # likewise
        self._asked: dict[str, _Setup] = {}  # by exchange
        self._heads: dict[str, dict[str, bytes]] = {}  # by client, then by connection to the proxy
        self._attempts: dict[str, _Attempt] = {}
        self._refused: dict[str, Ruling] = {}

    def opens(self, exchange: str, *, client: str, server: str) -> None:
        """Note that connection *server* of *client* is opened for *exchange*."""
        self._dials.setdefault(client, {}).setdefault(server, _Dial(exchange))

    def via(self, host: str) -> ServerSpec | None:
        """Return the proxy on the way to *host*, None where it is dialled from here.

        That is this machine alone: for the proxy its address is the proxy's own machine.
        """
        if self.upstream is None:
            return None
        name = normalised(host)
        static = self._core.judge.policy.resolve(name)
        if is_here(name) or is_loopback_address(static or name):
            return None
        return self.upstream.scheme, (self.upstream.host, self.upstream.port)

    def carries(self, client: str, outer: Server, inner: Server) -> None:
        """Note that *outer*, to the proxy, is opened to carry *inner*, to a server."""
        dial = self._dials.get(client, {}).get(outer.id)
        if dial is not None:
            dial.inner = inner
        inner.alpn_offers = (b"http/1.1",)
        carry(inner, outer)

    def head_for(self, client: str, outer: Server) -> bytes | None:
        """Return, once, what asks the proxy on *outer* for the server; None: it was not checked."""
        heads = self._heads.get(client, {})
        head = heads.pop(outer.id, None)
        if not heads:
            self._heads.pop(client, None)
        return head

    def ready(self, client: str, server: str) -> None:
        """Note that connection *server* of *client* takes requests, or never will."""
        setups = self._setups.get(client, {})
        setup = setups.pop(server, None)
        if not setups:
            self._setups.pop(client, None)
        if setup is not None:
            setup.limit.cancel()
            self._asked.pop(setup.exchange, None)
            self.head_for(client, setup.outer)  # nobody asked, where TLS with the proxy failed

    def refusal(self, exchange: str, error: str = "") -> Ruling | None:
        """Return why the address for *exchange* was refused, once; None where it was not.

        *error* is what mitmproxy says, where a connection failed.
        """
        ruling = self._refused.pop(exchange, None)
        if ruling is None and error.startswith(FAILED):
            ruling = self._core.fail(exchange, "dial", "upstream_proxy_failed", f"the {error}")
        return ruling

    def tries_next(self, exchange: str) -> bool:
        """Tell whether an address is left after the one that could not be reached."""
        attempt = self._attempts.get(exchange)
        return attempt is not None and attempt.failed and bool(attempt.rest)

    def forget(self, exchange: str) -> None:
        """Forget *exchange*: it is over."""
        self._refused.pop(exchange, None)
        self._attempts.pop(exchange, None)
        setup = self._asked.pop(exchange, None)
        if setup is not None:
            setup.exchange = ""

    def client_left(self, client: str) -> None:
        """Forget what *client* had begun."""
        for dial in self._dials.pop(client, {}).values():
            _unlimited(dial)
        for setup in self._setups.pop(client, {}).values():
            setup.limit.cancel()
            self._asked.pop(setup.exchange, None)
        self._heads.pop(client, None)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Give the connection a checked address; none is dialled that was not judged."""
        address = data.server.address
        if address is None:
            return
        dials = self._dials.setdefault(data.client.id, {})
        dial = dials.setdefault(data.server.id, _Dial(""))
        if dial.inner is None and self.via(address[0]) is not None:
            data.server.error = "no way around the proxy"
            return
        host, port = (dial.inner.address if dial.inner is not None else None) or address[:2]
        attempt = self._attempts.get(dial.exchange)
        if attempt is None or not attempt.failed or (attempt.host, attempt.port) != (host, port):
            attempt = await self._checked(data, dial, host, port)
        if attempt is None:
            return
        if not attempt.rest:
            data.server.error = "unresolvable"
            return
        data.server.alpn_offers = (b"http/1.1",)  # whatever a client speaks: one framing to judge
        if attempt.head is not None:
            self._heads.setdefault(data.client.id, {})[data.server.id] = attempt.head
        dial.name = address[0], address[1]
        attempt.failed = False
        data.server.address = (attempt.rest.pop(0), address[1])
        seconds = NEXT_SECONDS if attempt.rest else LAST_SECONDS
        loop = asyncio.get_running_loop()
        dial.limit = loop.call_later(seconds, cut_dial, data.client.id, data.server)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Give the connection its name back: mitmproxy finds it for reuse by this."""
        dial = self._done(data)
        if dial is None or dial.name is None:
            return
        data.server.__dict__["address"] = dial.name
        self._attempts.pop(dial.exchange, None)
        if dial.exchange:
            loop = asyncio.get_running_loop()
            limit = loop.call_later(SETUP_SECONDS, self._silent, data, dial.inner)
            setup = self._asked[dial.exchange] = _Setup(dial.exchange, limit, data.server)
            setups = self._setups.setdefault(data.client.id, {})
            setups[(dial.inner or data.server).id] = setup

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """Note that an address cannot be reached: the next one may be."""
        dial = self._done(data)
        self.head_for(data.client.id, data.server)
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

    def _silent(self, data: ServerConnectionHookData, inner: Server | None) -> None:
        """Give up a connection that took no request in time."""
        server = inner or data.server
        setup = self._setups.get(data.client.id, {}).get(server.id)
        self.ready(data.client.id, server.id)
        if setup is not None and setup.exchange:
            code, who = "upstream_failed", server.address[0] if server.address else "the server"
            if inner is not None and not inner.connected:
                code, who = "upstream_proxy_failed", f"the {FAILED.strip()}"
            reason = f"{who} let {SETUP_SECONDS:g} seconds pass before the connection was ready"
            self._refused[setup.exchange] = self._core.fail(setup.exchange, "dial", code, reason)
        cut_connection(data.client.id, data.server)

    async def _checked(
        self, data: ServerConnectionHookData, dial: _Dial, host: str, port: int
    ) -> _Attempt | None:
        """Return the addresses of *host* where all of them may be dialled."""
        name, upstream = normalised(host), self.upstream
        if dial.inner is not None and upstream is not None and self._is_named_there(name):
            addresses: tuple[str, ...] = (name,)
        else:
            static = self._core.judge.policy.resolve(name)
            addresses = (static,) if static else await self._resolve(name, port)
            if not await self._may_dial(data, dial, (name, port), addresses):
                return None
        attempt = _Attempt(host, port, list(addresses[:MOST_ATTEMPTS]))
        if dial.inner is not None and upstream is not None:
            attempt = await self._tunnelled(upstream, attempt)
        if dial.exchange:
            self._attempts[dial.exchange] = attempt
        return attempt

    def _is_named_there(self, name: str) -> bool:
        """Tell whether the proxy resolves *name*, of which nothing is known here."""
        if self.upstream is None or self.upstream.names == "here":
            return False
        static = self._core.judge.policy.resolve(name)
        return static is None and not is_address(name) and not is_own_name(name)

    async def _may_dial(
        self,
        data: ServerConnectionHookData,
        dial: _Dial,
        name: tuple[str, int],
        addresses: tuple[str, ...],
    ) -> bool:
        # In reverse mode the operator named the only server there is.
        static = self._core.judge.policy.resolve(name[0]) is not None
        given = DialInput(
            exchange=dial.exchange or self._core.next_exchange(),
            agent=address_of(data.client),
            host=name[0],
            port=name[1],
            addresses=addresses,
            static=static or isinstance(data.client.proxy_mode, ReverseMode),
            own=with_interfaces(self._own(), addresses, name[1]),
        )
        ruling = await self._core.decide(given, connection=data.client.id)
        if ruling is None and dial.inner is not None and any(map(is_loopback, addresses)):
            # For the proxy this would be its own machine, which nobody has checked.
            reason = f"{name[0]} resolves to this machine, which no proxy reaches"
            ruling = self._core.fail(given.exchange, "dial", "private_address", reason)
        if ruling is None or ruling.released:
            return True
        data.server.error = ruling.outcome.code
        if dial.exchange:
            self._refused[dial.exchange] = ruling
        else:
            self._core.end(given.exchange)  # nobody asks for it
        return False

    async def _tunnelled(self, upstream: Upstream, checked: _Attempt) -> _Attempt:
        """Return the attempt to reach the first of the *checked* addresses through the proxy."""
        target = min(checked.rest, key=lambda address: ":" in address)  # IPv4: each proxy has it
        static = self._core.judge.policy.resolve(upstream.host)
        found = (static,) if static else await self._resolve(upstream.host, upstream.port)
        own = with_interfaces(self._own(), found, upstream.port)
        usable = [one for one in found if (one, upstream.port) not in own]
        usable.sort(key=lambda one: ":" in one)  # a tunnel whose TLS stays closed tries the first
        head = upstream.request(target, checked.port)
        return _Attempt(checked.host, checked.port, usable[:MOST_ATTEMPTS], head)


def is_loopback_address(text: str) -> bool:
    """Tell whether *text* is an address of this machine, and no name."""
    return is_address(text) and is_loopback(text)


def _unlimited(dial: _Dial) -> None:
    if dial.limit is not None:
        dial.limit.cancel()
        dial.limit = None
