"""When a bounded capture cannot be written: it waits for room, and says so once, and once after."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from mitmgate.record.lines import LineFile

LEAST_SECONDS = 5.0
MOST_SECONDS = 600.0
_PROBE_BYTES = 64 * 1024


def log_trouble(text: str) -> None:
    """Tell the log of the process."""
    logging.getLogger("mitmgate.capture").error(text)


class Outage:
    """Whether captures can be written in *folder*; only the writer's thread calls its methods.

    ``reason`` says why they cannot, None: they can. ``lost`` counts the lines that were not
    written. Trouble that comes again soon is tried again later each time, so that *warn* is told
    a few lines an hour at most. *clock* gives seconds.
    """

    def __init__(
        self,
        folder: Path,
        warn: Callable[[str], None] = log_trouble,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reason: str | None = None
        self.lost = 0
        self.warn = warn
        self._folder = folder
        self._clock = clock
        self._wait = LEAST_SECONDS
        self._next = self._ended = -MOST_SECONDS

    def begin(self, error: Exception) -> None:
        """Note that writing failed with *error*."""
        reason, now = _words(error), self._clock()
        if self.reason is None:
            again = now - self._ended < MOST_SECONDS
            self._wait = min(self._wait * 2, MOST_SECONDS) if again else LEAST_SECONDS
            self.warn(f"capture: {self._folder}: {reason}; calls go on and are not captured")
        self.reason, self._next = reason, now + self._wait

    @property
    def is_due(self) -> bool:
        """Whether it is time to try again."""
        return self.reason is not None and self._clock() >= self._next

    def is_over(self) -> bool:
        """Try to write; tell whether that works again."""
        try:
            self._probe()
        except OSError as error:
            self.begin(error)
            return False
        self.reason, self._ended = None, self._clock()
        self.warn(f"capture: {self._folder}: written again; {self.lost} lines are missing so far")
        return True

    def _probe(self) -> None:
        path = self._folder / f".mitmgate-{os.getpid()}.tmp"
        try:
            file = LineFile(path)
            try:
                file.append(bytes(_PROBE_BYTES - 1) + b"\n")
            finally:
                file.close()
        finally:
            path.unlink(missing_ok=True)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be written: {error.strerror}"
    return f"cannot be written: {type(error).__name__}"
