"""Backpressure for a stream that waits: its server's socket is not read meanwhile.

mitmproxy goes on reading while a layer waits for a hook and queues all of it, so a server that
sends faster than its events are judged would fill the memory.
"""

from __future__ import annotations

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver


def pause_reading(flow: http.HTTPFlow, *, paused: bool) -> None:
    """Stop reading from the server of *flow*, or go on; without effect where it has no socket."""
    proxyserver = ctx.master.addons.get("proxyserver")
    if not isinstance(proxyserver, Proxyserver):
        return
    handler = proxyserver.connections.get(flow.client_conn.id)
    handles = handler.transports.get(flow.server_conn) if handler is not None else None
    transport = getattr(handles.writer, "transport", None) if handles is not None else None
    if transport is None or transport.is_closing():
        return
    if paused:
        transport.pause_reading()
    else:
        transport.resume_reading()
