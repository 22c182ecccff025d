"""The patterns of the scanner are compiled while the proxy waits, not in somebody's call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from mitmgate.scan.engine import Scanner

PAUSE = 0.01
"""Seconds between two patterns: one takes half a thousandth, and calls go first."""

TURN = 0.001
"""Seconds after which a thread that scans lets the event loop have its turn."""
_LOOK = 5.0  # seconds


@asynccontextmanager
async def warming(scanner: Scanner, *, pause: float = PAUSE) -> AsyncIterator[asyncio.Task[None]]:
    """Compile the patterns of *scanner*, one at a time, for the length of the block.

    What a message needs before its turn is compiled then, as ever. Threads that scan give way
    to the event loop from here on.
    """
    sys.setswitchinterval(TURN)
    task = asyncio.create_task(_compile(scanner, pause), name="patterns")
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _compile(scanner: Scanner, pause: float) -> None:
    book = None
    while True:  # a reload brings another book
        if scanner.book is not book:
            book = scanner.book
            for rule in book.rules.values():
                for pattern in (rule.regex, *rule.unless):
                    if not pattern.compiled:
                        pattern.compile()
                        await asyncio.sleep(pause)
        await asyncio.sleep(_LOOK)
