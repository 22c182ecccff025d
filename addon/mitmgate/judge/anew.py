"""What the rules say by now of a request that was judged before and waits."""

from __future__ import annotations

from dataclasses import replace

from mitmgate.judge.context import Context
from mitmgate.judge.egress import decision_on
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.remembered import remembered_call
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.decide import decide
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision
from mitmgate.wire.jsonrpc import Request


def decision_now(
    policy: Policy, memory: Memory, exchange: Exchange, prepared: PreparedRequest
) -> Decision | None:
    """Return what the rules of *policy* say of *prepared*, which waits; None: not known so.

    Nothing changes by it. Findings are not looked at.
    """
    context = Context(policy, memory, replace(exchange), prepared)
    if not exchange.mcp:
        return decision_on(context, prepared)
    message = prepared.body.message
    if not isinstance(message, Request):
        return None
    decision = decide(policy, context.call(message.method, message.params))
    return remembered_call(context, decision, message)[0]
