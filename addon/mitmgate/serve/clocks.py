"""Seconds that no change of the clock moves, and that pass while the machine sleeps."""

from __future__ import annotations

import sys
import time


def lasting() -> float:
    """Return seconds that go on while the machine is suspended: what ends in 15 minutes does.

    CLOCK_BOOTTIME on Linux (clock_gettime(2)). On macOS CLOCK_MONOTONIC counts sleep, unlike what
    ``time.monotonic`` reads there (mach_absolute_time). Elsewhere ``time.monotonic``.
    """
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def _clock(platform: str) -> int | None:
    name = "CLOCK_MONOTONIC" if platform == "darwin" else "CLOCK_BOOTTIME"
    found: int | None = getattr(time, name, None)
    return found


_CLOCK = _clock(sys.platform)
