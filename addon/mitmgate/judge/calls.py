"""Conclude on what clients send to MCP servers: one message, or each of a batch.

The same for every transport: a POST of streamable HTTP, a POST of HTTP+SSE, a WebSocket message.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

from mitmgate.errors import WireError
from mitmgate.judge.batches import batch_problem, judge_batch
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, Weighed, cannot_wait, refused, weigh
from mitmgate.judge.opaque import without_state
from mitmgate.judge.outcome import Subject
from mitmgate.judge.remembered import CODE, remembered_call
from mitmgate.judge.state import Exchange
from mitmgate.policy.decide import conceal_poisoned, decide, decide_unknown, with_remembered
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.edit import Swap
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.inventory import Transport
from mitmgate.wire.jsonrpc import Batch, Failure, Message, Request, Result
from mitmgate.wire.recognise import target_name
from mitmgate.wire.sessions import key_of

_LONGEST_KEPT = 1000  # characters of a name: it is remembered until its answer came
_NONE_SENT = "One message of this batch was stopped, so none was sent. "


def judge_client(
    context: Context, message: Message | Batch, findings: tuple[Finding, ...]
) -> Concluded:
    """Decide on what a client sends, an unknown server first."""
    exchange = context.exchange
    problem = batch_problem(message) if isinstance(message, Batch) else None
    if problem is not None:
        return Concluded(exchange.subject, Weighed(refused(problem)), findings)
    asked = unknown_server(context)
    if asked is not None:
        decision, question = asked
        if exchange.transport is Transport.WEBSOCKET and decision.verdict is Verdict.ASK:
            return Concluded(exchange.subject, Weighed(cannot_wait(decision)), findings)
        return Concluded(exchange.subject, Weighed(decision), findings, question)
    if not isinstance(message, Batch):
        return _judge_one(context, message, findings)
    return judge_batch(
        message,
        exchange.subject,
        findings,
        lambda part, found: _judge_one(context, part, found),
        told=_NONE_SENT,
    )


def _judge_one(context: Context, message: Message, findings: tuple[Finding, ...]) -> Concluded:
    exchange, policy = context.exchange, context.policy
    subject = shown_subject(exchange.subject, message, findings)
    if isinstance(message, Result | Failure):
        return _judge_answer(context, message, findings)
    if isinstance(message, Request):
        exchange.aims[key_of(message.id)] = subject.tool
    findings = without_state(context, message, findings)
    decision = decide(policy, context.call(message.method, message.params))
    poison = context.memory.poisoned(
        exchange, message.method, target_name(message.method, message.params)
    )
    if poison is not None and not decision.hidden:
        decision = conceal_poisoned(decision, message.method, poison)
    decision, grant = remembered_call(context, decision, message)
    weighed = weigh(policy, decision, findings, subject, below="/params")
    if grant is not None and weighed.decision.code == CODE:
        weighed = replace(weighed, grant=grant)
    waits = isinstance(message, Request) and exchange.transport is not Transport.WEBSOCKET
    if not waits and weighed.decision.verdict is Verdict.ASK:
        weighed = replace(weighed, decision=cannot_wait(weighed.decision))
    saw(context, called=message.method == "tools/call")
    return Concluded(subject, weighed, findings)


def _judge_answer(
    context: Context, message: Result | Failure, findings: tuple[Finding, ...]
) -> Concluded:
    """Judge a client's answer to a server's request, which was decided when it came."""
    exchange, policy = context.exchange, context.policy
    subject = replace(exchange.subject, method="response", tool=None)
    opened = None
    if message.id is not None and exchange.session is not None:
        pong = isinstance(message, Result) and message.result == {}
        opened = exchange.session.server.settle(message.id, exchange.key, pong=pong)
    if opened is None:
        problem = WireError("unmatched_answer", "an answer to no request that the server made")
        return Concluded(subject, Weighed(refused(problem)), findings)
    if message.id is not None:
        exchange.answering[key_of(message.id)] = opened
    if opened.swapped is not None:
        decision = Decision(
            Verdict.ALLOW,
            "ping_swap",
            "ping_swap",
            f"the server reads a refusal of its {opened.method[:100]} instead of this answer",
            "",
        )
        return Concluded(subject, Weighed(decision, (Swap("", opened.swapped),)))
    decision = decide(policy, context.call("response", housekeeping=True))
    weighed = weigh(policy, decision, findings, subject)
    if weighed.decision.verdict is Verdict.ASK:
        weighed = Weighed(cannot_wait(weighed.decision), weighed.edits)
    return Concluded(subject, weighed, findings)


def brief(request: Request) -> Request:
    """Return *request* with no more of its params than what it aims at."""
    params = request.params or {}
    kept: dict[str, Any] = {
        key: params[key][:_LONGEST_KEPT]
        for key in ("name", "uri")
        if isinstance(params.get(key), str)
    }
    if "cursor" in params:
        kept["cursor"] = ""
    return Request(request.id, request.method[:_LONGEST_KEPT], kept)


def shown_subject(subject: Subject, message: Message, findings: tuple[Finding, ...]) -> Subject:
    """Return *subject* with what *message* is and aims at, as far as it may be shown."""
    return subject.aimed(_shown_method(message, findings), _shown_target(message, findings))


def _shown_method(message: Message, findings: tuple[Finding, ...]) -> str:
    if isinstance(message, Result | Failure):
        return "response"
    secret = any(f.pointer == "#method" and f.detector in ("secrets", "canary") for f in findings)
    return "[redacted]" if secret else message.method[:100]


def _shown_target(message: Message, findings: tuple[Finding, ...]) -> str | None:
    if not isinstance(message, Request):
        return None
    name = target_name(message.method, message.params)
    if name is None:
        return None
    if any(f.pointer in ("/params/name", "/params/uri") for f in findings):
        return "[redacted]"
    if message.method == "resources/read":  # a query may carry a key, and so may userinfo
        scheme, mark, rest = name.partition("?")[0].partition("://")
        name = f"{scheme}{mark}{rest.rpartition('@')[2]}"
    return name[:200]


def unknown_server(context: Context) -> tuple[Decision, str] | None:
    """Return the decision on an endpoint that no server names, None when it may go on."""
    exchange, memory = context.exchange, context.memory
    if exchange.subject.server is not None or exchange.endpoint is None:
        return None
    saw(context)
    home, url = _home(exchange)
    decision = decide_unknown(context.policy, url)
    question = question_of(exchange.subject.agent, home)
    decision = with_remembered(decision, memory.remembered(question))
    if decision.verdict is not Verdict.ALLOW:
        return decision, question
    return denied_before(context, exchange.endpoint)


def denied_before(context: Context, endpoint: Endpoint) -> tuple[Decision, str] | None:
    """Return the denial of an *endpoint* without a name that an operator denied by itself.

    The stream that tells of it lends it its own approval, and nothing more.
    """
    subject = context.exchange.subject
    question = question_of(subject.agent, endpoint)
    if subject.server is not None or context.memory.remembered(question) != "deny":
        return None
    return replace(decide_unknown(context.policy, subject.endpoint), verdict=Verdict.DENY), question


def question_of(agent: str, endpoint: Endpoint) -> str:
    """Return the question whether *agent* may speak MCP to *endpoint*, which no server names."""
    # What is shown of a URL may be cut short or redacted; an answer is for this very one.
    path = hashlib.sha256(endpoint.path.encode("utf-8", "replace")).hexdigest()[:16]
    return f"server {agent} {endpoint.scheme}://{endpoint.host}:{endpoint.port} {path}"


def saw(context: Context, *, called: bool = False) -> None:
    """Note in the inventory that the server of this exchange was spoken to."""
    exchange, subject = context.exchange, context.exchange.subject
    if exchange.endpoint is None:
        return
    home, url = _home(exchange)
    context.memory.inventory.saw(
        home,
        url=url,
        agent=subject.agent,
        server=subject.server,
        transport=exchange.transport,
        now=context.memory.now,
        protocol_version=subject.protocol_version,
        called=called,
    )


def _home(exchange: Exchange) -> tuple[Endpoint, str]:
    """Return the endpoint that stands for the server, and its URL as it is shown."""
    if exchange.endpoint is None:
        raise ValueError("an exchange without an endpoint")
    # What is posted to an HTTP+SSE server belongs to the URL of its stream.
    return exchange.home or (exchange.endpoint, exchange.subject.endpoint)
