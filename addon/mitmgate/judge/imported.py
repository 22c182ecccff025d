"""Exchanges that something else recorded, as inputs with their times, and as lines of a capture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.judge.bodies import incomplete_body
from mitmgate.judge.codec import encode_input, incomplete_input
from mitmgate.judge.inputs import AnswerInput, EndInput, EventInput, Input
from mitmgate.record.lines import encode_line
from mitmgate.record.redact import Redactor
from mitmgate.wire.body import BodyDecoder
from mitmgate.wire.http import AnswerHead
from mitmgate.wire.sse import SseDecoder

MISSING = "missing"
type Span = tuple[float, float]
"""When something began and ended, in seconds since the epoch."""

_LARGEST = 64 * 1024 * 1024  # bytes of an event stream, decoded


@dataclass(frozen=True, slots=True)
class Timed:
    """An input that was concluded at ``at``, in seconds since the epoch.

    ``missing`` is None where its body is there; else its length, 0 where that is not known.
    """

    at: float
    given: Input
    missing: int | None = None


def answered(
    exchange: str, head: AnswerHead, body: bytes | None, *, size: int = 0, times: Span
) -> list[Timed]:
    """Return an answer as inputs: each event of a stream is one.

    *body* is as on the wire, None where it was not kept: it had *size* bytes. Nobody wrote down
    when events came: the first, which may open a session, came when the answer began, the others
    when it ended; *times* are both.
    """
    began, ended = times
    if body is None:
        return [Timed(ended, AnswerInput(exchange, head), size)]
    if head.media_type != "text/event-stream":
        return [Timed(ended, AnswerInput(exchange, head, body))]
    try:
        events = list(_events(exchange, head, body))
    except WireError:
        return [Timed(ended, AnswerInput(exchange, head), len(body))]
    return [Timed(ended if n else began, given) for n, given in enumerate(events)]


def _events(exchange: str, head: AnswerHead, body: bytes) -> Iterator[EventInput]:
    plain = BodyDecoder(head.get("content-encoding"), limit=_LARGEST).feed(body)
    number = 0
    for block in SseDecoder().feed(plain):
        if block.data is None and not any(block.notes):
            continue
        event = block.event if block.data is not None else ""
        yield EventInput(exchange, number, event, block.data or "", head, block.notes)
        number += block.data is not None


class Lines:
    """Makes the lines of a capture of inputs, with placeholders for their secrets.

    Exchanges are numbered in the order in which they come, from 1. Times never run backwards.
    """

    def __init__(self, redactor: Redactor, *, started: float) -> None:
        self.exchanges = 0
        self.missing = 0
        self._redactor = redactor
        self._started = started
        self._last = started
        self._open: dict[str, list[int]] = {}

    def line(self, timed: Timed) -> dict[str, Any]:
        """Return the line of the next input."""
        given = timed.given
        if given.exchange not in self._open:
            self.exchanges += 1
            self._open[given.exchange] = [self.exchanges, -1]
        place = self._open[given.exchange]
        place[1] += 1
        if isinstance(given, EndInput):
            del self._open[given.exchange]
        self._last = max(self._last, timed.at)
        at = self._last - self._started
        return self._encoded(timed, {"exchange": place[0], "message": place[1], "at": at})

    def _encoded(self, timed: Timed, place: dict[str, Any]) -> dict[str, Any]:
        try:
            record = {**encode_input(timed.given, self._redactor), **place}
            if timed.missing is not None:
                self.missing += 1
                record["body"] = incomplete_body(timed.missing, MISSING)
            if self._redactor.clean(encode_line(record).decode()):
                return record
        except Exception:  # noqa: BLE001, S110  one input that defeats us is stored as not kept
            pass
        return {**incomplete_input(timed.given), **place}
