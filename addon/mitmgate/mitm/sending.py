"""Large bodies go on in pieces: as fast as they are taken, and with a turn for others in between.

mitmproxy sends a body whole: TLS would take in all of it, and the buffer of the socket that again.
"""

from __future__ import annotations

from typing import Any

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import HttpEvent, RequestData, ResponseData

from mitmgate.mitm.largebody import LargeBodyHook, Turn

PIECE = 64 * 1024
TURN_BYTES = 4 * PIECE  # of a body that are sent before others have their turn

type Steps = layer.CommandGenerator[Any]


class SendingStream(HttpStream):
    """One exchange, whose large bodies are sent in pieces."""

    def in_turns(self, steps: Steps) -> Steps:
        """Run *steps*; a large body that they send goes on in pieces."""
        reply = None
        while True:
            try:
                command = steps.send(reply)
            except StopIteration:
                return
            reply = None
            if isinstance(command, SendHttp) and _is_large(command.event):
                yield from self._in_pieces(command)
            else:
                reply = yield command

    def _in_pieces(self, command: SendHttp) -> Steps:
        whole, receiver = command.event, command.connection
        if not isinstance(whole, RequestData | ResponseData):
            raise TypeError("not a body")
        for at in range(0, len(whole.data), PIECE):
            yield from self.turn(at, receiver)
            if not receiver.state & ConnectionState.CAN_WRITE:
                return  # it has gone, and what comes next tells of that
            part = type(whole)(self.stream_id, whole.data[at : at + PIECE])
            yield SendHttp(part, receiver)

    def turn(self, at: int, receiver: Connection) -> Steps:
        """Wait before the byte *at* of a body where that is the end of a turn."""
        if at and at % TURN_BYTES == 0:
            yield LargeBodyHook(Turn(self.flow, to_client=receiver is self.context.client))


def _is_large(event: HttpEvent) -> bool:
    return isinstance(event, RequestData | ResponseData) and len(event.data) > PIECE
