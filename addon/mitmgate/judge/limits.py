"""The bounds of one judgement; every number is bytes unless it says otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused as too large. ``exchanges`` and ``remembered`` count entries."""

    body: int = 32 * 1024 * 1024
    event: int = 8 * 1024 * 1024
    exchanges: int = 20_000
    remembered: int = 10_000
