"""What the tests of revision 2026-07-28 share: policies, and messages as the revision has them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from mcp.client import Client
from wires import ACCEPT, NAMES, Wires, http_client, sdk_client

MODERN = "2026-07-28"
NO_MODELS = "Models are not for servers."

RULES = (
    NAMES
    + """\
mcp:
  unknown_servers: deny
  rules:
    - {id: no-admin, tool: admin_*, then: deny, hide: true}
    - {id: no-sampling, method: sampling/*, then: deny, reason: Models are not for servers.}
    - {id: no-discovery, server: [other, shut], method: server/discover, then: deny}
    - {id: shut, server: shut, method: initialize, then: deny}
    - {id: vendor, method: vendor/*, then: allow}
    - {id: rest, tool: "*", then: allow}
    - {id: reading, method: [resources/read, elicitation/create], then: allow}
  otherwise: deny
scan:
  secrets: {arguments: redact, results: redact}
  injection: {results: deny}
"""
)
STRICT = RULES.replace("arguments: redact", "arguments: deny")


@asynccontextmanager
async def connected(wires: Wires, policy: str, **callbacks: Any) -> AsyncIterator[Client]:
    """Connect to the SDK's server, which has forgotten how this began."""
    async with sdk_client(wires.gate(policy), wires.server.url, **callbacks) as client:
        assert client.protocol_version == MODERN
        wires.server.lines()
        yield client


def message(method: str, params: dict[str, Any], number: object = 1) -> dict[str, Any]:
    """Return a request as the revision wants it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": {**params, "_meta": meta}}


def heads(method: str, name: str | None = None, **more: str) -> dict[str, str]:
    """Return the headers that repeat a message; ``more`` has underscores for dashes."""
    named = {} if name is None else {"mcp-name": name}
    rest = {key.replace("_", "-"): value for key, value in more.items()}
    standard = {"mcp-protocol-version": MODERN, "mcp-method": method}
    return {**ACCEPT, "content-type": "application/json", **standard, **named, **rest}


def call(name: str, number: object = 1, **arguments: object) -> dict[str, Any]:
    return message("tools/call", {"name": name, "arguments": arguments}, number)


def complete(number: object, **members: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": {"resultType": "complete", **members}}


def said(number: object, text: str) -> dict[str, Any]:
    return complete(number, content=[{"type": "text", "text": text}])


def post(wires: Wires, policy: str, body: object, headers: Any) -> httpx.Response:
    """Post *body*, JSON or bytes, to the scripted server through the proxy with *policy*."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with http_client(wires.gate(policy)) as client:
        return client.post(wires.scripted.url("/mcp"), content=content, headers=headers)
