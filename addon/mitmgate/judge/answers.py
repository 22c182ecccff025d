"""Conclude on what servers send: whole answers and single events of a stream.

An answer is matched to its request by endpoint, agent and id, never by HTTP flow alone. What
no request asked for is refused; what the findings stop is replaced, and an answer to a
``tools/call`` then says that the tool *has run*.
"""

from __future__ import annotations

from dataclasses import replace

from mitmgate.errors import WireError
from mitmgate.judge.effects import Concluded, Weighed, on_surface, weigh
from mitmgate.judge.inputs import AnswerInput, EventInput
from mitmgate.judge.prepare import PreparedAnswer
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.decide import Call, decide, scan_effect
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.jsonrpc import Batch, Failure, Notification, Request, Result
from mitmgate.wire.recognise import is_housekeeping, target_name
from mitmgate.wire.surfaces import Surface

_ALLOWED = Decision(Verdict.ALLOW, "answer", "answer", "an answer to an allowed request", "")
_UNREAD = frozenset({"unknown_encoding", "bad_encoding", "body_too_large"})
_PROOF = frozenset(
    {"initialize", "server/discover", "tools/list", "prompts/list", "resources/list"}
)


def judge_answer(
    policy: Policy, memory: Memory, prepared: PreparedAnswer, exchange: Exchange
) -> Concluded:
    """Decide on a whole answer or one event."""
    if not exchange.mcp:
        return _judge_egress(policy, prepared, exchange)
    body = prepared.body
    if _is_hidden_stream(prepared):
        problem = WireError("parse_error", "the answer could be read as an event stream")
        return _refused(exchange, problem, prepared.findings)
    if isinstance(prepared.input, EventInput) and prepared.input.event not in ("message", ""):
        # Every SDK ignores other event types on this transport; the text is scanned all the same.
        return _found(policy, exchange, prepared.findings)
    if body.message is not None:
        return _judge_message(policy, memory, prepared, exchange)
    if _may_be_message(prepared):
        problem = body.problem or WireError("parse_error", "the answer is not JSON-RPC")
        return _refused(exchange, replace_code(problem, "parse_error"), prepared.findings)
    return _found(policy, exchange, prepared.findings)


def replace_code(problem: WireError, code: str) -> WireError:
    """Return *problem* under another *code*."""
    return WireError(code, str(problem), rpc_code=problem.rpc_code)


def _is_hidden_stream(prepared: PreparedAnswer) -> bool:
    """Tell whether a client could look for events in what we read as a whole answer."""
    # TypeScript clients ask whether the header *includes* "text/event-stream", and fetch joins
    # two Content-Type headers: "image/png;x=text/event-stream" is a stream of events to them.
    given = prepared.input
    kinds = (value.lower() for name, value in given.head.headers if name == "content-type")
    return isinstance(given, AnswerInput) and bool(given.body) and (
        any("text/event-stream" in kind for kind in kinds)
    )  # fmt: skip


def _may_be_message(prepared: PreparedAnswer) -> bool:
    """Tell whether an SDK could read this as a JSON-RPC message, though we could not."""
    given = prepared.input
    if isinstance(given, EventInput):
        return given.data != ""
    if prepared.body.problem is not None:
        # An error status may carry any JSON (an API's own error object); a result may not.
        return given.head.status < 400 or prepared.body.suspect
    return given.head.media_type == "application/json" and bool(given.body) and (
        given.head.status < 300
    )  # fmt: skip


def _judge_message(
    policy: Policy, memory: Memory, prepared: PreparedAnswer, exchange: Exchange
) -> Concluded:
    message = prepared.body.message
    match message:
        case Result() | Failure():
            return _judge_result(policy, memory, prepared, exchange, message)
        case Request() | Notification():
            return _judge_server_call(policy, prepared, exchange, message)
        case Batch() | None:
            problem = WireError("batch_refused", "JSON-RPC batches are refused")
            return _refused(exchange, problem, prepared.findings)


def _judge_result(
    policy: Policy,
    memory: Memory,
    prepared: PreparedAnswer,
    exchange: Exchange,
    message: Result | Failure,
) -> Concluded:
    again = exchange.answered and exchange.asked(message.id)
    asked = None if again else memory.settle(exchange, message.id)
    status = prepared.input.head.status
    if asked is None and not (message.id is None and status >= 400):
        problem = WireError("unmatched_answer", "an answer to no request that is open")
        return _refused(exchange, problem, prepared.findings)
    if exchange.asked(message.id):
        exchange.answered = True
    if asked in _PROOF and isinstance(message, Result) and exchange.endpoint is not None:
        memory.endpoints.learn(
            exchange.endpoint, protocol_version=exchange.subject.protocol_version
        )
    return _found(policy, exchange, prepared.findings, _answered(exchange, message, asked))


def _answered(exchange: Exchange, message: Result | Failure, asked: str | None) -> Request | None:
    """Return the request that *message* answers where it is another than the exchange's own."""
    if asked is None or message.id is None or exchange.asked(message.id):
        return None
    return Request(message.id, asked)


def _judge_server_call(
    policy: Policy, prepared: PreparedAnswer, exchange: Exchange, message: Request | Notification
) -> Concluded:
    """Judge what a server asks of or tells the client (sampling, elicitation, progress ...)."""
    subject = replace(
        exchange.subject,
        method=message.method[:100],
        tool=(target_name(message.method, message.params) or "")[:200] or None,
    )
    call = Call(
        agent=subject.agent,
        server=subject.server,
        method=message.method,
        tool=target_name(message.method, message.params),
        params=message.params,
        housekeeping=isinstance(message, Notification) or is_housekeeping(message.method),
    )
    weighed = weigh(policy, decide(policy, call), prepared.findings)
    return Concluded(subject, weighed, prepared.findings)


def _judge_egress(policy: Policy, prepared: PreparedAnswer, exchange: Exchange) -> Concluded:
    findings = on_surface(prepared.findings, Surface.EGRESS_RESPONSE)
    problem = prepared.body.problem
    if problem is not None and problem.code in _UNREAD and _is_watched(policy):
        return _refused(exchange, problem, findings)
    return _found(policy, exchange, findings)


def _is_watched(policy: Policy) -> bool:
    """Tell whether a finding in an egress answer could stop it: then it has to be readable."""
    return any(
        scan_effect(policy, detector, Surface.EGRESS_RESPONSE) != "log"
        for detector in ("secrets", "injection")
    )


def _found(
    policy: Policy,
    exchange: Exchange,
    findings: tuple[Finding, ...],
    other: Request | None = None,
) -> Concluded:
    subject = exchange.subject
    if other is not None:
        subject = replace(subject, method=other.method[:100], tool=None)
    return Concluded(subject, weigh(policy, _ALLOWED, findings), findings)


def _refused(exchange: Exchange, problem: WireError, findings: tuple[Finding, ...]) -> Concluded:
    decision = Decision(
        Verdict.DENY,
        problem.code,
        problem.code,
        str(problem),
        f"The server's answer was refused: {problem}.",
    )
    return Concluded(exchange.subject, Weighed(decision), findings)
