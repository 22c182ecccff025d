"""``requestState`` (2026-07-28 basic/patterns/mrtr): what a client returns as it was given.

It is often a signed token: scanning would deny, and redacting would break, every call that asks
back. So it is left out of the scan, but only where this server did give it to some client: else
it would be a place to carry out anything in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from mitmgate.judge.context import Context
from mitmgate.scan.finding import Finding
from mitmgate.wire.jsonrpc import Message, Request

_MEMBER = "requestState"


def learn_state(context: Context, result: Mapping[str, Any]) -> None:
    """Remember the ``requestState`` of a *result*, if it has one."""
    state, endpoint = result.get(_MEMBER), context.exchange.endpoint
    if isinstance(state, str) and endpoint is not None:
        context.memory.states.learn((endpoint, _digest(state)))


def without_state(
    context: Context, message: Message, findings: tuple[Finding, ...]
) -> tuple[Finding, ...]:
    """Leave out what was found in a ``requestState`` that *message* returns to its server."""
    if not findings or not isinstance(message, Request):
        return findings
    state, endpoint = (message.params or {}).get(_MEMBER), context.exchange.endpoint
    if not isinstance(state, str) or endpoint is None:
        return findings
    if not context.memory.states.knows((endpoint, _digest(state))):
        return findings
    return tuple(f for f in findings if f.pointer != f"/params/{_MEMBER}")


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode("utf-8", "replace")).digest()
