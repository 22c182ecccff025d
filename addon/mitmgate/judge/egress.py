"""The judgement on a request that is not MCP: the egress rules, and what stands in its body."""

from __future__ import annotations

from dataclasses import replace

from mitmgate.judge.a2a import protocol_of
from mitmgate.judge.budgets import size_of
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, Weighed, on_surface, weigh
from mitmgate.judge.fragments import Carried
from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.narrowing import narrowed
from mitmgate.judge.oauth import without_grants
from mitmgate.judge.outcome import Subject
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.remembered import CODE, remembered_egress
from mitmgate.judge.state import Exchange, Memory, Opened
from mitmgate.policy.call import EgressCall
from mitmgate.policy.egress import connect_denied, decide_egress, deciding_egress, issues_tokens
from mitmgate.policy.hosts import tags_of
from mitmgate.policy.load import Policy
from mitmgate.policy.models_list import is_model_api
from mitmgate.policy.syntax import is_plain_path
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.entropy import is_encoded_name
from mitmgate.scan.finding import Finding
from mitmgate.wire.inventory import Transport
from mitmgate.wire.surfaces import Surface

_METADATA_PATHS = (
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
)

ENCODED_NAME = "encoded-name"
"""The tag of a request whose host or path holds what looks like data, and not like a name."""

UNREAD = "body-unread"
"""The tag of a request of whose body no more than the beginning was read."""

type Judged = tuple[Exchange, Concluded]


def judged(
    exchange: Exchange,
    weighed: Weighed,
    findings: tuple[Finding, ...],
    question: str | None = None,
) -> Judged:
    """Return *exchange* with what was concluded on its request."""
    return exchange, Concluded(exchange.subject, weighed, findings, question)


def judge_egress(
    policy: Policy, memory: Memory, prepared: PreparedRequest, exchange: Exchange
) -> Judged:
    """Decide on *prepared*, a request that is not MCP."""
    return _judge(Context(policy, memory, exchange), prepared, protocol_of(prepared))


def judge_opening(
    policy: Policy, memory: Memory, prepared: PreparedRequest, exchange: Exchange
) -> Judged:
    """Decide on *prepared*, which opens a WebSocket that is not MCP (RFC 6455 section 4.1)."""
    exchange.transport = Transport.WEBSOCKET
    found = _judge(Context(policy, memory, exchange), prepared, "websocket")
    decision = found[1].weighed.decision
    asked = decision.verdict is Verdict.ASK or decision.code == CODE
    call = _call(policy, prepared, exchange.subject.agent, "websocket")
    exchange.opened = Opened(replace(call, now=memory.now), asked)
    return found


def _judge(context: Context, prepared: PreparedRequest, protocol: str) -> Judged:
    policy, memory, exchange = context.policy, context.memory, context.exchange
    head, subject = prepared.input.head, exchange.subject
    exchange.subject = _shown(prepared, subject, protocol)
    found = (*prepared.findings, *begun_before(context, prepared.carried))
    findings = on_surface(found, surface_of(head.host))
    call = replace(_call(policy, prepared, subject.agent, protocol), now=memory.now)
    if exchange.endpoint is not None and findings and head.method == "POST":
        known = issues_tokens(policy, call) or memory.tokens.known(exchange.endpoint)
        findings = without_grants(prepared.body.text, findings) if known else findings
    decision = _decision(context, prepared, call)
    decision, grant = remembered_egress(context, decision, prepared)
    weighed = weigh(policy, decision, findings, exchange.subject)
    if grant is not None and weighed.decision.code == CODE:
        weighed = replace(weighed, grant=grant)
    return judged(exchange, weighed, findings)


def decision_on(context: Context, prepared: PreparedRequest) -> Decision:
    """Return what the rules say of *prepared*, which is not MCP and was judged before."""
    subject = context.exchange.subject
    call = _call(context.policy, prepared, subject.agent, subject.protocol or "http")
    decision = _decision(context, prepared, replace(call, now=context.memory.now))
    return remembered_egress(context, decision, prepared)[0]


def _shown(prepared: PreparedRequest, subject: Subject, protocol: str) -> Subject:
    head = prepared.input.head
    tags = tags_of(head.host)
    if is_encoded_name(head.host, head.path):
        tags = (*tags, ENCODED_NAME)
    if prepared.input.unread is not None:
        tags = (*tags, UNREAD)
    return replace(subject, protocol=None if protocol == "http" else protocol, tags=tags)


def _decision(context: Context, prepared: PreparedRequest, call: EgressCall) -> Decision:
    policy, request = context.policy, prepared.input
    # CONNECT asks for the port too, but plain HTTP comes without CONNECT.
    decision = connect_denied(policy, call.host, call.port) or decide_egress(policy, call)
    if _is_undecided(decision) and call.protocol == "http" and _is_server_metadata(policy, request):
        reason = "authorization metadata of a named server"
        decision = replace(decision, verdict=Verdict.ALLOW, rule="server-metadata",
                           code="housekeeping", reason=reason, agent_reason="")  # fmt: skip
    rule = deciding_egress(policy, call)
    size = size_of(request.head, request.size)
    context.exchange.cost = None if rule is None else size
    return narrowed(context, rule, decision, call, head=request.head)


def _is_undecided(decision: Decision) -> bool:
    """Tell whether no rule, of the policy or of its locked layer, stops what *decision* is on."""
    last = (decision.rule, decision.code) == ("otherwise", "otherwise")
    return last and decision.verdict is not Verdict.ALLOW and decision.floor is Verdict.ALLOW


def begun_before(context: Context, carried: Carried) -> tuple[Finding, ...]:
    """Return what *carried* completes of what went out before; it is kept until it goes out.

    Not for model APIs: each request there repeats the conversation.
    """
    exchange = context.exchange
    if exchange.endpoint is None or is_model_api(exchange.endpoint.host):
        return ()
    exchange.pieces = carried.pieces
    return context.memory.trails.findings(exchange.subject.agent, exchange.endpoint.host, carried)


def surface_of(host: str) -> Surface:
    """Return the surface of what is sent to *host*."""
    return Surface.MODEL_REQUEST if is_model_api(host) else Surface.EGRESS_REQUEST


def _call(policy: Policy, prepared: PreparedRequest, agent: str, protocol: str) -> EgressCall:
    head, groups = prepared.input.head, policy.agents.groups_of(agent)
    size = prepared.input.size
    return EgressCall(
        agent, head.host, head.port, head.method, head.path, groups, protocol=protocol, size=size
    )


def _is_server_metadata(policy: Policy, request: RequestInput) -> bool:
    """Tell whether this reads the authorization metadata of a named server's origin (RFC 9728)."""
    head = request.head
    return (
        head.method in ("GET", "HEAD", "OPTIONS")
        and not head.query
        and not request.size
        # "/.well-known/openid-configuration/../../admin" begins like metadata and is none.
        and is_plain_path(head.path)
        and any(head.path == p or head.path.startswith(p + "/") for p in _METADATA_PATHS)
        and policy.serves_origin(head.host, head.port)
    )
