"""What a live replay expects: the judgement in step, and inputs as this machine sends them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from mitmgate.judge.inputs import ConnectInput, DialInput, EventInput, Input, RequestInput, Tunnel
from mitmgate.judge.judge import Judge, Prepared
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.replies import Reply
from mitmgate.mitm.core import Judged
from mitmgate.serve.recorded import HERE
from mitmgate.serve.wording import withheld_of


@dataclass(slots=True)
class Seen:
    """The last conclusion of the predicting judge; ``instead`` goes on in the place of it."""

    outcome: Outcome
    prepared: Prepared
    instead: str | None = None


class Witness(Judge):
    """A judge that remembers its last conclusion, in the words that live traffic gets."""

    seen: Seen | None = None

    def conclude(
        self, prepared: Prepared, *, now: float, steady: float | None = None
    ) -> Outcome | None:
        """Conclude, and remember it."""
        outcome = super().conclude(prepared, now=now, steady=steady)
        if outcome is not None:
            self.seen = Seen(outcome, prepared)
        return outcome

    def stop(self, outcome: Outcome, prepared: Prepared, text: str) -> str | None:
        """Stop with the words of live traffic, and remember what goes on."""
        instead = super().stop(outcome, prepared, text or detail_of(outcome, prepared))
        if self.seen is not None and self.seen.outcome is outcome:
            self.seen.instead = instead
        return instead

    def reply_to(self, seen: Seen) -> Reply:
        """Return what a client is told of what was stopped."""
        return self.reply(seen.outcome, detail_of(seen.outcome, seen.prepared), seen.instead)


def detail_of(outcome: Outcome, prepared: Prepared) -> str:
    """Return the sentence that a client reads of what was stopped at once."""
    return withheld_of(Judged(outcome, prepared)) + outcome.agent_reason


def here(given: Input) -> Input:
    """Return *given* as it comes from this machine, through a regular proxy."""
    if isinstance(given, RequestInput):
        tunnel = given.tunnel or Tunnel(f"{given.head.host}:{given.head.port}", given.head.host)
        return replace(given, agent=HERE, shown=None, tunnel=tunnel)
    if isinstance(given, ConnectInput):
        return replace(given, agent=HERE, shown=None)
    return replace(given, agent=HERE) if isinstance(given, DialInput) else given


def block_of(given: EventInput) -> bytes:
    """Return the event as a server sends it (WHATWG HTML section 9.2.5)."""
    lines = [f": {note}" for note in given.notes]
    if given.event:
        lines += [f"event: {given.event}"] if given.event != "message" else []
        lines += [f"data: {line}" for line in given.data.split("\n")]
    return ("\n".join([*lines, "", ""])).encode()


def told(body: bytes) -> object:
    """Return what a denial says, without the number of the decision."""
    try:
        value = json.loads(body)
    except ValueError:
        return body
    return {**value, "id": None} if isinstance(value, dict) and "code" in value else value
