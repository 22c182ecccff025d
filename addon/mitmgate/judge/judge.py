"""The one judgement path. Live traffic and replayed traffic go through this and nothing else.

``plan`` binds what a judgement needs to know now; what it returns is pure and may run in any
thread. ``conclude`` consults policy and memory and belongs on the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal, assert_never

from mitmgate.errors import WireError
from mitmgate.judge.agents import refusal_of
from mitmgate.judge.answers import judge_answer, judge_server
from mitmgate.judge.calls import brief, judge_client
from mitmgate.judge.context import Context
from mitmgate.judge.deciding import outcome_of
from mitmgate.judge.effects import Concluded, Weighed, on_surface, refused
from mitmgate.judge.halt import Halt, halted, subject_of
from mitmgate.judge.inputs import (
    AnswerInput,
    ConnectInput,
    DialInput,
    EndInput,
    EventInput,
    Input,
    MessageInput,
    RequestInput,
)
from mitmgate.judge.json_lines import prepare_line
from mitmgate.judge.limits import Limits
from mitmgate.judge.network import judge_connect, judge_dial
from mitmgate.judge.outcome import Kind, Outcome, Subject
from mitmgate.judge.prepare import (
    Lookup,
    Others,
    PreparedAnswer,
    PreparedMessage,
    PreparedRequest,
    prepare_answer,
    prepare_message,
    prepare_request,
)
from mitmgate.judge.remembered import with_ticket
from mitmgate.judge.replies import Reply, denials, reply_for
from mitmgate.judge.requests import judge_request
from mitmgate.judge.sockets import judge_message
from mitmgate.judge.state import Exchange, Memory
from mitmgate.judge.substitutes import Stoppable, substitute
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.engine import Scanner
from mitmgate.wire.edit import apply_edits
from mitmgate.wire.inventory import Inventory, Transport
from mitmgate.wire.jsonrpc import Batch, Request, RequestId
from mitmgate.wire.mirror import mirrored, rewritten
from mitmgate.wire.recognise import target_name
from mitmgate.wire.strictjson import encode_json
from mitmgate.wire.surfaces import DEFINING_METHODS, Surface

type Prepared = Stoppable | ConnectInput | DialInput | EndInput


class Judge:
    """Judge inputs in the order they came; holds the memory that later inputs need.

    ``shadow`` judges and records without enforcing, whatever the policy's own mode is. ``policy``
    may be replaced at any time: calls in flight keep the one that they began with. ``memory``
    belongs to the event loop. While ``halt`` is given everything is denied, shadow or not.
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
        self.memory = self._memory = Memory(self.limits)
        self.halt: Halt | None = None
        self._shadow = shadow

    @property
    def mode(self) -> Literal["enforce", "shadow"]:
        """What is done with verdicts: ``enforce`` or ``shadow``."""
        return "shadow" if self._shadow or self.policy.mode == "shadow" else "enforce"

    @property
    def inventory(self) -> Inventory:
        """The MCP servers that were seen."""
        return self._memory.inventory

    def plan(self, given: Input) -> Callable[[], Prepared]:
        """Return the pure half of judging *given*, ready to run in any thread."""
        match given:
            case RequestInput():
                return lambda: prepare_request(given, self.scanner, self.limits)
            case AnswerInput():
                lookup, others = self._lookup(given.exchange), self._others(given.exchange)
                return lambda: prepare_answer(given, lookup, self.scanner, self.limits, others)
            case EventInput():
                lookup, others = self._lookup(given.exchange), self._others(given.exchange)
                before = self._memory.tails(given.exchange)
                return lambda: prepare_line(given, lookup, self.scanner, others, before)
            case MessageInput():
                known, others = self._lookup(given.exchange), self._others(given.exchange)
                return lambda: prepare_message(given, known, self.scanner, others)
            case ConnectInput() | DialInput() | EndInput():
                return lambda: given
            case _:
                assert_never(given)

    def prepare(self, given: Input) -> Prepared:
        """Run the pure half of judging *given* here and now."""
        return self.plan(given)()

    def conclude(
        self, prepared: Prepared, *, now: float, steady: float | None = None
    ) -> Outcome | None:
        """Return the outcome, or None where there is nothing to record (a passed check).

        *now* is in seconds since the epoch, *steady* in monotonic ones (None: the same).
        """
        self._memory.now, self._memory.steady = now, now if steady is None else steady
        outcome = self._concluded(prepared)
        if outcome is None or not outcome.effective_edits or _text_of(prepared) is not None:
            return outcome
        return self.failure(
            outcome.exchange, outcome.kind, "cannot_edit",
            "what had to be changed is in a body that cannot be edited", subject=outcome.subject,
        )  # fmt: skip

    def _concluded(self, prepared: Prepared) -> Outcome | None:
        if self.halt is not None and not isinstance(prepared, PreparedRequest | EndInput):
            return self._halted(prepared)
        match prepared:
            case PreparedRequest():
                return self._conclude_request(prepared)
            case PreparedAnswer():
                return self._conclude_answer(prepared)
            case PreparedMessage():
                return self._conclude_message(prepared)
            case ConnectInput():
                refusal = judge_connect(self.policy, prepared)
                return self._network_outcome("connect", prepared.exchange, refusal)
            case DialInput():
                refusal = judge_dial(self.policy, prepared, self._memory.get(prepared.exchange))
                return self._network_outcome("dial", prepared.exchange, refusal)
            case EndInput():
                self._memory.end(prepared.exchange)
                return None
            case _:
                assert_never(prepared)

    def _halted(
        self, given: PreparedAnswer | PreparedMessage | ConnectInput | DialInput
    ) -> Outcome:
        if isinstance(given, ConnectInput | DialInput):
            key, kind = given.exchange, _network_kind(given)
        else:
            key, kind = given.input.exchange, _kind(given)
        exchange = self._memory.get(key)
        if exchange is None:
            subject = _NOBODY
            if isinstance(given, ConnectInput | DialInput):
                subject = subject_of(self.policy, given)
            exchange = self._memory.open(Exchange(subject, key))
        return self._outcome(kind, exchange, halted(exchange.subject))

    def apply_resolution(self, outcome: Outcome, answer: Literal["allow", "deny"]) -> None:
        """Take in an operator's answer to *outcome*; a question is remembered for this run."""
        if outcome.question is not None:
            self._memory.remember(outcome.question, answer)
        elif answer == "allow" and outcome.kind == "request":
            self._sent(outcome.exchange)
        if answer == "allow" and outcome.kind == "event":
            self._told(outcome.exchange)

    def stop(self, outcome: Outcome, prepared: Prepared, text: str) -> str | None:
        """Take in that *outcome* stopped *prepared*: by itself, or by a person's answer.

        Return the JSON that goes on to the other side in its place, None: nothing does. *text* is
        the sentence that is read there.
        """
        exchange = self._memory.get(outcome.exchange)
        if (
            exchange is None
            or self.halt is not None  # then not even a ping goes on
            or not exchange.mcp
            or not isinstance(prepared, PreparedRequest | PreparedAnswer | PreparedMessage)
        ):
            return None
        return substitute(self._context(exchange), outcome, prepared, text)

    def failure(
        self, exchange: str, kind: Kind, code: str, reason: str, *, subject: Subject | None = None
    ) -> Outcome:
        """Return the denial of *exchange* for a failure outside the rules, always enforced."""
        state = self._memory.get(exchange)
        if state is None:
            state = self._memory.open(Exchange(subject or _NOBODY, exchange))
        decision = Decision(Verdict.DENY, code, code, reason, f"Stopped by mitmgate: {reason}.")
        return self._outcome(kind, state, Concluded(state.subject, Weighed(decision)))

    def reply(self, outcome: Outcome, text: str, instead: str | None = None) -> Reply:
        """Return the HTTP answer that tells the client *text* instead of what was stopped.

        *instead* is what :meth:`stop` gave.
        """
        contact = self.policy.contact
        return reply_for(
            outcome, self._memory.get(outcome.exchange), text, instead, contact=contact
        )

    def denial(self, outcome: Outcome, text: str) -> str | None:
        """Return the JSON that denies what *outcome*'s exchange still waits for, None: nothing."""
        exchange = self._memory.get(outcome.exchange)
        if exchange is None or not exchange.mcp:
            return None
        message = denials(outcome, exchange, text)
        return None if message is None else encode_json(message)

    def edited(self, outcome: Outcome, prepared: Prepared) -> str | None:
        """Return the body's text with the edits of *outcome* made, None where there are none."""
        text = _text_of(prepared)
        if text is None or not outcome.effective_edits:
            return None
        return apply_edits(text, outcome.effective_edits)

    def mirrors(self, prepared: Prepared, text: str) -> Mapping[str, str]:
        """Return the values of the headers that mirror a request whose body becomes *text*."""
        if not isinstance(prepared, PreparedRequest):
            return {}
        exchange = self._memory.get(prepared.input.exchange)
        message, headers = prepared.body.message, prepared.input.head.headers
        if exchange is None or not exchange.modern or not isinstance(message, Request):
            return {}
        name = target_name(message.method, message.params)
        params = self._memory.params_of(exchange, name)
        return rewritten(mirrored(message, headers, params), text)

    def _others(self, key: str) -> Others:
        """Return what gives the tools of other servers than that of exchange *key*."""
        exchange = self._memory.get(key)
        if exchange is None:
            return tuple
        return partial(self._memory.other_tools, exchange)

    def _lookup(self, key: str) -> Lookup | None:
        """Return what gives the methods of the requests that answers on exchange *key* are for."""
        exchange = self._memory.get(key)
        if exchange is None or not exchange.mcp:
            return None

        def method_of(answer_id: RequestId | None) -> str:
            own = exchange.request.method if exchange.request is not None else ""
            if answer_id is None or (exchange.asked(answer_id) and exchange.request is not None):
                return own
            found = self._memory.find(exchange, answer_id)
            methods = {opened.method for opened in self._memory.alike(exchange, answer_id)}
            if found is None or (len(methods) > 1 and found.exchange != key):
                # Of several that it may answer, the one whose text is not taken on trust.
                methods -= DEFINING_METHODS
                return next(iter(sorted(methods)), own)
            return found.method

        return method_of

    def _context(self, exchange: Exchange) -> Context:
        return Context(self._policy_of(exchange), self._memory, exchange)

    def _policy_of(self, exchange: Exchange) -> Policy:
        """Return the policy that *exchange* began with, for as long as its calls are in flight.

        On a stream or a WebSocket each message is a new one.
        """
        lasting = exchange.stream or exchange.transport is Transport.WEBSOCKET
        return self.policy if lasting or exchange.policy is None else exchange.policy

    def _conclude_request(self, prepared: PreparedRequest) -> Outcome:
        exchange, concluded = judge_request(self.policy, self._memory, prepared)
        if self.halt is not None:
            concluded = halted(exchange.subject)
        concluded = with_ticket(self._memory, exchange, prepared, concluded)
        outcome = self._outcome("request", self._memory.open(exchange), concluded)
        if outcome.effective is Verdict.ALLOW:
            self._sent(exchange.key)
        return outcome

    def _sent(self, key: str) -> None:
        exchange = self._memory.get(key)
        if exchange is not None:
            self._memory.await_answers(exchange)

    def _told(self, key: str) -> None:
        exchange = self._memory.get(key)
        if exchange is not None:
            self._memory.open_channel(exchange)

    def _conclude_answer(self, prepared: PreparedAnswer) -> Outcome:
        exchange = self._memory.get(prepared.input.exchange)
        if exchange is None:
            return self.failure(prepared.input.exchange, _kind(prepared), "unmatched_answer",
                                "an answer to no open exchange")  # fmt: skip
        concluded = judge_answer(self._context(exchange), prepared)
        outcome = self._outcome(_kind(prepared), exchange, concluded)
        if outcome.effective is Verdict.ALLOW:
            self._told(exchange.key)
        return outcome

    def _conclude_message(self, prepared: PreparedMessage) -> Outcome:
        exchange = self._memory.get(prepared.input.exchange)
        if exchange is None:
            return self.failure(prepared.input.exchange, "message", "unmatched_answer",
                                "a message of no open exchange")  # fmt: skip
        context, message = self._context(exchange), prepared.body.message
        if not exchange.mcp:
            concluded = judge_message(context, prepared)
            if concluded is not None:
                return self._counted(self._outcome("message", exchange, concluded))
            prepared = _as_mcp(prepared)
        if not prepared.input.from_client:
            return self._outcome("message", exchange, judge_server(context, prepared))
        if message is None:
            problem = prepared.body.problem or WireError("parse_error", "not a JSON-RPC message")
            code = None if problem.code == "binary_message" else "parse_error"
            refusal = Weighed(refused(problem, code=code))
            concluded = Concluded(exchange.subject, refusal, prepared.findings)
            return self._outcome("message", exchange, concluded)
        revoked = refusal_of(self.policy, exchange.shown)
        if revoked is not None:  # since the connection was opened
            concluded = Concluded(exchange.subject, Weighed(revoked), prepared.findings)
        else:
            concluded = judge_client(context, message, prepared.findings)
        outcome = self._outcome("message", exchange, concluded)
        if outcome.effective is Verdict.ALLOW:
            for item in message.messages if isinstance(message, Batch) else (message,):
                if isinstance(item, Request):
                    self._memory.ask(exchange, brief(item))
        return outcome

    def _counted(self, outcome: Outcome) -> Outcome:
        """Return *outcome*; what goes out by it counts against its rule's budget."""
        exchange = self._memory.get(outcome.exchange)
        if exchange is not None and outcome.effective is Verdict.ALLOW:
            self._memory.count(exchange)
        return outcome

    def _network_outcome(
        self, kind: Kind, key: str, refusal: tuple[Subject, Decision] | None
    ) -> Outcome | None:
        if refusal is None:
            return None
        subject, decision = refusal
        exchange = self._memory.get(key) or self._memory.open(Exchange(subject, key))
        return self._outcome(kind, exchange, Concluded(subject, Weighed(decision)))

    def _outcome(self, kind: Kind, exchange: Exchange, concluded: Concluded) -> Outcome:
        policy = self._policy_of(exchange)
        shadow = self._shadow or policy.mode == "shadow"
        return outcome_of(kind, exchange, concluded, policy, shadow=shadow)


_NOBODY = Subject("", "egress", "", 0, "", "")


def _text_of(prepared: Prepared) -> str | None:
    if isinstance(prepared, ConnectInput | DialInput | EndInput):
        return None
    return prepared.body.text


def _as_mcp(prepared: PreparedMessage) -> PreparedMessage:
    """Return *prepared*, which was read as egress, as a message of MCP."""
    surface = Surface.ARGUMENTS if prepared.input.from_client else Surface.RESULTS
    return replace(prepared, findings=on_surface(prepared.findings, surface))


def _kind(prepared: PreparedAnswer | PreparedMessage) -> Kind:
    if isinstance(prepared, PreparedMessage):
        return "message"
    return "answer" if isinstance(prepared.input, AnswerInput) else "event"


def _network_kind(given: ConnectInput | DialInput) -> Kind:
    return "dial" if isinstance(given, DialInput) else "connect"
