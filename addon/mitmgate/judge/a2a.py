"""Agent2Agent traffic: recognised, and ruled by its own name."""

from __future__ import annotations

from mitmgate.judge.prepare import PreparedRequest
from mitmgate.wire.a2a import action_of, is_method
from mitmgate.wire.jsonrpc import Batch, Notification, Request

PROTOCOL = "a2a"
PUBLIC_CARD = "agent-card"
REST_CARDS = frozenset({PUBLIC_CARD, "extendedAgentCard"})
CARDS = REST_CARDS | {"GetExtendedAgentCard", "agent/getAuthenticatedExtendedCard",
                      "agent/authenticatedExtendedCard"}  # fmt: skip
"""What answers with an agent card, by the names of ``method_of``."""


def protocol_of(prepared: PreparedRequest) -> str:
    """Return what *prepared*, a request that is not MCP, speaks: ``http`` or ``a2a``."""
    return "http" if method_of(prepared) is None else PROTOCOL


def method_of(prepared: PreparedRequest) -> str | None:
    """Return what *prepared* asks for in A2A, as a method or a path, None where it is not A2A.

    Of a batch it is what asks for a card, else the first.
    """
    message = prepared.body.message
    methods = [
        one.method[:100]
        for one in (message.messages if isinstance(message, Batch) else (message,))
        if isinstance(one, Request | Notification) and is_method(one.method, one.params)
    ]
    if methods:
        return next((method for method in methods if method in CARDS), methods[0])
    return action_of(prepared.input.head)
