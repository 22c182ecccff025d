"""Run recorded inputs through a judge and collect what it concludes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

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
from mitmgate.replay.golden import Golden, Key, Place, golden_from
from mitmgate.replay.remembered import Answers

_MOST_TARGETS = 5_000


class ReplayJudge(Protocol):
    """The part of ``judge.judge.Judge`` that a replay needs."""

    memory: Memory
    halt: Halt | None

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


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one input: its outcomes, a batch before its messages; none: it just passes.

    ``superseded``: an earlier denial of its exchange now prevents it. ``uncertain``: it rests on a
    body that was not stored; ``lost``: even more is missing.
    """

    line: InputLine
    outcomes: tuple[Golden, ...] = ()
    superseded: bool = False
    uncertain: bool = False
    lost: bool = False


@dataclass(slots=True)
class Replayed:
    """What a replay gave.

    ``superseded``, ``uncertain`` and ``lost`` are inputs, as in :class:`Judged`. ``lines`` tells
    where in the capture they stand. ``carried`` inputs are in none of these. ``cut`` counts the
    exchanges of which the end was not kept. ``closed`` tells whether the capture was written to
    its end.
    """

    outcomes: dict[Key, Golden] = field(default_factory=dict)
    superseded: set[Place] = field(default_factory=set)
    uncertain: set[Place] = field(default_factory=set)
    lost: set[Place] = field(default_factory=set)
    lines: dict[Place, int] = field(default_factory=dict)
    inputs: int = 0
    exchanges: int = 0
    cut: int = 0
    closed: bool = False

    def add(self, judged: Judged) -> None:
        """Count in what became of an input."""
        line = judged.line
        if line.carried:
            return
        place = line.exchange, line.message
        self.inputs += 1
        self.lines[place] = line.line
        for told, places in (
            (judged.superseded, self.superseded),
            (judged.uncertain, self.uncertain),
            (judged.lost, self.lost),
        ):
            if told:
                places.add(place)
        self.outcomes |= {outcome.key: outcome for outcome in judged.outcomes}


def replay(
    lines: Iterable[CaptureLine],
    judge_factory: Callable[[bool], ReplayJudge],
    scanner: Scans | None = None,
) -> Replayed:
    """Judge the inputs of *lines* in their order with a fresh judge; *scanner* as when captured.

    *judge_factory* is told whether the run enforced nothing.
    """
    lines = iter(lines)
    header = next(lines)
    if not isinstance(header, HeaderLine):
        raise TypeError("a capture begins with its header")
    run, result, seen = Run(judge_factory(header.shadow), scanner), Replayed(), set[int]()
    for line in lines:
        judged = run.take(line)
        if judged is not None:
            result.add(judged)
            if not line_is_end(judged.line) and not judged.line.carried:
                seen.add(judged.line.exchange)
        result.cut += isinstance(line, CutLine)
        result.closed = isinstance(line, CloseLine)
    result.exchanges = len(seen)
    return result


def line_is_end(line: InputLine) -> bool:
    """Tell whether *line* says that its exchange is over."""
    return isinstance(line.input, EndInput)


class Run:
    """One replay, line by line; its state is what the lines before gave to the *judge*."""

    def __init__(self, judge: ReplayJudge, scanner: Scans | None) -> None:
        self._judge = judge
        self._scanner = scanner
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
            case PolicyLine() | CloseLine():
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
            return Judged(line, superseded=True)
        uncertain = self._is_uncertain(line)
        if isinstance(given, RequestInput):
            self._asked.pop(exchange, None)  # judged again: a remembered answer let it go
        self._let_through(given, exchange)
        prepared = self._judge.prepare(given)
        outcome = self._judge.conclude(prepared, now=line.at)
        goldens = () if outcome is None else self._keep(line, outcome, prepared)
        return Judged(line, goldens, uncertain=uncertain, lost=line.lost)

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
        records = golden_lines(outcome, exchange=exchange, message=message, scanner=self._scanner)
        if outcome.effective is Verdict.ASK:
            self._asked.setdefault(exchange, {})[message] = outcome, prepared
            self._targets[exchange, message] = outcome, self._target(outcome, prepared)
            if len(self._targets) > _MOST_TARGETS:
                self._targets.popitem(last=False)
        if outcome.effective is Verdict.DENY:
            self._stop(exchange, outcome, prepared)
        return tuple(map(golden_from, records))

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

    def _is_uncertain(self, line: InputLine) -> bool:
        if isinstance(line.input, RequestInput) and line.incomplete:
            self._doubtful.add(line.exchange)
        after = isinstance(line.input, AnswerInput | EventInput | MessageInput)
        return line.incomplete or (after and line.exchange in self._doubtful)

    def _forget(self, exchange: int) -> None:
        self._doubtful.discard(exchange)
        self._asked.pop(exchange, None)
        self._stopped.discard(exchange)


def _before_answer(outcome: Outcome) -> bool:
    return outcome.kind in ("connect", "request", "dial")
