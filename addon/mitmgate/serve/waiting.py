"""The hold queue on the event loop: futures, the one timer, and who let a call go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from mitmgate.hold.queue import HoldQueue
from mitmgate.judge.outcome import Answer, Via


@dataclass(frozen=True, slots=True)
class Given:
    """An answer to a held call, before it is recorded."""

    answer: Answer
    via: Via
    operator: str | None = None
    reason: str | None = None


class Waiting:
    """Lets coroutines wait for a person; ``clock`` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float], queue: HoldQueue | None = None) -> None:
        self.queue = queue if queue is not None else HoldQueue()  # an empty one is false
        self._clock = clock
        self._futures: dict[str, asyncio.Future[Given]] = {}
        self._connections: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(
        self, key: str, *, agent: str, question: str | None, connection: str, wait: float
    ) -> Given:
        """Wait for an answer to *key*; raise QueueFullError when there is no place to wait."""
        loop = asyncio.get_running_loop()
        self.queue.hold(key, agent=agent, question=question, now=self._clock(), wait=wait)
        future: asyncio.Future[Given] = loop.create_future()
        self._futures[key] = future
        self._connections[key] = connection
        self._schedule()
        try:
            return await future
        finally:
            self.queue.drop(key)
            self._futures.pop(key, None)
            self._connections.pop(key, None)

    def answer(self, key: str, given: Given) -> bool:
        """Give an answer to *key* and to all that ask the same; False when it already left."""
        released = self.queue.answer(key)
        for held in released:
            self._release(held.id, given)
        return bool(released)

    def client_left(self, connection: str) -> None:
        """Close every entry of *connection*: nobody is there to get the answer."""
        for key, owner in tuple(self._connections.items()):
            if owner == connection and self.queue.drop(key) is not None:
                self._release(key, Given("deny", "client_left"))

    def close(self) -> None:
        """Deny everything that waits; the proxy is going down."""
        for held in self.queue:
            self.queue.drop(held.id)
            self._release(held.id, Given("deny", "shutdown"))
        if self._timer is not None:
            self._timer.cancel()

    def _release(self, key: str, given: Given) -> None:
        future = self._futures.get(key)
        if future is not None and not future.done():
            future.set_result(given)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.queue.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._expire)

    def _expire(self) -> None:
        for held in self.queue.expire(now=self._clock()):
            self._release(held.id, Given("deny", "timeout"))
        self._schedule()
