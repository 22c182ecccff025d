"""Calls that wait for a person: asked, answered, kept for a retry, and judged anew."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from mitmgate.control.models import (
    Decided,
    DecideRequest,
    HeldEvent,
    Pending,
    Resolved,
    ResolvedEvent,
)
from mitmgate.hold.queue import Held, HoldLimits, HoldQueue, QueueFullError
from mitmgate.hold.target import Target
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome, Resolution
from mitmgate.judge.records import resolution_record
from mitmgate.mitm.core import Judged
from mitmgate.serve.cards import Card, card_of, digested, scope_of, seconds_of, shown_of
from mitmgate.serve.changes import Approved
from mitmgate.serve.clocks import lasting
from mitmgate.serve.given import (
    BY_A_PERSON,
    given_by,
    is_an_answer,
    named,
    resolution_of,
    unkept,
)
from mitmgate.serve.ledger import Facts, Ledger, Outlets, RefusedError
from mitmgate.serve.peers import Peer
from mitmgate.serve.rejudging import given_now, wait_of
from mitmgate.serve.suggesting import Suggestions
from mitmgate.serve.views import covers_of, printable, without_arguments
from mitmgate.serve.waiting import ClientLeftError, Given, Visit, Waiting

_MOST_TOLD = 500
_RECENT = 100


class Holding:
    """The calls that wait, and the entries that stayed of those that nobody answered in time."""

    def __init__(
        self,
        judge: Judge,
        outlets: Outlets,
        *,
        limits: HoldLimits | None = None,
        steady: Callable[[], float] = lasting,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """*steady* gives seconds for what lasts, *clock* those of the event loop."""
        self.waiting = Waiting(clock, HoldQueue(limits), self._expired)
        self.recent: deque[Resolved] = deque(maxlen=_RECENT)
        self.pending: dict[str, Pending] = {}
        self.detached: dict[str, Pending] = {}
        self.ledger = Ledger(judge.memory, outlets, lambda: judge.scanner, steady)
        self._judge = judge
        self._out = outlets
        self._steady = steady
        self._clock = clock
        self._cards: dict[str, Card] = {}
        self._told: OrderedDict[str, tuple[Given, float]] = OrderedDict()
        self._asked: dict[str, Judged] = {}
        self.deciding: dict[str, str] = {}
        self.deciders: dict[str, str | None] = {}
        self.suggestions = Suggestions()
        self.approved = Approved()
        self.settled = 0

    def policy_changed(self) -> None:
        """Judge what waits by the policy that is in force now."""
        self.settled = self.rejudge()

    def listed(self) -> tuple[Pending, ...]:
        """Return what waits and then what is detached, with how many are alike and what is left."""
        entries = (*self.pending.values(), *self.detached.values())
        counts: dict[str, int] = {}
        for entry in entries:
            counts[entry.fingerprint] = counts.get(entry.fingerprint, 0) + 1
        return tuple(self._current(entry, counts[entry.fingerprint]) for entry in entries)

    async def ask(self, judged: Judged, visit: Visit) -> Resolution:
        """Ask a person about *judged*, and return what became of it, recorded."""
        judged, arguments = digested(judged), await shown_of(judged)
        card = card_of(self._judge, judged, arguments)
        card.pending = self.approved.compared(card.pending)
        started = self._clock()
        if self._judge.halt is not None:  # it came while the arguments were read
            given = Given("deny", "kill_switch")
        elif self._out.hub.operators == 0 and self._judge.policy.unattended == "deny":
            given = Given("deny", "unattended")
        else:
            self._asked[card.ask.id] = judged
            try:
                given = await self._wait(card, visit, wait_of(self._judge, judged))
            finally:
                del self._asked[card.ask.id]
        waited = self._clock() - started
        visit.waited += waited
        resolution = self._resolved(card.outcome, resolution_of(card.outcome, given, waited))
        if resolution.answer == "allow":
            self.approved.note(card.pending.row, card.pending.arguments)
        self._stay(card, resolution)
        return resolution

    @property
    def remembered(self) -> int:
        """How many answers are remembered."""
        return self.ledger.count

    def is_kept(self, key: str) -> bool:
        """Tell whether call *key* stayed as an entry that can still be approved."""
        return key in self.detached

    def answer(self, key: str, given: Given) -> bool:
        """Take an answer for this once to entry *key*; False when it already left."""
        held = self.waiting.queue.get(key)
        if held is None:
            return False
        self.give(held, given)
        return True

    def decide(self, key: str, asked: DecideRequest, peer: Peer | None = None) -> Decided:
        """Take an operator's answer to entry *key*, and remember it as it says.

        *peer* sent it. Raises RefusedError.
        """
        asked = named(asked, peer)
        held, card = self.find(key, asked)
        given = given_by(asked, peer)
        grant = self._remember(card, asked, given)
        if grant is not None:
            given = replace(given, grant=grant)
        released, ticket = self.give(held, given)
        if grant is not None:
            released += self.rejudge()
        self.count(card, asked)
        return Decided(id=key, answer=asked.decision, released=released, grant=grant, ticket=ticket)

    def targets(self) -> Iterator[tuple[str, Target]]:
        """Yield what each call that waits is about, by id."""
        for key in self.pending:
            card = self._cards.get(key)
            if card is not None and card.target is not None and card.scopes:
                yield key, card.target

    def count(self, card: Card, asked: DecideRequest) -> None:
        """Count what was approved for once, for suggestions."""
        if card.target is None or not card.scopes:
            return
        if asked.decision == "allow" and asked.lasting == "once":
            choices = ((one.on, one.covers) for one in card.pending.scopes)
            self.suggestions.approved(card.target, choices)
        else:
            self.suggestions.settled(card.target)

    def rejudge(self) -> int:
        """Let go of what the policy or a remembered answer settles by now; return how many waited.

        What the policy lets through without asking is judged again, and so is what it may.
        """
        count, queue = 0, self.waiting.queue
        for held in (*queue, *queue.detached):
            card = self._cards.get(held.id)
            if card is None or held.id in self.deciding:
                continue
            judged = None if held.detached else self._asked.get(held.id)
            given = given_now(self._judge, card, judged, now=self._steady())
            if given is None or (held.detached and given.via == "policy"):
                continue
            count += not held.detached
            for one in queue.answer(held.id):
                self._let_go(one, given)
        return count

    def card(self, key: str) -> Card | None:
        """Return what is known of the entry *key*."""
        return self._cards.get(key)

    def find(self, key: str, asked: DecideRequest) -> tuple[Held, Card]:
        """Return the entry that *asked* is about; RefusedError where it left or is another."""
        held = self.waiting.queue.get(key)
        card = None if held is None else self._cards.get(held.id)
        if held is None or card is None or (held.detached and held.id not in self.detached):
            raise self._gone(key)
        if asked.fingerprint not in (None, card.fingerprint):
            raise RefusedError(409, "moved", "That is another call by now; look at it again.")
        if card.fingerprint in self.deciding.values():
            by = self.deciders.get(card.fingerprint)
            detail = f"{printable(by or 'Somebody')} is answering it for ever right now."
            raise RefusedError(409, "being_decided", detail, by=by)
        return held, card

    @contextmanager
    def decided_by(self, held: Held, card: Card, operator: str | None) -> Iterator[None]:
        """Let nobody else answer the row of *held* for the length of the block."""
        self.deciding[held.id] = card.fingerprint
        self.deciders[card.fingerprint] = operator
        try:
            yield
        finally:
            del self.deciding[held.id], self.deciders[card.fingerprint]

    def has_left(self, key: str) -> RefusedError | None:
        """Return what tells that the entry *key* left, and by whose answer; None: it is there."""
        return None if self.waiting.queue.get(key) is not None else self._gone(key)

    def _gone(self, key: str) -> RefusedError:
        if key not in self._told:
            if key in self.pending:
                return RefusedError(409, "already_left", "That call has just left.")
            return RefusedError(404, "not_pending", "No call with that id is waiting.")
        given, when = self._told[key]
        ago = max(0, int(self._steady() - when))
        word = "approved" if given.answer == "allow" else "denied"
        who = given.operator or given.via
        detail = f"Too late: {printable(who)} {word} it {ago} s ago ({given.via})."
        return RefusedError(409, "already_left", detail, by=given.operator, via=given.via,
                            answer=given.answer, seconds=ago)  # fmt: skip

    def _remember(self, card: Card, asked: DecideRequest, given: Given) -> str | None:
        if asked.lasting == "once":
            return None
        if asked.lasting == "ever":
            raise RefusedError(409, "file_changed", "Look at a preview of the rule first.")
        scope = scope_of(card, asked)
        if card.target is None:
            raise RefusedError(422, "no_such_scope", "Nothing of this call can be remembered.")
        words = covers_of(scope.on, card.pending.row, scope.names, scope.prefix)
        facts = self._facts(card, given, words)
        reason = asked.reason if asked.decision == "deny" else None
        grant = self.ledger.remember(
            card.target, scope, facts, seconds=seconds_of(asked, self._judge.policy), told=reason
        )
        return grant.id

    def give(self, held: Held, given: Given) -> tuple[int, str | None]:
        """Answer *held*, a denial its whole row; return how many waited, and the ticket made."""
        queue, ticket = self.waiting.queue, None
        if held.detached and given.answer == "allow" and held.ask.question is None:
            ticket = self._ticket(self._cards[held.id], given)
        first = replace(given, grant=ticket or given.grant)
        gone = queue.close(held.id) if given.answer == "deny" else queue.answer(held.id)
        question = held.ask.question
        if question is not None and given.via in BY_A_PERSON:
            card = self._cards[held.id]
            row = card.pending.row
            facts = self._facts(card, given, f"MCP with {row.endpoint}, which has no name")
            first = replace(first, grant=self.ledger.question(question, facts))
        for one in gone:
            self._let_go(one, first if one is gone[0] or question else given)
        return sum(not one.detached for one in gone), ticket

    def _ticket(self, card: Card, given: Given) -> str | None:
        if given.grant is not None or card.target is None:
            return given.grant  # what is remembered covers the retry too
        facts = self._facts(card, given, covers_of("call", card.pending.row))
        seconds = int(self._judge.policy.ticket)
        return self.ledger.ticket(card.target, facts, seconds=seconds)

    def _facts(self, card: Card, given: Given, covers: str) -> Facts:
        return Facts(given.answer, covers, card.outcome, given.operator, given.via, given.peer)

    def _let_go(self, held: Held, given: Given) -> None:
        for name in (held.id, *held.names):
            self._tell(name, given)
        if held.detached:
            self._settle(held, given)
        else:
            self.waiting.release(held.id, given)

    def _settle(self, held: Held, given: Given) -> None:
        """Record the answer to an entry that nobody waits behind."""
        card = self._cards.pop(held.id)
        self.detached.pop(held.id, None)
        outcome = card.outcome
        waited = self._clock() - held.since
        resolution = self._resolved(outcome, resolution_of(outcome, given, waited))
        if outcome.question is not None and resolution.via in BY_A_PERSON:
            self._judge.apply_resolution(outcome, resolution.answer)

    async def _wait(self, card: Card, visit: Visit, wait: float) -> Given:
        try:
            held = self.waiting.begin(card.ask, visit=visit, wait=wait)
        except QueueFullError:
            return Given("deny", "queue_full")
        except ClientLeftError:
            return Given("deny", "client_left")
        self._replaced(held)
        key = held.id
        card.show(since=time.time(), lasts=held.deadline - held.since, names=held.names)
        self._cards[key] = card
        self.pending[key] = card.pending
        self._publish(card.pending)
        try:
            return await self.waiting.answered(key)
        finally:
            self.pending.pop(key, None)
            if self.waiting.queue.get(key) is None:
                self._cards.pop(key, None)

    def _stay(self, card: Card, resolution: Resolution) -> None:
        """Keep the entry of a call that nobody answered, for its client to try again."""
        key, queue = card.ask.id, self.waiting.queue
        if resolution.via == "unattended" and card.ask.retriable:
            held, gone = self.waiting.detach(card.ask)
            self._replaced(held)
            self._cards[key] = card
            self._expired(gone)
        kept = queue.get(key)
        if kept is None or kept.id != key:
            return
        if resolution.via not in ("timeout", "unattended"):
            queue.answer(key)
            self._cards.pop(key, None)
            return
        card.show(since=time.time() - resolution.waited, lasts=queue.limits.detached_for,
                  names=kept.names, detached=True)  # fmt: skip
        self.detached[key] = card.pending
        self._publish(card.pending)

    def _replaced(self, held: Held) -> None:
        for name in held.names[-1:]:
            if self.detached.pop(name, None) is not None:
                self._cards.pop(name, None)
                self._left(name, "retried")

    def _expired(self, gone: Sequence[Held] | Iterable[Held]) -> None:
        for held in gone:
            self._cards.pop(held.id, None)
            if self.detached.pop(held.id, None) is not None:
                self._left(held.id, "expired")

    def _left(self, key: str, via: str) -> None:
        self._resolve(Resolved(
            id=key, answer="deny", via=via, operator=None, reason=None, waited=0.0))  # fmt: skip

    def _resolve(self, resolved: Resolved) -> None:
        self.recent.append(resolved)
        self._out.hub.publish(ResolvedEvent(resolved=resolved))

    def _publish(self, entry: Pending) -> None:
        alike = (*self.pending.values(), *self.detached.values())
        count = sum(1 for other in alike if other.fingerprint == entry.fingerprint)
        entry = self._current(entry, count)
        public = HeldEvent(pending=without_arguments(entry))
        self._out.hub.publish(public, private=HeldEvent(pending=entry))

    def _current(self, entry: Pending, count: int) -> Pending:
        held = self.waiting.queue.get(entry.id)
        left = None if held is None else round(max(0.0, held.deadline - self._clock()), 1)
        return entry.model_copy(update={"count": count, "left": left})

    def _tell(self, key: str, given: Given) -> None:
        self._told[key] = given, self._steady()
        self._told.move_to_end(key)
        if len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)

    def _resolved(self, outcome: Outcome, resolution: Resolution) -> Resolution:
        record = resolution_record(resolution, time=time.time(), scanner=self._judge.scanner)
        if not self._out.write(record):
            resolution = unkept(outcome, "the answer could not be recorded")
        elif not self._captured(outcome, resolution):
            resolution = unkept(outcome, "the answer could not be captured")
        self._tell(outcome.id, Given(resolution.answer, resolution.via, resolution.operator))
        self._resolve(Resolved(
            id=outcome.id, answer=resolution.answer, via=resolution.via,
            operator=resolution.operator, reason=resolution.reason, waited=resolution.waited,
            lasting=resolution.lasting, on=resolution.on, grant=resolution.grant))  # fmt: skip
        if self._out.log is not None:
            who = f" by {resolution.operator}" if resolution.operator else ""
            line = f"{resolution.answer:<8} {outcome.id} answered: {resolution.via}{who}"
            self._out.log(printable(line))
        return resolution

    def _captured(self, outcome: Outcome, resolution: Resolution) -> bool:
        if self._out.capture is None or not is_an_answer(outcome, resolution):
            return True
        return self._out.capture.resolution(outcome, resolution)
