"""The hold queue on the event loop: futures, the one timer, and who let a call go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mitmgate.hold.queue import Ask, Held, HoldQueue
from mitmgate.hold.target import On
from mitmgate.judge.outcome import Answer, Lasting, Via

_LEAST_AGAIN = 1.0  # seconds for a call that waited before, and is asked about again


@dataclass(frozen=True, slots=True)
class Given:
    """An answer to a held call, before it is recorded; the fields are those of ``Resolution``."""

    answer: Answer
    via: Via
    operator: str | None = None
    reason: str | None = None
    lasting: Lasting = "once"
    on: On | None = None
    grant: str | None = None
    key: str | None = None
    peer: tuple[int, int] | None = None


class ClientLeftError(Exception):
    """Nobody is there any more to get the answer."""


@dataclass(slots=True, eq=False)
class Visit:
    """A client on *connection* that is here for one call, until ``gone``.

    It ``waited`` so many seconds for people by now, of the ``longest`` time that it may.
    """

    connection: str
    gone: bool = False
    waited: float = 0.0
    longest: float = 0.0

    def left(self, wait: float) -> float:
        """Return how long a call that may wait for *wait* seconds does: what is left of it all."""
        self.longest = max(self.longest, wait)
        return max(_LEAST_AGAIN, self.longest - self.waited) if self.waited else wait


class Waiting:
    """Lets coroutines wait for a person; ``clock`` gives monotonic seconds.

    ``gone`` is told of detached entries whose time is over.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        queue: HoldQueue | None = None,
        gone: Callable[[Sequence[Held]], None] | None = None,
    ) -> None:
        self.queue = queue if queue is not None else HoldQueue()  # an empty one is false
        self._clock = clock
        self._gone = gone
        self._futures: dict[str, asyncio.Future[Given]] = {}
        self._connections: dict[str, str] = {}
        self._visits: dict[str, list[Visit]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def visit(self, connection: str) -> Iterator[Visit]:
        """Take in that a call came on *connection*, and for the length of the block whether its
        client leaves.
        """
        visit = Visit(connection)
        here = self._visits.setdefault(connection, [])
        here.append(visit)
        try:
            yield visit
        finally:
            here.remove(visit)
            if not here:
                del self._visits[connection]

    def begin(self, ask: Ask, *, visit: Visit, wait: float) -> Held:
        """Let *ask* of *visit* wait; :meth:`answered` follows.

        Raises QueueFullError when there is no place, and ClientLeftError.
        """
        if visit.gone:
            raise ClientLeftError
        held = self.queue.hold(ask, now=self._clock(), wait=visit.left(wait))
        self._futures[ask.id] = asyncio.get_running_loop().create_future()
        self._connections[ask.id] = visit.connection
        self._schedule()
        return held

    async def answered(self, key: str) -> Given:
        """Wait for the answer to *key*."""
        try:
            return await self._futures[key]
        finally:
            self.queue.drop(key)
            self._futures.pop(key, None)
            self._connections.pop(key, None)

    def detach(self, ask: Ask) -> tuple[Held, list[Held]]:
        """Keep *ask*, behind which nobody waits; return it, and what had to leave for it."""
        kept = self.queue.detach(ask, now=self._clock())
        self._schedule()
        return kept

    def release(self, key: str, given: Given) -> None:
        """Give *given* to the coroutine that waits for *key*, which left the queue."""
        future = self._futures.get(key)
        if future is not None and not future.done():
            future.set_result(given)

    def client_left(self, connection: str) -> None:
        """Close every entry of *connection*: nobody is there to get the answer."""
        for visit in self._visits.get(connection, ()):
            visit.gone = True
        for key, owner in tuple(self._connections.items()):
            if owner == connection and self.queue.drop(key) is not None:
                self.release(key, Given("deny", "client_left"))

    def halt(self) -> int:
        """Deny everything that waits, by the kill switch; return how many there were."""
        return self._deny_all("kill_switch")

    def close(self) -> None:
        """Deny everything that waits; the proxy is going down."""
        self._deny_all("shutdown")
        if self._timer is not None:
            self._timer.cancel()

    def _deny_all(self, via: Via) -> int:
        every = tuple(self.queue)
        for held in every:
            self.queue.drop(held.id)
            self.release(held.id, Given("deny", via))
        return len(every)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.queue.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        late, gone = self.queue.expire(now=self._clock())
        for held in late:
            self.release(held.id, Given("deny", "timeout"))
        if gone and self._gone is not None:
            self._gone(gone)
        self._schedule()
