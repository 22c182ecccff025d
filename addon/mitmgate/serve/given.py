"""Operators' answers as the hold takes them, and what became of them."""

from __future__ import annotations

from mitmgate.control.models import DecideRequest
from mitmgate.judge.outcome import Outcome, Resolution
from mitmgate.serve.peers import Peer
from mitmgate.serve.waiting import Given

BY_A_PERSON = frozenset({"console", "shell", "api"})


def named(asked: DecideRequest, peer: Peer | None) -> DecideRequest:
    """Return *asked* with a name for the operator, that of the system's user where none is said."""
    if asked.operator is not None or peer is None:
        return asked
    return asked.model_copy(update={"operator": peer.name[:100]})


def given_by(asked: DecideRequest, peer: Peer | None) -> Given:
    """Return the answer that *asked* gives; *peer* sent it."""
    reason = asked.reason if asked.decision == "deny" else None
    return Given(asked.decision, asked.via, asked.operator, reason, asked.lasting,
                 None if asked.lasting == "once" else asked.on, None, asked.key,
                 None if peer is None else (peer.uid, peer.pid))  # fmt: skip


def is_an_answer(outcome: Outcome, resolution: Resolution) -> bool:
    """Tell whether *resolution* is one that the judge takes in.

    A question is remembered for the whole run, so only a person answers it: nobody being there
    in time is no "never". What a remembered answer or another policy lets go is judged again.
    """
    if resolution.via in ("remembered", "policy"):
        return resolution.answer == "deny" and outcome.question is None
    return outcome.question is None or resolution.via in BY_A_PERSON


def resolution_of(outcome: Outcome, given: Given, waited: float) -> Resolution:
    """Return what became of *outcome* by *given*, after so many seconds."""
    return Resolution(
        outcome.id, given.answer, given.via, given.operator, given.reason, waited,
        lasting=given.lasting, on=given.on, grant=given.grant, key=given.key,
        peer=given.peer,
    )  # fmt: skip


def unkept(outcome: Outcome, why: str) -> Resolution:
    """Return the denial of *outcome*, whose answer could not be kept."""
    return Resolution(outcome.id, "deny", "shutdown", None, why, 0.0)
