"""What every conclusion on a message of MCP is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mitmgate.judge.prepare import PreparedRequest
from mitmgate.judge.state import Exchange, Memory
from mitmgate.policy.call import Call
from mitmgate.policy.load import Policy
from mitmgate.wire.methods import is_housekeeping
from mitmgate.wire.recognise import target_name


@dataclass(frozen=True, slots=True)
class Context:
    """The policy in force, what is remembered, and the exchange that a message belongs to.

    ``prepared`` is the request that is judged, None for what comes on a WebSocket or from a server.
    """

    policy: Policy
    memory: Memory
    exchange: Exchange
    prepared: PreparedRequest | None = None

    def call(
        self, method: str, params: Mapping[str, Any] | None = None, *, housekeeping: bool = False
    ) -> Call:
        """Return the message of this exchange that the policy is asked about.

        What is housekeeping by its *method* is that in any case.
        """
        return self._call(method, target_name(method, params), params, housekeeping=housekeeping)

    def answered(self, method: str, target: str | None) -> Call:
        """Return the request for *target* whose result the policy is asked about."""
        return self._call(method, target, None, housekeeping=False)

    def _call(
        self,
        method: str,
        target: str | None,
        params: Mapping[str, Any] | None,
        *,
        housekeeping: bool,
    ) -> Call:
        exchange, subject = self.exchange, self.exchange.subject
        is_tool = method == "tools/call"
        return Call(
            agent=subject.agent,
            server=subject.server,
            method=method,
            tool=target,
            params=params,
            housekeeping=housekeeping or is_housekeeping(method),
            groups=self.policy.agents.groups_of(subject.agent),
            revision=subject.protocol_version,
            transport=exchange.transport.value,
            annotations=self.memory.annotations_of(exchange, target) if is_tool else None,
            now=self.memory.now,
        )
