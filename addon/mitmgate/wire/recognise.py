"""Is this message MCP, of which era, and what does it aim at? Decided on the decoded body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from mitmgate.wire.http import Headers
from mitmgate.wire.jsonrpc import Batch, Failure, Message, Result
from mitmgate.wire.methods import (
    HOUSEKEEPING_METHODS,
    MCP_METHODS,
    MCP_ONLY_METHODS,
    is_housekeeping,
)

__all__ = [
    "HOUSEKEEPING_METHODS",
    "KNOWN_REVISIONS",
    "MCP_METHODS",
    "MODERN_VERSIONS",
    "VERSION_KEY",
    "Recognition",
    "header_values",
    "is_housekeeping",
    "is_modern",
    "meta_version",
    "protocol_version",
    "recognise",
    "target_name",
]

MODERN_VERSIONS = frozenset({"2026-07-28"})
KNOWN_REVISIONS = MODERN_VERSIONS | {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_MCP_HEADERS = ("mcp-method", "mcp-session-id")


class Recognition(StrEnum):
    """How sure a message alone makes us; what an endpoint has shown before decides the rest."""

    DEFINITE = "definite"
    CANDIDATE = "candidate"
    NONE = "none"


def recognise(message: Message | Batch, headers: Headers) -> Recognition:
    """Say whether *message* is MCP. *headers* may only raise the answer, never lower it."""
    # A JSON-RPC body under an MCP header. The version header is no proof: SDKs send it on
    # OAuth metadata requests too.
    if any(name in _MCP_HEADERS for name, _ in headers):
        return Recognition.DEFINITE
    kinds = {_recognise_one(item) for item in _items(message)}
    for kind in (Recognition.DEFINITE, Recognition.CANDIDATE):
        if kind in kinds:
            return kind
    return Recognition.NONE


def _items(message: Message | Batch) -> tuple[Message, ...]:
    return message.messages if isinstance(message, Batch) else (message,)


def _recognise_one(message: Message) -> Recognition:
    if isinstance(message, (Result, Failure)):
        return Recognition.CANDIDATE
    params = message.params or {}
    if meta_version(params) is not None:
        return Recognition.DEFINITE
    if message.method == "initialize":
        return _recognise_initialize(params)
    if message.method in MCP_ONLY_METHODS:
        shaped = _has_shape(message.method, params)
        return Recognition.DEFINITE if shaped else Recognition.CANDIDATE
    return _recognise_shared(message.method, params)


def _recognise_initialize(params: Mapping[str, Any]) -> Recognition:
    version = params.get("protocolVersion")
    if not isinstance(version, str):
        # The Agent Client Protocol numbers its versions, the Language Server Protocol has none.
        foreign = version is not None or "processId" in params or "rootUri" in params
        return Recognition.NONE if foreign else Recognition.CANDIDATE
    client = params.get("clientInfo")
    named = isinstance(client, Mapping) and isinstance(client.get("name"), str)
    shaped = _is_version(version) and isinstance(params.get("capabilities"), Mapping) and named
    return Recognition.DEFINITE if shaped else Recognition.CANDIDATE


def _is_version(version: str) -> bool:
    if version.upper().startswith("DRAFT"):
        return True
    digits = version.replace("-", "")
    dashed = len(version) == 10 and version[4] == version[7] == "-" and len(digits) == 8
    return dashed and digits.isascii() and digits.isdigit()


def _recognise_shared(method: str, params: Mapping[str, Any]) -> Recognition:
    if method.startswith("tasks/"):
        # Agent2Agent names a task by "id", MCP by "taskId".
        foreign = "id" in params and "taskId" not in params
        return Recognition.NONE if foreign or method not in MCP_METHODS else Recognition.CANDIDATE
    candidate = method == "ping" or method.startswith(("notifications/", "events/"))
    return Recognition.CANDIDATE if candidate else Recognition.NONE


_REQUIRED: dict[str, tuple[str, type]] = {
    "tools/call": ("name", str),
    "prompts/get": ("name", str),
    "resources/read": ("uri", str),
    "resources/subscribe": ("uri", str),
    "resources/unsubscribe": ("uri", str),
    "resources/directory/read": ("uri", str),
    "completion/complete": ("ref", Mapping),
    "sampling/createMessage": ("messages", list),
    "elicitation/create": ("message", str),
    "logging/setLevel": ("level", str),
}


def _has_shape(method: str, params: Mapping[str, Any]) -> bool:
    required = _REQUIRED.get(method)
    return required is None or isinstance(params.get(required[0]), required[1])


def protocol_version(message: Message | Batch, headers: Headers) -> str | None:
    """Return the revision that *message* says it is of: its body first, then its header."""
    for item in _items(message):
        version = _body_version(item)
        if version is not None:
            return version
    for name, value in headers:
        if name == "mcp-protocol-version":
            return value.strip(" \t")
    return None


def _body_version(message: Message) -> str | None:
    if isinstance(message, (Result, Failure)):
        return None
    params = message.params or {}
    asked = params.get("protocolVersion") if message.method == "initialize" else None
    return meta_version(params) or (asked if isinstance(asked, str) else None)


def is_modern(message: Message | Batch, headers: Headers) -> bool:
    """Say whether *message* is of the stateless era (2026-07-28), by its shape or its header."""
    for item in _items(message):
        params = None if isinstance(item, (Result, Failure)) else item.params
        if params is not None and meta_version(params) is not None:
            return True
    for name, value in headers:
        if name == "mcp-protocol-version" and value.strip(" \t") in MODERN_VERSIONS:
            return True
    return False


def meta_version(params: Mapping[str, Any]) -> str | None:
    """Return the revision that modern *params* name, or None."""
    meta = params.get("_meta")
    if meta is None or not (meta.__class__ is dict or isinstance(meta, Mapping)):
        return None
    version = meta.get(VERSION_KEY)
    return version if isinstance(version, str) else None


_TARGETS = {
    "tools/call": ("name",),
    "prompts/get": ("name",),
    "resources/read": ("uri",),
    "resources/subscribe": ("uri",),
    "resources/unsubscribe": ("uri",),
    "resources/directory/read": ("uri",),
    "skills/get": ("name", "uri"),
}


def target_name(method: str, params: Mapping[str, Any] | None) -> str | None:
    """Return the tool, prompt or resource that a request aims at; task ids stay hidden."""
    members = params or {}
    if method == "completion/complete" and isinstance(members.get("ref"), Mapping):
        ref = members["ref"]
        keys = ("uri", "name") if ref.get("type") == "ref/resource" else ("name", "uri")
        return _first_text(ref, keys)
    return _first_text(members, _TARGETS.get(method, ()))


def _first_text(members: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = members.get(key)
        if isinstance(value, str):
            return value
    return None


def header_values(headers: Headers, name: str) -> Iterator[str]:
    """Yield the values of header *name* (lower case), blanks around them left out."""
    return (value.strip(" \t") for key, value in headers if key == name)
