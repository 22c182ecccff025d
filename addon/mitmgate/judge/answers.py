"""Conclude on what servers send: whole answers, single events, WebSocket messages.

An answer is matched to its request per conversation and id, never by HTTP flow alone. What no
request asked for is refused; what the findings stop is replaced, and an answer to a
``tools/call`` then says that the tool *has run*.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from mitmgate.errors import WireError
from mitmgate.judge.authorization import PROTOCOL
from mitmgate.judge.batches import batch_problem, judge_batch
from mitmgate.judge.calls import unknown_server
from mitmgate.judge.channels import judge_endpoint_event
from mitmgate.judge.context import Context
from mitmgate.judge.delegations import learn_listed
from mitmgate.judge.effects import (
    ALLOWED,
    Concluded,
    Weighed,
    answer_refused,
    cannot_wait,
    weigh,
)
from mitmgate.judge.inputs import AnswerInput, EventInput
from mitmgate.judge.json_lines import NOT_LINES
from mitmgate.judge.oauth import MOST_ANSWER
from mitmgate.judge.pins import as_card, with_pins
from mitmgate.judge.prepare import PreparedAnswer, PreparedMessage
from mitmgate.judge.results import asks_inside, judge_failure, judge_result
from mitmgate.judge.state import Exchange
from mitmgate.policy.decide import decide, scan_effect, strictest
from mitmgate.policy.load import Policy
from mitmgate.policy.models_list import is_model_api
from mitmgate.policy.syntax import DETECTORS
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Swap
from mitmgate.wire.inventory import Transport
from mitmgate.wire.jsonrpc import Batch, Failure, Message, Notification, Request
from mitmgate.wire.recognise import Recognition, recognise, target_name
from mitmgate.wire.sessions import Open
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import Surface, definition_media

# What a model API tells of servers that it called, and agent cards (`walk_json`).
_TOLD = frozenset({Surface.DEFINITIONS, Surface.RESULTS})
_UNREAD = frozenset({"unknown_encoding", "bad_encoding", "body_too_large"})


def judge_answer(context: Context, prepared: PreparedAnswer) -> Concluded:
    """Decide on a whole answer, the head of one that is not read, or one event."""
    if _has_to_be_read(context, prepared.input):
        problem = WireError("body_too_large", "an answer of this kind is not passed on unread")
        return _refused(context.exchange, problem, prepared.findings)
    unlike = prepared.body.problem
    if unlike is not None and unlike.code == NOT_LINES:
        return _refused(context.exchange, unlike, prepared.findings)
    concluded = _judge(context, prepared)
    if prepared.tails is not None and concluded.weighed.decision.verdict is not Verdict.DENY:
        context.exchange.tails = prepared.tails
    # Nobody keeps what comes of a body that is not read.
    return concluded if _is_whole(prepared.input) else _at_once(concluded)


def _judge(context: Context, prepared: PreparedAnswer) -> Concluded:
    given, exchange, policy = prepared.input, context.exchange, context.policy
    if isinstance(given, EventInput) and given.event == "endpoint" and exchange.stream:
        concluded = judge_endpoint_event(context, given)
        if concluded is not None:
            weighed = weigh(
                policy, concluded.weighed.decision, prepared.findings, concluded.subject
            )
            return replace(concluded, weighed=weighed, findings=prepared.findings)
    if not exchange.mcp:
        early = _judge_early(context, prepared)
        if early is not None:
            return early
    if not exchange.mcp:
        card = as_card(context, prepared)
        return with_pins(context, card, _judge_egress(context, card))
    _join(context, given)
    _learn_challenge(context, prepared)
    body = prepared.body
    if _is_hidden_stream(prepared):
        problem = WireError("parse_error", "the answer could be read as an event stream")
        return _refused(exchange, problem, prepared.findings)
    if isinstance(given, EventInput) and given.event not in ("message", ""):
        # Every SDK ignores other event types on this transport; the text is scanned all the same.
        return _found(policy, exchange, prepared.findings)
    if body.message is not None:
        return _judge_messages(context, body.message, prepared.findings, given.head.status)
    if _may_be_message(prepared):
        problem = body.problem or WireError("parse_error", "the answer is not JSON-RPC")
        return _unreadable(exchange, problem, prepared.findings)
    return _found(policy, exchange, prepared.findings)


def _has_to_be_read(context: Context, given: AnswerInput | EventInput) -> bool:
    """Tell whether *given* was not read, though what it is for is judged by what it says."""
    if _is_whole(given):
        return False
    exchange = context.exchange
    known = exchange.mcp or exchange.subject.protocol is not None  # MCP, OAuth, agent cards
    streams = any("text/event-stream" in kind for kind in _kinds(given))
    return known or streams or definition_media(given.head.media_type)


def _kinds(given: AnswerInput | EventInput) -> Iterator[str]:
    return (value.lower() for name, value in given.head.headers if name == "content-type")


def _is_whole(given: AnswerInput | EventInput) -> bool:
    return isinstance(given, EventInput) or given.unread is None


def _judge_early(context: Context, prepared: PreparedAnswer) -> Concluded | None:
    """Look for MCP on a stream that no ``endpoint`` event announced, None: it may go on.

    Clients that read HTTP+SSE take messages that come before it.
    """
    exchange, message = context.exchange, prepared.body.message
    if not exchange.stream or not isinstance(prepared.input, EventInput) or message is None:
        return None
    if recognise(message, ()) is not Recognition.DEFINITE:
        return None
    exchange.subject = replace(exchange.subject, channel="mcp", method="stream")
    exchange.transport = Transport.SSE
    asked = unknown_server(context)
    if asked is None:
        return None
    return Concluded(exchange.subject, Weighed(cannot_wait(asked[0])), prepared.findings)


def judge_server(context: Context, prepared: PreparedMessage) -> Concluded:
    """Decide on a message that a server sent on a WebSocket: nothing waits there."""
    body = prepared.body
    if body.message is None:
        problem = body.problem or WireError("parse_error", "the message is not JSON-RPC")
        return _unreadable(context.exchange, problem, prepared.findings)
    concluded = _judge_messages(context, body.message, prepared.findings, 200)
    return _at_once(concluded)


def _at_once(concluded: Concluded) -> Concluded:
    weighed = concluded.weighed
    if weighed.decision.verdict is Verdict.ASK:
        weighed = replace(weighed, decision=cannot_wait(weighed.decision))
    return replace(concluded, weighed=weighed, parts=tuple(map(_at_once, concluded.parts)))


def _join(context: Context, given: AnswerInput | EventInput) -> None:
    """Take in what the head of an answer says of its conversation."""
    exchange, sessions = context.exchange, context.memory.sessions
    endpoint = exchange.endpoint
    if endpoint is None or exchange.joined is not None:
        return
    if isinstance(given, EventInput) and given.number > 0:
        return  # it has the head of the first
    named = given.head.get("mcp-session-id")
    if exchange.ends_session and given.head.status < 300:
        sessions.forget(endpoint, exchange.ends_session)
    elif named and exchange.named and exchange.session is not None:
        # It may have changed. Some clients follow, others stay with the first: both go on as one.
        sessions.rename(exchange.session, endpoint, named)
    elif named:
        exchange.joined = sessions.named(endpoint, named)


def _is_hidden_stream(prepared: PreparedAnswer) -> bool:
    """Tell whether a client could look for events in what we read as a whole answer."""
    # TypeScript clients ask whether the header *includes* "text/event-stream", and fetch joins
    # two Content-Type headers: "image/png;x=text/event-stream" is a stream of events to them.
    given = prepared.input
    return isinstance(given, AnswerInput) and bool(given.body) and (
        any("text/event-stream" in kind for kind in _kinds(given))
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


def _judge_messages(
    context: Context, message: Message | Batch, findings: tuple[Finding, ...], status: int
) -> Concluded:
    if not isinstance(message, Batch):
        return _judge_one(context, message, findings, status)
    problem = batch_problem(message)
    if problem is not None:
        return _refused(context.exchange, problem, findings)
    return judge_batch(
        message,
        context.exchange.subject,
        findings,
        lambda part, found: _judge_one(context, part, found, status),
    )


def _judge_one(
    context: Context, message: Message, findings: tuple[Finding, ...], status: int
) -> Concluded:
    exchange = context.exchange
    if isinstance(message, Request | Notification):
        return _judge_server_call(context, message, findings)
    opened = context.memory.settle(exchange, message.id)
    if opened is None and not (message.id is None and status >= 400):
        problem = WireError("unmatched_answer", "an answer to no request that is open")
        return _refused(exchange, problem, findings)
    if opened is None:
        return _found(context.policy, exchange, findings)
    if opened.swapped is not None:
        return _swapped(exchange, opened, opened.swapped)
    subject = exchange.subject
    if exchange.request is None or not exchange.asked(message.id):
        subject = replace(subject, method=opened.method[:100], tool=opened.shown)
    if isinstance(message, Failure):
        return judge_failure(context, message, subject, findings)
    return judge_result(context, opened, message, subject, findings)


def _swapped(exchange: Exchange, opened: Open, instead: str) -> Concluded:
    """Conclude on the answer to a ping that went on in the place of a denied request."""
    decision = Decision(
        Verdict.ALLOW,
        "ping_swap",
        "ping_swap",
        f"the client reads the denial of its {opened.method[:100]} instead of this answer",
        "",
    )
    subject = replace(exchange.subject, method="ping", tool=None)
    return Concluded(subject, Weighed(decision, (Swap("", instead),)))


def _judge_server_call(
    context: Context, message: Request | Notification, findings: tuple[Finding, ...]
) -> Concluded:
    """Judge what a server asks of or tells the client (sampling, elicitation, progress ...)."""
    exchange = context.exchange
    target = target_name(message.method, message.params)
    subject = exchange.subject.aimed(message.method[:100], (target or "")[:200] or None)
    told = isinstance(message, Notification)
    call = context.call(message.method, message.params, housekeeping=told)
    decision = decide(context.policy, call)
    asked = asks_inside(context, message.params)
    decision = strictest(decision, asked)
    weighed = weigh(context.policy, decision, findings, subject, below="/params")
    if isinstance(message, Request):
        session = exchange.conversation
        if session is not None:
            session.server.add(message.id, Open(message.method[:1000], exchange.key))
    return Concluded(subject, weighed, findings)


def _judge_egress(context: Context, prepared: PreparedAnswer) -> Concluded:
    policy, exchange = context.policy, context.exchange
    is_oauth = exchange.subject.protocol == PROTOCOL
    if is_oauth and _size(prepared) > MOST_ANSWER:
        too_large = WireError("body_too_large", f"an answer of more than {MOST_ANSWER} bytes")
        return _refused(exchange, too_large, ())
    _learn_metadata(context, prepared)
    learn_listed(context, prepared)
    # What a model says comes from its conversation: what was let in there is no news.
    model = is_model_api(exchange.subject.host)
    findings = tuple(
        f
        if f.surface in _TOLD
        else replace(
            f,
            surface=Surface.MODEL_REQUEST
            if model and f.detector == "injection"
            else Surface.EGRESS_RESPONSE,
        )
        for f in prepared.findings
        # Tokens are what was asked for here.
        if not (is_oauth and f.detector == "secrets")
    )
    problem = prepared.body.problem
    if problem is not None and problem.code in _UNREAD and _is_watched(policy):
        return _refused(exchange, problem, findings)
    return _found(policy, exchange, findings)


def _size(prepared: PreparedAnswer) -> int:
    given = prepared.input
    if isinstance(given, EventInput):
        return max(len(given.data), len(prepared.body.text or ""))
    return max(len(given.body), len(prepared.body.text or ""), given.unread or 0)


def _learn_challenge(context: Context, prepared: PreparedAnswer) -> None:
    head, endpoint = prepared.input.head, context.exchange.endpoint
    challenge = head.get("www-authenticate") if head.status in (401, 403) else None
    if challenge is not None and endpoint is not None:
        context.memory.tokens.challenged(endpoint, challenge)


def _learn_metadata(context: Context, prepared: PreparedAnswer) -> None:
    exchange, text, tokens = context.exchange, prepared.body.text, context.memory.tokens
    if exchange.endpoint is None or text is None or not tokens.is_metadata(exchange.endpoint):
        return
    if exchange.subject.method == "GET" and prepared.input.head.status == 200:
        with contextlib.suppress(WireError):
            tokens.learn(exchange.endpoint, parse_json(text))


def _is_watched(policy: Policy) -> bool:
    """Tell whether a finding in an egress answer could stop it: then it has to be readable."""
    return any(
        scan_effect(policy, detector, Surface.EGRESS_RESPONSE) != "log" for detector in DETECTORS
    )


def _found(policy: Policy, exchange: Exchange, findings: tuple[Finding, ...]) -> Concluded:
    weighed = weigh(policy, ALLOWED, findings, exchange.subject)
    return Concluded(exchange.subject, weighed, findings)


def _refused(exchange: Exchange, problem: WireError, findings: tuple[Finding, ...]) -> Concluded:
    return Concluded(exchange.subject, Weighed(answer_refused(problem)), findings)


def _unreadable(exchange: Exchange, problem: WireError, findings: tuple[Finding, ...]) -> Concluded:
    code = "binary_message" if problem.code == "binary_message" else "parse_error"
    return Concluded(exchange.subject, Weighed(answer_refused(problem, code=code)), findings)
