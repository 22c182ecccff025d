"""Exchanges in flight: what is known of them, and how far their bodies are read."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.net.http.http1 import expected_http_body_size

from mitmgate.judge.handling import may_answer_unread, read_until
from mitmgate.judge.inputs import AnswerInput, RequestInput
from mitmgate.judge.outcome import Kind
from mitmgate.judge.replies import Reply
from mitmgate.mitm.convert import (
    answer_head,
    clean_request,
    pass_on,
    request_input,
    response_from,
    unchunk,
)
from mitmgate.mitm.core import Core, Ruling
from mitmgate.mitm.dialling import Dialling
from mitmgate.mitm.flowing import taken
from mitmgate.mitm.largebody import LargeBody, Turn
from mitmgate.mitm.track import Counter, Track
from mitmgate.mitm.tunnels import Tunnels
from mitmgate.mitm.turns import turns
from mitmgate.wire.http import AnswerHead

_TEXT = ("text/", "application/json", "application/xml", "application/javascript")


class Exchanges:
    """The exchanges in flight, how far their bodies are read, and what is said of the rest."""

    _core: Core
    _tunnels: Tunnels
    _dialling: Dialling
    _tracks: dict[str, Track]

    def reads_until(self, flow: http.HTTPFlow, start: bytes, size: int) -> int | None:
        """Return after how many bytes of the body of *flow* to ask again; None: judge it now."""
        judge, given = self._core.judge, self._unread(flow, start, size)
        shadow = judge.mode == "shadow"
        return read_until(judge.policy, judge.limits, given, shadow=shadow, now=time.time())

    async def large_body(self, body: LargeBody | Turn) -> None:
        """Judge *body* by what is seen of it; ``body.passes`` says that the rest may pass.

        What is judged already waits for its next turn.
        """
        if isinstance(body, Turn):
            await taken(body)
            await self._core.caught_up()
            await turns().next()
            return
        flow, track = body.flow, self._track(body.flow)
        if body.answer:
            body.passes = await self._passes_answer(flow, track, body.size)
            return
        given = self._unread(flow, body.start, body.size)
        ruling = await self._core.decide(given, connection=line_of(flow))
        if ruling is None or not ruling.released:
            self._deny(flow, track, ruling)
            return
        if ruling.text is not None:
            told = "what had to be changed is in a body that is not read to its end"
            self._deny(flow, track, self._fail(flow, track, "request", "cannot_edit", told))
            return
        pass_on(flow.request)
        clean_request(flow.request, mcp=False)
        self._note(given, track)
        flow.request.stream = track.upload = Counter()
        body.passes = track.released = True

    def _note(self, given: RequestInput, track: Track) -> None:
        """Note that *given*, which is not MCP, goes on, and whether answers may pass unread."""
        track.plain = True
        track.unread = may_answer_unread(self._core.judge.policy, given, now=time.time())

    async def _passes_at_once(self, flow: http.HTTPFlow, track: Track) -> bool:
        """Tell whether the answer of *flow*, of which the head has come, passes unread.

        One that has no length and is no text may be without end, and nobody reads in it.
        """
        response = flow.response
        if response is None or not track.unread:
            return False
        size = expected_http_body_size(flow.request, response)
        if size is None or size < 0:
            size = 0
            passes = not _is_text(answer_head(response))
        else:
            passes = size > self._core.judge.limits.body
        return passes and await self._passes_answer(flow, track, size)

    async def _passes_answer(self, flow: http.HTTPFlow, track: Track, size: int) -> bool:
        """Judge the head of the answer of *flow*; tell whether its body passes unread."""
        response = flow.response
        if response is None:
            return False
        given = AnswerInput(track.exchange, answer_head(response), unread=size)
        ruling = await self._core.decide(given, connection=line_of(flow))
        if ruling is None or not ruling.released:
            self._deny(flow, track, ruling)
            track.refused = True
            return False
        if flow.request.http_version == "HTTP/1.0":
            unchunk(response)
        track.download = Counter()
        response.stream = track.download
        return True

    def unread_answer(self, flow: http.HTTPFlow) -> int | None:
        """Return beyond how many bytes the answer of *flow* passes unread, None: it does not."""
        track = self._tracks.get(flow.id)
        return self._core.judge.limits.body if track is not None and track.unread else None

    def pause_client(self, flow: http.HTTPFlow, *, paused: bool) -> None:
        """Stop reading from the client of *flow*, or go on."""
        master = getattr(ctx, "master", None)
        server = master.addons.get("proxyserver") if master is not None else None
        handler = server.connections.get(flow.client_conn.id) if server is not None else None
        handles = handler.transports.get(flow.client_conn) if handler is not None else None
        transport: Any = getattr(handles.writer, "transport", None) if handles is not None else None
        if transport is not None and not transport.is_closing():
            (transport.pause_reading if paused else transport.resume_reading)()

    def _unread(self, flow: http.HTTPFlow, start: bytes, size: int) -> RequestInput:
        connect, shown = self._tunnels.of(flow.client_conn)
        exchange = self._track(flow).exchange
        given = request_input(flow, exchange=exchange, connect=connect, shown=shown)
        return replace(given, body=start, unread=size)

    def _fail(self, flow: http.HTTPFlow, track: Track, kind: Kind, *problem: str) -> Ruling:
        subject = self._tunnels.subject_of(flow, mcp=problem[0] == "body_too_large")
        return self._core.fail(track.exchange, kind, *problem, subject=subject)

    def _track(self, flow: http.HTTPFlow) -> Track:
        track = self._tracks.get(flow.id)
        if track is None:
            track = self._tracks[flow.id] = Track(self._core.next_exchange())
        return track

    def _deny(self, flow: http.HTTPFlow, track: Track, ruling: Ruling | None) -> None:
        if ruling is None:
            raise RuntimeError("a request or an answer was not ruled on")
        track.released = False
        track.fate = "denied"
        flow.response = response_from(reply_of(ruling))
        if flow.request.method.upper() == "HEAD":
            flow.response.data.content = b""  # its length is told all the same (RFC 9110, 9.3.2)

    def _finish(self, flow: http.HTTPFlow) -> None:
        track = self._tracks.pop(flow.id, None)
        if track is None:
            return
        if track.kept is not None and not track.kept.deciding.done():
            self._core.client_left(line_of(flow))
        self._dialling.forget(track.exchange)
        self._core.complete(track.completion(flow))
        self._core.end(track.exchange)


def line_of(flow: http.HTTPFlow) -> str:
    """Return what a waiting answer goes to: the connection, of HTTP/2 one stream."""
    return flow.id if flow.client_conn.alpn == b"h2" else flow.client_conn.id


def reply_of(ruling: Ruling) -> Reply:
    """Return the answer of a denial."""
    if ruling.reply is None:
        raise RuntimeError("a denial without a reply")
    return ruling.reply


def _is_text(head: AnswerHead) -> bool:
    media = head.media_type
    return not media or media.startswith(_TEXT) or media.endswith(("+json", "+xml"))
