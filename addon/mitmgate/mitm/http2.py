"""HTTP/2 connections of clients: streams are refused one by one, slow readers slow us down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import h2.errors
import h2.events
from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._events import (
    ResponseData,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._http2 import Http2Server, parse_h2_request_headers

from mitmgate.errors import WireError
from mitmgate.mitm.guard import safely
from mitmgate.mitm.http1 import HeadKeeper
from mitmgate.net.authority import normalise_authority

BACKLOG = 64  # frames of one stream that wait for the client before its server is not read
WINDOW = 256 * 1024  # bytes of one stream that a client may send before we took them

type Commands = layer.CommandGenerator[None]


class GateHttp2Server(Http2Server):
    """The client's side of a connection.

    ``slow_down`` pauses the server of a stream; ``left`` is told of streams that the client ended.
    """

    def __init__(
        self,
        context: Context,
        keeper: HeadKeeper,
        slow_down: Callable[[int, bool], None],
        left: Callable[[int], None],
    ) -> None:
        super().__init__(context)
        self._keeper = keeper
        self._slow_down = slow_down
        self._left = left
        self._slow: set[int] = set()
        # mitmproxy gives each stream two gigabytes, so none would ever wait for us.
        self.h2_conn.local_settings.initial_window_size = WINDOW
        self.h2_conn.local_settings.acknowledge()
        self._held: dict[int, int] = {}  # by stream, the bytes that its client may not send again
        self._give_back = self.h2_conn.acknowledge_received_data
        self.h2_conn.acknowledge_received_data = self._taken  # type: ignore[method-assign]

    def hold(self, stream_id: int, *, held: bool) -> bytes:
        """Give the client no more room on one stream (RFC 9113 section 5.2), or all it waits for.

        Returns what to send. Other streams go on.
        """
        if held:
            self._held[stream_id] = 0
            return b""
        size = self._held.pop(stream_id, 0)
        if size and not self.is_closed(stream_id):
            self.h2_conn.increment_flow_control_window(size, stream_id)
        return self.h2_conn.data_to_send()

    def _taken(self, acknowledged_size: int, stream_id: int) -> None:
        if stream_id not in self._held:
            self._give_back(acknowledged_size, stream_id)
        elif acknowledged_size:
            self._held[stream_id] += acknowledged_size
            self.h2_conn.increment_flow_control_window(acknowledged_size)  # of the connection

    def _handle_event(self, event: events.Event) -> Commands:
        if isinstance(event, ResponseProtocolError) and self._is_unanswered(event):
            problem = WireError("upstream_failed", "the server's answer could not be passed on")
            yield from self._refuse(event.stream_id, problem)
            return
        if isinstance(event, ResponseTrailers):  # RFC 9113 section 8.2.1
            fields = event.trailers.fields
            event.trailers = http.Headers([(name.lower(), value) for name, value in fields])
        yield from super()._handle_event(event)
        if isinstance(event, ResponseData):
            waiting = self.h2_conn.stream_buffers.get(event.stream_id)
            if waiting is not None and len(waiting) > BACKLOG and event.stream_id not in self._slow:
                self._slow.add(event.stream_id)
                self._slow_down(event.stream_id, True)
        elif self._slow and isinstance(event, events.DataReceived):
            for stream_id in [s for s in self._slow if not self.h2_conn.stream_buffers.get(s)]:
                self._slow.discard(stream_id)
                self._slow_down(stream_id, False)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        """Take in *event*; a head that cannot be read ends its stream, not the connection."""
        if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
            problem = _head_problem(event.headers or [])
            if problem is not None:
                yield from self._refuse(event.stream_id, problem)
                return False
        if isinstance(event, h2.events.StreamReset) and event.stream_id in self.streams:
            self._left(event.stream_id)
        return (yield from super().handle_h2_event(event))

    def close_connection(self, msg: str) -> Commands:
        """End the connection, and all that waits on it."""
        for stream_id in self.streams:
            self._left(stream_id)
        yield from super().close_connection(msg)

    def protocol_error(
        self, message: str, error_code: int = h2.errors.ErrorCodes.PROTOCOL_ERROR
    ) -> Commands:
        """Record what breaks the protocol, and end the connection."""
        text = "HTTP/2 is not spoken as RFC 9113 wants it"
        problem = WireError("malformed_request", text)
        found = message.partition(": ")[2]
        if found.startswith("Request header block has mismatched"):
            problem = WireError("host_mismatch", "the Host header names another host")
        elif found.startswith("Request header block does not have an :authority"):
            problem = WireError("bad_authority", "the request names no host")
        safely(lambda: self._keeper.refused_head(self.context, problem.code, str(problem), None))
        self.h2_conn.close_connection(error_code, str(problem).encode())
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())
        yield from self.close_connection(text)

    def _is_unanswered(self, event: ResponseProtocolError) -> bool:
        stream = self.h2_conn.streams.get(event.stream_id)
        return (
            event.code.http_status_code() is not None
            and self.is_open_for_us(event.stream_id)
            and stream is not None
            and not stream.state_machine.headers_sent
        )

    def _refuse(self, stream_id: int, problem: WireError) -> Commands:
        response = safely(
            lambda: self._keeper.refused_head(self.context, problem.code, str(problem), None)
        )
        head = [(b":status", b"%d" % response.status_code)]
        head += [(name.lower(), value) for name, value in response.headers.fields]
        self.h2_conn.send_headers(stream_id, head)
        self.h2_conn.send_data(stream_id, response.raw_content or b"", end_stream=True)
        yield commands.SendData(self.conn, self.h2_conn.data_to_send())


def _head_problem(fields: Sequence[tuple[bytes, bytes]]) -> WireError | None:
    """Return why a request cannot be read, None where it can."""
    named = dict(fields)
    if named.get(b":method") == b"CONNECT":
        return WireError("nested_connect", "a tunnel inside a tunnel is refused")
    authority = named.get(b":authority", b"")
    try:
        if authority:
            normalise_authority(authority.decode("latin-1"))
        parse_h2_request_headers(fields)
    except WireError as problem:
        return problem
    except ValueError:
        return WireError("malformed_request", "the head of the request cannot be read")
    return None
