"""The lines of a capture as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from mitmgate.hold.grants import Told
from mitmgate.judge.inputs import Input


@dataclass(frozen=True, slots=True)
class HeaderLine:
    """What a capture says of its run.

    ``tool`` is program and version, ``policy`` the hash of the policy, ``mode`` what it did with
    verdicts; ``shadow``: it enforced nothing, whatever the policy said. ``started`` is in seconds
    since the epoch. ``run`` is what the ids of its audit records begin with, ``keep`` the words by
    which it was chosen what to keep (none: everything), ``segment`` its place among those of one
    run, from 1. ``canaries`` are the ids of the rules that looked for canaries.
    """

    tool: str
    policy: str
    mode: str
    shadow: bool
    started: float
    run: str
    keep: tuple[str, ...]
    segment: int
    canaries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """From here on another policy, mode or other canaries were in force; as in the header."""

    line: int
    at: float
    policy: str
    mode: str
    canaries: tuple[str, ...]


class InputLine(NamedTuple):
    """A recorded input; ``incomplete`` when its body was not stored, ``lost`` when more is gone.

    ``message`` is its ordinal among the inputs of its ``exchange``, from 0; ``at`` is in seconds
    since the epoch. ``id`` is the exchange's id in the audit file, on its first line only.
    ``carried`` says that it stood in an earlier segment already: judged for its state only.
    """

    line: int
    exchange: int
    message: int
    at: float
    input: Input
    incomplete: bool = False
    lost: bool = False
    id: str | None = None
    carried: bool = False


@dataclass(frozen=True, slots=True)
class CutLine:
    """From the input ``message`` on nothing of its exchange was kept, after ``size`` bytes."""

    line: int
    exchange: int
    message: int
    size: int


@dataclass(frozen=True, slots=True)
class ResolutionLine:
    """An answer that an operator gave to the outcome of the input ``message`` of an exchange."""

    line: int
    exchange: int
    message: int
    answer: Literal["allow", "deny"]


@dataclass(frozen=True, slots=True)
class GrantLine:
    """What an operator said to the outcome of the input ``message``, for calls to come."""

    line: int
    exchange: int
    message: int
    at: float
    told: Told


@dataclass(frozen=True, slots=True)
class UndoLine:
    """An answer was taken back: the one with that ``number`` (``g3``), counted by its ``kind``."""

    line: int
    at: float
    kind: str
    number: str


@dataclass(frozen=True, slots=True)
class SwitchLine:
    """The kill switch was turned on or off, at seconds since the epoch."""

    line: int
    at: float
    on: bool


@dataclass(frozen=True, slots=True)
class CloseLine:
    """The last line of a capture whose writer ended in good order."""

    line: int


type CaptureLine = (
    HeaderLine | PolicyLine | InputLine | CutLine | ResolutionLine | GrantLine | UndoLine
    | SwitchLine | CloseLine
)  # fmt: skip
