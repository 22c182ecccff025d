"""What the tests of the revisions before 2026-07-28 share: policies, and messages."""

from __future__ import annotations

from typing import Any

from wires import ACCEPT, NAMES

NO_MODELS = "Models are not for servers."
NO_PERSON = "Deleting needs a person."

RULES = (
    NAMES
    + """\
mcp:
  unknown_servers: ask
  rules:
    - {id: no-delete, tool: delete_*, then: deny, reason: Deleting needs a person.}
    - {id: no-sampling, method: sampling/*, then: deny, reason: Models are not for servers.}
    - {id: held-forms, server: [other, other-sse], method: elicitation/create, then: ask}
    - {id: no-forms, method: elicitation/create, then: deny}
    - {id: no-roots, method: roots/list, then: deny}
  otherwise: allow
scan:
  secrets: {arguments: redact, results: redact}
  injection: {results: deny}
"""
)
ALONE = {**ACCEPT, "content-type": "application/json", "mcp-protocol-version": "2025-11-25"}
"""The headers of a client that was given no session."""


def call(name: str, number: object = 1, **arguments: object) -> dict[str, Any]:
    """Return a call of a tool."""
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def said(number: object, text: str) -> dict[str, Any]:
    """Return the result of a call."""
    return {"jsonrpc": "2.0", "id": number, "result": {"content": [{"type": "text", "text": text}]}}
