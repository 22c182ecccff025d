"""What an egress rule lets through only where it says so: WebSockets, DNS, more than so much."""

from __future__ import annotations

from dataclasses import replace

from mitmgate.judge.context import Context
from mitmgate.judge.lookups import asks_dns
from mitmgate.policy.call import EgressCall
from mitmgate.policy.egress import Budget, budgets_of
from mitmgate.policy.egress_rule import EgressRule
from mitmgate.policy.hosts import tags_of
from mitmgate.policy.verdict import Decision, Verdict
from mitmgate.wire.http import RequestHead


def narrowed(
    context: Context,
    rule: EgressRule | None,
    decision: Decision,
    call: EgressCall,
    *,
    head: RequestHead | None = None,
) -> Decision:
    """Return *decision* on *call*, denied where its *rule* does not open what this needs.

    *head* begins the request; None for a message of a WebSocket that is open.
    """
    budgets = budgets_of(context.policy, call)
    context.exchange.budgets = tuple(budget.key for budget in budgets)
    if decision.verdict is Verdict.DENY:
        return decision
    if call.protocol == "websocket" and (rule is None or rule.websocket is None):
        return _denied(
            decision,
            "websocket_refused",
            "a WebSocket, and the rule that decides has no `websocket:`",
            "WebSockets to this host are not open. Use plain requests, or tell the user",
        )
    if head is not None and asks_dns(head, tags_of(call.host)) and not (rule and rule.dns):
        return _denied(
            decision,
            "dns_over_https",
            "DNS over HTTPS, and the rule that decides has no `dns: true`",
            "DNS over HTTPS is not open: the proxy resolves names itself, so just use them",
        )
    for budget in reversed(budgets):  # what the locked layer says holds in shadow mode too
        if _is_spent(context, budget):
            return _over(context, budget, decision)
    return decision


def _is_spent(context: Context, budget: Budget) -> bool:
    cost, limit = context.exchange.cost, budget.rule.max_session
    if limit is None or cost is None:
        return False
    memory, agent = context.memory, context.exchange.subject.agent
    return memory.spent.within(agent, budget.key, now=memory.now) + cost > limit


def _over(context: Context, budget: Budget, decision: Decision) -> Decision:
    rule, agent = budget.rule, context.exchange.subject.agent
    floor = Verdict.DENY if budget.locked else decision.floor
    return _denied(
        replace(decision, rule=rule.id, floor=floor),
        "session_budget",
        f"{agent} would send more than max_session of rule {rule.id} ({rule.max_session} bytes) "
        "within an hour",
        "More was sent there within an hour than the policy allows. Do not try again; tell the "
        "user",
    )


def _denied(decision: Decision, code: str, reason: str, told: str) -> Decision:
    return replace(
        decision, verdict=Verdict.DENY, code=code, reason=reason, agent_reason=f"Refused: {told}."
    )
