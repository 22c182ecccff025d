"""HTTP/1 connections: what mitmproxy would refuse in its own words is refused in ours.

On the client's side heads and bodies are bounded in size and in time, and trailers are read; on the
server's side interim answers are passed over, and no protocol is switched to unasked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import h11
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._http1 import (
    Http1Client,
    Http1Connection,
    Http1Server,
    make_body_reader,
)

from mitmgate.errors import WireError
from mitmgate.mitm.guard import safely
from mitmgate.mitm.heads import HEAD_BYTES, check_start, head_lines, read_request, read_response
from mitmgate.mitm.reusable import asks, binds
from mitmgate.mitm.trailers import is_chunked, last_chunk

HEAD_SECONDS = 30.0  # for a whole head, once its first byte has come
BODY_SECONDS = 60.0  # for a whole body, and a second more for every LEAST_RATE bytes of it
LEAST_RATE = 1024
LINGER_SECONDS = 1.0  # what comes after a refusal is read and dropped: a reset would take it away
LINGER_TIMES = 10  # as long as something comes
LINGER_BYTES = 64 * 1024 * 1024  # and no more than so much: some clients never look for an answer
WAITING_BYTES = 1024 * 1024  # that a client may send before it has its answer
MOST_INTERIM = 32  # answers 1xx before the final one

type Commands = layer.CommandGenerator[None]


class HeadKeeper(Protocol):
    """What the connections need of the gate."""

    def refused_head(
        self, where: Context, code: str, reason: str, request: http.Request | None
    ) -> http.Response:
        """Record that what came is no request to judge; return the answer."""


@dataclass
class RefusedRequest(HttpEvent):
    """A request that breaks off here. No protocol error: for mitmproxy the client would be gone."""

    problem: WireError


class _Reading(Http1Connection):
    """Reads bodies with their trailers."""

    def read_body(self, event: events.Event) -> Commands:
        """Pass on what *event* brings of a body."""
        while self.state == self.read_body:
            try:
                if isinstance(event, events.DataReceived):
                    found = self.body_reader(self.buf)
                else:
                    found = self.body_reader.read_eof()
                if found is None and len(self.buf) > HEAD_BYTES:
                    raise h11.LocalProtocolError("a chunk without an end")
            except h11.ProtocolError:
                yield from self.broken_body(isinstance(event, events.DataReceived))
                return
            if found is None:
                return
            if isinstance(found, h11.Data):
                if found.data:
                    yield ReceiveHttp(self.ReceiveData(self.stream_id or 0, bytes(found.data)))
            elif isinstance(found, h11.EndOfMessage):
                yield from self._ended(found)
                return

    def _ended(self, found: h11.EndOfMessage) -> Commands:
        if self.request is None or self.stream_id is None:
            raise ValueError("a body without a request")
        server = isinstance(self, Http1Server)
        if found.headers:
            fields = http.Headers(list(found.headers.raw_items()))
            kind = RequestTrailers if server else ResponseTrailers
            yield ReceiveHttp(kind(self.stream_id, fields))
        if self.request.data.method.upper() != b"CONNECT":
            yield ReceiveHttp(self.ReceiveEndOfMessage(self.stream_id))
        yield from self.mark_done(request=server, response=not server)

    def broken_body(self, open_still: bool) -> Commands:
        """End what cannot be read; *open_still* says that the other side is there yet."""
        raise NotImplementedError


class GateHttp1Server(_Reading, Http1Server):
    """The client's side of a connection."""

    def __init__(self, context: Context, keeper: HeadKeeper) -> None:
        super().__init__(context)
        self._keeper = keeper
        self._is_line = False  # the first line of a head was seen
        self._since: float | None = None  # when a message began that is not whole yet
        self._taken = self._dropped = self._dropped_before = self._lingered = 0
        self._timed = False
        self._trailers: http.Headers | None = None

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, events.Wakeup):
            yield from self._woke()
            return
        if isinstance(event, events.DataReceived):
            self._taken += len(event.data)
        yield from super()._handle_event(event)
        if self.state == self.read_body or (self.state == self.read_headers and self.buf):
            if self._since is None:
                self._since, self._taken = time.monotonic(), 0
            if not self._timed:
                self._timed = True
                yield commands.RequestWakeup(HEAD_SECONDS)
        else:
            self._since = None

    def _woke(self) -> Commands:
        self._timed = False
        if self.state == self.linger:
            yield from self._linger_on()
            return
        if self._since is None:
            return
        in_head = self.state == self.read_headers
        limit = HEAD_SECONDS if in_head else BODY_SECONDS + self._taken / LEAST_RATE
        left = limit - (time.monotonic() - self._since)
        if left > 0:
            self._timed = True
            yield commands.RequestWakeup(left)
            return
        problem = WireError("request_timeout", "the request did not come whole in time")
        if in_head:
            yield from self.refuse(problem)
        else:
            yield from self._break_off(problem)

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """Read the head of a request, or refuse what is none."""
        if isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(self.conn)
            return
        request: http.Request | None = None
        try:
            lines = head_lines(self.buf)
            if lines is None:
                if not self._is_line and self.buf:
                    self._is_line = check_start(bytes(self.buf))
                return
            self._is_line = False
            request = read_request(lines)
            size = http1.expected_http_body_size(request)
        except WireError as problem:
            yield from self.refuse(problem)
            return
        except ValueError:
            text = "the length of the body cannot be read in one way"
            yield from self.refuse(WireError("malformed_request", text), request)
            return
        self.request, self._since = request, None
        yield ReceiveHttp(RequestHeaders(self.stream_id, request, size == 0))
        if self.state != self.read_headers:
            return  # refused by its head
        self.body_reader = make_body_reader(size)
        self.state = self.read_body
        yield from self.state(event)

    def refuse(self, problem: WireError, request: http.Request | None = None) -> Commands:
        """Answer *problem* where there is no exchange that could, and end the connection."""
        response = safely(
            lambda: self._keeper.refused_head(self.context, problem.code, str(problem), request)
        )
        response.headers["connection"] = "close"
        if request is not None and request.method.upper() == "HEAD":
            yield commands.SendData(self.conn, http1.assemble_response_head(response))
        else:
            yield commands.SendData(self.conn, http1.assemble_response(response))
        yield from self._lingering()

    def broken_body(self, open_still: bool) -> Commands:
        """Refuse a body that cannot be read, or note that the client left in its middle."""
        if open_still:
            text = "the chunks of the body cannot be read"
            yield from self._break_off(WireError("malformed_request", text))
            return
        yield commands.CloseConnection(self.conn)
        gone = RequestProtocolError(
            self.stream_id, "Client disconnected.", ErrorCode.CLIENT_DISCONNECTED
        )
        yield ReceiveHttp(gone)

    def _break_off(self, problem: WireError) -> Commands:
        yield from self._lingering()  # at its end, also where nobody answers
        yield ReceiveHttp(RefusedRequest(self.stream_id, problem))

    def send(self, event: HttpEvent) -> Commands:
        """Send *event* to the client."""
        if isinstance(event, ResponseHeaders) and event.response.status_code == 100:
            yield commands.SendData(self.conn, http1.assemble_response_head(event.response))
        elif isinstance(event, ResponseTrailers):
            self._trailers = event.trailers
        elif isinstance(event, ResponseEndOfMessage) and self._has_trailers():
            yield commands.SendData(self.conn, last_chunk(self._trailers))
            self._trailers = None
            yield from self.mark_done(response=True)
        elif isinstance(event, ResponseProtocolError) and self._is_unanswered(event):
            yield from self.refuse(_problem(event), self.request)
        else:
            yield from super().send(event)

    def _has_trailers(self) -> bool:
        return (
            self._trailers is not None
            and self.request is not None
            and self.response is not None
            and self.request.method.upper() != "HEAD"
            and is_chunked(self.response)
        )

    def _is_unanswered(self, event: ResponseProtocolError) -> bool:
        return (
            self.response is None
            and event.code.http_status_code() is not None
            and bool(self.conn.state & ConnectionState.CAN_WRITE)
        )

    def mark_done(self, *, request: bool = False, response: bool = False) -> Commands:
        """Note that one half of an exchange is over."""
        yield from super().mark_done(request=request, response=response)
        if self.response_done and not self.request_done:
            yield from self._lingering()

    def wait(self, event: events.Event) -> Commands:
        """Wait for the answer; what the client sends meanwhile is bounded."""
        if isinstance(event, events.DataReceived) and len(self.buf) > WAITING_BYTES:
            event = events.ConnectionClosed(self.conn)
            self.buf = ReceiveBuffer()
        yield from super().wait(event)

    def _lingering(self) -> Commands:
        self.buf = ReceiveBuffer()
        self.state = self.linger
        self._timed = True
        yield commands.RequestWakeup(LINGER_SECONDS)

    def _linger_on(self) -> Commands:
        self._lingered += 1
        if self._dropped > self._dropped_before and self._lingered < LINGER_TIMES:
            self._dropped_before = self._dropped
            self._timed = True
            yield commands.RequestWakeup(LINGER_SECONDS)
            return
        yield commands.CloseConnection(self.conn)
        self.state = self.done

    def linger(self, event: events.Event) -> Commands:
        """Drop what comes after a refusal, for a moment."""
        if isinstance(event, events.DataReceived):
            self._dropped += len(event.data)
        self.buf = ReceiveBuffer()
        if isinstance(event, events.ConnectionClosed) or self._dropped > LINGER_BYTES:
            yield commands.CloseConnection(self.conn)
            self.state = self.done


class GateHttp1Client(_Reading, Http1Client):
    """The server's side of a connection."""

    _interim = 0
    _bound = False  # to who has authenticated by it
    _trailers: http.Headers | None = None

    def adopted(self) -> None:
        """Take over from mitmproxy's own class, after its start."""
        self.state = self.read_headers
        asks(self.conn, self)

    @property
    def is_idle(self) -> bool:
        """Whether another request may be sent."""
        return self.stream_id is None and self.state == self.read_headers and not self.buf

    @property
    def is_reusable(self) -> bool:
        """Whether all that was asked has its whole answer, and anybody may ask next."""
        return self.is_idle and not self._bound

    def read_headers(self, event: events.ConnectionEvent) -> Commands:
        """Read the head of the final answer; interim ones (RFC 9110 section 15.2) are dropped."""
        if isinstance(event, events.ConnectionClosed):
            yield from self._left()
            return
        if self.request is None or self.stream_id is None:
            yield commands.CloseConnection(self.conn)  # an answer that nobody asked for
            return
        try:
            response = self._final_head(self.request)
            if response is None:
                return
            size = http1.expected_http_body_size(self.request, response)
        except (ValueError, WireError):
            yield from self._broken("the head of the answer cannot be read")
            return
        if response.status_code == 101 and not _asks_for_a_socket(self.request):
            yield from self._broken("the server switched to another protocol unasked")
            return
        self.response = response
        self._bound = self._bound or binds(self.request, response)
        yield ReceiveHttp(ResponseHeaders(self.stream_id, response, size == 0))
        self.body_reader = make_body_reader(size)
        self.state = self.read_body
        yield from self.state(event)

    def _final_head(self, request: http.Request) -> http.Response | None:
        while (lines := head_lines(self.buf)) is not None:
            response = read_response(lines)
            if not 100 <= response.status_code <= 199 or response.status_code == 101:
                self._interim = 0
                return response
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise ValueError(f"no final answer to {request.method}")
        return None

    def _left(self) -> Commands:
        if self.conn.state & ConnectionState.CAN_WRITE:
            yield commands.CloseConnection(self.conn)
        if self.stream_id is not None:
            text = "the server closed the connection before its answer was whole"
            yield self._error(text)

    def broken_body(self, open_still: bool) -> Commands:
        """End an answer that cannot be read to its end."""
        what = "cannot be read" if open_still else "is not whole"
        yield from self._broken(f"the body of the answer {what}")

    def _broken(self, text: str) -> Commands:
        yield commands.CloseConnection(self.conn)
        self.state = self.done
        yield self._error(text)

    def _error(self, text: str) -> ReceiveHttp:
        return ReceiveHttp(
            ResponseProtocolError(self.stream_id or 0, text, ErrorCode.GENERIC_SERVER_ERROR)
        )

    def send(self, event: HttpEvent) -> Commands:
        """Send *event* to the server."""
        if isinstance(event, RequestTrailers):
            self._trailers = event.trailers
        elif isinstance(event, RequestEndOfMessage) and self._trailers is not None:
            trailers, self._trailers = self._trailers, None
            if self.request is not None and is_chunked(self.request):
                yield commands.SendData(self.conn, last_chunk(trailers))
                yield from self.mark_done(request=True)
            else:
                yield from super().send(event)
        else:
            yield from super().send(event)


def _asks_for_a_socket(request: http.Request) -> bool:
    return str(request.headers.get("upgrade", "")).strip().lower() == "websocket"


def _problem(event: ResponseProtocolError) -> WireError:
    if event.code is ErrorCode.DESTINATION_UNKNOWN:
        return WireError("bad_authority", "the request names no host")
    if event.code in (ErrorCode.GENERIC_CLIENT_ERROR, ErrorCode.REQUEST_VALIDATION_FAILED):
        return WireError("malformed_request", "the request cannot be read in one way")
    return WireError("upstream_failed", "the server's answer could not be passed on")
