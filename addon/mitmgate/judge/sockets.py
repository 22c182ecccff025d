"""Conclude on messages of WebSockets that are not MCP, in both directions.

Each is a new question to the rules: nothing waits here, so what would ask is denied, and a
denial closes the socket. MCP that turns up inside is MCP of an unknown server.
"""

from __future__ import annotations

from dataclasses import replace

from mitmgate.errors import WireError
from mitmgate.judge.agents import refusal_of
from mitmgate.judge.calls import unknown_server
from mitmgate.judge.context import Context
from mitmgate.judge.delegations import handed_over
from mitmgate.judge.effects import Concluded, Weighed, cannot_wait, on_surface, refused, weigh
from mitmgate.judge.egress import begun_before, surface_of
from mitmgate.judge.handing import NOTHING, read_handed
from mitmgate.judge.narrowing import narrowed
from mitmgate.judge.prepare import PreparedMessage
from mitmgate.judge.state import Opened
from mitmgate.policy.call import EgressCall
from mitmgate.policy.egress import decide_egress, deciding_egress
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.scan.finding import Finding
from mitmgate.wire.recognise import Recognition, recognise
from mitmgate.wire.surfaces import Surface

_HEAD = 14  # bytes of the longest frame head of a client (RFC 6455 section 5.2)


def judge_message(context: Context, prepared: PreparedMessage) -> Concluded | None:
    """Decide on one message; None where the socket speaks MCP from now on, and may."""
    exchange = context.exchange
    opened, exchange.cost, exchange.pieces = exchange.opened, None, ()
    if opened is None:
        problem = WireError("unmatched_answer", "a message of no WebSocket that was opened")
        return Concluded(exchange.subject, Weighed(refused(problem)), prepared.findings)
    findings = _placed(context, prepared)
    if prepared.body.message is not None and (
        recognise(prepared.body.message, ()) is Recognition.DEFINITE
    ):
        return _judge_mcp(context, prepared, findings)
    decision = _decision(context, prepared, opened)

    def weighed(found: tuple[Finding, ...]) -> Concluded:
        word = weigh(context.policy, decision, found, exchange.subject)
        return Concluded(exchange.subject, word, found)

    handed = prepared.handed if prepared.input.from_client else NOTHING
    if handed is None:
        body = prepared.body
        handed = read_handed(body.text, body.unread, content_type="application/json")
    concluded = handed_over(context, handed, findings, weighed)
    final = concluded.weighed
    if final.decision.verdict is Verdict.ASK:
        final = replace(final, decision=cannot_wait(final.decision))
    return replace(concluded, weighed=final, question=None)


def _judge_mcp(
    context: Context, prepared: PreparedMessage, findings: tuple[Finding, ...]
) -> Concluded | None:
    exchange, plain = context.exchange, context.exchange.subject
    exchange.pieces = ()
    if isinstance(prepared.input.data, bytes):
        problem = WireError("binary_message", "MCP messages on a WebSocket are text")
        return Concluded(plain, Weighed(refused(problem)), findings)
    exchange.subject = replace(plain, channel="mcp", method="websocket")
    asked = unknown_server(context)
    subject, exchange.subject = exchange.subject, plain
    if asked is not None:
        decision = asked[0]
        decision = cannot_wait(decision) if decision.verdict is Verdict.ASK else decision
        return Concluded(subject, Weighed(decision), findings)
    exchange.subject = replace(subject, protocol=None)
    exchange.session = context.memory.sessions.socket(exchange.key)
    return None


def _decision(context: Context, prepared: PreparedMessage, opened: Opened) -> Decision:
    given, policy, exchange = prepared.input, context.policy, context.exchange
    if prepared.body.problem is not None and prepared.body.suspect:
        return refused(prepared.body.problem, code="ambiguous_message")
    revoked = refusal_of(policy, exchange.shown) if given.from_client else None
    if revoked is not None:  # since the socket was opened
        return revoked
    size = _size(given.data) if given.from_client else 0
    call = replace(opened.call, now=context.memory.now, size=size)
    decision = decide_egress(policy, call)
    if opened.asked and decision.verdict is Verdict.ASK:
        decision = replace(decision, verdict=Verdict.ALLOW)
    rule = deciding_egress(policy, call)
    exchange.cost = size + _HEAD if rule is not None and size else None
    decision = narrowed(context, rule, decision, call)
    return _as_text(decision, rule, call) if isinstance(given.data, bytes) else decision


def _as_text(decision: Decision, rule: EgressRule | None, call: EgressCall) -> Decision:
    if decision.verdict is Verdict.DENY or (rule is not None and rule.websocket == "any"):
        return decision
    return replace(
        decision,
        verdict=Verdict.DENY,
        code="binary_refused",
        reason=f"a binary message, and no `websocket: any` for {call.host}",
        agent_reason="Refused: only text messages may pass on this WebSocket.",
    )


def _placed(context: Context, prepared: PreparedMessage) -> tuple[Finding, ...]:
    endpoint = context.exchange.endpoint
    surface = surface_of(endpoint.host if endpoint is not None else "")
    if prepared.input.from_client:
        found = (*prepared.findings, *begun_before(context, prepared.carried))
        return on_surface(found, surface)
    # What a model says comes from its conversation: what was let in there is no news.
    model, answer = surface is Surface.MODEL_REQUEST, Surface.EGRESS_RESPONSE
    return tuple(
        f
        if f.surface in (Surface.DEFINITIONS, Surface.RESULTS)  # told of other servers
        else replace(f, surface=surface if model and f.detector == "injection" else answer)
        for f in prepared.findings
    )


def _size(data: str | bytes) -> int:
    return len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "replace"))
