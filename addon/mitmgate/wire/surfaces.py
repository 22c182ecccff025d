"""Where text stands in traffic, and the one walker that yields it (WIRE section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from mitmgate.wire.a2a import is_card
from mitmgate.wire.http import Headers
from mitmgate.wire.packed import MAX_DERIVED, Packed, is_media, may_be_packed, read_packed

__all__ = [
    "DEFINING_METHODS",
    "FAR",
    "MAX_DERIVED",
    "MAX_POINTERS",
    "PROTOCOL_KEYS",
    "Surface",
    "Text",
    "definition_media",
    "escape_token",
    "input_requests",
    "resolve_pointer",
    "walk_error",
    "walk_head",
    "walk_json",
    "walk_params",
    "walk_result",
]


class Surface(StrEnum):
    """The place a text was found in; policies give effects per surface."""

    ARGUMENTS = "arguments"
    RESULTS = "results"
    DEFINITIONS = "definitions"
    EGRESS_REQUEST = "egress_request"
    EGRESS_RESPONSE = "egress_response"
    MODEL_REQUEST = "model_request"


class Text(NamedTuple):
    """One decoded string of a message: its surface, its JSON pointer (RFC 6901), itself.

    RFC 6901 cannot point at a key. Where ``key`` is true, ``text`` is an object's key and
    ``pointer`` that of its value: it can be judged, and must never be edited.
    """

    surface: Surface
    pointer: str
    text: str
    key: bool = False
    derived: bool = False


DEFINING_METHODS = frozenset(
    {
        "initialize",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "skills/list",
        "skills/get",
        "events/list",
    }
)
"""Requests whose results tell the model what there is, before anything is called."""

_OPAQUE = "requestState"
# Clients return it as they got it and show it to nobody (2026-07-28). It is often a signed token:
# scanning would deny, and redacting would break, every call that asks back.


MAX_POINTERS = 8 * 1024 * 1024
"""The most characters that one walk spends on pointers of more than ``_SHORT`` of them."""

FAR = "/~far"
"""Stands for pointers beyond that bound. It points at nothing, so that no edit is made there."""

_SHORT = 256


def walk_json(surface: Surface, value: Any, prefix: str = "") -> list[Text]:
    """Return every string of *value* in document order, keys before their values.

    A string at the very top has *prefix* as its pointer; with an empty prefix an edit of it
    would count in the raw text, so scan such a text as plain text instead. In an answer that is
    not MCP, what a model API tells of the MCP servers that it called stands on the surfaces that
    it would have here, and an agent card (A2A) is a definition.
    """
    if surface is Surface.EGRESS_RESPONSE and is_card(value):
        surface = Surface.DEFINITIONS
    return _Walk(surface, derive=False).texts(value, prefix)


PROTOCOL_KEYS = frozenset(
    {
        "_meta", "action", "annotations", "argument", "arguments", "audience", "blob", "cacheScope",
        "capabilities", "clientInfo", "code", "completion", "content", "contents", "context",
        "cursor", "data", "default", "description", "elicitation", "enum", "error", "extensions",
        "format", "hasMore", "icons", "id", "inputRequests", "inputResponses", "inputSchema",
        "instructions", "isError", "items", "jsonrpc", "lastModified", "level", "listChanged",
        "logger", "logging", "maxTokens", "message", "messages", "method", "mimeType", "mode",
        "model", "name", "nextCursor", "outputSchema", "params", "priority", "progress",
        "progressToken", "prompts", "properties", "protocolVersion", "ref", "requestId",
        "requestState", "requestedSchema", "required", "requiredCapabilities", "resource",
        "resourceTemplates", "resources", "result", "resultType", "role", "roots", "sampling",
        "serverInfo", "size", "src", "status", "statusMessage", "stopReason", "structuredContent",
        "subscribe", "supportedVersions", "task", "taskId", "tasks", "text", "title", "tools",
        "total", "ttlMs", "type", "uri", "uriTemplate", "url", "value", "values", "version",
        "websiteUrl",
    }
)  # fmt: skip
"""Members that the specification names: whoever sends them chose nothing in them."""


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A value that stands on another surface than what is around it."""

    value: Any
    surface: Surface


# OpenAI's Responses API, Anthropic's MCP connector and Gemini's Interactions API, in this order.
_TOLD: Mapping[str, Mapping[str, Surface]] = {
    "mcp_list_tools": {"tools": Surface.DEFINITIONS, "error": Surface.RESULTS},
    "mcp_call": {"output": Surface.RESULTS, "error": Surface.RESULTS},
    "mcp_tool_result": {"content": Surface.RESULTS},
    "mcp_server_tool_result": {"result": Surface.RESULTS, "content": Surface.RESULTS},
}
_CARD = {"result": Surface.DEFINITIONS}


class _Walk:
    """One pass over a value, in memory that grows with its text and not with its square."""

    def __init__(self, surface: Surface, *, derive: bool) -> None:
        self._surface = surface
        self._derive = derive
        self._far = FAR
        self._left = MAX_POINTERS
        self._todo: list[tuple[str, Any]] = []

    def texts(self, value: Any, prefix: str) -> list[Text]:
        self._far = prefix + FAR
        todo, surface = self._todo, self._surface
        found: list[Text] = []
        todo.append((prefix, value))
        while todo:
            pointer, item = todo.pop()
            if item.__class__ is str:
                found.append(Text(surface, pointer, item))
            elif isinstance(item, Text):
                found.append(item)
            elif item.__class__ is dict or isinstance(item, Mapping):
                self._push_members(pointer, item)
            elif isinstance(item, (list, tuple)):
                self._push_items(pointer, item)
            elif isinstance(item, _Elsewhere):
                found += _Walk(item.surface, derive=True).texts(item.value, pointer)
            elif isinstance(item, Packed):
                text = read_packed(item)
                if text is not None:
                    found.append(Text(surface, pointer, text, derived=True))
        return found

    def _push_items(self, pointer: str, items: list[Any] | tuple[Any, ...]) -> None:
        if self._is_far(pointer, len(items)):
            self._todo.extend((self._far, item) for item in reversed(items))
            return
        self._todo.extend(
            (f"{pointer}/{index}", items[index]) for index in range(len(items) - 1, -1, -1)
        )

    def _push_members(self, pointer: str, members: Mapping[str, Any]) -> None:
        todo, far = self._todo, self._is_far(pointer, len(members))
        told = self._told(members)
        for key, value in reversed(list(members.items())):
            if value.__class__ in _NO_TEXT and key in PROTOCOL_KEYS:
                continue
            place = self._far if far else f"{pointer}/{escape_token(key)}"
            if self._derive and isinstance(value, str) and may_be_packed(key, members):
                media_type = members.get("mimeType")
                known = media_type if isinstance(media_type, str) else None
                packed = Packed(value, known)
                if self._surface is Surface.RESULTS and is_media(packed):
                    continue
                todo.append((place, packed))
            if told is not None and key in told:
                todo.append((place, _Elsewhere(value, told[key])))
            else:
                todo.append((place, value))
            if key not in PROTOCOL_KEYS:
                todo.append((place, Text(self._surface, place, key, key=True)))

    def _told(self, members: Mapping[str, Any]) -> Mapping[str, Surface] | None:
        if self._surface is not Surface.EGRESS_RESPONSE:
            return None
        if is_card(members.get("result")):
            return _CARD
        kind = members.get("type")
        return _TOLD.get(kind) if isinstance(kind, str) else None

    def _is_far(self, pointer: str, children: int) -> bool:
        # One key of a megabyte above 10,000 strings would be 10 GB of pointers.
        if len(pointer) > _SHORT:
            self._left -= len(pointer) * children
        return len(pointer) > _SHORT and self._left < 0


_NO_TEXT = frozenset({int, float, bool, type(None)})


def walk_params(
    method: str,
    params: Mapping[str, Any] | None,
    *,
    surface: Surface = Surface.ARGUMENTS,
    prefix: str = "",
) -> list[Text]:
    """Return the strings of a request's or notification's *params*, from ``/params`` on.

    Give ``Surface.RESULTS`` for what a server sends of its own accord, and the message's
    index (``/0``) as *prefix* inside a batch.
    """
    del method
    if params is None:
        return []
    return _Walk(surface, derive=True).texts(params, f"{prefix}/params")


def walk_result(
    method: str, result: Any, *, surface: Surface | None = None, prefix: str = ""
) -> list[Text]:
    """Return the strings of the *result* of a *method* request, from ``/result`` on.

    Give ``Surface.ARGUMENTS`` for what a client answers to a server.
    """
    if surface is None:
        surface = Surface.DEFINITIONS if method in DEFINING_METHODS else Surface.RESULTS
    if isinstance(result, Mapping) and surface is not Surface.ARGUMENTS:
        result = _without_opaque(result)
    return _Walk(surface, derive=True).texts(result, f"{prefix}/result")


def walk_error(
    error: Mapping[str, Any], *, surface: Surface = Surface.RESULTS, prefix: str = ""
) -> list[Text]:
    """Return the strings of a JSON-RPC *error* object, from ``/error`` on."""
    return _Walk(surface, derive=True).texts(error, f"{prefix}/error")


_TALKING_HEADERS = frozenset(
    {
        "www-authenticate", "proxy-authenticate", "authentication-info", "location",
        "content-location", "refresh", "link", "warning", "content-disposition", "server",
    }
)  # fmt: skip
_SILENT_HEADERS = frozenset({"mcp-session-id", "mcp-protocol-version"})


def walk_head(headers: Headers, surface: Surface) -> Iterator[Text]:
    """Yield the values of an answer's *headers* that can carry free text, at ``#header/NAME``.

    That is no JSON pointer: such a text can be judged, and never edited. Session ids and
    cookies are left out: clients return them and show them to nobody.
    """
    for name, value in headers:
        free = name.startswith(("x-", "mcp-")) and name not in _SILENT_HEADERS
        if value and (free or name in _TALKING_HEADERS):
            yield Text(surface, f"#header/{name}", _header_text(value))


def _header_text(value: str) -> str:
    # Headers are read as latin-1; what is meant beyond ASCII is nearly always UTF-8.
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


_DEFINITION_MEDIA = frozenset({"application/mcp-server-card+json", "application/ai-catalog+json"})


def definition_media(media_type: str) -> bool:
    """Say whether *media_type* is that of a document that describes servers to a client."""
    return media_type.partition(";")[0].strip().lower() in _DEFINITION_MEDIA


def input_requests(value: Any) -> Iterator[tuple[str, str, Mapping[str, Any] | None]]:
    """Yield pointer below *value*, method and params of each ask that a server put into it.

    *value* is a result, the params of ``notifications/tasks``, an error or its ``data``. Asks
    are the ``inputRequests`` of 2026-07-28 and the ``elicitations`` of error -32042, also in
    the result or error of a task.
    """
    todo: list[tuple[str, Any]] = [("", value)]
    while todo:
        pointer, item = todo.pop()
        if not isinstance(item, Mapping):
            continue
        yield from _asks(pointer, item)
        inner = ["task", "result", "error"]
        if "code" in item:
            inner.append("data")  # any JSON, unless it is the data of an error
        todo.extend((f"{pointer}/{name}", item[name]) for name in inner if name in item)


def _asks(
    pointer: str, item: Mapping[str, Any]
) -> Iterator[tuple[str, str, Mapping[str, Any] | None]]:
    asked = item.get("inputRequests")
    if isinstance(asked, Mapping):
        for key, ask in asked.items():
            if isinstance(ask, Mapping) and isinstance(method := ask.get("method"), str):
                params = ask.get("params")
                place = f"{pointer}/inputRequests/{escape_token(key)}"
                yield place, method, params if isinstance(params, Mapping) else None
    elicited = item.get("elicitations")
    if isinstance(elicited, list):
        for index, ask in enumerate(elicited):
            if isinstance(ask, Mapping):
                yield f"{pointer}/elicitations/{index}", "elicitation/create", ask


def _without_opaque(members: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(members.get(_OPAQUE), str):
        return members
    return {key: value for key, value in members.items() if key != _OPAQUE}


def escape_token(token: str) -> str:
    """Return *token* as one reference token of a JSON pointer."""
    if "~" in token or "/" in token:
        return token.replace("~", "~0").replace("/", "~1")
    return token


def resolve_pointer(value: Any, pointer: str) -> Any:
    """Return what *pointer* points at in *value*.

    Raise KeyError where nothing is there, ValueError where *pointer* is no JSON pointer.
    """
    if not pointer:
        return value
    if not pointer.startswith("/"):
        raise ValueError("a JSON pointer is empty or starts with '/'")
    for token in pointer[1:].split("/"):
        value = _step(value, token)
    return value


def _step(value: Any, token: str) -> Any:
    if "~" in token.replace("~0", "").replace("~1", ""):
        raise ValueError("'~' in a JSON pointer is followed by 0 or 1")
    key = token.replace("~1", "/").replace("~0", "~")
    if isinstance(value, Mapping):
        return value[key]
    if isinstance(value, (list, tuple)) and _is_index(key) and int(key) < len(value):
        return value[int(key)]
    raise KeyError(key)


def _is_index(token: str) -> bool:
    digits = token.isascii() and token.isdecimal() and len(token) <= 10
    return digits and (len(token) == 1 or not token.startswith("0"))
