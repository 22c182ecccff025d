"""How much of a body is read before it is judged, and what passes without being read.

The mitm layer asks :func:`read_until` when a head has come and while its body comes: a request that
its head decides on is answered before its body is read, and one that is larger than what is kept
passes as it comes where its rule says ``inspect: headers``, or not at all. What is judged unread
goes the way of all inputs, with ``RequestInput.unread``.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import replace

from mitmgate.errors import WireError
from mitmgate.judge.agents import identify
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded, Weighed, refused
from mitmgate.judge.egress import Judged, judge_egress
from mitmgate.judge.handing import read_handed
from mitmgate.judge.heads import check_head, check_names
from mitmgate.judge.inputs import RequestInput
from mitmgate.judge.limits import Limits
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.policy.call import EgressCall
from mitmgate.policy.egress import budgets_of, connect_denied, decide_egress, deciding_egress
from mitmgate.policy.load import Policy
from mitmgate.policy.models_list import is_model_api
from mitmgate.policy.verdict import Verdict
from mitmgate.wire.http import RequestHead
from mitmgate.wire.jsonrpc import looks_like_jsonrpc

PEEK = 64 * 1024
"""Bytes of a body that show whether it can be a message; one that has no more is always read."""

NEVER = 1 << 62
_WRITTEN = ("text/", "application/x-www-form-urlencoded")
_OPENS = ("{", "[", "/", "#")  # comments come before JSON for some parsers
_STRUCTURED = ("json", "multipart/", *_WRITTEN)
_BLANK = "\ufeff \t\r\n\v\f\xa0"


def read_until(
    policy: Policy, limits: Limits, given: RequestInput, *, shadow: bool, now: float
) -> int | None:
    """Return after how many bytes of the body of *given* to ask again; None: judge it now, unread.

    ``given.body`` is what has come of it, up to PEEK bytes; ``given.unread`` says how many there
    are, or are at least. *shadow* says that rules stop nothing; *now* is in seconds since 1970.
    """
    head, size = given.head, given.size
    if size <= PEEK and not _waits(head):
        return PEEK
    if _is_refused(policy, given):
        return None
    if policy.server_for(head.scheme, head.host, head.port, head.path) is not None:
        return NEVER
    call = _call(policy, given, now)
    if size > limits.body:
        return PEEK if not _is_seen(given) and _leaves_unread(policy, call) else None
    if shadow:
        return limits.body
    if _may_be_read(given):
        return limits.body if _is_seen(given) else PEEK
    if _is_denied(policy, call):
        return None
    return min((one for one in _bounds(policy, call) if size < one < limits.body),
               default=limits.body)  # fmt: skip


def may_answer_unread(policy: Policy, given: RequestInput, *, now: float) -> bool:
    """Say whether the rule for *given*, a request that is not MCP, lets answers pass unread."""
    return _leaves_unread(policy, _call(policy, given, now))


def judge_unread(context: Context, prepared: PreparedRequest, *, is_endpoint: bool) -> Judged:
    """Decide on *prepared*, a request of whose body only the beginning was read."""
    request, exchange = prepared.input, context.exchange
    exchange, concluded = judge_egress(context.policy, context.memory, prepared, exchange)
    problem = _too_large(request)
    if is_endpoint and request.head.method == "POST":
        exchange.subject = replace(exchange.subject, channel="mcp")
    else:
        found = _problem(context, prepared)
        if found is None:
            return exchange, concluded
        problem = found
    decision = concluded.weighed.decision
    if decision.verdict is Verdict.DENY and exchange.subject.channel != "mcp":
        decision = replace(decision, floor=Verdict.DENY)  # shadow mode lets nothing pass unread
        return exchange, replace(concluded, weighed=replace(concluded.weighed, decision=decision))
    return exchange, Concluded(exchange.subject, Weighed(refused(problem)), concluded.findings)


def _problem(context: Context, prepared: PreparedRequest) -> WireError | None:
    """Return why the body of *prepared* must not pass unread, or None."""
    policy, request = context.policy, prepared.input
    agent = context.exchange.subject.agent
    call = replace(_call(policy, request, context.memory.now), agent=agent)
    if not _leaves_unread(policy, call):
        return _too_large(request)
    if request.head.get("content-encoding") not in (None, "", "identity"):
        return WireError("body_too_large", "a compressed body of this size cannot be looked into")
    if may_be_message(request.body):
        text = "a body of this size that begins as JSON could be a message"
        return WireError("ambiguous_message", text)
    handed = prepared.handed
    if handed is None:
        told = request.head.get("content-type") or ""
        handed = read_handed(prepared.body.text, prepared.body.unread, content_type=told)
    if handed.problem is not None or handed.given.servers:
        text = "a body of this size names MCP servers to call, and is not read"
        return WireError("ambiguous_delegation", text)
    if is_model_api(request.head.host) and _may_hand_over(request):
        text = (
            "a body of this size to a model API could name MCP servers to call, and is not read; "
            "send less at a time"
        )
        return WireError("ambiguous_delegation", text)
    if not _is_seen(request):  # another policy decided how far it was read
        return _too_large(request)
    if request.head.get("content-length") is None and next(_bounds(policy, call), None) is not None:
        text = "the rule has a limit, and the request does not say how long its body is"
        return WireError("request_too_large", text)
    return None


def may_be_message(start: bytes) -> bool:
    """Say whether a body that begins with *start* may be one message of JSON-RPC.

    Lines of JSON are none: whoever reads the whole as one text finds more after its end.
    """
    text = _text(start)
    if not text:
        return bool(start.strip(b"\0"))  # blanks; of a disk image it may be nothing but NULs
    if looks_like_jsonrpc(start):
        return True
    if not text.startswith(("{", "[")):
        return False
    try:
        end = json.JSONDecoder(strict=False).raw_decode(text)[1]
    except (ValueError, RecursionError):
        return True
    return not text[end:].strip(_BLANK)


def _may_hand_over(request: RequestInput) -> bool:
    """Tell whether the body of *request* may hand MCP servers to a model API: it is no binary."""
    kind, start = (request.head.get("content-type") or "").lower(), request.body
    if any(word in kind for word in _STRUCTURED) or _text(start).startswith((*_OPENS, "--")):
        return True
    try:
        # The last character may be cut.
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


def _too_large(request: RequestInput) -> WireError:
    return WireError("body_too_large", f"a body of {request.size} bytes is more than is read")


def _waits(head: RequestHead) -> bool:
    """Tell whether the client sends its body only when it is told to (RFC 9110, 10.1.1)."""
    return (head.get("expect") or "").strip().lower() == "100-continue"


def _is_refused(policy: Policy, given: RequestInput) -> bool:
    try:
        check_head(given)
        check_names(given)
    except WireError:
        return True
    return identify(policy, given)[1] is not None


def _call(policy: Policy, given: RequestInput, now: float) -> EgressCall:
    agent, head = identify(policy, given)[0], given.head
    groups = policy.agents.groups_of(agent)
    return EgressCall(
        agent, head.host, head.port, head.method, head.path, groups, now, size=given.size
    )


def _is_seen(given: RequestInput) -> bool:
    """Tell whether enough of the body has come to tell what it is."""
    return len(given.body) >= min(PEEK, given.size)


def _may_be_read(given: RequestInput) -> bool:
    """Tell whether the whole body may decide: it may be a message, or a request for a token."""
    head = given.head
    if head.method != "POST":
        return False
    kind = (head.get("content-type") or "").lower()
    if not _is_seen(given):
        return not kind or "json" in kind or kind.startswith(_WRITTEN)
    coded = head.get("content-encoding") is not None
    return coded or given.size <= PEEK or _text(given.body).startswith(_OPENS)


def _is_denied(policy: Policy, call: EgressCall) -> bool:
    if connect_denied(policy, call.host, call.port) is not None:
        return True
    spoken = (replace(call, protocol=protocol) for protocol in ("http", "a2a"))
    return all(decide_egress(policy, one).verdict is Verdict.DENY for one in spoken)


def _leaves_unread(policy: Policy, call: EgressCall) -> bool:
    rule = deciding_egress(policy, call)
    return rule is not None and rule.inspect == "headers"


def _bounds(policy: Policy, call: EgressCall) -> Iterator[int]:
    """Yield the limits of the rules that are for *call*, in bytes."""
    for budget in budgets_of(policy, call):
        for limit in (budget.rule.max_request, budget.rule.max_session):
            if limit is not None:
                yield limit


def _text(start: bytes) -> str:
    text = start.decode(json.detect_encoding(start), errors="replace")
    return text.replace("\0", "").lstrip(_BLANK)
