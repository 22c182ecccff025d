"""WebSockets: each message judged, what is incomplete kept within a bound, no other way through.

Pings and the reasons of a close hold what nobody judges: their payload stays here.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from mitmproxy import websocket
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import (
    WebsocketConnection,
    WebsocketEndHook,
    WebsocketLayer,
    WebsocketMessageHook,
)
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage
from wsproto.frame_protocol import Opcode

from mitmgate.judge.inputs import MessageInput
from mitmgate.judge.outcome import Outcome
from mitmgate.mitm.core import Core

PENDING_BYTES = 8 * 1024 * 1024  # of a message whose last fragment has not come
_MOST_FRAGMENTS = 10_000  # of one message
_MOST_PINGS = 16  # that wait for their answer
_OPEN = frozenset({ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING})
# RFC 6455 section 7.4.1; what is not here is 1008, a policy violation.
_CLOSE_CODES = {"binary_refused": 1003, "request_too_large": 1009}
_POLICY_VIOLATION = 1008


class SocketKeeper(Protocol):
    """What the layer needs of the gate."""

    def message_too_large(self, flow: HTTPFlow) -> None:
        """Record that the WebSocket of *flow* ends at a message beyond the bound."""


@dataclass(frozen=True, slots=True)
class Closing:
    """Why a WebSocket is closed: a status of RFC 6455 section 7.4, and our stable word."""

    status: int
    code: str


class Content(bytes):
    """The bytes of a message; its judge leaves here that the WebSocket ends with it."""

    closing: Closing | None = None
    judged = False


class _Pings:
    """The pings of one side that wait for the other: their payload, by that of ours."""

    def __init__(self) -> None:
        self._sent = 0
        self._waiting: OrderedDict[bytes, bytes] = OrderedDict()

    def of(self, ping: Ping) -> Ping:
        """Return what goes on for *ping*: the same question with a number of ours."""
        self._sent += 1
        number = b"%d" % self._sent
        self._waiting[number] = bytes(ping.payload)
        if len(self._waiting) > _MOST_PINGS:
            self._waiting.popitem(last=False)
        return Ping(number)

    def answered(self, pong: Pong) -> Pong:
        """Return what goes back for *pong*, an empty one where it answers nothing."""
        number = bytes(pong.payload)
        if number not in self._waiting:
            return Pong(b"")
        while True:  # an answer stands for all that were asked before it
            earlier, payload = self._waiting.popitem(last=False)
            if earlier == number:
                return Pong(payload)


class GateWebsocketLayer(WebsocketLayer):
    """mitmproxy's layer, but nothing passes that is no judged message."""

    def __init__(self, context: Context, flow: HTTPFlow, keeper: SocketKeeper) -> None:
        super().__init__(context, flow)
        self._keeper = keeper
        self._pending = {True: 0, False: 0}
        self._fragments = {True: 0, False: 0}
        self._ended = False
        self._pings = {True: _Pings(), False: _Pings()}

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Relay what *event* brings; end the connection where a message grows too long."""
        if not isinstance(event, events.DataReceived | events.ConnectionClosed):
            yield from super().relay_messages(event)  # what an operator injects
            return
        from_client = event.connection == self.context.client
        source = self.client_ws if from_client else self.server_ws
        if isinstance(event, events.DataReceived):
            self._pending[from_client] += len(event.data)
            if self._pending[from_client] > PENDING_BYTES:
                self._keeper.message_too_large(self.flow)
                yield from self._end(None)
                return
        source.receive_data(event.data if isinstance(event, events.DataReceived) else None)
        for found in source.events():
            yield from self._relay(found, from_client)
            if self._ended:
                return
        if source.frame_buf == [b""]:
            self._pending[from_client] = 0

    def _relay(self, found: Event, from_client: bool) -> layer.CommandGenerator[None]:
        ends = (self.client_ws, self.server_ws)
        source, other = ends if from_client else ends[::-1]
        match found:
            case TextMessage() | BytesMessage():
                yield from self._message(found, source, other)
            case Ping():
                yield other.send2(self._pings[from_client].of(found))
            case Pong():
                yield other.send2(self._pings[not from_client].answered(found))
            case CloseConnection():
                yield from self._closed(found, from_client)
            case _:
                raise AssertionError(f"no event of a WebSocket: {type(found).__name__}")

    def _message(
        self, found: TextMessage | BytesMessage, source: WebsocketConnection,
        other: WebsocketConnection,
    ) -> layer.CommandGenerator[None]:  # fmt: skip
        is_text = isinstance(found.data, str)
        from_client = source is self.client_ws
        data = found.data.encode() if isinstance(found.data, str) else bytes(found.data)
        source.frame_buf.append(data)
        if not found.message_finished:
            self._fragments[from_client] += found.frame_finished
            if self._fragments[from_client] > _MOST_FRAGMENTS:
                self._keeper.message_too_large(self.flow)
                yield from self._end(None)
            return
        content = Content(b"".join(source.frame_buf))
        source.frame_buf, self._fragments[from_client] = [b""], 0
        kind = Opcode.TEXT if is_text else Opcode.BINARY
        message = websocket.WebSocketMessage(kind, from_client, content)
        if self.flow.websocket is None:
            raise ValueError("the flow is no WebSocket")
        self.flow.websocket.messages.append(message)
        yield WebsocketMessageHook(self.flow)
        if content.closing is not None:
            yield from self._end(content.closing)
        elif content.judged and not message.dropped:
            whole = message.content  # in one frame: a cut could split a letter
            yield other.send2(TextMessage(whole.decode()) if is_text else BytesMessage(whole))

    def _closed(self, found: CloseConnection, from_client: bool) -> layer.CommandGenerator[None]:
        if self.flow.websocket is not None:
            self.flow.websocket.timestamp_end = time.time()
            self.flow.websocket.closed_by_client = from_client
            self.flow.websocket.close_code = found.code
        told = CloseConnection(found.code)
        yield from self._send_close(told, told)

    def _end(self, closing: Closing | None) -> layer.CommandGenerator[None]:
        """End both connections; the client reads why."""
        if closing is None:
            yield from self._hang_up()
            return
        told = CloseConnection(closing.status, f"mitmgate: {closing.code}")
        yield from self._send_close(told, CloseConnection(closing.status))

    def _send_close(
        self, to_client: CloseConnection, to_server: CloseConnection
    ) -> layer.CommandGenerator[None]:
        for end, told in ((self.server_ws, to_server), (self.client_ws, to_client)):
            if end.state in _OPEN:
                yield end.send2(told)
        yield from self._hang_up()

    def _hang_up(self) -> layer.CommandGenerator[None]:
        yield commands.CloseConnection(self.context.client)
        yield commands.CloseConnection(self.context.server)
        self._ended = True
        yield WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done


class SocketJudge:
    """The judge of one WebSocket. Nothing waits on it: where the policy asks, it denies.

    ``bytes`` counts what came from the server.
    """

    def __init__(self, core: Core, *, exchange: str) -> None:
        self.bytes = 0
        self._core = core
        self._exchange = exchange
        self._number = 0

    async def judge(self, content: bytes, *, is_text: bool, from_client: bool) -> bytes | None:
        """Return what goes on in the place of a message, None: nothing does.

        Where the WebSocket is not MCP, a denial ends it.
        """
        if not from_client:
            self.bytes += len(content)
        data = _text(content) if is_text else bytes(content)
        given = MessageInput(self._exchange, self._number, from_client, data)
        self._number += 1
        judged = await self._core.judged(given)
        if judged is None:
            return None
        ruling = self._core.rule_now(judged)
        if isinstance(content, Content):
            content.judged = True
        text = ruling.text if ruling.released else ruling.instead
        if text is not None:
            return text.encode()
        if ruling.released:
            return content
        if isinstance(content, Content):
            content.closing = _closing(ruling.outcome)
        return None


def _closing(outcome: Outcome) -> Closing | None:
    """Return how a WebSocket ends at the denial *outcome*; None: MCP, which goes on."""
    if outcome.subject.channel == "mcp" and outcome.subject.protocol is None:
        return None
    return Closing(_CLOSE_CODES.get(outcome.code, _POLICY_VIOLATION), outcome.code)


def _text(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return bytes(content)
