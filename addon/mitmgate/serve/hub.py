"""Hands decisions to whoever listens, without ever waiting for a slow reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from mitmgate.control.models import Row

ROWS_KEPT = 1_000
READER_LIMIT = 5_000


class Reader:
    """One attached reader: a bounded queue, and how many messages it lost."""

    def __init__(self, *, operator: bool) -> None:
        self.operator = operator
        self.dropped = 0
        self._queue: asyncio.Queue[BaseModel] = asyncio.Queue(READER_LIMIT)

    def offer(self, message: BaseModel) -> None:
        """Queue *message*, or count it as lost; never waits."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.dropped += 1

    async def next(self, *, timeout: float) -> BaseModel | None:
        """Return the next message, or None after *timeout* seconds without one."""
        try:
            return await asyncio.wait_for(self._queue.get(), timeout)
        except TimeoutError:
            return None


class Hub:
    """The recent rows and the attached readers."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque(maxlen=ROWS_KEPT)
        self._readers: set[Reader] = set()

    @property
    def operators(self) -> int:
        """How many attached readers showed the operator key."""
        return sum(reader.operator for reader in self._readers)

    @contextmanager
    def attached(self, *, operator: bool) -> Iterator[Reader]:
        """Attach a reader for the length of the block."""
        reader = Reader(operator=operator)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def publish(self, public: BaseModel, *, private: BaseModel | None = None) -> None:
        """Send *public* to everybody; operators get *private* instead where it is given."""
        for reader in self._readers:
            reader.offer(private if private is not None and reader.operator else public)
