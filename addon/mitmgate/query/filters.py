"""Which decisions a question is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from mitmgate.policy.globs import Glob
from mitmgate.query.records import Record

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Filters:
    """Every given filter must hold; ``*`` and ``?`` in a value stand for any text.

    ``since`` is a time as records spell it.
    """

    since: str | None = None
    verdict: str | None = None
    agent: str | None = None
    server: str | None = None
    tool: str | None = None
    rule: str | None = None
    host: str | None = None
    method: str | None = None

    def match(self, record: Record) -> bool:
        """Tell whether a decision *record* is one that was asked for."""
        # Records spell times alike, so the texts compare as the times do.
        if self.since is not None and record["time"] < self.since:
            return False
        return all(
            wanted is None or _matches(wanted, record.get(name))
            for name, wanted in (
                ("verdict", self.verdict), ("agent", self.agent), ("server", self.server),
                ("tool", self.tool), ("rule", self.rule), ("host", self.host),
                ("method", self.method),
            )
        )  # fmt: skip


def parse_since(text: str, *, now: float) -> float:
    """Return the time that *text* names: ``90s``, ``30m``, ``1h``, ``7d``, or an ISO date.

    ValueError says how to write it.
    """
    count, unit = text[:-1], text[-1:]
    if unit in _UNITS and count.isascii() and count.isdigit() and len(count) < 10:
        return max(0.0, now - int(count) * _UNITS[unit])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"not a time: {text!r}; write 30m, 1h, 7d or 2026-11-21T08:00:00Z"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _matches(wanted: str, value: object) -> bool:
    return isinstance(value, str) and _glob(wanted).matches(value)


@lru_cache(maxsize=64)
def _glob(text: str) -> Glob:
    return Glob.of(text)
