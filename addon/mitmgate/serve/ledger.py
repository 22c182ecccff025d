"""What operators said that still counts: made, listed, undone, and each of it recorded."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from mitmgate.control.models import GrantView, On
from mitmgate.hold.grants import Grant, GrantsFullError, NotCoveredError, Said, Scope, Told
from mitmgate.hold.target import Target
from mitmgate.judge.outcome import Outcome, Resolution
from mitmgate.judge.state import Memory
from mitmgate.record.audit import grant_record
from mitmgate.record.scrub import Scans, scrub
from mitmgate.serve.hub import Hub

_MOST = 2_000
_SETTLING = 5.0  # seconds in which the coroutine that waited takes an answer in


class Capturer(Protocol):
    """The part of a capture that answers go to; False when something will not be written."""

    def resolution(self, outcome: Outcome, resolution: Resolution) -> bool:
        """Take a person's answer to *outcome*."""

    def grant(self, outcome: Outcome, told: Told) -> bool:
        """Take an answer to *outcome* that counts for calls to come."""

    def undo(self, kind: str, number: str) -> bool:
        """Take in that the answer with that *number*, counted by *kind*, was taken back."""


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where it is told: the audit file (False: not written), the capture, the log, the readers."""

    write: Callable[[Mapping[str, Any]], bool]
    hub: Hub
    capture: Capturer | None
    log: Callable[[str], None] | None


class RefusedError(Exception):
    """What an operator asked for cannot be done: an HTTP status, a stable code, a sentence.

    ``more`` are further members of the problem document.
    """

    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.more = more


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer is about and who gave it, in words that may be shown."""

    answer: Literal["allow", "deny"]
    covers: str
    outcome: Outcome
    operator: str | None
    via: str


@dataclass(frozen=True, slots=True)
class _Made:
    view: GrantView
    until: float | None
    since: float = 0.0
    question: str | None = None


class Ledger:
    """The remembered answers, tickets and questions of a judge's *memory*.

    *steady* gives monotonic seconds.
    """

    def __init__(
        self,
        memory: Memory,
        outlets: Outlets,
        scanner: Callable[[], Scans],
        steady: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._out = outlets
        self._scanner = scanner
        self._steady = steady
        self._made: OrderedDict[str, _Made] = OrderedDict()
        self._questions = 0

    @property
    def count(self) -> int:
        """How many answers are remembered, as far as anybody looked."""
        return len(self._made)

    def remember(
        self, target: Target, scope: Scope, facts: Facts, *, seconds: int | None, told: str | None
    ) -> Grant:
        """Remember an answer for *scope* of *target*; RefusedError where that cannot be.

        It lasts *seconds*, None: as long as its session. *told* is what the agent reads.
        """
        now = self._steady()
        self.tidy()
        until = None if seconds is None else now + seconds
        said = Said(facts.answer, scope, facts.outcome.id, facts.operator, until, told)
        try:
            grant = self._memory.grants.add(target, said, now=now)
        except GrantsFullError:
            raise RefusedError(
                409, "too_many_grants", "As many answers are remembered as can be; undo some."
            ) from None
        except NotCoveredError as error:
            raise RefusedError(422, "no_such_scope", f"Not possible: {error}.") from None
        lasting: Literal["session", "time"] = "session" if seconds is None else "time"
        view = self._view(grant.id, "grant", facts, scope.on, lasting)
        captured = self._captured(facts, Told(facts.answer, scope, seconds))
        if not captured or not self._keep(_Made(view, until), facts.via):
            self._memory.grants.revoke(grant.id)
            raise _unrecorded()
        return grant

    def ticket(self, target: Target, facts: Facts, *, seconds: int) -> str:
        """Mint a ticket for one retry of *target* within *seconds* and return its id.

        RefusedError if it cannot be recorded.
        """
        self.tidy()
        if target.call is None:
            raise RefusedError(409, "no_retry", "No retry of this call could be told from others.")
        now = self._steady()
        ticket = self._memory.tickets.mint(target.agent, target.call, now=now, good_for=seconds)
        view = self._view(ticket.id, "ticket", facts, "call", "time")
        captured = self._captured(facts, Told("allow", seconds=seconds))
        if not captured or not self._keep(_Made(view, ticket.until), facts.via):
            self._memory.tickets.revoke(ticket.id)
            raise _unrecorded()
        return ticket.id

    def question(self, question: str, facts: Facts) -> str | None:
        """Note an answer to *question*, which is remembered for this run; None if unrecorded."""
        self.tidy()
        self._questions += 1
        view = self._view(f"q{self._questions}", "question", facts, None, "run")
        for made in tuple(self._made.values()):
            if made.question == question:
                del self._made[made.view.id]
        kept = self._keep(_Made(view, None, self._steady(), question), facts.via)
        return view.id if kept else None

    def undo(self, grant_id: str | None, operator: str | None, via: str) -> GrantView:
        """Take back *grant_id*, or what *operator* made last; RefusedError where there is none."""
        self.tidy()
        made = self._made.get(grant_id) if grant_id is not None else self._last_of(operator)
        if made is None:
            raise RefusedError(
                404, "nothing_to_undo", "Nothing like that is remembered (any more)."
            )
        capture, view = self._out.capture, made.view
        if capture is not None and not capture.undo(view.kind, view.id):
            raise _unrecorded()
        if not self._record("undone", made.view, operator, via):
            raise _unrecorded()
        shown = self._current(made)
        self._forget(made)
        return shown

    def listed(self) -> tuple[GrantView, ...]:
        """Return everything that still counts, the oldest first."""
        self.tidy()
        return tuple(self._current(made) for made in self._made.values())

    def tidy(self) -> None:
        """Let go of what ended: its time is over, it was used, another one took its place."""
        now, memory = self._steady(), self._memory
        memory.grants.expire(now=now)
        memory.tickets.expire(now=now)
        good = {ticket.id for ticket in memory.tickets.unused(now=now)}
        for made in tuple(self._made.values()):
            view, question = made.view, made.question
            counts = view.id in good or memory.grants.get(view.id) is not None
            if question is not None:
                settling = now - made.since < _SETTLING
                counts = settling or memory.remembered(question) == view.answer
            if not counts:
                self._ended(made)

    def _ended(self, made: _Made) -> None:
        del self._made[made.view.id]
        late = made.until is not None and made.until <= self._steady()
        self._record("expired" if late else "ended", made.view, None, None)

    def last_of(self, operator: str | None) -> GrantView | None:
        """Return what *operator* said last and still counts."""
        made = self._last_of(operator)
        return None if made is None else made.view

    def _last_of(self, operator: str | None) -> _Made | None:
        mine = (made for made in reversed(self._made.values()) if made.view.operator == operator)
        return next(mine, None)

    def _forget(self, made: _Made) -> None:
        del self._made[made.view.id]
        match made.view.kind:
            case "grant":
                self._memory.grants.revoke(made.view.id)
            case "ticket":
                self._memory.tickets.revoke(made.view.id)
            case "question":
                self._memory.forget(made.question or "")
            case "rule":
                pass

    def _captured(self, facts: Facts, told: Told) -> bool:
        capture = self._out.capture
        return capture is None or capture.grant(facts.outcome, told)

    def _keep(self, made: _Made, via: str) -> bool:
        if not self._record("made", made.view, made.view.operator, via):
            return False
        self._made[made.view.id] = made
        if len(self._made) > _MOST:  # questions beyond what a person lists; they still count
            self._made.popitem(last=False)
        return True

    def _view(
        self,
        key: str,
        kind: Literal["grant", "ticket", "question"],
        facts: Facts,
        on: On | None,
        lasting: Literal["session", "time", "run"],
    ) -> GrantView:
        plain = {
            "id": key, "kind": kind, "answer": facts.answer, "covers": facts.covers, "on": on,
            "lasting": lasting, "agent": facts.outcome.subject.agent,
            "operator": facts.operator, "outcome": facts.outcome.id,
            "made": time.time(), "left": None,
        }  # fmt: skip
        return GrantView.model_validate(scrub(plain, self._scanner()))

    def _current(self, made: _Made) -> GrantView:
        if made.until is None:
            return made.view
        left = max(0.0, made.until - self._steady())
        return made.view.model_copy(update={"left": round(left, 1)})

    def _record(self, event: str, view: GrantView, operator: str | None, via: str | None) -> bool:
        return self._out.write(grant_of(event, view, operator, via))


def grant_of(event: str, view: GrantView, operator: str | None, via: str | None) -> dict[str, Any]:
    """Return the audit record of what became of the answer *view*."""
    facts = dict(_recorded(view)) | {"operator": operator, "via": via}
    return grant_record(event, facts, time=time.time())


def _recorded(view: GrantView) -> Iterator[tuple[str, Any]]:
    for name in ("id", "kind", "answer", "on", "lasting", "covers", "agent", "outcome"):
        yield name, getattr(view, name)


def _unrecorded() -> RefusedError:
    return RefusedError(503, "not_recorded", "It could not be recorded, so it does not count.")
