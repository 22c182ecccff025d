"""The JSON-RPC messages that say no without breaking a client's session (WIRE 2.8)."""

from __future__ import annotations

from typing import Any

from mitmgate.wire.jsonrpc import Batch, Request, RequestId

DENIED = -31000
"""Outside -32768…-32000, which JSON-RPC and MCP keep for themselves."""

_INVALID_PARAMS = -32602
_USER_REJECTED = -1  # MCP 2025-11-25, client/sampling, error handling


def denial_for_request(request: Request, reason: str, *, modern: bool) -> dict[str, Any]:
    """Return the message that denies *request*: the model reads *reason*, the session goes on."""
    if request.method != "tools/call":
        return error_message(request.id, DENIED, reason)
    # A protocol error would be shown as broken plumbing; a tool error reaches the model.
    result: dict[str, Any] = {"content": [{"type": "text", "text": reason}], "isError": True}
    if modern:
        # Both SDKs of 2026-07-28 refuse a result without it.
        result["resultType"] = "complete"
    return {"jsonrpc": "2.0", "id": request.id, "result": result}


def denial_for_batch(batch: Batch, reason: str) -> list[dict[str, Any]]:
    """Return one denial for each request of *batch*; empty where nothing wants an answer."""
    requests = [message for message in batch.messages if isinstance(message, Request)]
    return [denial_for_request(request, reason, modern=False) for request in requests]


def withheld_result(request: Request, reason: str, *, modern: bool) -> dict[str, Any]:
    """Return the message that stands for the answer to *request*, which ran but is kept back.

    *reason* should say that the tool has run, or the model will try again.
    """
    return denial_for_request(request, reason, modern=modern)


def error_message(request_id: RequestId | None, code: int, text: str) -> dict[str, Any]:
    """Return a JSON-RPC error message."""
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}


def unknown_target(request: Request, name: str) -> dict[str, Any]:
    """Return what a server answers for a tool, prompt or resource that it does not have."""
    kinds = {"tools/call": "Unknown tool", "prompts/get": "Unknown prompt"}
    kind = kinds.get(request.method)
    text = f"{kind}: {name}" if kind is not None else "Resource not found"
    return error_message(request.id, _INVALID_PARAMS, text)


def decline_for(method: str, request_id: RequestId, reason: str) -> dict[str, Any]:
    """Return what a server gets when its *method* request to the client was denied."""
    match method:
        case "elicitation/create":
            result: dict[str, Any] = {"action": "decline"}
        case "roots/list":
            result = {"roots": []}
        case "sampling/createMessage":
            return error_message(request_id, _USER_REJECTED, reason)
        case _:
            return error_message(request_id, DENIED, reason)
    return {"jsonrpc": "2.0", "id": request_id, "result": result}


def ping(request_id: RequestId) -> dict[str, Any]:
    """Return the request that goes on in the place of a denied one: every side answers it."""
    return {"jsonrpc": "2.0", "id": request_id, "method": "ping"}
