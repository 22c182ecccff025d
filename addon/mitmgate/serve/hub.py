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
READER_BYTES = 8 * 1024 * 1024
QUIET = 0.02  # seconds: what comes so soon after a message travels with it


class Reader:
    """One attached reader: a bounded queue of lines, and how many it lost."""

    def __init__(self, *, operator: bool) -> None:
        self.operator = operator
        self.dropped = 0
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._came = asyncio.Event()

    def offer(self, line: bytes) -> None:
        """Queue *line*, or count it as lost; never waits."""
        if len(self._lines) >= READER_LIMIT or self._bytes + len(line) > READER_BYTES:
            self.dropped += 1
            return
        self._lines.append(line)
        self._bytes += len(line)
        self._came.set()

    async def next_batch(self, *, timeout: float) -> bytes:
        """Return every line that is there, empty after *timeout* seconds without one."""
        try:
            async with asyncio.timeout(timeout):
                await self._came.wait()
        except TimeoutError:
            return b""
        await asyncio.sleep(QUIET)
        batch = b"".join(self._lines)
        self._lines.clear()
        self._bytes = 0
        self._came.clear()
        return batch


class Hub:
    """The recent rows and the attached readers."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque(maxlen=ROWS_KEPT)
        self._readers: set[Reader] = set()

    @property
    def operators(self) -> int:
        """How many attached readers showed the operator key."""
        return sum(reader.operator for reader in self._readers)

    @property
    def readers(self) -> int:
        """How many readers are attached."""
        return len(self._readers)

    @property
    def dropped(self) -> int:
        """How many messages the attached readers lost."""
        return sum(reader.dropped for reader in self._readers)

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
        """Send *public* to everybody; operators get *private* instead where it is given.

        Each is written as JSON once, however many read it.
        """
        lines: dict[bool, bytes] = {}
        for reader in self._readers:
            secret = private is not None and reader.operator
            if secret not in lines:
                chosen = private if secret and private is not None else public
                lines[secret] = line_of(chosen)
            reader.offer(lines[secret])


def line_of(message: BaseModel) -> bytes:
    """Return *message* as a line of JSON."""
    return message.model_dump_json().encode() + b"\n"
