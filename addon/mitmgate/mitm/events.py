"""Judges the bytes of one event stream as they come; knows nothing of mitmproxy's layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mitmproxy import http

from mitmgate.errors import WireError
from mitmgate.judge.channels import ENDS_STREAM
from mitmgate.judge.inputs import EventInput
from mitmgate.mitm.core import INLINE_BYTES, Core, Judged, Ruling
from mitmgate.mitm.lines import Line, LineDecoder
from mitmgate.mitm.streams import HeldEvent, StreamCutError, StreamEndedError
from mitmgate.wire.body import BodyDecoder
from mitmgate.wire.http import AnswerHead
from mitmgate.wire.sse import SseBlock, SseDecoder, drop_block, replace_data

MOST_DENIED = 1000  # events of one stream: each is a record, and some bytes are millions of events


@dataclass(frozen=True, slots=True)
class Token:
    """What a held event is settled with: its judgement and the block it stands in.

    ``judged`` is None where it was not judged yet: it is large.
    """

    given: EventInput
    judged: Judged | None
    block: SseBlock | Line


class StreamJudge:
    """The judge of one stream: clean events go on at once, byte for byte as they came.

    With *lines* it is one of JSON values, each a line, and each of them is an event.
    """

    def __init__(
        self,
        core: Core,
        flow: http.HTTPFlow,
        *,
        exchange: str,
        head: AnswerHead,
        lines: bool = False,
    ) -> None:
        limits = core.judge.limits
        self.bytes = 0
        self._core = core
        self._flow = flow
        self._exchange = exchange
        self._head = head
        self._number = self._denied = 0
        # A plain stream has no bound of its own; each event has. What is compressed needs one:
        # one chunk of it can be gigabytes. MCP servers are asked not to compress.
        encoding = head.get("content-encoding")
        self._body = BodyDecoder(encoding, limit=1 << 62 if encoding is None else limits.body)
        self._decoder = LineDecoder(limits.event) if lines else SseDecoder(limits.event)

    def feed(self, chunk: bytes) -> Iterator[bytes | HeldEvent]:
        """Take in *chunk*; yield the bytes that may go on, and the events that must wait.

        WireError: nothing after this can be read, so the stream has to end here.
        """
        self.bytes += len(chunk)
        for decoded in self._body.pieces(chunk):
            for block in self._decoder.feed(decoded):
                yield self._piece(block)

    def finish(self) -> Iterator[bytes | HeldEvent]:
        """Yield what is left at the end of the stream; of events no client reads a part."""
        if isinstance(self._decoder, LineDecoder):
            for line in self._decoder.finish():
                yield self._piece(line)

    async def settled(self, token: object, *, connection: str) -> bytes:
        """Return what goes on instead of a held event; what waits goes to *connection*.

        Raises what :meth:`feed` does, and StreamEndedError: the stream has to end here.
        """
        if not isinstance(token, Token):
            raise TypeError("not a token of this stream")
        judged = token.judged or await self._core.judged(token.given)
        if judged is None:
            return token.block.raw
        return self._apply(token.block, await self._core.settle(judged, connection=connection))

    def _piece(self, block: SseBlock | Line) -> bytes | HeldEvent:
        if block.data is None and not any(block.notes):
            return block.raw  # keep-alives, retry and priming events carry no message
        given = EventInput(
            exchange=self._exchange,
            number=self._number,
            event=block.event if block.data is not None else "",
            data=block.data or "",
            head=self._head,
            notes=block.notes,
        )
        if block.data is not None:
            self._number += 1
        if len(block.raw) > INLINE_BYTES:
            return HeldEvent(self._flow, Token(given, None, block))
        judged = self._core.judge_now(given)
        if judged is None:
            return block.raw
        if self._core.must_wait(judged):
            return HeldEvent(self._flow, Token(given, judged, block))
        return self._apply(block, self._core.rule_now(judged))

    def _apply(self, block: SseBlock | Line, ruling: Ruling) -> bytes:
        if ruling.released:
            return block.raw if ruling.text is None else _replaced(block, ruling.text, keep_id=True)
        if ruling.outcome.code in ENDS_STREAM:
            how = StreamCutError if isinstance(block, Line) else StreamEndedError
            raise how(ruling.outcome.code)
        self._denied += 1
        if self._denied > MOST_DENIED:
            raise WireError("too_many_denials", f"{MOST_DENIED} events of a stream were denied")
        if ruling.instead is None:
            return b"" if isinstance(block, Line) else drop_block(block)
        # Without an id: an error event with one makes a client reconnect and wait for ever.
        return _replaced(block, ruling.instead, keep_id=False)


def _replaced(block: SseBlock | Line, text: str, *, keep_id: bool) -> bytes:
    if isinstance(block, Line):
        return text.encode() + (b"\n" if block.raw.endswith(b"\n") else b"")
    return replace_data(block, text, keep_id=keep_id)
