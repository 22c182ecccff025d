"""A client of HTTP/2 on asyncio streams: all its requests at once, each answer as it is whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
from raw_peers import Peer


class Http2:
    """One connection, on which the opening of TLS is done."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._frames = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="utf-8")
        )
        self._frames.initiate_connection()

    def ask(self, authority: str, path: str, body: bytes | None) -> int:
        """Queue a request; return the number of its stream."""
        number = self._frames.get_next_available_stream_id()
        method = "GET" if body is None else "POST"
        head = [
            (":method", method),
            (":scheme", "https"),
            (":path", path),
            (":authority", authority),
        ]
        if body is not None:
            media = "application/json" if path == "/mcp" else "text/plain"
            head += [("content-type", media), ("content-length", str(len(body))),
                     ("accept", "application/json, text/event-stream")]  # fmt: skip
        self._frames.send_headers(number, head, end_stream=body is None)
        if body is not None:
            self._frames.send_data(number, body, end_stream=True)
        return number

    async def answers(self, count: int) -> AsyncIterator[tuple[int, int, bytes]]:
        """Yield *count* answers: the number of the stream, the status, the body."""
        statuses: dict[int, int] = {}
        bodies: dict[int, bytes] = defaultdict(bytes)
        while count:
            await self._peer.send(self._frames.data_to_send())
            data = await self._peer.reader.read(65536)
            if not data:
                raise ConnectionError("the connection ended")
            for event in self._frames.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    fields = {str(name): str(value) for name, value in event.headers or []}
                    statuses[event.stream_id or 0] = int(fields[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    number = event.stream_id or 0
                    bodies[number] += event.data or b""
                    self._frames.acknowledge_received_data(
                        event.flow_controlled_length or 0, number
                    )
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    raise ConnectionError(repr(event))
                elif isinstance(event, h2.events.StreamEnded):
                    count -= 1
                    number = event.stream_id or 0
                    yield number, statuses[number], bodies[number]
