"""What a live replay compares of one exchange: the request, the answer, and what a denial says."""

from __future__ import annotations

from dataclasses import dataclass, field

from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.replies import Reply
from mitmgate.policy.verdict import Verdict
from mitmgate.replay.entries import InputLine
from mitmgate.serve.hearing import Client, Stream
from mitmgate.serve.plans import Plan
from mitmgate.serve.recorded import Arrival
from mitmgate.serve.witness import Seen, Witness, told

REACHED = "a request that is stopped reached the server"

type Told = tuple[int, int, str, bool]
"""Line and exchange of a difference, what it is, and whether it is weaker."""


@dataclass(slots=True)
class Playing:
    """An exchange that is being played; ``sent`` is its request, ``request`` what it comes to.

    ``again``: the question about its server was answered, and it was judged again.
    """

    number: int
    line: int
    plan: Plan
    sent: RequestInput
    visit: Client
    stream: Stream = field(default_factory=Stream)
    request: Seen | None = None
    dial: Seen | None = None
    arrival: Arrival | None = None
    begun: bool = False
    again: bool = False
    unsent: bool = False


class Differences:
    """Compares what came with what *witness* expects; ``told`` has what differs."""

    def __init__(self, witness: Witness) -> None:
        self.told: list[Told] = []
        self._witness = witness

    def tell(self, place: InputLine | Playing, what: str, *, weaker: bool = False) -> None:
        """Take in a difference."""
        number = place.exchange if isinstance(place, InputLine) else place.number
        self.told.append((place.line, number, what, weaker))

    def arrived(self, playing: Playing, *, dialled: bool) -> bool:
        """Compare what the server got, or the client in its place; tell whether it was stopped.

        *dialled*: somebody came to the server meanwhile.
        """
        passes, stopped = self.passes(playing)
        if playing.arrival is None:
            if passes:
                what = f"a request that passes never reached the server ({playing.visit.status})"
                self.tell(playing, what)
            elif dialled:
                what = "a server was dialled for a request that is stopped"
                self.tell(playing, what, weaker=True)
            elif stopped is not None and stopped.outcome.effective is Verdict.DENY:
                self.compare_reply(playing, stopped)
            return not passes
        if not passes:
            self.tell(playing, REACHED, weaker=True)
            playing.arrival.drop()
            playing.arrival = None
        elif playing.request is not None:
            self.compare_request(playing, playing.arrival, playing.request)
        return False

    def passes(self, playing: Playing) -> tuple[bool, Seen | None]:
        """Tell whether the request must reach the server, and what stopped it where it must not."""
        for seen in (playing.dial, playing.request):
            if seen is None:
                continue
            effective = seen.outcome.effective
            if effective is Verdict.DENY and seen.instead is None:
                return False, seen
            if effective is Verdict.ASK and not playing.plan.answered:
                return False, seen
        return True, None

    def compare_request(self, playing: Playing, got: Arrival, seen: Seen) -> None:
        """Compare what the server got with what *seen* lets go on."""
        sent, judge = playing.sent, self._witness
        text = seen.instead if seen.instead is not None else (
            judge.edited(seen.outcome, seen.prepared)
        )  # fmt: skip
        body = sent.body if text is None else text.encode()
        if (got.method, got.target) != (sent.head.method, sent.head.target):
            self.tell(playing, "the server got another method or target")
        if got.body != body:
            self.tell(playing, "the server got another body", weaker=text is not None)
        mirrored = {name: value for name, value in sent.head.headers if name.startswith("mcp-")}
        if text is not None:
            mirrored |= judge.mirrors(seen.prepared, text)
        came = dict(got.headers)
        if {name: came.get(name) for name in mirrored} != mirrored:
            self.tell(playing, "the server got other headers of MCP", weaker=text is not None)

    def denial_of(self, seen: Seen) -> Reply | None:
        """Return what a client must be told of *seen*; None where a person's words stand in it."""
        return self._witness.reply_to(seen) if seen.outcome.effective is Verdict.DENY else None

    def compare_reply(self, playing: Playing, seen: Seen) -> None:
        """Compare what the client got with what it must be told of *seen*, which was stopped."""
        reply, visit = self._witness.reply_to(seen), playing.visit
        if visit.is_refused() and visit.status not in (0, 200):
            return  # its tunnel was refused already: a browser's file does not tell of tunnels
        if visit.status != reply.status or told(bytes(visit.body)) != told(reply.body):
            what = f"the client was told otherwise of a denial ({visit.status}, not {reply.status})"
            self.tell(playing, what)
