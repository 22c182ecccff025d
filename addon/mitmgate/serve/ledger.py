"""What operators said that still counts: made, listed, undone, and each of it recorded."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from mitmgate.control.models import GrantView, On
from mitmgate.hold.grants import Grant, GrantsFullError, NotCoveredError, Said, Scope, Told
from mitmgate.hold.target import Target
from mitmgate.judge.outcome import Outcome, Resolution
from mitmgate.judge.state import Memory
from mitmgate.record.audit import grant_record
from mitmgate.record.scrub import Scans, scrub
from mitmgate.serve.hub import Hub
from mitmgate.wire.sessions import Session

_SETTLING = 5.0  # seconds in which the coroutine that waited takes an answer in


class Capturer(Protocol):
    """The part of a capture that answers go to; False when something will not be written."""

    def policy(
        self, policy: str, mode: str, canaries: Sequence[str], paths: Mapping[str, str]
    ) -> bool:
        """Take in a policy's hash, mode, canaries' rules and servers' paths, from now on."""

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
class By:
    """Who did something: the name, how it came, the user's number and the process's (``peer``)."""

    operator: str | None = None
    via: str | None = None
    peer: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer is about and who gave it, in words that may be shown."""

    answer: Literal["allow", "deny"]
    covers: str
    outcome: Outcome
    operator: str | None
    via: str
    peer: tuple[int, int] | None = None

    @property
    def by(self) -> By:
        """Who gave the answer."""
        return By(self.operator, self.via, self.peer)


@dataclass(frozen=True, slots=True)
class _Made:
    view: GrantView
    until: float | None
    since: float = 0.0
    question: str | None = None
    turn: int = 0


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
        self._turns = 0

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
        session, grants = scope.session, self._memory.grants
        if isinstance(session, Session) and not self._memory.sessions.knows(session):
            raise RefusedError(422, "no_such_scope", "That conversation is over already.")
        try:
            before = grants.same(target, scope)
            grant = grants.add(target, said, now=now)
        except GrantsFullError:
            raise RefusedError(
                409, "too_many_grants", "As many answers are remembered as can be; undo some."
            ) from None
        except NotCoveredError as error:
            raise RefusedError(422, "no_such_scope", f"Not possible: {error}.") from None
        lasting: Literal["session", "time"] = "session" if seconds is None else "time"
        view = self._view(grant.id, "grant", facts, scope.on, lasting)
        captured = self._captured(facts, Told(facts.answer, scope, seconds))
        if not captured or not self._keep(_Made(view, until), facts.by):
            grants.revoke(grant.id)
            if before is not None:
                grants.restore(target, before)
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
        if not captured or not self._keep(_Made(view, ticket.until), facts.by):
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
        kept = self._keep(_Made(view, None, self._steady(), question), facts.by)
        return view.id if kept else None

    def undo(
        self,
        grant_id: str | None,
        operator: str | None,
        via: str,
        peer: tuple[int, int] | None = None,
    ) -> GrantView:
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
        if not self._record("undone", made.view, By(operator, via, peer)):
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
        self._record("expired" if late else "ended", made.view, By())

    def turn(self) -> int:
        """Return the number of the next thing that an operator said, and count it."""
        self._turns += 1
        return self._turns

    def last_turn(self, operator: str | None) -> int:
        """Return the number of what *operator* said last and still counts here, 0: nothing."""
        made = self._last_of(operator)
        return 0 if made is None else made.turn

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

    def _keep(self, made: _Made, by: By) -> bool:
        if not self._record("made", made.view, by):
            return False
        self._made[made.view.id] = replace(made, turn=self.turn())
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

    def _record(self, event: str, view: GrantView, by: By) -> bool:
        return self._out.write(grant_of(event, view, by))


def grant_of(event: str, view: GrantView, by: By) -> dict[str, Any]:
    """Return the audit record of what became of the answer *view*, and through whom."""
    peer = None if by.peer is None else dict(zip(("uid", "pid"), by.peer, strict=True))
    facts = dict(_recorded(view)) | {"operator": by.operator, "via": by.via, "peer": peer}
    return grant_record(event, facts, time=time.time())


def _recorded(view: GrantView) -> Iterator[tuple[str, Any]]:
    for name in ("id", "kind", "answer", "on", "lasting", "covers", "agent", "outcome"):
        yield name, getattr(view, name)


def _unrecorded() -> RefusedError:
    return RefusedError(503, "not_recorded", "It could not be recorded, so it does not count.")
