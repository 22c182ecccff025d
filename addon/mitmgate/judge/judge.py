"""The one judgement path. Live traffic and replayed traffic go through this and nothing else.

``plan`` binds what a judgement needs to know now; what it returns is pure and may run in any
thread. ``conclude`` consults policy and memory and belongs on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, assert_never

from mitmgate.judge.answers import judge_answer
from mitmgate.judge.effects import Concluded, Weighed
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    Input,
    RequestInput,
)
from mitmgate.judge.limits import Limits
from mitmgate.judge.network import judge_connect, judge_dial
from mitmgate.judge.outcome import Kind, Outcome, Subject
from mitmgate.judge.prepare import (
    PreparedAnswer,
    PreparedRequest,
    prepare_answer,
    prepare_event,
    prepare_request,
)
from mitmgate.judge.replies import Reply, denial_message, reply_for
from mitmgate.judge.requests import judge_request
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.engine import Scanner
from mitmgate.wire.denial import denial_for_request
from mitmgate.wire.edit import apply_edits
from mitmgate.wire.jsonrpc import Failure, Notification, Request, Result
from mitmgate.wire.strictjson import encode_json

type Prepared = PreparedRequest | PreparedAnswer | ConnectInput | DialInput | EndInput

# Shadow covers rules and scanners only (DESIGN section 3): these decided nothing else.
_SHADOWED = frozenset(
    {"rule", "otherwise", "unknown_server", "housekeeping", "finding", "answer", "port"}
)


class Judge:
    """Judge inputs in the order they came; holds the memory that later inputs need.

    ``shadow`` judges and records without enforcing, whatever the policy's own mode is.
    """

    def __init__(
        self,
        policy: Policy,
        scanner: Scanner,
        *,
        limits: Limits | None = None,
        shadow: bool = False,
    ) -> None:
        self.policy = policy
        self.limits = limits or Limits()
        self.scanner = scanner
        self._memory = Memory(self.limits)
        self._shadow = shadow or policy.mode == "shadow"

    @property
    def mode(self) -> Literal["enforce", "shadow"]:
        """What is done with verdicts: ``enforce`` or ``shadow``."""
        return "shadow" if self._shadow else "enforce"

    def plan(self, given: Input) -> Callable[[], Prepared]:
        """Return the pure half of judging *given*, ready to run in any thread."""
        match given:
            case RequestInput():
                return lambda: prepare_request(given, self.scanner, self.limits)
            case AnswerInput():
                method = self._method(given.exchange)
                return lambda: prepare_answer(given, method, self.scanner, self.limits)
            case EventInput():
                method = self._method(given.exchange)
                return lambda: prepare_event(given, method, self.scanner)
            case ConnectInput() | DialInput() | EndInput():
                return lambda: given
            case _:
                assert_never(given)

    def prepare(self, given: Input) -> Prepared:
        """Run the pure half of judging *given* here and now."""
        return self.plan(given)()

    def conclude(
        self,
        prepared: Prepared,
        *,
        now: float,  # noqa: ARG002 - what depends on time asks for it here, never a clock
    ) -> Outcome | None:
        """Return the outcome, or None where there is nothing to record (a passed check)."""
        match prepared:
            case PreparedRequest():
                return self._conclude_request(prepared)
            case PreparedAnswer():
                return self._conclude_answer(prepared)
            case ConnectInput():
                refused = judge_connect(self.policy, prepared)
                return self._network_outcome("connect", prepared.exchange, refused)
            case DialInput():
                refused = judge_dial(self.policy, prepared, self._memory.get(prepared.exchange))
                return self._network_outcome("dial", prepared.exchange, refused)
            case EndInput():
                self._memory.end(prepared.exchange)
                return None
            case _:
                assert_never(prepared)

    def apply_resolution(self, outcome: Outcome, answer: Literal["allow", "deny"]) -> None:
        """Take in an operator's answer to *outcome*; a question is remembered for this run."""
        if outcome.question is not None:
            self._memory.remember(outcome.question, answer)
        elif answer == "allow" and outcome.kind == "request":
            self._sent(outcome.exchange)

    def failure(
        self, exchange: str, kind: Kind, code: str, reason: str, *, subject: Subject | None = None
    ) -> Outcome:
        """Return the denial of *exchange* for a failure outside the rules, always enforced."""
        state = self._memory.get(exchange)
        if state is None:
            state = Exchange(subject or _NOBODY)
            self._memory.open(exchange, state)
        decision = Decision(Verdict.DENY, code, code, reason, f"Stopped by mitmgate: {reason}.")
        return self._outcome(kind, exchange, state, Concluded(state.subject, Weighed(decision)))

    def reply(self, outcome: Outcome, text: str) -> Reply:
        """Return the HTTP answer that tells the client *text* instead of what was stopped."""
        return reply_for(outcome, self._memory.get(outcome.exchange), text)

    def replacement(self, outcome: Outcome, prepared: Prepared, text: str) -> str | None:
        """Return the JSON that stands in a stream for the event *outcome* stopped, None: drop it.

        Only an answer is replaced; a server's own message that was stopped is dropped, and so is
        an answer to nobody.
        """
        exchange = self._memory.get(outcome.exchange)
        if exchange is None or not exchange.mcp or not isinstance(prepared, PreparedAnswer):
            return None
        message = prepared.body.message
        if isinstance(message, Request | Notification) or outcome.code == "unmatched_answer":
            return None
        number = message.id if isinstance(message, Result | Failure) else None
        if number is None or exchange.asked(number):
            return self.denial(outcome, text)
        other = Request(number, outcome.subject.method)  # of another stream, answered on this one
        return encode_json(denial_for_request(other, text, modern=exchange.modern))

    def denial(self, outcome: Outcome, text: str) -> str | None:
        """Return the JSON that denies the request of *outcome*'s exchange, None if it had none."""
        exchange = self._memory.get(outcome.exchange)
        if exchange is None or not exchange.mcp:
            return None
        message = denial_message(outcome, exchange, text)
        return None if message is None else encode_json(message)

    def edited(self, outcome: Outcome, prepared: Prepared) -> str | None:
        """Return the body's text with the edits of *outcome* made, None where there are none."""
        if not outcome.edits or not outcome.enforced:
            return None
        if not isinstance(prepared, PreparedRequest | PreparedAnswer) or prepared.body.text is None:
            return None
        return apply_edits(prepared.body.text, outcome.edits)

    def _method(self, exchange: str) -> str | None:
        state = self._memory.get(exchange)
        return state.method if state is not None else None

    def _conclude_request(self, prepared: PreparedRequest) -> Outcome:
        exchange, concluded = judge_request(self.policy, self._memory, prepared)
        key = prepared.input.exchange
        outcome = self._outcome("request", key, self._memory.open(key, exchange), concluded)
        if outcome.effective is Verdict.ALLOW:
            self._sent(key)
        return outcome

    def _sent(self, exchange: str) -> None:
        state = self._memory.get(exchange)
        if state is not None:
            self._memory.await_answer(state)

    def _conclude_answer(self, prepared: PreparedAnswer) -> Outcome:
        key = prepared.input.exchange
        exchange = self._memory.get(key)
        if exchange is None:
            return self.failure(key, _kind(prepared), "unmatched_answer",
                                "an answer to no open exchange")  # fmt: skip
        concluded = judge_answer(self.policy, self._memory, prepared, exchange)
        return self._outcome(_kind(prepared), key, exchange, concluded)

    def _network_outcome(
        self, kind: Kind, key: str, refused: tuple[Subject, Decision] | None
    ) -> Outcome | None:
        if refused is None:
            return None
        subject, decision = refused
        exchange = self._memory.get(key) or self._memory.open(key, Exchange(subject))
        return self._outcome(kind, key, exchange, Concluded(subject, Weighed(decision)))

    def _outcome(self, kind: Kind, key: str, exchange: Exchange, concluded: Concluded) -> Outcome:
        weighed = concluded.weighed
        decision = weighed.decision
        touched = decision.verdict is not Verdict.ALLOW or bool(weighed.edits)
        return Outcome(
            exchange=key,
            number=exchange.next_number(),
            kind=kind,
            subject=concluded.subject,
            verdict=decision.verdict,
            rule=decision.rule,
            code=decision.code,
            reason=decision.reason,
            agent_reason=decision.agent_reason,
            policy=self.policy.hash,
            findings=concluded.findings,
            edits=weighed.edits,
            enforced=not (self._shadow and touched and decision.code in _SHADOWED),
            question=concluded.question,
        )


_NOBODY = Subject("", "egress", "", 0, "", "")


def _kind(prepared: PreparedAnswer) -> Kind:
    return "answer" if isinstance(prepared.input, AnswerInput) else "event"
