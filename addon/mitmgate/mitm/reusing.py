"""Connections to servers outlive the client that they were opened for, for clients that open one
for each call.

mitmproxy closes what it opened for a client together with the client. Here a connection on which
an HTTP/1 exchange has ended waits a moment for the next client of the same agent. The next one is
resolved, checked and judged as if it were dialled: only then it is looked for, under the address
that was checked. It is never one that anything is left on, nor one that a server has authenticated.

A server may end an idle connection at any moment, and what was written to it then cannot be sent
again (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1). So a connection waits for less time than
servers leave it, the socket is looked at right before it is used, and a server that was seen to end
one while it waited gets a new connection for each client, for a while.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, server, server_hooks
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler

from mitmgate.mitm.reusable import is_reusable, is_unanswered
from mitmgate.mitm.secure import GateTls, Made

MOST = 64  # idle connections
SECONDS = 1.0  # that one waits: servers keep them for two (gunicorn), five (Node, Apache) and more
MOST_HASTY = 256  # servers that end idle connections sooner
HASTY_SECONDS = 60.0  # that nothing waits for such a server

type Key = tuple[object, ...]


@dataclass(slots=True)
class Idle:
    """A connection that waits. ``made`` is its TLS."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    made: Made | None
    ends: asyncio.TimerHandle | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing came or waits to be sent."""
        transport: Any = self.writer.transport
        return not (
            transport.is_closing()
            or self.reader.at_eof()
            or self.reader._buffer  # type: ignore[attr-defined]
            or transport.get_write_buffer_size()
            or self.reader.exception()
            or not transport.is_reading()  # its end would not be seen
        )

    @property
    def is_usable(self) -> bool:
        """Whether it is quiet, and nothing has come that was not read yet, nor its end."""
        if not self.is_quiet:
            return False
        look = select.poll()
        look.register(self.writer.get_extra_info("socket").fileno(), select.POLLIN)
        return not look.poll(0)


class Pool:
    """The connections that wait. ``owner`` tells whose a client is, None: nobody takes over."""

    def __init__(self, owner: Callable[[Client], object | None], secure: GateTls) -> None:
        self.owner = owner
        self.secure = secure
        self._idle: OrderedDict[int, tuple[Key, Idle]] = OrderedDict()
        self._hasty: OrderedDict[Key, float] = OrderedDict()  # until when

    def __len__(self) -> int:
        return len(self._idle)

    def put(self, key: Key, idle: Idle) -> None:
        """Let *idle* wait."""
        if not idle.is_quiet or self._hasty.get(key, 0.0) > time.monotonic():
            self._close(idle)
            return
        number = id(idle)
        idle.ends = asyncio.get_running_loop().call_later(SECONDS, self._over, number)
        self._idle[number] = key, idle
        while len(self._idle) > MOST:
            self._over(next(iter(self._idle)))

    def ended(self, key: Key) -> None:
        """Note that a server ended a connection under *key* that waited, or that was taken over."""
        self._hasty[key] = time.monotonic() + HASTY_SECONDS
        self._hasty.move_to_end(key)
        if len(self._hasty) > MOST_HASTY:
            self._hasty.popitem(last=False)

    def take(self, key: Key) -> Idle | None:
        """Return the newest connection that waits under *key*, None without one."""
        for number in reversed(list(self._idle)):
            known, idle = self._idle[number]
            if known != key:
                continue
            if idle.is_usable:
                del self._idle[number]
                if idle.ends is not None:
                    idle.ends.cancel()
                return idle
            self._over(number)
            self.ended(key)
        return None

    def clear(self) -> None:
        """End all that waits."""
        for number in list(self._idle):
            self._over(number)

    def _over(self, number: int) -> None:
        known = self._idle.pop(number, None)
        if known is not None:
            if not known[1].is_quiet:
                self.ended(known[0])
            self._close(known[1])

    def _close(self, idle: Idle) -> None:
        if idle.ends is not None:
            idle.ends.cancel()
        if idle.made is not None:
            self.secure.keep(idle.made)
        idle.writer.close()


class _Gone:
    """The writer of a connection that is somebody else's."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        return


class Reusing(ProxyConnectionHandler):
    """A client's connection whose connections to servers wait for the next client."""

    pool: Pool | None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self.pool = getattr(self.master, "pool", None)
        self._checked: Server | None = None
        self._keys: dict[Connection, Key] = {}
        self._left: dict[Connection, Idle] = {}

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Take over a connection that waits, or open one."""
        conn, pool = command.connection, self.pool
        address = conn.address
        owner = pool.owner(self.client) if pool is not None else None
        if pool is None or owner is None or address is None or not self._may_wait(conn):
            await super().open_connection(command)
            return
        data = server_hooks.ServerConnectionHookData(client=self.client, server=conn)
        await self.handle_hook(server_hooks.ServerConnectHook(data))
        key = (owner, address, conn.address, conn.tls, conn.sni, tuple(conn.alpn_offers))
        idle = None if conn.error else pool.take(key)
        self._keys[conn] = key
        try:
            if idle is None:
                self._checked = conn  # the same hook comes again at once
                await super().open_connection(command)
            else:
                await self._take_over(command, data, idle)
        finally:
            self._keys.pop(conn, None)

    def _may_wait(self, conn: Server) -> bool:
        """Tell whether *conn* has a socket of its own, and is no tunnel whose TLS stays closed."""
        is_own = conn.via is None and conn.transport_protocol == "tcp" and conn.sockname is None
        return is_own and bool(conn.tls) == bool(self.client.tls)

    async def _take_over(
        self,
        command: commands.OpenConnection,
        data: server_hooks.ServerConnectionHookData,
        idle: Idle,
    ) -> None:
        conn, writer = data.server, idle.writer
        if idle.made is not None and self.pool is not None:
            self.pool.secure.give(conn, idle.made)
        conn.timestamp_start = conn.timestamp_tcp_setup = time.time()
        conn.state = ConnectionState.OPEN
        conn.peername = writer.get_extra_info("peername")
        conn.sockname = writer.get_extra_info("sockname")
        self.transports[conn] = server.ConnectionIO(asyncio.current_task(), idle.reader, writer)
        await self.handle_hook(server_hooks.ServerConnectedHook(data))
        await self.server_event(events.OpenConnectionCompleted(command, None))
        if idle.made is not None:  # the layer looks for the end of a handshake when something comes
            await self.server_event(events.DataReceived(conn, b""))
        try:
            await self.handle_connection(conn)
        finally:
            if self.pool is not None and self.client.connected and is_unanswered(conn):
                self.pool.ended(self._keys[conn])
            conn.timestamp_end = time.time()
            await self.handle_hook(server_hooks.ServerDisconnectedHook(data))

    async def handle_connection(self, connection: Connection) -> None:
        """Handle a connection for its whole life, and what waits of it after that."""
        key = self._keys.get(connection)
        try:
            await super().handle_connection(connection)
        finally:
            idle = self._left.pop(connection, None)
            if idle is not None and key is not None and self.pool is not None:
                self.pool.put(key, idle)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Run *hook*; when the client is gone, take away from it what the next may use."""
        if isinstance(hook, server_hooks.ServerConnectHook) and hook.data.server is self._checked:
            self._checked = None
            return
        await super().handle_hook(hook)
        if isinstance(hook, server_hooks.ClientDisconnectedHook):
            for connection, transport in self.transports.items():
                if isinstance(connection, Server) and connection in self._keys:
                    self._leave(connection, transport)

    def _leave(self, connection: Server, transport: server.ConnectionIO) -> None:
        reader, writer, pool = transport.reader, transport.writer, self.pool
        if (
            pool is None
            or not isinstance(reader, asyncio.StreamReader)
            or not isinstance(writer, asyncio.StreamWriter)
            or connection.state is not ConnectionState.OPEN
            or not is_reusable(connection)
        ):
            return
        made = pool.secure.release(connection) if connection.tls else None
        if connection.tls and (made is None or made[1].pending()):
            return
        transport.writer = _Gone()  # type: ignore[assignment]
        self._left[connection] = Idle(reader, writer, made)
