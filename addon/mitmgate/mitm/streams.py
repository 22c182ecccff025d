"""Server-sent events through mitmproxy: judged one by one, held one by one, never buffered.

mitmproxy streams through a synchronous callable, which cannot wait. The subclass of its
HTTP stream below yields an own blocking hook for an event that must wait, so that only this
stream pauses; it also answers in the client's own shape when the upstream cannot be reached.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import GetHttpConnection, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.websocket import WebsocketLayer

from mitmgate.errors import WireError
from mitmgate.mitm.early import EarlyKeeper, EarlyStream
from mitmgate.mitm.guard import safely
from mitmgate.mitm.largebody import LargeBodyHook, Turn
from mitmgate.mitm.sockets import GateWebsocketLayer, SocketKeeper
from mitmgate.mitm.turns import SLICE, turns

logger = logging.getLogger("mitmgate.streams")

QUEUED_BYTES = 4 * 1024 * 1024  # kept of a stream behind one held event
TURN = 64  # pieces of one chunk that are judged in one turn, however little time they take


class StreamCutError(Exception):
    """What came is denied, and recorded: the client has to see that there was more."""


class StreamEndedError(Exception):
    """A denial that is on record already ends the stream; the text is its code."""


@dataclass
class HeldEvent:
    """An event that waits, for a person or because it takes long to judge.

    ``output`` is what goes on; empty: nothing does. After ``failed`` the stream is cut.
    """

    flow: http.HTTPFlow
    token: object
    output: bytes = field(default=b"")
    failed: Exception | None = None


@dataclass
class SseEventHook(commands.StartHook):
    """An event of a stream waits. The stream goes on with ``held.output`` afterwards."""

    name = "sse_event"
    held: HeldEvent


class EventJudge(Protocol):
    """Judges the bytes of one stream: pieces to pass on, or events that must wait."""

    def feed(self, chunk: bytes) -> Iterator[bytes | HeldEvent]:
        """Take in *chunk*, yield what may go on."""

    def finish(self) -> Iterator[bytes | HeldEvent]:
        """Yield what may go on at the end."""


class StreamKeeper(SocketKeeper, EarlyKeeper, Protocol):
    """What the layers need of the gate."""

    def stream_of(self, flow: http.HTTPFlow) -> EventJudge | None:
        """Return the judge of the stream of *flow*, or None when it is no event stream."""

    def pause(self, flow: http.HTTPFlow, *, paused: bool) -> None:
        """Stop reading from the server of *flow*, or go on."""

    def stream_failed(self, flow: http.HTTPFlow, error: Exception) -> bytes:
        """Record that judging the stream of *flow* failed; return its last bytes."""

    def stream_cut(self, flow: http.HTTPFlow) -> None:
        """Note that the stream of *flow* was cut: no hook tells of its end."""

    def tries_next(self, flow: http.HTTPFlow) -> bool:
        """Tell whether *flow* has an address left after the one that could not be reached."""

    def unreachable(self, flow: http.HTTPFlow, error: str) -> http.Response:
        """Return the answer for a request whose upstream could not be reached."""


class GateHttpStream(EarlyStream):
    """One exchange, its event stream judged."""

    _child_layer: layer.Layer | None = None

    def __init__(self, context: Context, stream_id: int, keeper: StreamKeeper) -> None:
        super().__init__(context, stream_id, keeper)
        self._keeper = keeper
        self._queued = 0

    def state_wait_for_response_headers(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take in the head of an answer; one that cannot be judged is replaced at once."""
        yield from super().state_wait_for_response_headers(event)
        if self._keeper.is_refused(self.flow):
            yield self._to_server_end()  # the body that is refused may never end
            yield from self._replaced()

    @property
    def child_layer(self) -> layer.Layer | None:
        """The layer that took over after an upgrade."""
        return self._child_layer

    @child_layer.setter
    def child_layer(self, child: layer.Layer | None) -> None:
        if type(child) is WebsocketLayer:
            child = GateWebsocketLayer(child.context, child.flow, self._keeper)
        self._child_layer = child

    def _while_holding(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Take in *event* while one of the stream is held: keep a bounded part of the rest.

        mitmproxy goes on reading while a layer waits, and would keep all of it.
        """
        if isinstance(event, ResponseData):
            self._queued += len(event.data)
            if self._queued > QUEUED_BYTES:
                return  # the stream is cut as soon as the held event is settled
            self._keeper.pause(self.flow, paused=True)  # asyncio's reader may have gone on
        yield from super().handle_event(event)

    def state_stream_response_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Pass on a streamed body; events of an event stream only as they were judged."""
        judge = self._keeper.stream_of(self.flow)
        if judge is None or not isinstance(event, ResponseData | ResponseEndOfMessage):
            yield from super().state_stream_response_body(event)
            return
        try:
            if isinstance(event, ResponseEndOfMessage):
                yield from self._judged(judge.finish())
                yield from super().state_stream_response_body(event)
            else:
                self._taken(len(event.data))
                yield from self._judged(judge.feed(event.data))
        except StreamEndedError as error:
            self._last_words(error)
            yield self._to_server_end()
            # A broken body leaves an SDK's client waiting for the rest of it.
            yield from self.send_response(already_streamed=True)
        except Exception as error:  # noqa: BLE001 - whatever fails here must not pass
            last = self._last_words(error)
            if last:
                yield self._to_client(ResponseData(self.stream_id, last))
            yield self._to_client(
                ResponseProtocolError(self.stream_id, "stream stopped", ErrorCode.KILL)
            )
            self.server_state = self.state_errored
            self._note_cut()

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Connect upstream, or answer in the client's own shape that this failed."""
        request = self.flow.request
        error = None
        while error is None or self._tries_next():
            connection, error = yield GetHttpConnection(
                (request.host, request.port),
                request.scheme == "https",
                self.flow.server_conn.via,
                self.flow.server_conn.transport_protocol,
            )
            if not error:
                self.context.server = self.flow.server_conn = connection
                return True
        response = safely(lambda: self._keeper.unreachable(self.flow, error or ""))
        if self.client_state != self.state_done:
            yield from self.answer_now(response)
            return False
        self.flow.response = response
        self.flow.response.timestamp_start = time.time()
        yield from self.send_response()
        return False

    def _tries_next(self) -> bool:
        try:
            return self._keeper.tries_next(self.flow)
        except Exception as failure:  # noqa: BLE001 - then no other address is tried
            logger.error("no next address: %s", type(failure).__name__)
            return False

    def _note_cut(self) -> None:
        try:
            self._keeper.stream_cut(self.flow)
        except Exception as failure:  # noqa: BLE001 - it is cut already, only the note is missing
            logger.error("the end of a cut stream was not noted: %s", type(failure).__name__)

    def _last_words(self, error: Exception) -> bytes:
        try:
            return self._keeper.stream_failed(self.flow, error)
        except Exception as failure:  # noqa: BLE001 - the stream must be cut all the same
            logger.error("no denial for a failed stream: %s", type(failure).__name__)
            return b""

    def _judged(self, pieces: Iterator[bytes | HeldEvent]) -> layer.CommandGenerator[None]:
        ready, shared = bytearray(), turns()
        number, own = 0, 0.0  # pieces since the last turn, and what is left of it
        while True:
            if number == TURN or (own <= 0 and not shared.is_free):
                yield from self._flush(ready)
                yield from self._pausing(LargeBodyHook(Turn(self.flow)))
                number, own = 0, SLICE
            begun = time.thread_time()
            piece = next(pieces, None)
            used = time.thread_time() - begun
            number, own = number + 1, own - used
            shared.spent(used)
            if piece is None:
                yield from self._flush(ready)
                return
            if isinstance(piece, bytes):
                ready += piece
                continue
            yield from self._flush(ready)
            yield from self._pausing(SseEventHook(piece))
            if piece.failed is not None:
                raise piece.failed
            ready += piece.output

    def _flush(self, ready: bytearray) -> layer.CommandGenerator[None]:
        if ready:
            yield self._to_client(ResponseData(self.stream_id, bytes(ready)))
            ready.clear()

    def _pausing(self, wait: commands.StartHook) -> layer.CommandGenerator[None]:
        """Wait for a hook while nothing more is read from the server."""
        # On the instance, so that the many events of streams that do not wait pay nothing for it.
        self.handle_event = self._while_holding  # type: ignore[method-assign]
        self._keeper.pause(self.flow, paused=True)
        yield wait
        del self.handle_event
        if not self._queued:
            self._keeper.pause(self.flow, paused=False)
        if self._queued > QUEUED_BYTES:
            raise WireError("stream_too_fast", "too much came while an event was held")

    def _taken(self, size: int) -> None:
        """Note that *size* bytes of what may have been kept are judged now; read on behind them."""
        if self._queued:
            self._queued = max(0, self._queued - size)
            if not self._queued:
                self._keeper.pause(self.flow, paused=False)

    def _to_server_end(self) -> SendHttp:
        end = RequestProtocolError(self.stream_id, "refused", ErrorCode.KILL)
        return SendHttp(end, self.context.server)
