"""Calls that wait, looked at again: after an answer for more than once, and after a new policy."""

from __future__ import annotations

from mitmgate.judge.anew import decision_now
from mitmgate.judge.judge import Judge
from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.remembered import answer_of
from mitmgate.mitm.core import Judged
from mitmgate.policy.verdict import Verdict
from mitmgate.serve.cards import Card
from mitmgate.serve.waiting import Given
from mitmgate.wire.inventory import Transport
from mitmgate.wire.jsonrpc import Request

_EVENTS = "text/event-stream"
_AGAIN = Given("allow", "policy")
"""Let go to be judged again, which may ask again."""


def wait_of(judge: Judge, judged: Judged) -> float:
    """Return how many seconds *judged*, which asks, waits for a person.

    What its rule says holds for a call of MCP only if its client accepts an event stream, on which
    it can be told that it waits.
    """
    outcome, prepared = judged.outcome, judged.prepared
    if outcome.wait is None or not isinstance(prepared, PreparedRequest):
        return judge.policy.hold_wait
    if outcome.subject.channel == "egress":
        return outcome.wait
    exchange, message = judge.memory.get(outcome.exchange), prepared.body.message
    kept = (
        exchange is not None
        and exchange.transport is Transport.STREAMABLE_HTTP
        and isinstance(message, Request)
        and message.method != "initialize"
        and prepared.input.head.method == "POST"
        and _EVENTS in (prepared.input.head.get("accept") or "").lower()
    )
    return outcome.wait if kept else min(outcome.wait, judge.policy.hold_wait)


def given_now(judge: Judge, card: Card, judged: Judged | None, *, now: float) -> Given | None:
    """Return what became of the call of *card*, None: it goes on waiting.

    *judged* is the call, None where nobody waits behind it any more. *now* is monotonic.
    """
    if card.outcome.question is not None:
        return _server_now(judge, card)
    said = None if card.target is None else (
        answer_of(judge.memory, judge.policy, card.target, now=now)
    )  # fmt: skip
    if said is not None and (said.answer == "deny" or card.scopes):
        return Given(said.answer, "remembered", said.operator, said.reason, grant=said.id)
    if judged is None or card.outcome.policy == judge.policy.hash:
        return None
    return _policy_now(judge, card, judged)


def _policy_now(judge: Judge, card: Card, judged: Judged) -> Given | None:
    exchange, prepared = judge.memory.get(card.outcome.exchange), judged.prepared
    if exchange is None or not isinstance(prepared, PreparedRequest) or card.outcome.parts:
        return None
    endpoint = exchange.endpoint
    if exchange.mcp and endpoint is not None and exchange.home is None:
        name = judge.policy.server_for(
            endpoint.scheme, endpoint.host, endpoint.port, endpoint.path
        )  # fmt: skip
        if name != exchange.subject.server:
            return _AGAIN
    decision = decision_now(judge.policy, judge.memory, exchange, prepared)
    if decision is None:
        return None
    verdict = decision.floor if judge.mode == "shadow" else decision.verdict
    if card.outcome.code != "rule" and card.outcome.rule != "otherwise":
        return _AGAIN if verdict is Verdict.DENY else None  # the rules are not all that asked
    if verdict is Verdict.DENY:
        return Given("deny", "policy", reason=decision.agent_reason)
    return _AGAIN if verdict is Verdict.ALLOW else None


def _server_now(judge: Judge, card: Card) -> Given | None:
    """Return what became of the question about a server without a name."""
    outcome = card.outcome
    if outcome.rule != "unknown_servers" or outcome.policy == judge.policy.hash:
        return None
    return _AGAIN if judge.policy.unknown_servers is not Verdict.ASK else None
