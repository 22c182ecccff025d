"""Answers that begin before their call was decided, so that the client goes on waiting.

A call that waits longer than its client does gets 200 and a stream of events at once: signs of
life while a person decides, and then what the answer would have been, as an event (MCP 2025-11-25,
basic/transports, "Sending messages to the server"). Source for the order of hooks and events:
``mitmproxy.proxy.layers.http.HttpStream`` of 12.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import SendHttp
from mitmproxy.proxy.layers.http._events import (
    HttpEvent,
    RequestEndOfMessage,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import HttpRequestHook

from mitmgate.errors import WireError
from mitmgate.judge.inputs import RequestInput
from mitmgate.mitm.core import Ruling
from mitmgate.mitm.guard import failure_response
from mitmgate.mitm.refusing import RefusalKeeper, RefusingStream
from mitmgate.mitm.sending import PIECE
from mitmgate.wire.body import decode_body, decode_text
from mitmgate.wire.denial import error_message
from mitmgate.wire.jsonrpc import Failure, Request, RequestId, Result, parse_message
from mitmgate.wire.strictjson import encode_json

type Steps = layer.CommandGenerator[Any]

NO_ANSWER = -31000  # as in the denials of requests
SIGN = b": waits for approval\n\n"
STEP = 1e-6  # of the progress that is told: the tool's own begins at about nothing
_READ_AT_MOST = 32 * 1024  # of an answer: what is larger is taken for a message by its first sign
_UNPACKED_AT_MOST = 64 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Kept:
    """A call whose answer has begun. ``ruled`` says that ``deciding`` has come to its end.

    ``turns`` counts how often it was looked at since; ``worded`` is an answer to it, and the event
    that stands for it.
    """

    given: RequestInput
    request: Request
    deciding: asyncio.Task[Ruling | None]
    turns: int = 0
    ruled: bool = False
    worded: tuple[http.Response, bytes] | None = None

    def sign(self) -> bytes:
        """Return what tells the client that its call waits: a comment, and progress if it asked."""
        params = self.request.params or {}
        meta = params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        if not isinstance(token, str | int) or isinstance(token, bool):
            return SIGN
        told = {"progressToken": token, "progress": STEP * self.turns,
                "message": "Waits for a person's approval."}  # fmt: skip
        note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": told}
        return SIGN + _event(encode_json(note))


@dataclass
class KeptTurnHook(commands.StartHook):
    """A call whose answer has begun still waits. The hook comes back soon, decided or not."""

    name = "kept_turn"
    flow: http.HTTPFlow


class EarlyKeeper(RefusalKeeper, Protocol):
    """What the exchanges need of the gate to begin an answer early."""

    def kept_of(self, flow: http.HTTPFlow) -> Kept | None:
        """Return what is known of *flow* where its answer has to begin before it was decided."""


class EarlyStream(RefusingStream):
    """One exchange, whose answer may begin before its request was decided."""

    _kept: Kept | None = None
    _instead: http.Response | None = None  # an answer that goes on as an event
    _started = False

    def __init__(self, context: Context, stream_id: int, keeper: EarlyKeeper) -> None:
        super().__init__(context, stream_id, keeper)
        self._early = keeper

    def _handle_event(self, event: events.Event) -> Steps:
        steps = super()._handle_event(event)
        return steps if self._kept is None else self._run(steps)

    def state_consume_request_body(self, event: events.Event) -> Steps:
        """Take in the body of a request; at its end it is judged, and may have to wait long."""
        steps: Steps = super().state_consume_request_body(event)
        if not isinstance(event, RequestEndOfMessage):
            return steps
        large = len(self.request_body_buf) > PIECE
        return self._run(self.in_turns(steps) if large else steps)

    def _run(self, steps: Steps) -> Steps:
        """Run *steps*; what they send to a client that was kept goes onto its stream."""
        reply = None
        while True:
            try:
                command = steps.send(reply)
            except StopIteration:
                return
            reply = None
            if (
                self._kept is not None
                and isinstance(command, SendHttp)
                and command.connection is self.context.client
            ):
                for part in self._onto_stream(command.event):
                    yield self._to_client(part)
                continue
            reply = yield command
            if isinstance(command, HttpRequestHook):
                self._kept = self._early.kept_of(self.flow)
                if self._kept is not None and (yield from self._keep(self._kept)):
                    steps.close()
                    return

    def _keep(self, kept: Kept) -> layer.CommandGenerator[bool]:
        """Keep the client waiting until *kept* is decided; tell whether the exchange is over."""
        yield self._to_client(ResponseHeaders(self.stream_id, _head(self.flow.request)))
        while not kept.ruled:
            turn = kept.turns
            yield self._to_client(ResponseData(self.stream_id, kept.sign()))
            yield KeptTurnHook(self.flow)
            if (yield from self.check_killed(True)):
                return True
            if self.flow.response is not None or kept.turns == turn:
                break  # decided, or the hook failed
        if not kept.ruled and self.flow.response is None:
            self.flow.response = failure_response()
        return False

    def _onto_stream(self, event: HttpEvent) -> Iterator[HttpEvent]:
        """Give what stands for *event* on a stream that has begun."""
        if isinstance(event, ResponseHeaders):
            self._instead = None if _is_streamed(event.response) else event.response
        elif isinstance(event, ResponseData):
            if self._instead is None and event.data:
                # A byte order mark stands at the beginning of a stream, and nowhere else.
                data = event.data if self._started else event.data.removeprefix(_MARK)
                self._started = True
                yield ResponseData(self.stream_id, data)
        elif not isinstance(event, ResponseTrailers):
            if isinstance(event, ResponseEndOfMessage) and self._instead is not None:
                yield ResponseData(self.stream_id, self._worded(self._instead))
            yield event

    def _worded(self, response: http.Response) -> bytes:
        if self._kept is None:
            raise ValueError("no call was kept")
        worded = self._kept.worded
        if worded is not None and worded[0] is response:
            return worded[1]
        return as_event(response, self._kept.request.id)


def as_event(response: http.Response, request_id: RequestId) -> bytes:
    """Return the event that stands for *response*, a whole answer to the request of that id."""
    text = _text(response)
    if text is not None and _answers(text, request_id):
        return _event(text)
    try:
        phrase = f" ({HTTPStatus(response.status_code).phrase})"
    except ValueError:
        phrase = ""
    told = f"The server answered with HTTP {response.status_code}{phrase} and no result."
    return _event(encode_json(error_message(request_id, NO_ANSWER, told)))


def _text(response: http.Response) -> str | None:
    body, kind = response.raw_content or b"", response.headers.get("content-type")
    try:
        coding = response.headers.get("content-encoding")
        return decode_text(decode_body(body, coding, limit=_UNPACKED_AT_MOST), kind)
    except WireError:
        return None


def _answers(text: str, request_id: RequestId) -> bool:
    if len(text) > _READ_AT_MOST:
        return text.lstrip().startswith("{")
    try:
        message = parse_message(text)
    except WireError:
        return False
    if not isinstance(message, Result | Failure):
        return False
    return type(message.id) is type(request_id) and message.id == request_id


def _is_streamed(response: http.Response) -> bool:
    kind = str(response.headers.get("content-type", "")).partition(";")[0]
    return bool(response.stream) and kind.strip().lower() == "text/event-stream"


def _head(request: http.Request) -> http.Response:
    """Return the head of the stream that begins, in the version that its client speaks."""
    fields = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    if request.http_version == "HTTP/1.0":
        fields.append((b"connection", b"close"))
    elif not request.is_http2:
        fields.append((b"transfer-encoding", b"chunked"))
    version = request.data.http_version
    return http.Response(version, 200, b"OK", http.Headers(fields), b"", None, 0.0, None)


def _event(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ("event: message\n" + "".join(f"data: {line}\n" for line in lines) + "\n").encode()
