"""The hooks: turn a flow into our values, ask the core, apply what it says. Nothing else.

Every hook carries the guard, so that a failure denies under stock mitmproxy too.
"""

from __future__ import annotations

from mitmproxy import http, tls
from mitmproxy.connection import Client, Server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.mode_specs import TransparentMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from mitmgate.errors import WireError
from mitmgate.judge.json_lines import MEDIA_TYPES
from mitmgate.judge.outcome import Kind
from mitmgate.mitm.bodies import line_of, reply_of
from mitmgate.mitm.clients import Clients
from mitmgate.mitm.convert import (
    answer_head,
    answer_input,
    framing_of,
    modernise,
    replace_body,
    request_input,
    response_from,
    trailers_of,
    unchunk,
)
from mitmgate.mitm.core import Core
from mitmgate.mitm.dialling import Dialling, Own, Resolver
from mitmgate.mitm.events import StreamJudge
from mitmgate.mitm.kept import Keeping
from mitmgate.mitm.layers import adopt
from mitmgate.mitm.passthrough import Passages
from mitmgate.mitm.reach import client_took, close_client, pause_reading, widen
from mitmgate.mitm.sockets import PENDING_BYTES, SocketJudge
from mitmgate.mitm.streams import HeldEvent, StreamCutError, StreamEndedError
from mitmgate.mitm.track import Track
from mitmgate.mitm.tunnels import Tunnels


class Gate(Keeping):
    """The mitmproxy addon. ``own`` gives the addresses that the proxy itself listens on."""

    name = "mitmgate"

    def __init__(self, core: Core, resolver: Resolver, own: Own) -> None:
        self._core = core
        self._dialling = Dialling(core, resolver, own)
        self._passages = Passages(core, self._dialling)
        self._tunnels = Tunnels(core, self._passages)
        self._tracks: dict[str, Track] = {}
        self._clients = Clients(close_client)

    # Connections

    def client_connected(self, client: Client) -> None:
        """Let a client have as many connections to a server as it has streams."""
        self._clients.connected(client)
        widen(client)

    def client_disconnected(self, client: Client) -> None:
        """Close what waits on this connection, and forget it."""
        self._clients.left(client)
        self._core.client_left(client.id)
        self._tunnels.client_left(client.id)
        self._dialling.client_left(client.id)

    async def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Leave TLS closed where a rule says so."""
        await self._tunnels.hello(data)
        if data.ignore_connection:
            self._clients.spoke(data.context.client)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Show that a client refused our certificate: its traffic was not inspected."""
        self._tunnels.tls_failed(data)

    def next_layer(self, nextlayer: NextLayer) -> None:
        """Make HTTP layers ours; whatever is neither HTTP nor TLS is closed."""
        chosen = nextlayer.layer
        if chosen is not None and self._tunnels.check_layer(nextlayer):
            adopt(chosen, self)

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse a tunnel whose target no rule could ever allow."""
        self._clients.spoke(flow.client_conn)
        await self._tunnels.connect(flow)
        self._clients.silent(flow.client_conn)

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Resolve once, check every address, dial the checked one."""
        await self._dialling.server_connect(data)

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Give the connection its name back: mitmproxy finds it for reuse by this."""
        self._dialling.server_connected(data)
        if self._core.judge.halt is not None:
            raise RuntimeError("the kill switch is on")  # the guard cuts it

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        """Note that an address cannot be reached: the next one may be."""
        self._dialling.server_connect_error(data)

    # Requests

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Begin an exchange; in transparent mode, go by the name the client asked for."""
        self._track(flow)
        self._clients.spoke(flow.client_conn)
        if isinstance(flow.client_conn.proxy_mode, TransparentMode):
            name = flow.client_conn.sni or flow.request.host_header or ""
            host = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
            if host:
                flow.request.data.host = host
        modernise(flow.request)

    async def request(self, flow: http.HTTPFlow) -> None:
        """Judge the whole request; what is not released never reaches the server."""
        if flow.request.stream:
            flow.request.trailers = None  # all of the body has passed already
            return
        track = self._track(flow)
        if flow.response is not None or flow.error is not None:
            track.fate = "denied"
            return
        problem = framing_of(flow.request)
        if problem is not None:
            self._deny(flow, track, self._fail(flow, track, "request", *problem))
            return
        connect, shown = self._tunnels.of(flow.client_conn)
        given = request_input(flow, exchange=track.exchange, connect=connect, shown=shown)
        await self._rule(flow, track, given)

    # Answers

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream what is a stream of events, judged event by event; the rest is judged whole."""
        track, response = self._tracks.get(flow.id), flow.response
        if track is None or not track.released or response is None:
            return  # our own answer
        response.headers.pop("alt-svc", None)
        lines = track.plain and _comes_in_lines(response)
        if not lines and answer_head(response).media_type != "text/event-stream":
            await self._passes_at_once(flow, track)
            return
        try:
            track.stream = self._stream_judge(flow, track, lines=lines)
        except WireError as problem:  # an encoding that nobody here can read
            ruling = self._core.fail(track.exchange, "answer", problem.code, str(problem))
            self._deny(flow, track, ruling)
            track.refused = True
            return
        response.headers.pop("content-length", None)
        response.headers.pop("content-encoding", None)
        if flow.request.http_version == "HTTP/1.0":
            unchunk(response)
        response.stream = True

    async def sse_event(self, held: HeldEvent) -> None:
        """Judge one large event of a stream, wait for a person's answer to one that asks."""
        track = self._tracks.get(held.flow.id)
        if track is None or track.stream is None:
            return
        await client_took(held.flow)
        try:
            held.output = await track.stream.settled(held.token, connection=line_of(held.flow))
        except Exception as error:  # noqa: BLE001 - the stream is cut, and its client is told
            held.failed = error

    async def response(self, flow: http.HTTPFlow) -> None:
        """Judge a whole answer, or note the end of a stream."""
        track = self._tracks.get(flow.id)
        if track is None:
            return  # it is over, and has its answer
        passed = track.stream or track.download
        if passed is not None and flow.response is not None:
            flow.response.trailers = None  # all of the stream has passed already
        if track.released and flow.websocket is not None:
            self._open_socket(flow, track)
            return
        try:
            if track.released and passed is None:
                await self._judge_answer(flow, track)
            if track.kept is not None and passed is None:
                await self._word(flow, track.kept)
        finally:
            self._finish(flow)

    async def _judge_answer(self, flow: http.HTTPFlow, track: Track) -> None:
        if flow.response is not None:
            problem = trailers_of(flow.response)
            if problem is not None:
                self._deny(
                    flow, track, self._fail(flow, track, "answer", "malformed_answer", problem[1])
                )
                return
            given = answer_input(flow, exchange=track.exchange)
            ruling = await self._core.decide(given, connection=line_of(flow))
            if ruling is None or not ruling.released:
                self._deny(flow, track, ruling)
                return
            if ruling.text is not None:
                replace_body(flow.response, ruling.text)
            if flow.request.http_version == "HTTP/1.0":
                unchunk(flow.response)

    def error(self, flow: http.HTTPFlow) -> None:
        """Note that an exchange broke off."""
        track = self._tracks.get(flow.id)
        message = flow.error.msg if flow.error is not None else ""
        if track is not None and track.fate == "answered":
            left = "disconnect" in message.lower() or "reset by client" in message
            track.fate = "client_left" if left else "aborted"
        self._finish(flow)

    # WebSockets

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Judge one message of a WebSocket: pass, replace or drop it."""
        if flow.websocket is None or not flow.websocket.messages:
            return
        message = flow.websocket.messages[-1]
        # mitmproxy keeps every message for as long as the connection lasts.
        del flow.websocket.messages[:-1]
        track = self._tracks.get(flow.id)
        if track is None or track.socket is None:
            message.drop()
            return
        content = await track.socket.judge(
            message.content, is_text=message.is_text, from_client=message.from_client
        )
        if content is None:
            message.drop()
        elif content != message.content:
            message.content = content

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Note the end of a WebSocket."""
        self._finish(flow)

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

    @property
    def dialling(self) -> Dialling:
        """The way to servers."""
        return self._dialling

    def owner(self, client: Client) -> object | None:
        """Return whose *client* is, None where that is not known before a request comes."""
        return self._tunnels.owner(client)

    @property
    def passages(self) -> Passages:
        """The tunnels whose TLS stays closed."""
        return self._passages

    def refused_head(
        self, where: Context, code: str, reason: str, request: http.Request | None
    ) -> http.Response:
        """Record that what came on a connection is no request to judge; return the answer."""
        return self._tunnels.refuse(where, code, reason, request)

    def refusal(self, flow: http.HTTPFlow, kind: Kind, code: str, reason: str) -> http.Response:
        """Record that *flow* is refused outside the rules; return the answer."""
        track = self._track(flow)
        self._deny(flow, track, self._fail(flow, track, kind, code, reason))
        if flow.response is None:
            raise RuntimeError("a denial without an answer")
        return flow.response

    def broken_off(self, flow: http.HTTPFlow, error: str) -> http.Response:
        """Record that the server gave no whole answer to *flow*; return the answer."""
        track = self._track(flow)
        track.fate, track.released = "upstream_failed", False
        reason = f"{flow.request.host} did not answer: {error[:200]}"
        return response_from(reply_of(self._fail(flow, track, "answer", "upstream_failed", reason)))

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
        track = self._tracks.get(flow.id)
        if track is None:
            return b""  # its client has left
        track.fate = "denied"
        if isinstance(error, StreamEndedError | StreamCutError):
            return b""
        unreadable = isinstance(error, WireError)
        code = error.code if isinstance(error, WireError) else "internal_error"
        reason = str(error) if unreadable else type(error).__name__
        ruling = self._core.fail(track.exchange, "event", code, reason)
        message = self._core.judge.denial(ruling.outcome, ruling.detail)
        return b"" if message is None else f"\n\nevent: message\ndata: {message}\n\n".encode()

    def stream_cut(self, flow: http.HTTPFlow) -> None:
        """Note that the stream of *flow* was cut: no hook tells of its end."""
        self._finish(flow)

    def opens(self, flow: http.HTTPFlow, server: Server) -> None:
        """Note that *server* is dialled for *flow*."""
        exchange = self._track(flow).exchange
        self._dialling.opens(exchange, client=flow.client_conn.id, server=server.id)

    def left(self, flow: http.HTTPFlow) -> None:
        """Close what waits for *flow*: a client of HTTP/2 gave it up."""
        self._core.client_left(line_of(flow))

    def tries_next(self, flow: http.HTTPFlow) -> bool:
        """Tell whether *flow* has an address left after the one that could not be reached."""
        return self._dialling.tries_next(self._track(flow).exchange)

    def unreachable(self, flow: http.HTTPFlow, error: str) -> http.Response:
        """Return the answer for a request whose upstream could not be reached."""
        track = self._track(flow)
        ruling = self._dialling.refusal(track.exchange, error)
        failed = ruling is None or ruling.outcome.code.startswith("upstream_")
        track.fate = "upstream_failed" if failed else "denied"
        if ruling is None:
            certificate = "certificate" in error.lower()
            code = "upstream_certificate" if certificate else "upstream_failed"
            reason = f"{flow.request.host} cannot be reached: {error[:200]}"
            ruling = self._core.fail(track.exchange, "dial", code, reason)
        track.released = False
        return response_from(reply_of(ruling))

    def _stream_judge(self, flow: http.HTTPFlow, track: Track, *, lines: bool) -> StreamJudge:
        if flow.response is None:
            raise ValueError("the flow has no answer")

        return StreamJudge(
            self._core,
            flow,
            exchange=track.exchange,
            head=answer_head(flow.response),
            lines=lines,
        )


def _comes_in_lines(response: http.Response) -> bool:
    """Tell whether this may be a stream of JSON lines: one with a length is read whole."""
    known = "content-length" in response.headers
    return not known and answer_head(response).media_type in MEDIA_TYPES
