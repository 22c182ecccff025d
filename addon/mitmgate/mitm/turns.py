"""Turns of the event loop: who has much to say does not keep the others waiting.

Streams of events share one slice of time for each turn of the loop, however many they are. Whoever
needs more waits for its turn, in the order of asking. Between two turns the loop looks at all
sockets again, so an ordinary call waits for a slice or two and not for a whole stream.
"""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

SLICE = 0.0005  # seconds of processor time; an event that needs more is a slice of its own


class Turns:
    """The turns of one loop; without one (outside a proxy) everybody may go on."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._left = SLICE
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._renewing = False

    @property
    def is_free(self) -> bool:
        """Whether there is time left in this turn, and nobody waits for the next."""
        return self._left > 0 and not self._waiting

    def spent(self, seconds: float) -> None:
        """Note that *seconds* of the loop's time were used."""
        self._left -= seconds
        if self._left <= 0:
            self._renew_soon()

    async def next(self) -> None:
        """Wait for a turn of one's own: SLICE seconds."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._renew_soon()
        try:
            await turn
        finally:
            if turn in self._waiting:  # cancelled
                self._waiting.remove(turn)

    def _renew_soon(self) -> None:
        if self._loop is None:
            self._left = SLICE
        elif not self._renewing:
            self._renewing = True
            self._loop.call_soon(self._renew)

    def _renew(self) -> None:
        self._renewing = False
        self._left = SLICE
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        if self._waiting:
            self._renew_soon()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


def turns() -> Turns:
    """Return the turns of the running loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Turns()
    found = _turns.get(loop)
    if found is None:
        found = _turns[loop] = Turns(loop)
    return found
