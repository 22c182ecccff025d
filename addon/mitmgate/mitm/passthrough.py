"""Tunnels whose TLS stays closed, by a rule: bytes pass unread, and are counted.

mitmproxy's own way for this (``ignore_connection``) leads to a layer that no hook sees.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from mitmproxy.connection import Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import TCPLayer
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.proxy.layers.tls import ClientTLSLayer

from mitmgate.judge.outcome import Completion, Fate
from mitmgate.mitm.core import Core
from mitmgate.mitm.dialling import Dialling
from mitmgate.mitm.upstream import carried


@dataclass(slots=True)
class Passage:
    """A tunnel whose TLS stays closed. ``sent`` and ``received`` are bytes, as the client sees."""

    exchange: str
    client: str
    started: float = field(default_factory=time.monotonic)
    sent: int = 0
    received: int = 0


class Passages:
    """Knows the tunnels that pass unread; records how each ended."""

    def __init__(self, core: Core, dialling: Dialling) -> None:
        self._core = core
        self._dialling = dialling
        self._begun: dict[str, Passage] = {}  # by client, decided and without a layer yet
        self._open: dict[str, dict[str, Passage]] = {}  # by client, then by exchange

    def begin(self, exchange: str, client: str) -> None:
        """Let the tunnel that *client* begins pass unread."""
        passage = Passage(exchange, client)
        self._begun[client] = passage
        self._open.setdefault(client, {})[exchange] = passage

    def layer(self, context: Context) -> layer.Layer | None:
        """Return what passes the tunnel on, or None where none was let through."""
        passage = self._begun.pop(context.client.id, None)
        address = context.server.address
        if passage is None or address is None:
            return None
        via = self._dialling.via(address[0])
        if via is None:
            return PassageLayer(context, passage, self)
        context.server.via = via
        stack = HttpUpstreamProxy.make(context, True)
        tunnel = stack[-1]
        if not isinstance(tunnel, HttpUpstreamProxy):
            return None
        outer = tunnel.tunnel_connection
        stack /= PassageLayer(context, passage, self)
        self._dialling.opens(passage.exchange, client=passage.client, server=outer.id)
        carried(stack[0], self._dialling, outer)
        return stack[0]

    def opens(self, passage: Passage, server: Server) -> None:
        """Note that *server* is dialled for *passage*."""
        if server.via is None:
            self._dialling.opens(passage.exchange, client=passage.client, server=server.id)

    def opened(self, passage: Passage, server: Server, error: str | None) -> bool:
        """Note that *server* was reached, or why not; tell whether another address is tried."""
        self._dialling.ready(passage.client, server.id)
        if error is None:
            return False
        if server.via is None and self._dialling.tries_next(passage.exchange):
            return True
        fate: Fate = "denied"
        ruling = self._dialling.refusal(passage.exchange, error)
        if ruling is None or ruling.outcome.code in ("upstream_proxy_failed", "upstream_failed"):
            fate = "upstream_failed"
        if ruling is None:
            host = server.address[0] if server.address else "the server"
            reason = f"{host} cannot be reached: {error[:200]}"
            self._core.fail(passage.exchange, "dial", "upstream_failed", reason)
        self.end(passage, fate)
        return False

    def end(self, passage: Passage, fate: Fate = "answered") -> None:
        """Record how *passage* ended, once."""
        known = self._open.get(passage.client, {})
        if known.pop(passage.exchange, None) is None:
            return
        if not known:
            self._open.pop(passage.client, None)
        self._dialling.forget(passage.exchange)
        self._core.complete(
            Completion(
                exchange=passage.exchange,
                status=None,
                request_bytes=passage.sent,
                response_bytes=passage.received,
                latency=time.monotonic() - passage.started,
                fate=fate,
            )
        )
        self._core.end(passage.exchange)

    def client_left(self, client: str) -> None:
        """End what *client* had open."""
        self._begun.pop(client, None)
        for passage in list(self._open.get(client, {}).values()):
            self.end(passage)


class PassageLayer(TCPLayer):
    """Relays a tunnel, and counts what passes."""

    def __init__(self, context: Context, passage: Passage, passages: Passages) -> None:
        super().__init__(context, ignore=True)
        self._passage = passage
        self._passages = passages

    def start(self, _: events.Event) -> layer.CommandGenerator[None]:
        """Reach the server, at one of its addresses; without it the client's connection ends."""
        server = self.context.server
        while True:
            self._passages.opens(self._passage, server)
            error = yield commands.OpenConnection(server)
            if not self._passages.opened(self._passage, server, error):
                break
            server = self.context.server = Server(address=server.address)
        if error:
            yield commands.CloseConnection(self.context.client)
            self._handle_event = self.done  # type: ignore[method-assign]
        else:
            self._handle_event = self.relay_messages  # type: ignore[assignment,method-assign]

    _handle_event = start

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass *event* on to the other side."""
        if isinstance(event, events.DataReceived):
            if event.connection == self.context.client:
                self._passage.sent += len(event.data)
            else:
                self._passage.received += len(event.data)
        yield from super().relay_messages(event)
        if self._handle_event == self.done:
            self._passages.end(self._passage)


class GateClientTLSLayer(ClientTLSLayer):
    """TLS of a client; where it stays closed, what is in it passes through a layer of ours."""

    passages: Passages

    def receive_handshake_data(
        self, data: bytes
    ) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """Take in *data* of the handshake."""
        done = yield from super().receive_handshake_data(data)
        if type(self.child_layer) is TCPLayer:  # has not begun: its events wait for this one's end
            self.child_layer = self.passages.layer(self.context) or self.child_layer
        return done
