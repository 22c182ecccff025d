"""The OAuth traffic of named MCP servers: open where it belongs, and nowhere else.

An entry of ``servers`` opens its own origin and the hosts of its ``auth`` for the endpoints that
its metadata names, for requests of their kind; a host that only the metadata names asks once. Rules
for egress come first: these decide where none of them does. Source: MCP basic/authorization,
RFC 6749, 7009, 7591, 7662, 8414, 8628, 9126, 9728.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, weigh
from mitmgate.judge.homes import without_logins
from mitmgate.judge.oauth import METADATA, MOST_REQUEST, Role, form_fields, is_grant
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.state import Exchange
from mitmgate.policy.decide import agent_sentence, with_remembered
from mitmgate.policy.syntax import is_plain_path
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.endpoints import Endpoint

PROTOCOL = "oauth"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = frozenset({"revoke", "introspect", "par", "device"})
_NOUN = "authorization host"


@dataclass(frozen=True, slots=True)
class Traffic:
    """A request of OAuth: the named server it is for, what it is, and if its host is known.

    A host that only the metadata names is not: a server writes there what it likes.
    """

    server: str
    role: Role
    open: bool


def with_authorization(
    context: Context,
    prepared: PreparedRequest,
    judge: Callable[[PreparedRequest], tuple[Exchange, Concluded]],
) -> tuple[Exchange, Concluded]:
    """Return what *judge* says of *prepared*, or what is said of OAuth where no rule is for it."""
    exchange = context.exchange
    traffic = traffic_of(context, prepared)
    if traffic is None:
        return judge(prepared)
    known = traffic.open or context.memory.remembered(_question(context, traffic)) == "allow"
    if known:
        prepared = replace(prepared, findings=_leaving(prepared.findings, traffic))
    exchange, concluded = judge(prepared)
    concluded = _named(exchange, concluded, traffic) if known else concluded
    before = concluded.weighed.decision
    if before.code != "otherwise" or before.rule != "otherwise" or before.verdict is Verdict.ALLOW:
        return exchange, concluded
    decision = _decision(context, traffic)
    if before.floor > decision.verdict:
        return exchange, concluded
    decision = replace(decision, shadow=before.shadow, floor=before.floor)
    weighed = weigh(context.policy, decision, concluded.findings, exchange.subject)
    asks = weighed.decision.verdict is Verdict.ASK and weighed.decision.rule == decision.rule
    if asks:  # whoever says yes to it says that this is OAuth
        concluded = _named(exchange, concluded, traffic)
    question = _question(context, traffic) if asks else None
    return exchange, replace(concluded, weighed=weighed, question=question)


def _named(exchange: Exchange, concluded: Concluded, traffic: Traffic) -> Concluded:
    """Return *concluded* as said of *traffic*; the answer to *exchange* is judged as its answer."""
    exchange.subject = replace(
        concluded.subject, server=traffic.server, tool=f"{PROTOCOL}:{traffic.role}",
        protocol=PROTOCOL,
    )  # fmt: skip
    return replace(concluded, subject=exchange.subject)


def traffic_of(context: Context, prepared: PreparedRequest) -> Traffic | None:
    """Return what *prepared* is in the OAuth of a server that the policy names, or None."""
    policy, endpoint = context.policy, context.exchange.endpoint
    request = prepared.input
    if endpoint is None or len(request.body) > MOST_REQUEST or not is_plain_path(endpoint.path):
        return None
    led = context.memory.tokens.led(endpoint)
    if led is not None:
        home = led.home
        server = policy.server_for(home.scheme, home.host, home.port, home.path)
        if server is not None and _fits(led.role, prepared):
            return Traffic(server, led.role, _is_open(context, server, home, endpoint))
    for server, hosts in policy.auth_hosts.items():
        if endpoint.scheme == "https" and hosts.matches(endpoint.host):
            role = _shape_of(endpoint, prepared)
            if role is not None:
                return Traffic(server, role, open=True)
    return None


def _is_open(context: Context, server: str, home: Endpoint, endpoint: Endpoint) -> bool:
    policy = context.policy
    same = (home.scheme, home.host, home.port) == (endpoint.scheme, endpoint.host, endpoint.port)
    return same or (endpoint.scheme == "https" and (
        policy.auth_hosts[server].matches(endpoint.host) if server in policy.auth_hosts else False
    ))  # fmt: skip


def _shape_of(endpoint: Endpoint, prepared: PreparedRequest) -> Role | None:
    """Return what a request to a host of ``auth`` is by itself, before anything was learned."""
    path = endpoint.path
    if any(path == p or path.startswith(f"{p}/") or path.endswith(p) for p in METADATA):
        return "metadata" if _fits("metadata", prepared) else None
    return "token" if _fits("token", prepared) else None


def _fits(role: Role, prepared: PreparedRequest) -> bool:
    """Tell whether *prepared* is a request as the endpoint for *role* gets them."""
    head, text = prepared.input.head, prepared.body.text or ""
    if role in ("metadata", "jwks"):
        return head.method in _READS and not head.query and not prepared.input.body
    if role == "authorize":
        return head.method in _READS and not prepared.input.body
    if head.method == "OPTIONS":
        return not prepared.input.body
    if head.method != "POST" or head.query:
        return False
    if role == "token":
        return is_grant(text)
    if role in _FORMS:
        return bool(form_fields(text))
    return text.lstrip().startswith("{") and "json" in (head.get("content-type") or "").lower()


def _leaving(findings: tuple[Finding, ...], traffic: Traffic) -> tuple[Finding, ...]:
    """Return *findings* without the credentials that such a request is there to carry."""
    kept = without_logins(findings)
    if traffic.role in ("metadata", "jwks", "authorize"):
        return kept
    return tuple(f for f in kept if f.detector != "secrets" or f.pointer.startswith("#"))


def _question(context: Context, traffic: Traffic) -> str:
    endpoint = context.exchange.endpoint
    place = "" if endpoint is None else f"{endpoint.scheme}://{endpoint.host}:{endpoint.port}"
    return f"auth {context.exchange.subject.agent} {traffic.server} {place}"


def _decision(context: Context, traffic: Traffic) -> Decision:
    subject = context.exchange.subject
    if traffic.open:
        reason = f"the {traffic.role} endpoint of server {traffic.server}"
        return Decision(Verdict.ALLOW, "server-auth", "housekeeping", reason, "")
    reason = (
        f"the metadata of server {traffic.server} leads to {subject.host}, which is not in its auth"
    )
    told = agent_sentence(Verdict.ASK, _NOUN)
    decision = Decision(Verdict.ASK, "auth_host", "otherwise", reason, told)
    decision = with_remembered(decision, context.memory.remembered(_question(context, traffic)))
    if decision.verdict is Verdict.DENY:
        decision = replace(decision, agent_reason=agent_sentence(Verdict.DENY, _NOUN))
    return decision
