"""The hooks: turn a flow into our values, ask the core, apply what it says. Nothing else.

Every hook carries the guard, so that a failure denies under stock mitmproxy too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mitmproxy import http, tls
from mitmproxy.connection import Client
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer
from mitmproxy.proxy.mode_specs import ReverseMode, TransparentMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from mitmgate.errors import WireError
from mitmgate.judge.inputs import ConnectInput, DialInput, Shown
from mitmgate.judge.outcome import Subject
from mitmgate.judge.replies import Reply
from mitmgate.mitm.convert import (
    address_of,
    agent_of,
    answer_head,
    answer_input,
    clean_request,
    egress_subject,
    normalised,
    replace_body,
    request_input,
    response_from,
    shown_in,
)
from mitmgate.mitm.core import Core, Ruling
from mitmgate.mitm.events import StreamJudge, Token
from mitmgate.mitm.guard import CloseLayer
from mitmgate.mitm.pausing import pause_reading
from mitmgate.mitm.sockets import PENDING_BYTES, SocketJudge
from mitmgate.mitm.streams import HeldEvent, StreamEndedError, adopt
from mitmgate.mitm.track import Track

_FIX = "run `mitmgate env` and set what it prints where the client starts"
_DISTRUST = f"the client does not trust the CA; {_FIX}"
_BROKEN_OFF = f"the client broke off the TLS handshake; if it does not trust the CA, {_FIX}"

type Resolver = Callable[[str, int], Awaitable[tuple[str, ...]]]


class Gate:
    """The mitmproxy addon. ``own`` gives the addresses that the proxy itself listens on."""

    name = "mitmgate"

    def __init__(
        self, core: Core, resolver: Resolver, own: Callable[[], tuple[tuple[str, int], ...]]
    ) -> None:
        self._core = core
        self._resolve = resolver
        self._own = own
        self._tracks: dict[str, Track] = {}
        self._tunnels: dict[str, tuple[str, Shown | None]] = {}
        self._dialling: dict[tuple[str, str, int], str] = {}
        self._refused: dict[str, Ruling] = {}
        self._names: dict[str, tuple[str, int]] = {}

    # Connections

    def client_disconnected(self, client: Client) -> None:
        """Close what waits on this connection, and forget it."""
        self._core.client_left(client.id)
        self._tunnels.pop(client.id, None)
        for key in [key for key in self._dialling if key[0] == client.id]:
            del self._dialling[key]

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Show that a client refused our certificate: its traffic was not inspected."""
        server = data.context.server.address
        name = data.context.client.sni or (server[0] if server else "")
        port = server[1] if server else 0
        agent = address_of(data.context.client)
        distrusted = "does not trust" in (data.conn.error or "")
        exchange = self._core.next_exchange()
        self._core.fail(
            exchange,
            "connect",
            "client_distrusts_ca" if distrusted else "tls_handshake_failed",
            f"not inspected: {_DISTRUST if distrusted else _BROKEN_OFF}",
            subject=Subject(agent, "egress", name, port, f"{name}:{port}", "CONNECT"),
        )
        # A client that pins tries again for ever: kept, these would push live exchanges out.
        self._core.end(exchange)

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Make HTTP layers ours; whatever is neither HTTP nor TLS is closed."""
        chosen = nextlayer.layer
        if chosen is None:
            return
        current: object | None = chosen
        while current is not None:
            if not isinstance(current, HttpLayer | ClientTLSLayer | ServerTLSLayer | NextLayer):
                nextlayer.layer = CloseLayer(nextlayer.context)
                return
            current = getattr(current, "child_layer", None)
        adopt(chosen, self)

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse a tunnel whose target no rule could ever allow."""
        authority = flow.request.authority or f"{flow.request.host}:{flow.request.port}"
        exchange = self._core.next_exchange()
        shown = shown_in(flow.request)
        given = ConnectInput(exchange, agent_of(flow), authority, shown)
        ruling = await self._core.decide(given, connection=flow.client_conn.id)
        if ruling is not None and not ruling.released and ruling.reply is not None:
            flow.response = response_from(ruling.reply)
        else:
            self._tunnels[flow.client_conn.id] = authority, shown
        self._core.end(exchange)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Resolve once, check every address, dial the checked one."""
        address = data.server.address
        if address is None:
            return
        host, port = address[0], address[1]
        exchange = self._dialling.get((data.client.id, host, port), "")
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
            self._refused[given.exchange] = ruling
            return
        data.server.address = (addresses[0], port)
        self._names[data.server.id] = (host, port)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Give the connection its name back: mitmproxy finds it for reuse by this."""
        name = self._names.pop(data.server.id, None)
        if name is not None:
            data.server.__dict__["address"] = name

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """Forget the name of a connection that never came to be."""
        self._names.pop(data.server.id, None)

    # Requests

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Begin an exchange; in transparent mode, go by the name the client asked for."""
        self._track(flow)
        if isinstance(flow.client_conn.proxy_mode, TransparentMode):
            name = flow.client_conn.sni or flow.request.host_header or ""
            host = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
            if host:
                flow.request.data.host = host

    async def request(self, flow: http.HTTPFlow) -> None:
        """Judge the whole request; what is not released never reaches the server."""
        track = self._track(flow)
        if flow.response is not None or flow.error is not None:
            track.fate = "denied"
            return
        connect, shown = self._tunnels.get(flow.client_conn.id, (None, None))
        given = request_input(flow, exchange=track.exchange, connect=connect, shown=shown)
        ruling = await self._core.decide(given, connection=flow.client_conn.id)
        if ruling is None or not (ruling.released or ruling.instead):
            self._deny(flow, track, ruling)
            return
        if not ruling.released:
            track.fate = "denied"  # what goes on is not what was sent
        text = ruling.text if ruling.released else ruling.instead
        if text is not None:
            replace_body(flow.request, text)
            for name, value in ruling.headers.items():
                flow.request.headers[name] = value
        clean_request(flow.request, mcp=ruling.outcome.subject.channel == "mcp")
        track.released = True
        self._dialling[flow.client_conn.id, flow.request.host, flow.request.port] = track.exchange

    # Answers

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what is a stream of events, judged event by event; the rest is judged whole."""
        track = self._track(flow)
        response = flow.response
        if not track.released or response is None:
            return  # our own answer
        response.headers.pop("alt-svc", None)
        if answer_head(response).media_type != "text/event-stream":
            return
        try:
            track.stream = self._stream_judge(flow, track)
        except WireError as problem:  # an encoding that nobody here can read
            ruling = self._core.fail(track.exchange, "answer", problem.code, str(problem))
            self._deny(flow, track, ruling)
            track.refused = True
            return
        response.headers.pop("content-length", None)
        response.headers.pop("content-encoding", None)
        response.stream = True

    async def sse_turn(self, flow: http.HTTPFlow) -> None:
        """Let other connections have their turn."""
        del flow
        await self._core.caught_up()

    async def sse_event(self, held: HeldEvent) -> None:
        """Wait for a person's answer to one event of a stream."""
        stream = self._track(held.flow).stream
        if stream is None or not isinstance(held.token, Token):
            return
        connection = held.flow.client_conn.id
        ruling = await self._core.settle(held.token.judged, connection=connection)
        held.output = stream.settled(held.token, ruling)

    async def response(self, flow: http.HTTPFlow) -> None:
        """Judge a whole answer, or note the end of a stream."""
        track = self._track(flow)
        if track.released and flow.websocket is not None:
            self._open_socket(flow, track)
            return
        try:
            await self._judge_answer(flow, track)
        finally:
            self._finish(flow, track)

    async def _judge_answer(self, flow: http.HTTPFlow, track: Track) -> None:
        if track.released and track.stream is None and flow.response is not None:
            given = answer_input(flow, exchange=track.exchange)
            ruling = await self._core.decide(given, connection=flow.client_conn.id)
            if ruling is None or not ruling.released:
                self._deny(flow, track, ruling)
            elif ruling.text is not None:
                replace_body(flow.response, ruling.text)

    def error(self, flow: http.HTTPFlow) -> None:
        """Note that an exchange broke off."""
        track = self._track(flow)
        message = flow.error.msg if flow.error is not None else ""
        if "body_size_limit" in message:
            self._core.fail(
                track.exchange,
                "request",
                "body_too_large",
                "the body is larger than the limit",
                subject=egress_subject(flow),
            )
            track.fate = "denied"
        elif track.fate == "answered":
            track.fate = "client_left" if "disconnect" in message.lower() else "aborted"
        self._finish(flow, track)

    # WebSockets

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Judge one message of a WebSocket: pass, replace or drop it."""
        if flow.websocket is None or not flow.websocket.messages:
            return
        message = flow.websocket.messages[-1]
        # mitmproxy keeps every message for as long as the connection lasts.
        del flow.websocket.messages[:-1]
        socket = self._track(flow).socket
        if socket is None:
            message.drop()
            return
        content = socket.judge(
            message.content, is_text=message.is_text, from_client=message.from_client
        )
        if content is None:
            message.drop()
        elif content != message.content:
            message.content = content

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Note the end of a WebSocket."""
        self._finish(flow, self._track(flow))

    def _open_socket(self, flow: http.HTTPFlow, track: Track) -> None:
        if flow.response is not None and "sec-websocket-extensions" in flow.response.headers:
            # None was offered (`clean_request`): nobody could bound what is compressed.
            reason = "the server chose a WebSocket extension that was not offered"
            self._core.fail(track.exchange, "answer", "malformed_answer", reason)
            track.fate = "denied"
            flow.kill()
            return
        track.socket = SocketJudge(self._core, exchange=track.exchange)

    # What the layers ask

    def is_refused(self, flow: http.HTTPFlow) -> bool:
        """Tell whether the response of *flow* is ours, in the place of a stream."""
        track = self._tracks.get(flow.id)
        return track is not None and track.refused

    def pause(self, flow: http.HTTPFlow, *, paused: bool) -> None:
        """Stop reading from the server of *flow*, or go on: what waits here is not piled up."""
        pause_reading(flow, paused=paused)

    def message_too_large(self, flow: http.HTTPFlow) -> None:
        """Record that the WebSocket of *flow* ends at a message beyond the bound."""
        track = self._track(flow)
        reason = f"a WebSocket message is larger than {PENDING_BYTES} bytes"
        self._core.fail(track.exchange, "message", "message_too_large", reason)
        track.fate = "denied"

    def stream_of(self, flow: http.HTTPFlow) -> StreamJudge | None:
        """Return the judge of the stream of *flow*, or None when it is no event stream."""
        track = self._tracks.get(flow.id)
        return track.stream if track is not None else None

    def stream_failed(self, flow: http.HTTPFlow, error: Exception) -> bytes:
        """Record that judging the stream of *flow* failed; return the event that tells the client.

        The stream is cut after it: a client that waits for an answer must not wait for ever.
        """
        track = self._track(flow)
        track.fate = "denied"
        if isinstance(error, StreamEndedError):
            return b""
        unreadable = isinstance(error, WireError)
        code = error.code if isinstance(error, WireError) else "internal_error"
        reason = str(error) if unreadable else type(error).__name__
        ruling = self._core.fail(track.exchange, "event", code, reason)
        message = self._core.judge.denial(ruling.outcome, ruling.detail)
        return b"" if message is None else f"\n\nevent: message\ndata: {message}\n\n".encode()

    def stream_cut(self, flow: http.HTTPFlow) -> None:
        """Note that the stream of *flow* was cut: no hook tells of its end."""
        self._finish(flow, self._track(flow))

    def unreachable(self, flow: http.HTTPFlow, error: str) -> http.Response:
        """Return the answer for a request whose upstream could not be reached."""
        track = self._track(flow)
        ruling = self._refused.pop(track.exchange, None)
        track.fate = "denied" if ruling is not None else "upstream_failed"
        if ruling is None:
            certificate = "certificate" in error.lower()
            code = "upstream_certificate" if certificate else "upstream_failed"
            reason = f"{flow.request.host} cannot be reached: {error[:200]}"
            ruling = self._core.fail(track.exchange, "dial", code, reason)
        track.released = False
        return response_from(_reply(ruling))

    def _track(self, flow: http.HTTPFlow) -> Track:
        track = self._tracks.get(flow.id)
        if track is None:
            track = self._tracks[flow.id] = Track(self._core.next_exchange())
        return track

    def _deny(self, flow: http.HTTPFlow, track: Track, ruling: Ruling | None) -> None:
        if ruling is None:
            raise RuntimeError("a request or an answer was not ruled on")
        track.released = False
        track.fate = "denied"
        flow.response = response_from(_reply(ruling))

    def _stream_judge(self, flow: http.HTTPFlow, track: Track) -> StreamJudge:
        if flow.response is None:
            raise ValueError("the flow has no answer")

        return StreamJudge(
            self._core,
            flow,
            exchange=track.exchange,
            head=answer_head(flow.response),
        )

    def _finish(self, flow: http.HTTPFlow, track: Track) -> None:
        if self._tracks.pop(flow.id, None) is None:
            return
        self._refused.pop(track.exchange, None)
        self._core.complete(track.completion(flow))
        self._core.end(track.exchange)


def _reply(ruling: Ruling) -> Reply:
    if ruling.reply is None:
        raise RuntimeError("a denial without a reply")
    return ruling.reply
