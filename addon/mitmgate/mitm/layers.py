"""mitmproxy's HTTP layers, made ours: their streams, their connections and who may use them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mitmproxy import http
from mitmproxy.connection import Connection, Server
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpLayer,
    HttpStream,
    RegisterHttpConnection,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client
from mitmproxy.proxy.layers.tls import ClientTLSLayer

from mitmgate.mitm.dialling import Dialling
from mitmgate.mitm.http1 import GateHttp1Client, GateHttp1Server
from mitmgate.mitm.http2 import GateHttp2Server
from mitmgate.mitm.passthrough import GateClientTLSLayer, Passages
from mitmgate.mitm.streams import GateHttpStream, StreamKeeper
from mitmgate.mitm.upstream import carried

_MANY = 32  # connections of one client that are kept before the dead ones are looked for


class LayerKeeper(StreamKeeper, Protocol):
    """What the layers need of the gate."""

    @property
    def dialling(self) -> Dialling:
        """The way to servers."""

    @property
    def passages(self) -> Passages:
        """The tunnels whose TLS stays closed."""

    def opens(self, flow: http.HTTPFlow, server: Server) -> None:
        """Note that *server* is dialled for *flow*."""

    def left(self, flow: http.HTTPFlow) -> None:
        """Note that the client gave *flow* up, though its connection may stay."""


class GateHttpLayer(HttpLayer):
    """An HTTP layer whose streams and connections are ours."""

    keeper: LayerKeeper
    _swept = _MANY

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        client = self.context.client
        if isinstance(event, events.Start) and client not in self.connections:
            kept = self.keeper
            self.connections[client] = (
                GateHttp2Server(self.context.fork(), kept, self._slow_down, self._left)
                if client.alpn == b"h2"
                else GateHttp1Server(self.context.fork(), kept)
            )
        elif isinstance(event, events.ConnectionEvent) and self._is_swept(event.connection):
            return
        yield from super()._handle_event(event)

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Make a stream of ours for *stream_id*."""
        stream = GateHttpStream(self.context.fork(), stream_id, self.keeper)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(
        self, event: GetHttpConnection, *, reuse: bool = True
    ) -> layer.CommandGenerator[None]:
        """Connect for *event*, also where an earlier attempt failed."""
        self._sweep()
        event.via = self.keeper.dialling.via(event.address[0])
        for connection in self.connections:
            # mitmproxy would repeat the old failure for as long as the client stays, in words
            # that no longer tell who refused it, though the server may be back.
            if not connection.connected and event.connection_spec_matches(connection):
                connection.error = None
        stream = self.command_sources.get(event)
        if reuse and self.context.client.alpn == b"h2":
            # mitmproxy gives each request of HTTP/2 a connection to the server of its own.
            idle = next(self._idle(event), None)
            if idle is not None:
                done = GetHttpConnectionCompleted(event, (idle, None))
                yield from self.event_to_child(self.command_sources.pop(event), done)
                return
            reuse = False
        for command in super().get_connection(event, reuse=reuse):
            if isinstance(command, commands.OpenConnection) and isinstance(stream, HttpStream):
                self.keeper.opens(stream.flow, command.connection)
                self._carry(event, command.connection)
            yield command

    def _carry(self, event: GetHttpConnection, outer: Server) -> None:
        """Note which connection *outer*, to the proxy on the way, is opened for."""
        for inner, waiting in self.waiting_for_establishment.items():
            if event.via is not None and any(one is event for one in waiting):
                carried(self.connections[inner], self.keeper.dialling, outer)

    def register_connection(self, command: RegisterHttpConnection) -> layer.CommandGenerator[None]:
        """Take over a new connection to a server."""
        self.keeper.dialling.ready(self.context.client.id, command.connection.id)
        child = _innermost(self.connections[command.connection])
        if type(child) is Http1Client:
            child.__class__ = GateHttp1Client
            child.adopted()  # type: ignore[attr-defined]
        yield from super().register_connection(command)

    def _idle(self, event: GetHttpConnection) -> Iterator[Connection]:
        for connection, handler in self.connections.items():
            if connection.connected and event.connection_spec_matches(connection):
                child = _innermost(handler)
                slow = [flow.server_conn for flow in self.__dict__.get("_slow", {}).values()]
                if isinstance(child, GateHttp1Client) and child.is_idle and connection not in slow:
                    yield connection

    def _sweep(self) -> None:
        """Forget connections that are over: mitmproxy keeps them for as long as the client."""
        if len(self.connections) <= self._swept:
            return
        used = {stream.context.server for stream in self.streams.values()}
        over = [
            connection
            for connection in self.connections
            if isinstance(connection, Server)
            and not connection.connected
            and (connection.timestamp_end is not None or connection.timestamp_tcp_setup is None)
            and connection not in self.waiting_for_establishment
            and connection not in used
        ]
        for connection in over:
            del self.connections[connection]
        self._swept = 2 * len(self.connections) + _MANY

    def _is_swept(self, connection: Connection) -> bool:
        return (
            isinstance(connection, Server)
            and connection not in self.connections
            and connection is not self.context.server
        )

    def _slow_down(self, stream_id: int, paused: bool) -> None:
        # The stream may have ended when its client has read: its connection goes on all the same.
        slow: dict[int, HTTPFlow] = self.__dict__.setdefault("_slow", {})
        if not paused:
            flow = slow.pop(stream_id, None)
        else:
            flow = self._streaming(stream_id)
            if flow is not None:
                slow[stream_id] = flow
        if flow is not None:
            self.keeper.pause(flow, paused=paused)

    def _streaming(self, stream_id: int) -> HTTPFlow | None:
        """Return the flow of a stream whose answer is read while it goes on; else it is whole."""
        stream = self.streams.get(stream_id)
        if stream is None or stream.context.server not in self.connections:
            return None
        response = stream.flow.response
        return stream.flow if response is not None and response.stream else None

    def _left(self, stream_id: int) -> None:
        flow = getattr(self.streams.get(stream_id), "flow", None)
        if flow is not None:
            self.keeper.left(flow)


def adopt(top: layer.Layer, keeper: LayerKeeper) -> None:
    """Make every HTTP layer of the stack under *top* one of ours.

    The class is swapped in place: the layer already stands in its context's list of layers,
    and mitmproxy finds a stream's parent by its place in that list.
    """
    current: layer.Layer | None = top
    while current is not None:
        if type(current) is HttpLayer:
            current.__class__ = GateHttpLayer
            current.keeper = keeper  # type: ignore[attr-defined]
        elif type(current) is ClientTLSLayer:
            current.__class__ = GateClientTLSLayer
            current.passages = keeper.passages  # type: ignore[attr-defined]
        current = getattr(current, "child_layer", None)


def _innermost(handler: layer.Layer) -> layer.Layer:
    while (child := getattr(handler, "child_layer", None)) is not None:
        handler = child
    return handler
