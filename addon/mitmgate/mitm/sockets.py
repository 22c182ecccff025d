"""WebSockets that speak MCP: each message judged, what is incomplete kept within a bound."""

from __future__ import annotations

from typing import Protocol

from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.websocket import WebsocketEndHook, WebsocketLayer

from mitmgate.judge.inputs import MessageInput
from mitmgate.mitm.core import Core

PENDING_BYTES = 8 * 1024 * 1024  # of a message whose last fragment has not come


class SocketKeeper(Protocol):
    """What the layer needs of the gate."""

    def message_too_large(self, flow: HTTPFlow) -> None:
        """Record that the WebSocket of *flow* ends at a message beyond the bound."""


class GateWebsocketLayer(WebsocketLayer):
    """mitmproxy's layer, but a message without end does not fill the memory."""

    def __init__(self, context: Context, flow: HTTPFlow, keeper: SocketKeeper) -> None:
        super().__init__(context, flow)
        self._keeper = keeper
        self._pending = {True: 0, False: 0}

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Relay what *event* brings; end the connection where a message grows too long."""
        if not isinstance(event, events.DataReceived):
            yield from super().relay_messages(event)
            return
        from_client = event.connection == self.context.client
        self._pending[from_client] += len(event.data)
        if self._pending[from_client] > PENDING_BYTES:
            self._keeper.message_too_large(self.flow)
            yield commands.CloseConnection(self.context.client)
            yield commands.CloseConnection(self.context.server)
            yield WebsocketEndHook(self.flow)
            self.flow.live = False
            self._handle_event = self.done
            return
        yield from super().relay_messages(event)
        if (self.client_ws if from_client else self.server_ws).frame_buf == [b""]:
            self._pending[from_client] = 0


class SocketJudge:
    """The judge of one WebSocket. Nothing waits on it: where the policy asks, it denies.

    ``bytes`` counts what came from the server.
    """

    def __init__(self, core: Core, *, exchange: str) -> None:
        self.bytes = 0
        self._core = core
        self._exchange = exchange
        self._number = 0

    def judge(self, content: bytes, *, is_text: bool, from_client: bool) -> bytes | None:
        """Return what goes on in the place of a message, None: nothing does."""
        if not from_client:
            self.bytes += len(content)
        data = _text(content) if is_text else content
        given = MessageInput(self._exchange, self._number, from_client, data)
        self._number += 1
        judged = self._core.judge_now(given)
        if judged is None:
            return None
        ruling = self._core.rule_now(judged)
        text = ruling.text if ruling.released else ruling.instead
        if text is not None:
            return text.encode()
        return content if ruling.released else None


def _text(content: bytes) -> str | bytes:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content
