"""What an operator said before, applied to what the rules decided: grants, rules and tickets.

A remembered allow turns an ask into an allow and nothing else, and never an ask of the locked
layer; a remembered deny always holds. Both come before the findings are weighed, which can still
make it stricter. A ticket is the approval of this very call: it is good for whatever asks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mitmgate.hold.target import On, Target
from mitmgate.judge.context import Context
from mitmgate.judge.effects import Concluded
from mitmgate.judge.ever import needs_hashes, rule_for
from mitmgate.judge.fingerprint import egress_target, mcp_target, target_of
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.load import Policy
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
"""A decision, and the id of the grant or rule that made it, if one did."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an operator said of calls like one: by the id of a grant, or ``ever`` by a rule's."""

    id: str
    answer: Literal["allow", "deny"]
    on: On
    operator: str | None
    reason: str | None
    ever: bool = False


def remembered_call(context: Context, decision: Decision, message: Message) -> Remembered:
    """Return *decision* on *message* of a client after what an operator said of such calls."""
    is_call = isinstance(message, Request) and decision.code != "housekeeping"
    if not is_call or not _anything(context) or decision.verdict is Verdict.DENY:
        return decision, None
    known, rules = context.prepared, context.policy.remembered
    if not context.memory.grants and rules is not None and not needs_hashes(rules):
        known = None
    return _remembered(context, decision, mcp_target(context.exchange, known, message))


def remembered_egress(
    context: Context, decision: Decision, prepared: PreparedRequest
) -> Remembered:
    """Return *decision* on *prepared*, which is not MCP, after what an operator said."""
    if not _anything(context) or decision.verdict is Verdict.DENY:
        return decision, None
    return _remembered(context, decision, egress_target(context.exchange, prepared))


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


def answer_of(memory: Memory, policy: Policy, target: Target, *, now: float) -> Answered | None:
    """Return what an operator said of *target*: a deny before an allow, a grant before a rule.

    *now* is in seconds of the clock that the memory's ``steady`` is of.
    """
    grant = memory.grants.covering(target, now=now)
    rule = None if policy.remembered is None else rule_for(policy.remembered, target)
    if rule is not None and (grant is None or (rule.then, grant.answer) == ("deny", "allow")):
        return Answered(rule.id, rule.then, rule.covers, rule.by, rule.reason, ever=True)
    if grant is None:
        return None
    return Answered(grant.id, grant.answer, grant.scope.on, grant.operator, grant.reason)


def _anything(context: Context) -> bool:
    rules = context.policy.remembered
    return bool(context.memory.grants) or (rules is not None and bool(rules.rules))


def _remembered(context: Context, decision: Decision, target: Target) -> Remembered:
    memory = context.memory
    said = answer_of(memory, context.policy, target, now=memory.steady)
    if said is None or (said.answer == "allow" and not _may_allow(decision)):
        return decision, None
    verdict = Verdict.from_word(said.answer)
    told = _told(said) if verdict is Verdict.DENY else ""
    word = "denied" if verdict is Verdict.DENY else "approved"
    when = "for ever" if said.ever else "before"
    who = said.operator or "an operator"
    reason = f"{who} {word} {_COVERS[said.on]} {when} ({said.id}); {decision.reason}"
    made = replace(decision, verdict=verdict, rule=said.id if said.ever else CODE, code=CODE,
                   reason=reason, agent_reason=told)  # fmt: skip
    return made, said.id


def _may_allow(decision: Decision) -> bool:
    return decision.verdict is Verdict.ASK and decision.floor is not Verdict.ASK


def _told(said: Answered) -> str:
    why = f": {said.reason}" if said.reason else "."
    return f"The operator denied this{why}"
