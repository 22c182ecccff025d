"""Exchanges that mitmproxy would end in words of its own: they are answered in ours, and recorded.

Source for the order of hooks and events: ``mitmproxy.proxy.layers.http.HttpStream`` of 12.2.
"""

from __future__ import annotations

import time
from typing import Protocol

from mitmproxy import http
from mitmproxy.net.http.http1 import expected_http_body_size
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import (
    DropStream,
    HttpLayer,
    HTTPMode,
    HttpStream,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    RequestEndOfMessage,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpRequestHeadersHook, HttpResponseHook
from mitmproxy.utils import human

from mitmgate.judge.outcome import Kind
from mitmgate.mitm.guard import safely
from mitmgate.mitm.http1 import HeadKeeper, RefusedRequest

STREAMS_SHARE = 2  # times the limit of one body is kept of all that are open on a connection

type Commands = layer.CommandGenerator[None]


class RefusalKeeper(HeadKeeper, Protocol):
    """What the exchanges need of the gate to refuse."""

    def refusal(self, flow: http.HTTPFlow, kind: Kind, code: str, reason: str) -> http.Response:
        """Record that *flow* is refused; return the answer."""

    def broken_off(self, flow: http.HTTPFlow, error: str) -> http.Response:
        """Record that the server gave no whole answer to *flow*; return the answer."""


class RefusingStream(HttpStream):
    """One exchange, refused in our words wherever it is refused."""

    _refusals: RefusalKeeper

    def __init__(self, context: Context, stream_id: int, keeper: RefusalKeeper) -> None:
        super().__init__(context, stream_id)
        self._refusals = keeper

    def refuse(self, code: str, reason: str) -> Commands:
        """Answer at once, whatever of the request is still to come, and drop that."""
        flow = self.flow
        response = safely(lambda: self._refusals.refusal(flow, "request", code, reason))
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
        if self.flow.response is None or _is_valid(self.flow.response):
            return None
        return "malformed_answer", "a header name, or the length of the answer, is ambiguous"

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """Refuse a body beyond the limit as soon as that is known; tell whether it was."""
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
        if self.client_state == self.state_wait_for_request_headers:
            yield HttpRequestHeadersHook(self.flow)
        yield from self.refuse("body_too_large", reason)
        return True

    def _waiting_bytes(self) -> int:
        """Return how much of bodies is kept for all streams of this connection."""
        layers = self.context.layers
        parent = layers[layers.index(self) - 1]
        streams = parent.streams if isinstance(parent, HttpLayer) else {}
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

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> Commands:
        """End an exchange that broke off, with an answer where one can still be given."""
        if isinstance(event, ResponseProtocolError) and self._is_unanswered():
            flow = self.flow
            flow.response = safely(lambda: self._refusals.broken_off(flow, event.message))
            yield from self._replaced()
        else:
            yield from super().handle_protocol_error(event)
            # What came while the hook ran is queued, and would end the exchange a second time.
            self.client_state = self.server_state = self.state_errored

    def _is_unanswered(self) -> bool:
        return self.client_state == self.state_done and self.server_state in (
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
