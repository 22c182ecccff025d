"""Exchanges that mitmproxy would end in words of its own: they are answered in ours, and recorded.

Source for the order of hooks and events: ``mitmproxy.proxy.layers.http.HttpStream`` of 12.2.
"""

from __future__ import annotations

import logging
import time
from typing import Protocol

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    DropStream,
    HttpLayer,
    HTTPMode,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpRequestHeadersHook, HttpResponseHook
from mitmproxy.utils import human

from mitmgate.judge.handling import NEVER, PEEK
from mitmgate.judge.outcome import Kind
from mitmgate.mitm.guard import failure_response, safely
from mitmgate.mitm.http1 import HeadKeeper, RefusedRequest
from mitmgate.mitm.http2 import GateHttp2Server
from mitmgate.mitm.largebody import LargeBody, LargeBodyHook
from mitmgate.mitm.sending import PIECE, SendingStream

QUEUED_BYTES = 4 * 1024 * 1024  # kept of an upload while it is judged and its server is dialled
STREAMS_SHARE = 2  # times the limit of one body is kept of all that are open on a connection

REFUSED_FROM = 400  # an answer like this to half an upload is not waiting for the other half

logger = logging.getLogger("mitmgate.refusing")

_CODINGS = frozenset({"chunked", "identity"})

type Commands = layer.CommandGenerator[None]


class RefusalKeeper(HeadKeeper, Protocol):
    """What the exchanges need of the gate to refuse."""

    def reads_until(self, flow: http.HTTPFlow, start: bytes, size: int) -> int | None:
        """Return after how many bytes of the body to ask again, None: it is judged now."""

    def unread_answer(self, flow: http.HTTPFlow) -> int | None:
        """Return beyond how many bytes the answer of *flow* passes unread, None: it does not."""

    def pause_client(self, flow: http.HTTPFlow, *, paused: bool) -> None:
        """Stop reading from the client of *flow*, or go on."""

    def is_refused(self, flow: http.HTTPFlow) -> bool:
        """Tell whether the response of *flow* is ours, in the place of the server's."""

    def refusal(self, flow: http.HTTPFlow, kind: Kind, code: str, reason: str) -> http.Response:
        """Record that *flow* is refused; return the answer."""

    def broken_off(self, flow: http.HTTPFlow, error: str) -> http.Response:
        """Record that the server gave no whole answer to *flow*; return the answer."""


class RefusingStream(SendingStream):
    """One exchange, refused in our words wherever it is refused."""

    _refusals: RefusalKeeper

    def __init__(self, context: Context, stream_id: int, keeper: RefusalKeeper) -> None:
        super().__init__(context, stream_id)
        self._refusals = keeper
        self._until: int | None = None  # bytes of the request after which the gate is asked
        self._declared: int | None = None
        self._start = b""
        self._queued_up = 0

    def refuse(self, code: str, reason: str) -> Commands:
        """Answer at once, whatever of the request is still to come, and drop that."""
        flow = self.flow
        yield from self.answer_now(
            safely(lambda: self._refusals.refusal(flow, "request", code, reason))
        )

    def answer_now(self, response: http.Response) -> Commands:
        """Answer with *response*, whatever of the request is still to come, and drop that."""
        flow = self.flow
        if not flow.request.is_http2:
            response.headers["connection"] = "close"
        self.request_body_buf.clear()
        flow.response = response
        response.timestamp_start = response.timestamp_end = time.time()
        self.client_state = self.state_refused
        self.server_state = self.state_errored
        yield HttpResponseHook(flow)
        response, flow.live = flow.response, False
        content = response.raw_content or b""
        yield self._to_client(ResponseHeaders(self.stream_id, response, not content))
        if content:
            yield self._to_client(ResponseData(self.stream_id, content))
        yield self._to_client(ResponseEndOfMessage(self.stream_id))

    def state_refused(self, event: events.Event) -> Commands:
        """Drop the rest of a request that was answered before its end."""
        if isinstance(event, RequestEndOfMessage):
            yield DropStream(self.stream_id)

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse a message whose head could be read in several ways; tell whether it was."""
        problem = self._request_problem() if request else self._response_problem()
        if problem is None:
            return False
        if request:
            yield HttpRequestHeadersHook(self.flow)
            yield from self.refuse(*problem)
        else:
            yield from self._withhold(*problem)
        return True

    def _request_problem(self) -> tuple[str, str] | None:
        request = self.flow.request
        if self.mode is HTTPMode.transparent and request.method == "CONNECT":
            return "nested_connect", "a tunnel inside a tunnel is refused"
        if request.scheme not in ("http", "https", ""):
            return "malformed_request", "the target is neither http nor https"
        if not _is_valid(request):
            return "malformed_request", "a header name, or the length of the body, is ambiguous"
        return None

    def _response_problem(self) -> tuple[str, str] | None:
        response = self.flow.response
        if response is None:
            return None
        if not _is_valid(response):
            return "malformed_answer", "a header name, or the length of the answer, is ambiguous"
        if response.headers.get("transfer-encoding", "chunked").strip().lower() not in _CODINGS:
            return "malformed_answer", "a Transfer-Encoding that compresses"
        return None

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse a body beyond the limit as soon as that is known; tell whether it was."""
        if request and self.client_state == self.state_wait_for_request_headers:
            self._until, self._declared = 0, self._known_size(request) or None
            return False  # its head is judged first
        grown = request and self._until is not None and len(self.request_body_buf) > self._until
        if grown and (yield from self._look()):
            return True
        if not request and (bound := self._refusals.unread_answer(self.flow)) is not None:
            kept = len(self.response_body_buf)
            crowded = kept > PEEK and self._waiting_bytes() > STREAMS_SHARE * bound
            if kept > bound or crowded:
                yield from self._pass_answer()
            return False
        return (yield from self._check_limit(request=request))

    def _check_limit(self, *, request: bool) -> layer.CommandGenerator[bool]:
        limit = human.parse_size(self.context.options.body_size_limit)
        size = self._known_size(request)
        if limit is None or size is None:
            return False
        reason = f"the body is larger than {limit} bytes"
        if size <= limit:
            if self._waiting_bytes() <= STREAMS_SHARE * limit:
                return False
            reason = "the bodies of all open exchanges of this connection are too large together"
        if not request:
            yield from self._withhold("body_too_large", reason)
            return True
        yield from self.refuse("body_too_large", reason)
        return True

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """Tell whether the exchange is over; of a request, judge what its head decides."""
        if (yield from super().check_killed(emit_error_hook)):
            return True
        at_head = self.client_state == self.state_wait_for_request_headers
        if not at_head or self._until is None or self.flow.request.method == "CONNECT":
            return False
        if self.flow.response is not None:  # a hook failed
            yield from self.answer_now(self.flow.response)
            return True
        if (yield from self._look()):
            return True
        whole = self._until == NEVER  # there is no other bound
        return whole and (yield from self._check_limit(request=True))

    def _look(self) -> layer.CommandGenerator[bool]:
        """Ask whether to go on reading the request; tell whether its body is not read on."""
        come = len(self.request_body_buf)
        size = come if self._declared is None else self._declared
        if size <= PEEK and "expect" not in self.flow.request.headers:
            self._until = PEEK
            return False
        if come and len(self._start) < PEEK:
            self._start = bytes(self.request_body_buf)[:PEEK]
        try:
            until = self._refusals.reads_until(self.flow, self._start, size)
        except Exception as error:  # noqa: BLE001 - whatever fails here must not pass
            logger.error("no judgement on a head: %s", type(error).__name__)
            yield from self.answer_now(failure_response())
            return True
        self._until = NEVER if until is None else until
        if until is None:
            yield from self._judge_upload(LargeBody(self.flow, size, self._start))
        return until is None

    def _judge_upload(self, body: LargeBody) -> Commands:
        # On the instance: what comes meanwhile is queued, and has to stay bounded.
        self.handle_event = self._while_judging  # type: ignore[method-assign]
        yield from self._hold_client(held=True)
        yield LargeBodyHook(body)
        over = yield from super().check_killed(True)
        if not over and not body.passes:
            yield from self.answer_now(self.flow.response or failure_response())
        elif not over:
            yield from self._begin_upload()
        yield from self._hold_client(held=False)
        del self.handle_event
        if self._queued_up > QUEUED_BYTES:
            self._refusals.pause_client(self.flow, paused=False)
        self._queued_up = 0

    def _while_judging(self, event: events.Event) -> Commands:
        if isinstance(event, RequestData):
            self._queued_up += len(event.data)
            if self._queued_up > QUEUED_BYTES:  # each time: asyncio's reader resumes by itself
                self._refusals.pause_client(self.flow, paused=True)
        yield from super().handle_event(event)

    def _begin_upload(self) -> Commands:
        if not (yield from self.make_server_connection()):
            return
        head = RequestHeaders(self.stream_id, self.flow.request, end_stream=False)
        yield SendHttp(head, self.context.server)
        self.client_state = self.state_stream_request_body
        content = bytes(self.request_body_buf)
        self.request_body_buf.clear()
        for at in range(0, len(content), PIECE):
            yield from self.turn(at, self.context.server)
            piece = RequestData(self.stream_id, content[at : at + PIECE])
            yield from self.state_stream_request_body(piece)

    def _pass_answer(self) -> Commands:
        """Let the rest of an answer pass that is larger than what is kept, if it may."""
        body = LargeBody(self.flow, len(self.response_body_buf), answer=True)
        yield LargeBodyHook(body)
        if (yield from super().check_killed(True)):
            return
        if not body.passes:
            end = RequestProtocolError(self.stream_id, "refused", ErrorCode.KILL)
            yield SendHttp(end, self.context.server)
            if self.flow.response is None or not self._refusals.is_refused(self.flow):
                self.flow.response = failure_response()
            yield from self._replaced()
            return
        content = bytes(self.response_body_buf)
        self.response_body_buf.clear()
        yield from self.start_response_stream()
        for at in range(0, len(content), PIECE):
            yield from self.turn(at, self.context.client)
            piece = ResponseData(self.stream_id, content[at : at + PIECE])
            yield from self.state_stream_response_body(piece)

    def send_response(self, already_streamed: bool = False) -> Commands:
        """Send the answer; one that refuses an upload ends it too."""
        yield from self.in_turns(super().send_response(already_streamed))
        response = self.flow.response
        uploading = self.client_state == self.state_stream_request_body
        if uploading and response is not None and response.status_code >= REFUSED_FROM:
            end = RequestProtocolError(self.stream_id, "refused", ErrorCode.KILL)
            yield SendHttp(end, self.context.server)
            self.client_state = self.state_refused
            self.server_state = self.state_errored
            self.flow.live = False
            yield self._to_client(ResponseEndOfMessage(self.stream_id))

    def _hold_client(self, *, held: bool) -> Commands:
        """Let a client of HTTP/2 send no more on this stream, or go on."""
        parent = self._parent()
        server = parent.connections.get(self.context.client) if parent is not None else None
        if isinstance(server, GateHttp2Server):
            told = server.hold(self.stream_id, held=held)
            if told and self.context.client.connected:
                yield commands.SendData(self.context.client, told)

    def _parent(self) -> HttpLayer | None:
        layers = self.context.layers
        parent = layers[layers.index(self) - 1]
        return parent if isinstance(parent, HttpLayer) else None

    def _waiting_bytes(self) -> int:
        """Return how much of bodies is kept for all streams of this connection."""
        parent = self._parent()
        streams = parent.streams if parent is not None else {}
        return sum(
            len(stream.request_body_buf) + len(stream.response_body_buf)
            for stream in streams.values()
        )

    def _known_size(self, request: bool) -> int | None:
        taken = len(self.request_body_buf if request else self.response_body_buf)
        if taken:
            return taken
        try:
            return expected_http_body_size(
                self.flow.request, None if request else self.flow.response
            )
        except ValueError:  # refused by its head
            return None

    def _withhold(self, code: str, reason: str) -> Commands:
        """Give the client an answer of ours in the place of the server's."""
        flow = self.flow
        end = RequestProtocolError(self.stream_id, "refused", ErrorCode.KILL)
        yield SendHttp(end, self.context.server)
        flow.response = safely(lambda: self._refusals.refusal(flow, "answer", code, reason))
        yield from self._replaced()

    def _replaced(self) -> Commands:
        self.response_body_buf.clear()
        if self.flow.response is not None:
            self.flow.response.timestamp_start = time.time()
        # What still comes of the server's answer finds no state that would take it.
        self.server_state = self.state_errored
        yield from self.send_response()
        self.server_state = self.state_errored

    def _handle_event(self, event: events.Event) -> Commands:
        if not isinstance(event, RefusedRequest):
            yield from super()._handle_event(event)
        elif self.client_state == self.state_consume_request_body:
            yield from self.refuse(event.problem.code, str(event.problem))
        elif self.client_state == self.state_stream_request_body:
            gone = RequestProtocolError(self.stream_id, str(event.problem), ErrorCode.CANCEL)
            yield from self.handle_protocol_error(gone)

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        """End an exchange that broke off, with an answer where one can still be given."""
        if isinstance(event, ResponseProtocolError) and self.server_state == self.state_errored:
            return  # the exchange has its answer, and the client may be at its next request
        if isinstance(event, ResponseProtocolError) and self._is_unanswered():
            flow = self.flow
            flow.response = safely(lambda: self._refusals.broken_off(flow, event.message))
            if self.client_state == self.state_done:
                yield from self._replaced()
            else:
                yield from self.answer_now(flow.response)
        else:
            yield from super().handle_protocol_error(event)
            # What came while the hook ran is queued, and would end the exchange a second time.
            self.client_state = self.server_state = self.state_errored

    def _is_unanswered(self) -> bool:
        sent = self.client_state in (self.state_done, self.state_stream_request_body)
        return sent and self.server_state in (
            self.state_wait_for_response_headers,
            self.state_consume_response_body,
        )

    def _to_client(self, event: HttpEvent) -> SendHttp:
        return SendHttp(event, self.context.client)


def _is_valid(message: http.Message) -> bool:
    try:
        validate_headers(message)
    except ValueError:
        return False
    return True
