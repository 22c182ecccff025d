"""Exchanges of which something could not be kept: nothing more of them is, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mitmgate.record.capture import CaptureWriter, Sink

MOST: Final = 1_000


class LeftOut:
    """Exchanges with a hole. At most *most* are known by their ids, ``RUN-HEX`` as they began.

    Beyond that all that began by then count (``flooded``): too much is left out, never too little.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._cut: dict[str, bool] = {}
        self._newest = 0
        self._until: int | None = None
        self.flooded = False
        """All that are open are still to be cut, before anything else is written."""

    def __contains__(self, exchange: str) -> bool:
        return exchange in self._cut or self.is_flooded(exchange)

    def is_flooded(self, exchange: str) -> bool:
        """Tell whether *exchange* is left out for when it began."""
        return self._until is not None and number_of(exchange) <= self._until

    def saw(self, exchange: str) -> None:
        """Note that *exchange* has begun."""
        self._newest = max(self._newest, number_of(exchange))

    def add(self, exchange: str) -> None:
        """Leave out what comes of *exchange*."""
        if self.flooded or len(self._cut) >= self._most:
            self._cut.clear()
            self._until, self.flooded = self._newest, True
        else:
            self._cut[exchange] = False

    def is_cut(self, exchange: str) -> bool:
        """Tell whether the capture says of *exchange* that it has a hole."""
        return self._cut.get(exchange, True)

    def was_cut(self, exchange: str) -> None:
        """Note that the capture says so."""
        if exchange in self._cut:
            self._cut[exchange] = True

    def ended(self, exchange: str) -> None:
        """Forget *exchange*: nothing more comes of it."""
        self._cut.pop(exchange, None)


def number_of(exchange: str) -> int:
    """Return the number in the id of *exchange*, 0 for one without."""
    digits = exchange.rpartition("-")[2]
    try:
        return int(digits, 16) if len(digits) < 16 else 0
    except ValueError:
        return 0


@dataclass(frozen=True, slots=True)
class Writes[T]:
    """What is written of an input, at seconds since the start of the capture.

    ``cut`` says that its exchange has a hole, ``cut_end`` too, and ends it; ``cut_all`` says so of
    every exchange that is open.
    """

    whole: Callable[[Sink, T, float], None]
    cut: Callable[[Sink, T, float], None]
    cut_end: Callable[[Sink, T, float], None]
    cut_all: Callable[[Sink, T, float], None]


class Intake[T]:
    """Takes inputs for a capture that leaves out what does not fit, each exchange up to its hole.

    *spare* percent of the writer's queue are left to what is not an input. ``dropped`` counts the
    inputs that were left out.
    """

    def __init__(self, writer: CaptureWriter, writes: Writes[T], *, spare: int) -> None:
        self._offer = writer.offer
        self._writes = writes
        self._spare = spare
        self._left_out = LeftOut()
        self.dropped = 0

    def __contains__(self, exchange: str) -> bool:
        return exchange in self._left_out

    def take(self, given: T, exchange: str, at: float, *, size: int, ends: bool) -> None:
        """Keep *given* of about *size* bytes, which *ends* its exchange or does not, if it fits."""
        left, writes = self._left_out, self._writes
        left.saw(exchange)
        if left.flooded:  # nothing is kept before all that may have a hole is cut
            left.flooded = not self._offer(lambda sink: writes.cut_all(sink, given, at))
        if not left.flooded and exchange in left:
            self._leave_out(given, exchange, at, ends=ends)
        elif left.flooded or not self._offer(
            lambda sink: writes.whole(sink, given, at), size=size, spare=self._spare
        ):
            left.add(exchange)
            self.dropped += 1

    def _leave_out(self, given: T, exchange: str, at: float, *, ends: bool) -> None:
        left, writes = self._left_out, self._writes
        self.dropped += not ends
        if left.is_flooded(exchange):
            return
        if ends:
            if self._offer(lambda sink: writes.cut_end(sink, given, at)):
                left.ended(exchange)
        elif not left.is_cut(exchange) and self._offer(lambda sink: writes.cut(sink, given, at)):
            left.was_cut(exchange)
