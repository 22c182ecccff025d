"""What every conclusion on a message of MCP is made from."""

from __future__ import annotations

from dataclasses import dataclass

from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.load import Policy


@dataclass(frozen=True, slots=True)
class Context:
    """The policy in force, what is remembered, and the exchange that a message belongs to."""

    policy: Policy
    memory: Memory
    exchange: Exchange
