"""An exchange in a capture, and what came of it while nobody knows whether it is kept.

Most exchanges of a capture of findings are not: their inputs are looked through only when they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from mitmgate.errors import WireError
from mitmgate.judge.inputs import (
    AnswerInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
)
from mitmgate.record.ring import STATEFUL
from mitmgate.wire.body import decode_body

type Later = Callable[[], Iterable[tuple[bool, dict[str, Any]]]]
"""Makes lines without their secrets; with each, whether it is a golden one."""

_MOST_READ = 1 << 20
_STATEFUL = tuple(f'"{method}"'.encode() for method in sorted(STATEFUL))


@dataclass(slots=True)
class Recorded:
    """An exchange in the capture: its number, how many of its inputs stand there, which asked.

    ``asked`` holds the ordinals of inputs by the numbers of their outcomes. ``segment`` is where
    its last line stands, ``size`` about the bytes of its inputs. ``ignored``: no more of it is
    written. ``pending`` makes its lines while nobody knows whether it is kept. ``stateful``: later
    judgements may rest on it.
    """

    ordinal: int
    inputs: int = 0
    asked: dict[int, int] = field(default_factory=dict)
    segment: int = 0
    size: int = 0
    ignored: bool = False
    pending: list[Later] | None = None
    stateful: bool = False


def is_stateful(given: Input) -> bool:
    """Tell whether *given* is a request whose answer later judgements rest on."""
    if not isinstance(given, RequestInput):
        return False
    try:
        body = decode_body(given.body, given.head.get("content-encoding"), limit=_MOST_READ)
    except WireError:
        return False
    return any(method in body for method in _STATEFUL)


def size_of(given: Input) -> int:
    """Return about how many bytes the line of *given* has."""
    match given:
        case RequestInput() | AnswerInput():
            return len(given.body) + 1000
        case EventInput() | MessageInput():
            return len(given.data) + 1000
        case _:
            return 500
