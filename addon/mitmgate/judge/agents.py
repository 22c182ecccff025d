"""Who sent a message: the name of an agent that showed its token, else its address."""

from __future__ import annotations

from mitmgate.judge.inputs import ConnectInput, RequestInput, Shown
from mitmgate.policy.agents import Credentials
from mitmgate.policy.load import Policy
from mitmgate.policy.verdict import Decision, Verdict

CHALLENGED = frozenset({"agent_required", "agent_refused"})
"""Codes of denials that a proxy answers with 407 (RFC 9110 section 15.5.8)."""


def identify(policy: Policy, given: ConnectInput | RequestInput) -> tuple[str, Decision | None]:
    """Return who sent *given*, and the refusal of credentials that are not good, or None.

    Where the policy has no agents, what is shown is ignored: clients may keep it for other proxies.
    """
    shown = given.shown if policy.agents else None
    if shown is None:
        if policy.require_agents:
            return given.agent, _deny("agent_required", "no proxy credentials were shown")
        return given.agent, None
    refusal = refusal_of(policy, shown)
    return (given.agent if refusal is not None else shown.name), refusal


def refusal_of(policy: Policy, shown: Shown | None) -> Decision | None:
    """Return the refusal of what was *shown*, None where it is good, or nothing was shown."""
    if shown is None or not policy.agents:
        return None
    if shown.problem is not None:
        return _deny("agent_refused", shown.problem)
    if not policy.agents.verify(Credentials(shown.name, shown.token_hash)):
        return _deny("agent_refused", f"no agent {shown.name} has this token, or it was revoked")
    return None


def _deny(code: str, reason: str) -> Decision:
    told = "The proxy does not know these credentials. Ask the operator for a token."
    return Decision(Verdict.DENY, code, code, reason, told)
