"""The gate's side of calls that wait longer than their clients do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mitmproxy import http

from mitmgate.errors import WireError
from mitmgate.judge.inputs import RequestInput
from mitmgate.mitm.bodies import Exchanges, line_of
from mitmgate.mitm.convert import clean_request, replace_body, to_http1
from mitmgate.mitm.core import INLINE_BYTES, Ruling
from mitmgate.mitm.early import Kept, as_event
from mitmgate.mitm.track import Track
from mitmgate.wire.body import decode_body, decode_text
from mitmgate.wire.http import RequestHead
from mitmgate.wire.inventory import Transport
from mitmgate.wire.jsonrpc import Request, parse_message

_OUTCOMES = 8  # of one request: a question about its server comes before its own


@dataclass(frozen=True, slots=True)
class Times:
    """How many seconds a call waits before its answer begins, and between two signs of life."""

    begin: float = 2.0
    every: float = 10.0


class Keeping(Exchanges):
    """Lets requests wait, and begins the answers of those that wait long."""

    times = Times()

    async def kept_turn(self, flow: http.HTTPFlow) -> None:
        """Wait for the ruling on a call whose answer has begun, but not for long."""
        track = self._tracks.get(flow.id)
        if track is None or track.kept is None:
            return  # it is over; the layer sees that no turn was counted
        kept = track.kept
        await asyncio.wait({kept.deciding}, timeout=self.times.every)
        kept.turns += 1
        if kept.deciding.done():
            self._ruled(flow, track, kept.given, kept.deciding.result())
            kept.ruled = True

    def kept_of(self, flow: http.HTTPFlow) -> Kept | None:
        """Return what is known of *flow* where its answer has to begin before it was decided."""
        track = self._tracks.get(flow.id)
        return None if track is None else track.kept

    async def _word(self, flow: http.HTTPFlow, kept: Kept) -> None:
        """Make the event that stands for the whole answer of *flow*."""
        response = flow.response
        if response is None:
            return
        if len(response.raw_content or b"") <= INLINE_BYTES:
            event = as_event(response, kept.request.id)
        else:
            event = await asyncio.to_thread(as_event, response, kept.request.id)
        kept.worded = response, event

    async def _rule(self, flow: http.HTTPFlow, track: Track, given: RequestInput) -> None:
        """Judge *given* and do what was decided; where that takes long, note only that it waits."""
        connection = line_of(flow)
        if not _takes_events(given.head):
            self._ruled(flow, track, given, await self._core.decide(given, connection=connection))
            return
        # It begins at once: what nobody is asked about is decided when this returns.
        loop, asked = asyncio.get_running_loop(), self._core.decide(given, connection=connection)
        deciding = asyncio.Task(asked, loop=loop, eager_start=True)
        try:
            while not deciding.done():
                await asyncio.wait({deciding}, timeout=self.times.begin)
                if not deciding.done() and self._waits_long(track.exchange):
                    request = await asyncio.to_thread(_request, given, self._core.judge.limits.body)
                    if request is None:
                        break  # it waits all the same
                    if not deciding.done():
                        track.kept = Kept(given, request, deciding)
                        return
            ruling = await deciding
        except asyncio.CancelledError:
            deciding.cancel()
            raise
        self._ruled(flow, track, given, ruling)

    def _waits_long(self, exchange: str) -> bool:
        """Tell whether what *exchange* waits for may take longer than clients wait."""
        state, usual = self._core.judge.memory.get(exchange), self._core.judge.policy.hold_wait
        if state is None or not state.mcp or state.transport is not Transport.STREAMABLE_HTTP:
            return False
        entries = (self._core.pending.get(f"{exchange}.{n}") for n in range(_OUTCOMES))
        return any(one is not None and one.deadline - one.since > usual + 0.1 for one in entries)

    def _ruled(
        self, flow: http.HTTPFlow, track: Track, given: RequestInput, ruling: Ruling | None
    ) -> None:
        """Let *flow* go on, or give it its denial."""
        if ruling is None or not (ruling.released or ruling.instead):
            self._deny(flow, track, ruling)
            return
        if not ruling.released:
            track.fate = "denied"  # what goes on is not what was sent
        text = ruling.text if ruling.released else ruling.instead
        if text is not None:
            replace_body(flow.request, text)
            for name, value in ruling.headers.items():
                flow.request.headers[name] = value
        if flow.request.is_http2:
            to_http1(flow.request)
        mcp = ruling.outcome.subject.channel == "mcp"
        clean_request(flow.request, mcp=mcp)
        track.released = True
        if not mcp:
            self._note(given, track)


def _takes_events(head: RequestHead) -> bool:
    accepted = (head.get("accept") or "").lower().split(",")
    kinds = {kind.partition(";")[0].strip(" \t") for kind in accepted}
    return head.method == "POST" and "text/event-stream" in kinds


def _request(given: RequestInput, limit: int) -> Request | None:
    """Return the request in *given*, which was read before; None: it cannot be answered early.

    The answer to ``initialize`` has headers that matter. Any thread.
    """
    head = given.head
    try:
        body = decode_body(given.body, head.get("content-encoding"), limit=limit)
        message = parse_message(decode_text(body, head.get("content-type")))
    except WireError:
        return None
    if not isinstance(message, Request) or message.method == "initialize":
        return None
    return message
