"""Conclude on requests: which channel it is, what the policy says, what the findings add.

Order, the first that speaks decides: head and names; bytes with two readings; for MCP the
batch and header rules, then ``unknown_servers``, the rules, ``otherwise``; for the rest the
egress rules. Findings can then only make it stricter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice

from mitmgate.errors import WireError
from mitmgate.judge import a2a
from mitmgate.judge.agents import identify
from mitmgate.judge.authorization import with_authorization
from mitmgate.judge.batches import METHOD as BATCH
from mitmgate.judge.batches import MOST_MESSAGES
from mitmgate.judge.calls import brief, judge_client, shown_subject, unknown_server
from mitmgate.judge.context import Context
from mitmgate.judge.delegations import with_delegations
from mitmgate.judge.effects import Concluded, Weighed, on_surface, refused, weigh
from mitmgate.judge.egress import Judged, judge_egress, judge_opening, judged
from mitmgate.judge.egress_texts import HOST
from mitmgate.judge.handling import judge_unread
from mitmgate.judge.homes import without_logins
from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.outcome import Subject
from mitmgate.judge.overrides import with_overrides
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.decide import decide
from mitmgate.policy.load import Policy
from mitmgate.scan.finding import Finding
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.http import Headers
from mitmgate.wire.inventory import Transport
from mitmgate.wire.jsonrpc import Batch, Message, Request
from mitmgate.wire.mirror import header_mismatch, mirrored
from mitmgate.wire.recognise import (
    Recognition,
    is_modern,
    meta_version,
    protocol_version,
    target_name,
)
from mitmgate.wire.sessions import Channel
from mitmgate.wire.surfaces import Surface

# A body that no sender of MCP makes; still the answer is one that MCP clients read.
_UNREADABLE = frozenset({"unknown_encoding", "bad_encoding", "body_too_large"})
_SOCKET = "mcp"  # the WebSocket subprotocol of the SDKs
_NAMES = frozenset({HOST, "#header/host"})
_SECRET = frozenset({"secrets", "canary"})


def judge_request(policy: Policy, memory: Memory, prepared: PreparedRequest) -> Judged:
    """Decide on *prepared*; the exchange it gives is not in *memory* yet."""
    agent, refusal = identify(policy, prepared.input)
    exchange, concluded = _judge(policy, memory, prepared, agent)
    exchange.shown, exchange.policy = prepared.input.shown, policy
    if refusal is not None:
        return exchange, Concluded(exchange.subject, Weighed(refusal), concluded.findings)
    return exchange, with_overrides(Context(policy, memory, exchange), prepared, concluded)


def _judge(policy: Policy, memory: Memory, prepared: PreparedRequest, agent: str) -> Judged:
    request = prepared.input
    head = request.head
    endpoint = Endpoint(head.scheme, head.host, head.port, head.path)
    channel = memory.sessions.channel(endpoint, head.query)
    server = policy.server_for(head.scheme, head.host, head.port, head.path)
    if server is None and channel is not None:
        server = channel.server
    elif channel is not None and server != channel.server:
        channel = None  # the policy's own word on this URL counts
    exchange = Exchange(_subject(prepared, server, agent), request.exchange, endpoint)
    is_endpoint = server is not None or channel is not None or memory.endpoints.known(endpoint)
    if prepared.problem is not None and not _is_cut(prepared):
        return _judge_problem(prepared, prepared.problem, exchange, is_endpoint=is_endpoint)
    if _is_upgrade(request):
        return _judge_upgrade(policy, memory, prepared, exchange, is_endpoint=is_endpoint)
    if request.unread is not None:
        context = Context(policy, memory, exchange)
        return judge_unread(context, prepared, is_endpoint=is_endpoint)
    body = prepared.body
    if body.message is not None and (is_endpoint or prepared.recognition is Recognition.DEFINITE):
        _join(memory, exchange, request, channel)
        return _judge_message(policy, memory, prepared, exchange)
    if head.method == "POST" and (is_endpoint and not _is_elsewhere(policy, memory, prepared)):
        exchange.subject = replace(exchange.subject, channel="mcp")
        problem = body.problem or WireError("parse_error", "the body is not a JSON-RPC message")
        findings = _mcp_findings(prepared.findings, exchange.subject)
        return judged(exchange, Weighed(refused(problem, code="parse_error")), findings)
    if is_endpoint and _is_stream(request):
        _join(memory, exchange, request, channel)
        return _judge_stream(policy, memory, prepared, exchange)
    if body.problem is not None and body.suspect:
        # A sloppier parser upstream could run what we cannot read in one way.
        ambiguous = refused(body.problem, code="ambiguous_message")
        return judged(exchange, Weighed(ambiguous), prepared.findings)
    exchange.stream = _is_stream(request)
    return _judge_rest(Context(policy, memory, exchange), prepared)


def _judge_problem(
    prepared: PreparedRequest, problem: WireError, exchange: Exchange, *, is_endpoint: bool
) -> Judged:
    subject, findings = exchange.subject, prepared.findings
    if is_endpoint and problem.code in _UNREADABLE:
        exchange.subject = replace(subject, channel="mcp")
    findings = findings if subject.server is None else without_logins(findings)
    return judged(exchange, Weighed(refused(problem)), findings)


def _is_cut(prepared: PreparedRequest) -> bool:
    """Tell whether what could not be read is only not there: the rest of the body."""
    problem = prepared.problem
    cut = problem is not None and problem.code in ("malformed_multipart", "bad_encoding")
    return cut and prepared.input.unread is not None


def _judge_rest(context: Context, prepared: PreparedRequest) -> Judged:
    """Judge what is not MCP: by the egress rules, and by what it carries for MCP servers."""
    action = a2a.method_of(prepared)
    if action is not None:
        context.exchange.subject = replace(context.exchange.subject, tool=action)

    def plain(given: PreparedRequest) -> Judged:
        return judge_egress(context.policy, context.memory, given, context.exchange)

    def handing(given: PreparedRequest) -> Judged:
        return with_delegations(context, given, plain)

    return with_authorization(context, prepared, handing)


def _is_elsewhere(policy: Policy, memory: Memory, prepared: PreparedRequest) -> bool:
    """Tell whether this goes to a path that only a server's ``/**`` covers and is no message.

    OAuth endpoints often stand below such a URL; that traffic is egress.
    """
    head, body = prepared.input.head, prepared.body
    endpoint = Endpoint(head.scheme, head.host, head.port, head.path)
    readable = body.message is None and not body.suspect and prepared.problem is None
    exact = any(
        not url.below and url.path == head.path and head.port in url.ports
        for _, url in policy.servers_by_host.get(head.host, ())
    )
    return readable and not exact and not memory.endpoints.known(endpoint)


def _join(
    memory: Memory, exchange: Exchange, request: RequestInput, channel: Channel | None
) -> None:
    """Give *exchange* the conversation it belongs to."""
    endpoint, session_id = exchange.endpoint, request.head.get("mcp-session-id")
    if endpoint is None:
        return
    if channel is not None:
        exchange.session, exchange.transport = channel.session, Transport.SSE
        exchange.home = channel.home
    elif session_id:
        exchange.named = True
        exchange.session = memory.sessions.named(endpoint, session_id)
    else:
        exchange.session = memory.sessions.anonymous(exchange.subject.agent, endpoint)


def _judge_upgrade(
    policy: Policy,
    memory: Memory,
    prepared: PreparedRequest,
    exchange: Exchange,
    *,
    is_endpoint: bool,
) -> Judged:
    """Judge the opening of a WebSocket; every other upgrade is refused."""
    request = prepared.input
    if _is_socket(request) and not (is_endpoint or _offers_mcp(request)):
        return judge_opening(policy, memory, prepared, exchange)
    if not _is_socket(request):
        problem = WireError("upgrade_refused", "only a WebSocket, without a body, may be opened")
        findings = on_surface(prepared.findings, Surface.EGRESS_REQUEST)
        return judged(exchange, Weighed(refused(problem)), findings)
    exchange.transport = Transport.WEBSOCKET
    exchange.session = memory.sessions.socket(request.exchange)
    return _judge_stream(policy, memory, prepared, exchange)


def _subject(prepared: PreparedRequest, server: str | None, agent: str) -> Subject:
    head = prepared.input.head
    path = head.path[:300]
    secret = {f.pointer for f in prepared.findings if f.detector in _SECRET}
    if "#url" in secret:
        path = "/[redacted]"
    host, authority = head.host, head.authority
    if secret & _NAMES:
        host = f"[redacted].{'.'.join(host.split('.')[-2:])}"
        authority = authority.replace(head.host, host, 1)
    return Subject(
        agent=agent,
        channel="egress",
        host=host,
        port=head.port,
        endpoint=f"{head.scheme}://{authority}{path}",
        method=head.method[:40],
        server=server,
    )


def _judge_message(
    policy: Policy, memory: Memory, prepared: PreparedRequest, exchange: Exchange
) -> Judged:
    message = prepared.body.message
    headers = prepared.input.head.headers
    if message is None:
        raise ValueError("no message to judge")
    exchange.modern = is_modern(message, headers)
    exchange.batch = isinstance(message, Batch)
    exchange.requests = _requests_of(message)
    version = (protocol_version(message, headers) or "")[:40] or None
    exchange.subject = exchange.subject.in_mcp(version)
    findings = _mcp_findings(prepared.findings, exchange.subject)
    if isinstance(message, Batch):
        exchange.subject = replace(exchange.subject, method=BATCH)
    else:
        exchange.subject = shown_subject(exchange.subject, message, findings)
    if not prepared.body.utf8:
        problem = WireError("parse_error", "MCP messages are UTF-8 (RFC 8259 section 8.1)")
        return judged(exchange, Weighed(refused(problem)), findings)
    params = memory.params_of(exchange, _called(message))
    mismatch = _era_problem(message, headers, params)
    if mismatch is not None:
        return judged(exchange, Weighed(refused(mismatch)), findings)
    mirrors = mirrored(message, headers, params) if exchange.modern else {}
    findings = _without_mirrored(findings, mirrors)
    return exchange, judge_client(Context(policy, memory, exchange, prepared), message, findings)


def _era_problem(
    message: Message | Batch, headers: Headers, params: Mapping[str, str] | None
) -> WireError | None:
    """Return what revision 2026-07-28 refuses in *message*, or None."""
    is_call = isinstance(message, Request) and meta_version(message.params or {}) is None
    if is_call and is_modern(message, headers):
        return WireError("missing_meta", "the body does not name its protocol version")
    mismatch = header_mismatch(message, headers, params)
    return None if mismatch is None else WireError("header_mismatch", mismatch)


def _requests_of(message: Message | Batch) -> tuple[Request, ...]:
    items = message.messages if isinstance(message, Batch) else (message,)
    requests = (item for item in items if isinstance(item, Request))
    return tuple(brief(item) for item in islice(requests, MOST_MESSAGES))


def _called(message: Message | Batch) -> str | None:
    if isinstance(message, Request) and message.method == "tools/call":
        return target_name(message.method, message.params)
    return None


def _without_mirrored(
    findings: tuple[Finding, ...], mirrors: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Leave out what was found in a header and in the argument that it mirrors alike.

    An edit of the argument rewrites the header too, so it is not a second finding.
    """
    if not mirrors:
        return findings
    found = {(finding.pointer, finding.rule) for finding in findings}
    return tuple(
        finding
        for finding in findings
        if (mirrors.get(finding.pointer.removeprefix("#header/")), finding.rule) not in found
    )


def _judge_stream(
    policy: Policy, memory: Memory, prepared: PreparedRequest, exchange: Exchange
) -> Judged:
    head = prepared.input.head
    exchange.stream = head.method == "GET"
    if not exchange.stream:
        exchange.ends_session = head.get("mcp-session-id")
    method = "stream" if exchange.stream else "session/end"
    if exchange.transport is Transport.WEBSOCKET:
        method = "websocket"
    exchange.subject = replace(exchange.subject, channel="mcp", method=method)
    findings = _mcp_findings(prepared.findings, exchange.subject)
    asked = unknown_server(Context(policy, memory, exchange))
    if asked is not None:
        return judged(exchange, Weighed(asked[0]), findings, asked[1])
    call = Context(policy, memory, exchange).call(method, housekeeping=True)
    return judged(
        exchange, weigh(policy, decide(policy, call), findings, exchange.subject), findings
    )


def _is_stream(request: RequestInput) -> bool:
    head = request.head
    if request.body:
        return False
    if head.method == "GET":
        return "text/event-stream" in (head.get("accept") or "").lower()
    return head.method == "DELETE" and head.get("mcp-session-id") is not None


def _is_upgrade(request: RequestInput) -> bool:
    head = request.head
    return head.get("upgrade") is not None or head.get("sec-websocket-key") is not None


def _is_socket(request: RequestInput) -> bool:
    """Tell whether this opens a WebSocket and nothing else (RFC 6455 section 4.1)."""
    head = request.head
    upgrades = [value.strip().lower() for value in head.get_all("upgrade")]
    return head.method == "GET" and upgrades == ["websocket"] and not request.size and (
        head.get("sec-websocket-key") is not None
    )  # fmt: skip


def _offers_mcp(request: RequestInput) -> bool:
    offers = ",".join(request.head.get_all("sec-websocket-protocol"))
    return _SOCKET in (offer.strip() for offer in offers.split(","))


def _mcp_findings(findings: tuple[Finding, ...], subject: Subject) -> tuple[Finding, ...]:
    if subject.server is not None:
        findings = without_logins(findings)
    if not findings:
        return findings
    # The URL and the headers of a call leave the host as its arguments do.
    return tuple(
        replace(f, surface=Surface.ARGUMENTS) if f.pointer.startswith("#") else f for f in findings
    )
