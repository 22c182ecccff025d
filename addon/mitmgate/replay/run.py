"""Run recorded inputs through a judge and collect what it concludes."""

from __future__ import annotations

import marshal
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol

from mitmgate.hold.target import Target
from mitmgate.judge.fingerprint import target_of
from mitmgate.judge.halt import Halt
from mitmgate.judge.inputs import (
    AnswerInput,
    DialInput,
    EndInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
)
from mitmgate.judge.outcome import Outcome
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.records import golden_lines
from mitmgate.judge.state import Memory
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Verdict
from mitmgate.record.scrub import Scans
from mitmgate.replay.entries import (
    CaptureLine,
    CloseLine,
    CutLine,
    GrantLine,
    HeaderLine,
    InputLine,
    PolicyLine,
    ResolutionLine,
    SwitchLine,
    UndoLine,
)
from mitmgate.replay.golden import Golden, Place, golden_from
from mitmgate.replay.remembered import Answers
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.inventory import Transport
from mitmgate.wire.surfaces import DEFINING_METHODS

_MOST_TARGETS = 5_000
_MOST_BLURRED = 10_000
_MOST_LINES = 4_096


class ReplayJudge(Protocol):
    """The part of ``judge.judge.Judge`` that a replay needs."""

    memory: Memory
    halt: Halt | None
    policy: Policy

    def prepare(self, given: Input) -> Any:
        """Run the pure half."""
        ...

    def conclude(self, prepared: Any, *, now: float) -> Outcome | None:
        """Return the outcome, or None where there is nothing to record."""
        ...

    def apply_resolution(self, outcome: Outcome, answer: Literal["allow", "deny"]) -> None:
        """Take in an operator's answer."""
        ...

    def stop(self, outcome: Outcome, prepared: Any, text: str) -> str | None:
        """Take in that *outcome* stopped *prepared*."""
        ...


class Judged(NamedTuple):
    """What became of one input: its outcomes, a batch before its messages; none: it just passes.

    ``superseded``: an earlier denial of its exchange now prevents it. ``uncertain``: it rests on a
    body that was not stored; ``lost``: even more is missing. ``blurred``: what its server said of
    itself and its tools was not stored.
    """

    line: InputLine
    outcomes: tuple[Golden, ...] = ()
    superseded: bool = False
    uncertain: bool = False
    lost: bool = False
    blurred: bool = False


class Run:
    """One replay, line by line; its state is what the lines before gave to the *judge*.

    *adopt* takes the rules of the canaries that are looked for from then on.
    """

    def __init__(
        self,
        judge: ReplayJudge,
        scanner: Scans | None,
        adopt: Callable[[tuple[str, ...]], None] = lambda _: None,
    ) -> None:
        self._judge = judge
        self._lines = Lines(scanner)
        self._adopt = adopt
        self._blurred: OrderedDict[Endpoint, None] = OrderedDict()
        self._stopped: set[int] = set()
        self._doubtful: set[int] = set()
        self._asked: dict[int, dict[int, tuple[Outcome, Any]]] = {}
        self._targets: OrderedDict[Place, tuple[Outcome, Target | None]] = OrderedDict()
        self.answers = Answers(judge.memory)

    def take(self, line: CaptureLine) -> Judged | None:
        """Take in a line after the header; return what became of an input, else None."""
        match line:
            case InputLine():
                return self._judge_input(line)
            case ResolutionLine():
                self._resolve(line)
            case GrantLine():
                self._remember(line)
            case UndoLine():
                self.answers.undo(line)
            case SwitchLine():
                self._switch(line)
            case CutLine():
                self._doubtful.add(line.exchange)
                self._blur(line.exchange)
            case PolicyLine():
                self._adopt(line.canaries)
            case CloseLine():
                pass
            case HeaderLine():
                raise TypeError("a capture has one header")
        return None

    def _judge_input(self, line: InputLine) -> Judged:
        """Judge one input, unless a denial before it means that it never comes."""
        given, exchange = line.input, line.exchange
        if isinstance(given, EndInput):
            self._forget(exchange)
            self._judge.conclude(self._judge.prepare(given), now=line.at)
            return Judged(line)
        if exchange in self._stopped:
            return Judged(line, superseded=True, uncertain=exchange in self._doubtful)
        uncertain = self._is_uncertain(line)
        if isinstance(given, RequestInput):
            self._asked.pop(exchange, None)  # judged again: a remembered answer let it go
        self._let_through(given, exchange)
        prepared = self._judge.prepare(self._as_dialled(given))
        outcome = self._judge.conclude(prepared, now=line.at)
        blurred = self._is_blurred(exchange)
        if line.incomplete:
            self._blur(exchange)
            if isinstance(given, AnswerInput):
                self._settle(exchange)
        goldens = () if outcome is None else self._keep(line, outcome, prepared)
        return Judged(line, goldens, uncertain=uncertain, lost=line.lost, blurred=blurred)

    def _switch(self, line: SwitchLine) -> None:
        """Turn the kill switch as it was turned then."""
        self._judge.halt = Halt("replay", line.at) if line.on else None

    def _resolve(self, line: ResolutionLine) -> None:
        """Give an operator's answer to the outcome that now asks in the same place."""
        asked = self._asked.get(line.exchange, {}).pop(line.message, None)
        if asked is None:
            self._resolve_late(line)
            return
        outcome, prepared = asked
        self._judge.apply_resolution(outcome, line.answer)
        self.answers.asked(outcome)
        if line.answer == "deny" and outcome.question is None:
            self._stop(line.exchange, outcome, prepared)

    def _remember(self, line: GrantLine) -> None:
        """Take in what an operator said for calls to come."""
        outcome, target = self._targets.get((line.exchange, line.message), (None, None))
        if outcome is not None and target is not None:
            self.answers.remember(target, outcome, line)
        else:
            self.answers.count(line)

    def _resolve_late(self, line: ResolutionLine) -> None:
        """Take in an answer to a question that nobody waited for any more."""
        outcome, _ = self._targets.get((line.exchange, line.message), (None, None))
        if outcome is not None and outcome.question is not None:
            self._judge.apply_resolution(outcome, line.answer)
            self.answers.asked(outcome)

    def _stop(self, exchange: int, outcome: Outcome, prepared: Any) -> None:
        instead = self._judge.stop(outcome, prepared, "")
        # What goes on in its place (a ping) has an answer that was recorded too.
        if instead is None and _before_answer(outcome):
            self._stopped.add(exchange)

    def _keep(self, line: InputLine, outcome: Outcome, prepared: Any) -> tuple[Golden, ...]:
        exchange, message = line.exchange, line.message
        if outcome.effective is Verdict.ASK:
            self._asked.setdefault(exchange, {})[message] = outcome, prepared
            self._targets[exchange, message] = outcome, self._target(outcome, prepared)
            if len(self._targets) > _MOST_TARGETS:
                self._targets.popitem(last=False)
        if outcome.effective is Verdict.DENY:
            self._stop(exchange, outcome, prepared)
        return self._lines.of(outcome, exchange, message)

    def _target(self, outcome: Outcome, prepared: Any) -> Target | None:
        exchange = self._judge.memory.get(outcome.exchange)
        if exchange is None or not isinstance(prepared, PreparedRequest) or outcome.parts:
            return None
        return target_of(exchange, prepared)

    def _let_through(self, given: Input, exchange: int) -> None:
        # An answer came when this was recorded, so what asks now passed then. Without this
        # every answer to it would be judged as one to no request.
        if not isinstance(given, DialInput | AnswerInput | EventInput | MessageInput):
            return
        for outcome, _ in self._asked.pop(exchange, {}).values():
            if outcome.kind == "request":
                self._judge.apply_resolution(replace(outcome, question=None), "allow")

    def _as_dialled(self, given: Input) -> Input:
        """Return *given* with the address that the policy of now gives its name, if it does."""
        fixed = self._judge.policy.resolve(given.host) if isinstance(given, DialInput) else None
        if fixed is None or not isinstance(given, DialInput):
            return given
        return replace(given, addresses=(fixed,), static=True)

    def _is_uncertain(self, line: InputLine) -> bool:
        if isinstance(line.input, RequestInput) and line.incomplete:
            self._doubtful.add(line.exchange)
        after = isinstance(line.input, AnswerInput | EventInput | MessageInput)
        return line.incomplete or (after and line.exchange in self._doubtful)

    def _is_blurred(self, exchange: int) -> bool:
        if not self._blurred:
            return False
        found = self._judge.memory.get(str(exchange))
        return found is not None and found.endpoint in self._blurred

    def _blur(self, exchange: int) -> None:
        """Note that what a server tells of itself may have stood in what was not stored."""
        found = self._judge.memory.get(str(exchange))
        if found is None or not found.mcp or found.endpoint is None:
            return
        defining = any(request.method in DEFINING_METHODS for request in found.requests)
        if defining or found.stream or found.transport is Transport.WEBSOCKET:
            self._blurred[found.endpoint] = None
            if len(self._blurred) > _MOST_BLURRED:
                self._blurred.popitem(last=False)

    def _settle(self, exchange: int) -> None:
        """Take the requests of *exchange* for answered: what was not stored was their answer."""
        found = self._judge.memory.get(str(exchange))
        if found is not None:
            for request in found.requests:
                self._judge.memory.settle(found, request.id)

    def _forget(self, exchange: int) -> None:
        self._doubtful.discard(exchange)
        self._asked.pop(exchange, None)
        self._stopped.discard(exchange)


def _before_answer(outcome: Outcome) -> bool:
    return outcome.kind in ("connect", "request", "dial")


type _Looks = tuple[Hashable, ...]


def _looks(outcome: Outcome) -> _Looks:
    """Return what is the same for outcomes whose golden lines are."""
    subject, shadow = outcome.subject, outcome.shadow
    if outcome.findings or outcome.edits or outcome.floor_edits or outcome.parts:
        raw = golden_lines(outcome, exchange=0, message=0)
        return (marshal.dumps(raw, _WITHOUT_REFERENCES),)
    return (
        outcome.kind, subject.channel, subject.method, subject.server, subject.tool,
        outcome.verdict, outcome.rule, outcome.code, outcome.enforced, outcome.floor,
        shadow and (shadow.rule, shadow.verdict),
    )  # fmt: skip


_WITHOUT_REFERENCES = 2
"""The last version of marshal that writes equal values as equal bytes."""


class Lines:
    """Makes golden lines; those of outcomes that are alike are looked through for secrets once."""

    def __init__(self, scanner: Scans | None) -> None:
        self._scanner = scanner
        self._made: OrderedDict[_Looks, tuple[Golden, ...]] = OrderedDict()

    def of(self, outcome: Outcome, exchange: int, message: int) -> tuple[Golden, ...]:
        """Return the golden line of *outcome*, and one for each message of a batch after it."""
        key = _looks(outcome)
        made = self._made.get(key)
        if made is None:
            lines = golden_lines(outcome, exchange=0, message=0, scanner=self._scanner)
            made = self._made[key] = tuple(map(golden_from, lines))
            if len(self._made) > _MOST_LINES:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        # The message of each is 0, or 0.k in a batch.
        return tuple([one.at(exchange, f"{message}{one.message[1:]}") for one in made])
