"""Cuts every connection to a server at once: what the kill switch needs of mitmproxy."""

from __future__ import annotations

import asyncio
from typing import Any

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Server
from mitmproxy.master import Master

from mitmgate.mitm.reusing import Pool


def cut_servers(master: Master | None = None) -> int:
    """Cut what leads to servers in *master* (None: the running one); return how many there were.

    Each exchange on such a connection ends as if its server had gone: its client is told. What is
    still being dialled is cut as soon as it is there, by the hook ``server_connected``.
    """
    running = master or ctx.master
    pool: Pool | None = getattr(running, "pool", None)
    if pool is not None:
        pool.clear()
    addon: Any = running.addons.get("proxyserver")
    if not isinstance(addon, Proxyserver):
        return 0
    count = 0
    for handler in list(addon.connections.values()):
        for connection, transport in list(handler.transports.items()):
            if not isinstance(connection, Server) or transport.handler is None:
                continue
            if isinstance(transport.writer, asyncio.StreamWriter):
                transport.writer.transport.abort()  # drops what is not sent yet
                transport.handler.cancel("kill switch")
                count += 1
    return count
