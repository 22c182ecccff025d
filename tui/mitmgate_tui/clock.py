"""Where the console gets the time from, so that tests and pictures can bring their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """``wall`` is seconds since the epoch, ``steady`` never jumps, ``calendar`` names the hour."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic
    calendar: Callable[[float], time.struct_time] = time.localtime

    def hms(self, seconds: float) -> str:
        """Spell an epoch time as ``20:14:07``; a time nobody can place becomes dashes."""
        try:
            return time.strftime("%H:%M:%S", self.calendar(seconds))
        except (ValueError, OverflowError, OSError):
            return "--:--:--"

    def moment(self, seconds: float) -> str:
        """Spell an epoch time as an hour; with its day where that is not today."""
        try:
            then, now = self.calendar(seconds), self.calendar(self.wall())
            today = (then.tm_year, then.tm_yday) == (now.tm_year, now.tm_yday)
            return time.strftime("%H:%M:%S" if today else "%m-%d %H:%M", then)
        except (ValueError, OverflowError, OSError):
            return "--:--:--"


def minutes(seconds: float) -> str:
    """Spell a time left as ``0:31``; what is over is ``0:00``."""
    whole = int(max(0.0, min(seconds, 359_999.0)))
    return f"{whole // 60}:{whole % 60:02d}"
