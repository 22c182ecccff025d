"""Conclude on requests: which channel it is, what the policy says, what the findings add.

Order, the first that speaks decides: head and names; bytes with two readings; for MCP the
batch and header rules, then ``unknown_servers``, the rules, ``otherwise``; for the rest the
egress rules. Findings can then only make it stricter.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import islice

from mitmgate.errors import WireError
from mitmgate.judge.effects import Concluded, Weighed, on_surface, weigh
from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.outcome import Subject
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.decide import (
    Call,
    EgressCall,
    connect_denied,
    decide,
    decide_egress,
    decide_unknown,
)
from mitmgate.policy.load import Policy
from mitmgate.policy.models_list import is_model_api
from mitmgate.policy.syntax import is_plain_path
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.endpoints import Endpoint
from mitmgate.wire.jsonrpc import Batch, Failure, Notification, Request, Result
from mitmgate.wire.recognise import (
    Recognition,
    header_mismatch,
    is_housekeeping,
    is_modern,
    protocol_version,
    target_name,
)
from mitmgate.wire.surfaces import Surface

_METADATA_PATHS = (
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
)
# A body that no sender of MCP makes; still the answer is one that MCP clients read.
_UNREADABLE = frozenset({"unknown_encoding", "bad_encoding", "body_too_large"})
_MOST_ANSWERED = 100
_AGENT = "The operator's policy refused this request: "


type Judged = tuple[Exchange, Concluded]


def _judged(
    exchange: Exchange,
    weighed: Weighed,
    findings: tuple[Finding, ...],
    question: str | None = None,
) -> Judged:
    return exchange, Concluded(exchange.subject, weighed, findings, question)


def judge_request(policy: Policy, memory: Memory, prepared: PreparedRequest) -> Judged:
    """Decide on *prepared*; the exchange it gives is not in *memory* yet."""
    request = prepared.input
    head = request.head
    endpoint = Endpoint(head.scheme, head.host, head.port, head.path)
    server = policy.server_for(head.scheme, head.host, head.port, head.path)
    exchange = Exchange(_subject(prepared, server), endpoint)
    is_endpoint = server is not None or memory.endpoints.known(endpoint)
    if prepared.problem is not None:
        if is_endpoint and prepared.problem.code in _UNREADABLE:
            exchange.subject = replace(exchange.subject, channel="mcp")
        return _judged(exchange, Weighed(_refused(prepared.problem)), ())
    if _is_upgrade(request):
        problem = WireError("upgrade_refused", "protocol upgrades (WebSocket, h2c) are refused")
        findings = on_surface(prepared.findings, Surface.EGRESS_REQUEST)
        return _judged(exchange, Weighed(_refused(problem)), findings)
    body = prepared.body
    if body.message is not None and (is_endpoint or prepared.recognition is Recognition.DEFINITE):
        return _judge_message(policy, memory, prepared, exchange)
    if is_endpoint and head.method == "POST":
        exchange.subject = replace(exchange.subject, channel="mcp")
        problem = body.problem or WireError("parse_error", "the body is not a JSON-RPC message")
        return _judged(exchange, Weighed(_refused(problem, code="parse_error")), ())
    if is_endpoint and _is_stream(request):
        return _judge_stream(policy, memory, prepared, exchange)
    if body.problem is not None and body.suspect:
        # A sloppier parser upstream could run what we cannot read in one way.
        return _judged(exchange, Weighed(_refused(body.problem, code="ambiguous_message")), ())
    return _judge_egress(policy, prepared, exchange)


def _subject(prepared: PreparedRequest, server: str | None) -> Subject:
    head = prepared.input.head
    secret_url = any(f.pointer == "#url" and f.detector == "secrets" for f in prepared.findings)
    path = "/[redacted]" if secret_url else head.path[:300]
    return Subject(
        agent=prepared.input.agent,
        channel="egress",
        host=head.host,
        port=head.port,
        endpoint=f"{head.scheme}://{head.authority}{path}",
        method=head.method[:40],
        server=server,
    )


def _judge_message(
    policy: Policy, memory: Memory, prepared: PreparedRequest, exchange: Exchange
) -> Judged:
    message = prepared.body.message
    headers = prepared.input.head.headers
    findings = _mcp_findings(prepared.findings)
    exchange.subject = replace(exchange.subject, channel="mcp")
    if isinstance(message, Batch) or message is None:
        exchange.batch = _requests_of(message)
        problem = WireError("batch_refused", "JSON-RPC batches are refused")
        return _judged(exchange, Weighed(_refused(problem)), findings)
    exchange.modern = is_modern(message, headers)
    exchange.subject = replace(
        exchange.subject,
        method=_shown_method(message, findings),
        tool=_shown_target(message, findings),
        protocol_version=(protocol_version(message, headers) or "")[:40] or None,
    )
    if isinstance(message, Request):
        exchange.request = Request(message.id, message.method, None)
    if not prepared.body.utf8:
        problem = WireError("parse_error", "MCP messages are UTF-8 (RFC 8259 section 8.1)")
        return _judged(exchange, Weighed(_refused(problem)), findings)
    mismatch = header_mismatch(message, headers)
    if mismatch is not None:
        problem = WireError("header_mismatch", mismatch)
        return _judged(exchange, Weighed(_refused(problem)), findings)
    return _judge_call(policy, memory, exchange, message, findings)


def _requests_of(message: Batch | None) -> tuple[Request, ...]:
    items = message.messages if message is not None else ()
    requests = (item for item in items if isinstance(item, Request))
    return tuple(Request(item.id, item.method, None) for item in islice(requests, _MOST_ANSWERED))


def _judge_call(
    policy: Policy,
    memory: Memory,
    exchange: Exchange,
    message: Request | Notification | Result | Failure,
    findings: tuple[Finding, ...],
) -> Judged:
    asked = _unknown_server(policy, memory, exchange)
    if asked is not None:
        return _judged(exchange, Weighed(asked[0]), findings, asked[1])
    params = message.params if isinstance(message, Request | Notification) else None
    method = _method_of(message)
    call = Call(
        agent=exchange.subject.agent,
        server=exchange.subject.server,
        method=method,
        tool=target_name(method, params),
        params=params,
        # A client's answer to a server's request was decided when that request was.
        housekeeping=isinstance(message, Result | Failure) or is_housekeeping(method),
    )
    weighed = weigh(policy, decide(policy, call), findings)
    if not isinstance(message, Request) and weighed.decision.verdict is Verdict.ASK:
        weighed = Weighed(cannot_wait(weighed.decision), weighed.edits)
    return _judged(exchange, weighed, findings)


def _unknown_server(
    policy: Policy, memory: Memory, exchange: Exchange
) -> tuple[Decision, str] | None:
    """Return the decision on an endpoint that no server names, None when it may go on."""
    subject = exchange.subject
    if subject.server is not None or exchange.endpoint is None:
        return None
    decision = decide_unknown(policy, subject.endpoint)
    # What is shown of a URL may be cut short or redacted; an answer is for this very one.
    path = hashlib.sha256(exchange.endpoint.path.encode("utf-8", "replace")).hexdigest()[:16]
    question = f"server {subject.agent} {subject.endpoint} {path}"
    if decision.verdict is Verdict.ASK and (answer := memory.remembered(question)):
        if answer == "allow":
            return None
        decision = replace(decision, verdict=Verdict.DENY)
    return None if decision.verdict is Verdict.ALLOW else (decision, question)


def _judge_stream(
    policy: Policy, memory: Memory, prepared: PreparedRequest, exchange: Exchange
) -> Judged:
    exchange.stream = prepared.input.head.method == "GET"
    method = "stream" if exchange.stream else "session/end"
    exchange.subject = replace(exchange.subject, channel="mcp", method=method)
    findings = _mcp_findings(prepared.findings)
    asked = _unknown_server(policy, memory, exchange)
    if asked is not None:
        return _judged(exchange, Weighed(asked[0]), findings, asked[1])
    call = Call(exchange.subject.agent, exchange.subject.server, method, None, None, True)
    return _judged(exchange, weigh(policy, decide(policy, call), findings), findings)


def _judge_egress(policy: Policy, prepared: PreparedRequest, exchange: Exchange) -> Judged:
    head = prepared.input.head
    surface = Surface.MODEL_REQUEST if is_model_api(head.host) else Surface.EGRESS_REQUEST
    findings = on_surface(prepared.findings, surface)
    call = EgressCall(exchange.subject.agent, head.host, head.port, head.method, head.path)
    # CONNECT asks for the port too, but plain HTTP comes without CONNECT.
    decision = connect_denied(policy, head.host, head.port) or decide_egress(policy, call)
    if decision.verdict is not Verdict.ALLOW and _is_server_metadata(policy, prepared.input):
        decision = Decision(Verdict.ALLOW, "server-metadata", "housekeeping",
                            "authorization metadata of a named server", "")  # fmt: skip
    return _judged(exchange, weigh(policy, decision, findings), findings)


def _is_server_metadata(policy: Policy, request: RequestInput) -> bool:
    """Tell whether this reads the authorization metadata of a named server's origin (RFC 9728)."""
    head = request.head
    return (
        head.method in ("GET", "HEAD", "OPTIONS")
        and not head.query
        and not request.body
        # "/.well-known/openid-configuration/../../admin" begins like metadata and is none.
        and is_plain_path(head.path)
        and any(head.path == p or head.path.startswith(p + "/") for p in _METADATA_PATHS)
        and policy.serves_origin(head.host, head.port)
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


def _mcp_findings(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    # The URL and the headers of a call leave the host as its arguments do.
    return tuple(
        replace(f, surface=Surface.ARGUMENTS) if f.pointer.startswith("#") else f for f in findings
    )


def _method_of(message: Request | Notification | Result | Failure) -> str:
    return message.method if isinstance(message, Request | Notification) else "response"


def _shown_method(
    message: Request | Notification | Result | Failure, findings: tuple[Finding, ...]
) -> str:
    secret = any(f.pointer == "#method" and f.detector == "secrets" for f in findings)
    return "[redacted]" if secret else _method_of(message)[:100]


def _shown_target(
    message: Request | Notification | Result | Failure, findings: tuple[Finding, ...]
) -> str | None:
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


def cannot_wait(decision: Decision) -> Decision:
    """Return *decision* as a deny: where nothing can wait, ask is deny (DESIGN section 3)."""
    return replace(
        decision,
        verdict=Verdict.DENY,
        reason=f"{decision.reason}; nothing can wait here, so ask is deny",
    )


def _refused(problem: WireError, *, code: str | None = None) -> Decision:
    return Decision(Verdict.DENY, problem.code, code or problem.code, str(problem),
                    f"{_AGENT}{problem}.")  # fmt: skip
