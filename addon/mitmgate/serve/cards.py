"""What is known of a call that waits: what it is, what is shown of it, what may be remembered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from mitmgate.control.models import DecideRequest, Pending
from mitmgate.hold.grants import Scope
from mitmgate.hold.queue import Ask
from mitmgate.hold.target import On, Target
from mitmgate.judge.fingerprint import digest_of, target_of
from mitmgate.judge.judge import Judge
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.mitm.core import INLINE_BYTES, Judged
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Verdict
from mitmgate.serve.ledger import RefusedError
from mitmgate.serve.views import (
    arguments_of,
    folders_offered,
    pending_of,
    scope_choices,
    scopes_offered,
)
from mitmgate.wire.jsonrpc import Request

_BY_RULES = frozenset({"rule", "otherwise"})
"""Codes of decisions that a remembered answer can change: findings are weighed after it."""


@dataclass(slots=True)
class Card:
    """A call that a person is asked about. ``scopes`` are the ways to remember an answer to it."""

    ask: Ask
    outcome: Outcome
    target: Target | None
    scopes: tuple[On, ...]
    fingerprint: str
    pending: Pending

    def show(
        self, *, since: float, lasts: float, names: tuple[str, ...], detached: bool = False
    ) -> None:
        """Note since when it waits (seconds since the epoch), and for how many seconds it will."""
        row = self.pending.row.model_copy(update={"time": since})
        update = {
            "row": row, "since": since, "deadline": since + lasts, "names": names,
            "detached": detached,
        }  # fmt: skip
        self.pending = self.pending.model_copy(update=update)


def digested(judged: Judged) -> Judged:
    """Return *judged* with the hashes of its body, so that nothing reads that again."""
    prepared = judged.prepared
    if not isinstance(prepared, PreparedRequest) or prepared.digest is not None:
        return judged
    return replace(judged, prepared=replace(prepared, digest=digest_of(prepared)))


async def shown_of(judged: Judged) -> Any:
    """Return what is shown of *judged*; what is long is read in a thread."""
    outcome, prepared = judged.outcome, judged.prepared
    body = getattr(prepared, "body", None)
    if body is None or len(body.text or "") <= INLINE_BYTES:
        return arguments_of(outcome, prepared)
    return await asyncio.to_thread(arguments_of, outcome, prepared)


def card_of(judge: Judge, judged: Judged, arguments: Any) -> Card:
    """Return the card of *judged*, which asks; *arguments* are what is shown of it."""
    outcome, prepared = judged.outcome, judged.prepared
    exchange = judge.memory.get(outcome.exchange)
    target = None
    if outcome.kind == "request" and isinstance(prepared, PreparedRequest) and not outcome.parts:
        target = None if exchange is None else target_of(exchange, prepared)
    session = None if exchange is None else exchange.session
    call = None if target is None else target.call
    row = outcome.question or call
    retriable = outcome.kind == "request" and row is not None
    ask = Ask(outcome.id, outcome.subject.agent, session, row, outcome.question, retriable)
    # Without a row of its own kind an entry is alone in one.
    fingerprint = judge.scanner.value_hash(f"row {row or outcome.id}".encode())
    scopes = _scopes(outcome, prepared, target)
    pending = pending_of(outcome, arguments, scanner=judge.scanner)
    choices = () if target is None else scope_choices(target, pending.row, scanner=judge.scanner)
    pending = pending.model_copy(update={
        "fingerprint": fingerprint, "scopes": choices if scopes else ()})  # fmt: skip
    return Card(ask, outcome, target, scopes, fingerprint, pending)


def scope_of(card: Card, asked: DecideRequest) -> Scope:
    """Return what *asked* wants to be remembered; RefusedError where the call has no such scope."""
    if asked.on is None or asked.on not in card.scopes or card.target is None:
        raise RefusedError(422, "no_such_scope", "The call has no such scope; see its `scopes`.")
    if asked.seconds is not None and asked.lasting != "time":
        raise RefusedError(422, "no_such_scope", "Seconds are for an answer that lasts a time.")
    prefix = None
    if asked.on == "prefix":
        folders = folders_offered(card.target)
        prefix = asked.prefix if asked.prefix is not None else folders[0]
    session = card.target.session if asked.lasting == "session" else None
    names = tuple(sorted(asked.names)) if asked.on == "values" else ()
    return Scope(asked.on, names, prefix, session)


def seconds_of(asked: DecideRequest, policy: Policy) -> int | None:
    """Return how long the answer lasts; None: as long as its session."""
    if asked.lasting != "time":
        return None
    return asked.seconds or int(policy.allow_for if asked.decision == "allow" else policy.deny_for)


def _scopes(outcome: Outcome, prepared: object, target: Target | None) -> tuple[On, ...]:
    if target is None or outcome.question is not None or outcome.floor is Verdict.ASK:
        return ()
    is_call = isinstance(prepared, PreparedRequest) and (
        target.channel == "egress" or isinstance(prepared.body.message, Request)
    )
    return scopes_offered(target) if is_call and outcome.code in _BY_RULES else ()
