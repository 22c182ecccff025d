"""The connections of clients: how many there may be, and how long one may be silent.

A connection on which no request comes is closed after a while, and before that where the number
runs out: who only holds connections open takes no place from others for long.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Callable

from mitmproxy.connection import Client

from mitmgate.mitm.flowing import keep_little_unsent

MOST = 10_000
SILENT_SECONDS = 60.0  # from the connection, or from CONNECT, to the first whole head of a request
TOLD_SECONDS = 60.0  # between two lines of the log that tell of the same

_SPARE = 64  # files for the gate itself
_EACH = 2  # of a client: its own connection, and the one to a server

logger = logging.getLogger("mitmgate.clients")


def most_connections() -> int:
    """Return how many connections the open files of this process are enough for.

    It may have as many as the system lets it: the soft limit is raised to the hard one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError):  # the system says otherwise than it does
            pass
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(1, min(MOST, (soft - _SPARE) // _EACH))


class Clients:
    """Counts the connections of clients, and closes the silent ones by *close*."""

    def __init__(self, close: Callable[[str], None], most: int | None = None) -> None:
        self._close = close
        self._most = most_connections() if most is None else most
        self._open: set[str] = set()
        self._silent: dict[str, float] = {}  # since when, the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._told = -TOLD_SECONDS
        self._refused = 0

    def connected(self, client: Client) -> None:
        """Take in *client*, or refuse it where there are too many that speak."""
        if len(self._open) >= self._most:
            oldest = next(iter(self._silent), None)
            self._tell(closed=oldest is not None)
            if oldest is None:
                client.error = "too many connections"
                return
            self._end(oldest)
        self._open.add(client.id)
        keep_little_unsent(client)
        self.silent(client)

    def silent(self, client: Client) -> None:
        """Note that *client* owes a request, from now on."""
        if client.id not in self._open:
            return
        self._silent.pop(client.id, None)
        self._silent[client.id] = time.monotonic()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._look)

    def spoke(self, client: Client) -> None:
        """Note that *client* sent a request."""
        self._silent.pop(client.id, None)

    def left(self, client: Client) -> None:
        """Forget *client*."""
        self._open.discard(client.id)
        self._silent.pop(client.id, None)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._silent:
            client, since = next(iter(self._silent.items()))
            left = since + SILENT_SECONDS - now
            if left > 0:
                self._timer = asyncio.get_running_loop().call_later(left, self._look)
                return
            self._end(client)

    def _end(self, client: str) -> None:
        self._open.discard(client)
        self._silent.pop(client, None)
        self._close(client)

    def _tell(self, *, closed: bool) -> None:
        self._refused += 1
        now = time.monotonic()
        if now - self._told >= TOLD_SECONDS:
            what = "silent ones are closed" if closed else "new ones are refused"
            logger.error(
                "%d connections are open, the most there may be: %s (%d so far)",
                len(self._open), what, self._refused,
            )  # fmt: skip
            self._told = now
