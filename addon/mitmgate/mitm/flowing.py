"""Back-pressure: what goes on to a client or a server waits until that one took what came before.

mitmproxy waits for receivers between two reads of a connection. What a layer writes meanwhile, of
a large body or of many events in one chunk, is written past that.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.connection import Client, Connection
from mitmproxy.proxy.server import ConnectionIO

from mitmgate.mitm.largebody import Turn

UNSENT_BYTES = 128 * 1024
"""What the system keeps of what a client is sent and its window has no place for.

Without a bound (TCP_NOTSENT_LOWAT, tcp(7)) that is megabytes for each client that never reads, and
all of it is judged first.
"""

STALLED_SECONDS = 600.0  # after which a receiver that takes nothing is cut off


async def taken(turn: Turn) -> None:
    """Wait until the receiver of *turn* took what was written to it; cut it off if it never does.

    Return at once where it has gone.
    """
    flow = turn.flow
    receiver = flow.client_conn if turn.to_client else flow.server_conn
    handles = _handles(flow, receiver)
    if handles is None or handles.writer is None:
        return
    try:
        async with asyncio.timeout(STALLED_SECONDS):
            await handles.writer.drain()
    except TimeoutError:
        if handles.handler is not None:
            handles.handler.cancel("took nothing in time")
    except OSError:
        return


def keep_little_unsent(client: Client) -> None:
    """Bound what the system keeps for *client*, where it has such a bound."""
    handles = _handles_of(client.id, client)
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if handles is None or handles.writer is None or option is None:
        return
    line: Any = handles.writer.get_extra_info("socket", None)
    if line is not None:
        with suppress(OSError):
            line.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


def _handles(flow: http.HTTPFlow, receiver: Connection) -> ConnectionIO | None:
    return _handles_of(flow.client_conn.id, receiver)


def _handles_of(client: str, connection: Connection) -> ConnectionIO | None:
    # Outside a running proxy (in tests) there is no master.
    master = getattr(ctx, "master", None)
    server = master.addons.get("proxyserver") if master is not None else None
    handler = server.connections.get(client) if server is not None else None
    found: ConnectionIO | None = handler.transports.get(connection) if handler is not None else None
    return found
