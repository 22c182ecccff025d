"""Times of day in which a rule counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start`` up to ``end``, minutes after midnight, on ``days`` (0 is Monday) in ``zone``.

    Where ``end`` is not after ``start`` it goes over midnight, and belongs to the day it began.
    """

    start: int
    end: int
    days: frozenset[int]
    zone: str

    def covers(self, now: float) -> bool:
        """Say whether *now*, in seconds since the epoch, is in the window."""
        local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(self.zone))
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return today in self.days
        yesterday = (local - timedelta(days=1)).weekday()
        return minute < self.end and yesterday in self.days

    @property
    def text(self) -> str:
        """The window as people read it."""
        days = " ".join(DAYS[day] for day in sorted(self.days))
        return f"{_clock(self.start)} to {_clock(self.end)} {self.zone} on {days}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
