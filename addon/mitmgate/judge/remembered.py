"""What an operator said before, applied to what the rules decided: grants and tickets.

A remembered allow turns an ask into an allow and nothing else, and never an ask of the locked
layer; a remembered deny always holds. Both come before the findings are weighed, which can still
make it stricter. A ticket is the approval of this very call: it is good for whatever asks.
"""

from __future__ import annotations

from dataclasses import replace

from mitmgate.hold.grants import Grant
from mitmgate.hold.target import On, Target
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded
from mitmgate.judge.fingerprint import egress_target, mcp_target, target_of
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.wire.jsonrpc import Message, Request

CODE = "remembered"
TICKET = "ticket"

_COVERS: dict[On, str] = {
    "call": "this very call", "values": "these values", "tool": "this tool",
    "server": "this server", "url": "this URL", "prefix": "this path and below",
    "host": "this host",
}  # fmt: skip

type Remembered = tuple[Decision, str | None]
"""A decision, and the id of the grant that made it, if one did."""


def remembered_call(context: Context, decision: Decision, message: Message) -> Remembered:
    """Return *decision* on *message* of a client after what an operator said of such calls."""
    is_call = isinstance(message, Request) and decision.code != "housekeeping"
    if not is_call or not context.memory.grants or decision.verdict is Verdict.DENY:
        return decision, None
    target = mcp_target(context.exchange, context.prepared, message)
    return _remembered(context.memory, decision, target)


def remembered_egress(
    context: Context, decision: Decision, prepared: PreparedRequest
) -> Remembered:
    """Return *decision* on *prepared*, which is not MCP, after what an operator said."""
    if not context.memory.grants or decision.verdict is Verdict.DENY:
        return decision, None
    return _remembered(context.memory, decision, egress_target(context.exchange, prepared))


def with_ticket(
    memory: Memory, exchange: Exchange, prepared: PreparedRequest, concluded: Concluded
) -> Concluded:
    """Return *concluded*, let through where it asks and a ticket is there for it; it is used up."""
    decision = concluded.weighed.decision
    asks = decision.verdict is Verdict.ASK and concluded.question is None and not concluded.parts
    if not memory.tickets or not asks:
        return concluded
    target = target_of(exchange, prepared)
    if target is None or target.call is None:
        return concluded
    ticket = memory.tickets.use(target.agent, target.call, now=memory.steady)
    if ticket is None:
        return concluded
    reason = f"approved before, for one retry ({ticket.id}); {decision.reason}"
    passed = replace(decision, verdict=Verdict.ALLOW, rule=TICKET, code=TICKET, reason=reason,
                     agent_reason="")  # fmt: skip
    weighed = replace(concluded.weighed, decision=passed, grant=ticket.id)
    return replace(concluded, weighed=weighed)


def _remembered(memory: Memory, decision: Decision, target: Target) -> Remembered:
    grant = memory.grants.covering(target, now=memory.steady)
    if grant is None or (grant.answer == "allow" and not _may_allow(decision)):
        return decision, None
    verdict = Verdict.from_word(grant.answer)
    told = _told(grant) if verdict is Verdict.DENY else ""
    word = "denied" if verdict is Verdict.DENY else "approved"
    who = grant.operator or "an operator"
    reason = f"{who} {word} {_COVERS[grant.scope.on]} before ({grant.id}); {decision.reason}"
    made = replace(decision, verdict=verdict, rule=CODE, code=CODE, reason=reason,
                   agent_reason=told)  # fmt: skip
    return made, grant.id


def _may_allow(decision: Decision) -> bool:
    return decision.verdict is Verdict.ASK and decision.floor is not Verdict.ASK


def _told(grant: Grant) -> str:
    said = f": {grant.reason}" if grant.reason else "."
    return f"The operator denied this{said}"
