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
from mitmgate.judge.records import golden_line
from mitmgate.judge.state import Memory
from mitmgate.policy.verdict import Verdict
from mitmgate.record.scrub import Scans
from mitmgate.replay.capture import (
    CaptureLine,
    CloseLine,
    GrantLine,
    HeaderLine,
    InputLine,
    ResolutionLine,
    SwitchLine,
    UndoLine,
)
from mitmgate.replay.golden import Golden, golden_from
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


@dataclass(slots=True)
class Replayed:
    """What a replay gave, by the line of the input in the capture.

    ``superseded`` are inputs that an earlier denial of their exchange now prevents;
    ``uncertain`` those that rest on a body that was not stored, ``lost`` those of which even
    more is missing. ``closed`` tells whether the
    capture was written to its end.
    """

    outcomes: dict[int, Golden] = field(default_factory=dict)
    superseded: set[int] = field(default_factory=set)
    uncertain: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    inputs: int = 0
    exchanges: int = 0
    closed: bool = False


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
    run = _Run(judge_factory(header.shadow), scanner)
    for line in lines:
        match line:
            case InputLine():
                run.judge(line)
            case ResolutionLine():
                run.resolve(line)
            case GrantLine():
                run.remember(line)
            case UndoLine():
                run.answers.undo(line)
            case SwitchLine():
                run.switch(line)
            case CloseLine():
                run.result.closed = True
            case HeaderLine():
                raise TypeError("a capture has one header")
    return run.result


class _Run:
    """The state of one replay, by exchange."""

    def __init__(self, judge: ReplayJudge, scanner: Scans | None) -> None:
        self.result = Replayed()
        self._judge = judge
        self._scanner = scanner
        self._seen: set[int] = set()
        self._stopped: set[int] = set()
        self._doubtful: set[int] = set()
        self._asked: dict[int, dict[int, tuple[Outcome, Any]]] = {}
        self._targets: OrderedDict[int, tuple[Outcome, Target | None]] = OrderedDict()
        self.answers = Answers(judge.memory)

    def judge(self, line: InputLine) -> None:
        """Judge one input, unless a denial before it means that it never comes."""
        given, exchange = line.input, line.exchange
        self.result.inputs += 1
        if isinstance(given, EndInput):
            self._forget(exchange)
            self._judge.conclude(self._judge.prepare(given), now=line.at)
            return
        if exchange not in self._seen:
            self._seen.add(exchange)
            self.result.exchanges += 1
        if exchange in self._stopped:
            self.result.superseded.add(line.line)
            return
        if self._is_uncertain(line):
            self.result.uncertain.add(line.line)
        if line.lost:
            self.result.lost.add(line.line)
        if isinstance(given, RequestInput):
            self._asked.pop(exchange, None)  # judged again: a remembered answer let it go
        self._let_through(given, exchange)
        prepared = self._judge.prepare(given)
        outcome = self._judge.conclude(prepared, now=line.at)
        if outcome is not None:
            self._keep(line, outcome, prepared)

    def switch(self, line: SwitchLine) -> None:
        """Turn the kill switch as it was turned then."""
        self._judge.halt = Halt("replay", line.at) if line.on else None

    def resolve(self, line: ResolutionLine) -> None:
        """Give an operator's answer to the outcome that now asks in the same place."""
        asked = self._asked.get(line.exchange, {}).pop(line.asked, None)
        if asked is None:
            self._resolve_late(line)
            return
        outcome, prepared = asked
        self._judge.apply_resolution(outcome, line.answer)
        self.answers.asked(outcome)
        if line.answer == "deny" and outcome.question is None:
            self._stop(line.exchange, outcome, prepared)

    def remember(self, line: GrantLine) -> None:
        """Take in what an operator said for calls to come."""
        outcome, target = self._targets.get(line.asked, (None, None))
        if outcome is not None and target is not None:
            self.answers.remember(target, outcome, line)
        else:
            self.answers.count(line)

    def _resolve_late(self, line: ResolutionLine) -> None:
        """Take in an answer to a question that nobody waited for any more."""
        outcome, _ = self._targets.get(line.asked, (None, None))
        if outcome is not None and outcome.question is not None:
            self._judge.apply_resolution(outcome, line.answer)
            self.answers.asked(outcome)

    def _stop(self, exchange: int, outcome: Outcome, prepared: Any) -> None:
        instead = self._judge.stop(outcome, prepared, "")
        # What goes on in its place (a ping) has an answer that was recorded too.
        if instead is None and _before_answer(outcome):
            self._stopped.add(exchange)

    def _keep(self, line: InputLine, outcome: Outcome, prepared: Any) -> None:
        record = golden_line(outcome, line=line.line, exchange=line.exchange, scanner=self._scanner)
        self.result.outcomes[line.line] = golden_from(record)
        if outcome.effective is Verdict.ASK:
            self._asked.setdefault(line.exchange, {})[line.line] = outcome, prepared
            self._targets[line.line] = outcome, self._target(outcome, prepared)
            if len(self._targets) > _MOST_TARGETS:
                self._targets.popitem(last=False)
        if outcome.effective is Verdict.DENY:
            self._stop(line.exchange, outcome, prepared)

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
