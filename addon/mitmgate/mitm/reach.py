"""Where the gate reaches into mitmproxy's running connections: reading, dialling, their number."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, Server
from mitmproxy.proxy.server import ConnectionHandler

SERVER_CONNECTIONS = 100  # of one client to one address: as many as streams of HTTP/2

_carriers: WeakKeyDictionary[Server, Server] = WeakKeyDictionary()


def carry(inner: Server, outer: Server) -> None:
    """Note that *inner* has no socket of its own: it is a tunnel in *outer*."""
    _carriers[inner] = outer


def pause_reading(flow: http.HTTPFlow, *, paused: bool) -> None:
    """Stop reading from the server of *flow*, or go on; without effect where it has no socket.

    mitmproxy goes on reading while a layer waits for a hook and queues all of it, so a server that
    sends faster than its events are judged would fill the memory.
    """
    handler = _handler(flow.client_conn.id)
    server = _carriers.get(flow.server_conn, flow.server_conn)
    handles = handler.transports.get(server) if handler is not None else None
    transport: Any = getattr(handles.writer, "transport", None) if handles is not None else None
    if transport is None or transport.is_closing():
        return
    if paused:
        transport.pause_reading()
    else:
        transport.resume_reading()


async def client_took(flow: http.HTTPFlow) -> None:
    """Wait until the client of *flow* took what was written to it; return if it left.

    What is written while a layer waits for a hook is written past mitmproxy's own waiting for it.
    """
    handler = _handler(flow.client_conn.id)
    handles = handler.transports.get(handler.client) if handler is not None else None
    if handles is not None and handles.writer is not None:
        with suppress(OSError):
            await handles.writer.drain()


def cut_dial(client: str, server: Server) -> None:
    """End the attempt to reach *server* for the client connection *client*, if it still lasts."""
    handler = _handler(client)
    handles = handler.transports.get(server) if handler is not None else None
    if handles is not None and handles.writer is None and handles.handler is not None:
        handles.handler.cancel("no answer in time")


def close_client(client: str) -> None:
    """Close the connection of *client*, if it is open."""
    handler = _handler(client)
    handles = handler.transports.get(handler.client) if handler is not None else None
    if handles is not None and handles.handler is not None:
        handles.handler.cancel("said nothing in time")


def cut_connection(client: str, server: Server) -> None:
    """End the connection to *server* for the client connection *client*, if it is open."""
    handler = _handler(client)
    handles = handler.transports.get(server) if handler is not None else None
    if handles is not None and handles.handler is not None:
        handles.handler.cancel("no answer in time")


def widen(client: Client) -> None:
    """Let *client* have a connection to a server for each stream of HTTP/2.

    mitmproxy gives it five to one address, each for as long as it stays open: streams of events
    would block every other call.
    """
    handler = _handler(client.id)
    if handler is not None:
        handler.max_conns = defaultdict(lambda: asyncio.Semaphore(SERVER_CONNECTIONS))


def _handler(client: str) -> ConnectionHandler | None:
    # Outside a running proxy (in tests) there is no master.
    master = getattr(ctx, "master", None)
    proxyserver = master.addons.get("proxyserver") if master is not None else None
    return proxyserver.connections.get(client) if isinstance(proxyserver, Proxyserver) else None
