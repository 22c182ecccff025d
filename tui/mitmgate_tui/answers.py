"""Answers as they are sent, and what they came to in words."""

from __future__ import annotations

from typing import Literal

from mitmgate.control.models import Decided, DecideRequest
from mitmgate_tui.chosen import Seen
from mitmgate_tui.messages import Answer


def scoped_request(
    about: Seen,
    answer: Answer,
    *,
    lasting: Literal["session", "time", "ever"],
    seconds: int | None = None,
) -> DecideRequest:
    """Return an answer for more than once, for the scope that was seen."""
    scoped = about.scoped
    if scoped is None:
        raise ValueError("nothing of this call can be remembered")
    return DecideRequest(
        decision=answer, lasting=lasting, seconds=seconds, on=scoped.choice.on,
        names=scoped.names, prefix=scoped.prefix, key=about.key,
    )  # fmt: skip


def outcome_of(asked: DecideRequest, decided: Decided) -> str:
    """Say what an answer came to."""
    word = "✓ approved" if asked.decision == "allow" else "✗ denied"
    if decided.ticket is not None:
        return f"{word}, the agent's next try passes once"
    if asked.lasting == "once":
        word += " once" if asked.decision == "allow" else ""
    more = f" and {decided.released - 1} more" if decided.released > 1 else ""
    kept = f", remembered as {decided.grant}" if decided.grant else ""
    return f"{word}{more}{kept}"


def calls(count: int) -> str:
    """Spell a number of calls."""
    return f"{count} call" if count == 1 else f"{count} calls"
