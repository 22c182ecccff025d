"""What the hooks need of whoever owns the loop: one small door, injected by ``serve``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mitmgate.control.models import Pending
from mitmgate.judge.inputs import Input
from mitmgate.judge.judge import Judge, Prepared
from mitmgate.judge.outcome import Completion, Kind, Outcome, Subject
from mitmgate.judge.replies import Reply

INLINE_BYTES = 32 * 1024  # above this a hop to a thread (93 us) costs less than the wait


@dataclass(frozen=True, slots=True)
class Judged:
    """An outcome that stands in the audit file, and what it was made from."""

    outcome: Outcome
    prepared: Prepared


@dataclass(frozen=True, slots=True)
class Ruling:
    """What to do: pass the bytes (``text`` instead, where it is given), or send ``reply``.

    ``headers`` are the new values of headers that mirror what ``text`` changed. ``instead`` is
    what goes on to the other side in the place of a message that was stopped, None: nothing.
    ``detail`` is the sentence the client reads when it was denied.
    """

    outcome: Outcome
    prepared: Prepared
    released: bool
    detail: str = ""
    reply: Reply | None = None
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    instead: str | None = None


class Core(Protocol):
    """Judges, records, holds."""

    judge: Judge

    @property
    def pending(self) -> Mapping[str, Pending]:
        """What waits for a person, by the id of its outcome."""

    async def decide(self, given: Input, *, connection: str) -> Ruling | None:
        """Judge *given* and wait for a person where it takes one; None: it simply passes."""

    async def caught_up(self) -> None:
        """Give other work its turn, and what is written behind time to catch up."""

    async def judged(self, given: Input) -> Judged | None:
        """Judge *given*, a large one in a thread, and wait for nobody."""

    def judge_now(self, given: Input) -> Judged | None:
        """Judge *given* without waiting."""

    def must_wait(self, judged: Judged) -> bool:
        """Tell whether *judged* waits for a person."""

    def rule_now(self, judged: Judged) -> Ruling:
        """Return the ruling of a judged input that needs nobody."""

    async def settle(self, judged: Judged, *, connection: str) -> Ruling:
        """Turn a judged input into a ruling, waiting for a person where it takes one."""

    def fail(
        self, exchange: str, kind: Kind, code: str, reason: str, *, subject: Subject | None = None
    ) -> Ruling:
        """Record a denial that no input led to."""

    def complete(self, completion: Completion) -> None:
        """Record how an exchange ended."""

    def end(self, exchange: str) -> None:
        """Forget *exchange*."""

    def client_left(self, connection: str) -> None:
        """Close everything that waits on *connection*."""

    def next_exchange(self) -> str:
        """Return a new exchange id."""
