"""Agent2Agent (A2A, versions 0.3 and 1.0): its messages, its paths and its agent cards.

Sources: A2A specification 0.3.0 sections 3, 5 and 7; 1.0 sections 5, 9 and 11. Over HTTP it is
spoken as JSON-RPC or as REST; which of them a host offers stands in its agent card.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from mitmgate.wire.http import RequestHead

CARD_PATHS = ("/.well-known/agent-card.json", "/.well-known/agent.json")
MEDIA_TYPE = "application/a2a+json"
_HEADERS = frozenset({"a2a-version", "a2a-extensions", "x-a2a-extensions"})

# Methods whose names nobody else uses, and those that other protocols of JSON-RPC have too.
_OWN_METHODS = frozenset(
    {
        "message/send", "message/stream", "tasks/resubscribe", "agent/getAuthenticatedExtendedCard",
        "agent/authenticatedExtendedCard", "tasks/pushNotificationConfig/set",
        "tasks/pushNotificationConfig/get", "tasks/pushNotificationConfig/list",
        "tasks/pushNotificationConfig/delete", "tasks/send", "tasks/sendSubscribe",
        "SendStreamingMessage", "SubscribeToTask", "GetExtendedAgentCard",
        "CreateTaskPushNotificationConfig", "GetTaskPushNotificationConfig",
        "ListTaskPushNotificationConfigs", "DeleteTaskPushNotificationConfig",
    }
)  # fmt: skip
_SHARED_METHODS = {
    "SendMessage": "message",
    "GetTask": "id",
    "CancelTask": "id",
    "ListTasks": "contextId",
    "tasks/list": "contextId",
    "tasks/get": "id",
    "tasks/cancel": "id",
}
_REST_ENDS = ("/message:send", "/message:stream", "/extendedAgentCard")
_TASK_VERBS = ("cancel", "subscribe")
_PUSH = "pushNotificationConfigs"
_MOST_DECODED = 4


def is_method(method: str, params: Mapping[str, Any] | None) -> bool:
    """Say whether a JSON-RPC request of *method* with *params* is one of A2A."""
    if method in _OWN_METHODS:
        return True
    required = _SHARED_METHODS.get(method)  # MCP names a task by "taskId"
    return required is not None and params is not None and required in params


def plain_path(path: str) -> str:
    """Return *path* as the laxest server may read it.

    That is without escapes, parameters (``;v=1``), empty or ``.`` segments and capital letters.
    """
    for _ in range(_MOST_DECODED):
        if "%" not in path:
            break
        path = unquote(path)
    segments = (segment.partition(";")[0] for segment in path.lower().split("/"))
    return "/" + "/".join(segment for segment in segments if segment not in ("", "."))


def action_of(head: RequestHead) -> str | None:
    """Return what a request with *head* asks for by the REST binding, or for a card, or None."""
    path = plain_path(head.path)
    if head.method in ("GET", "HEAD") and path.endswith(CARD_PATHS):
        return "agent-card"
    for end in _REST_ENDS:
        if path.endswith(end.lower()):
            return end.rpartition("/")[2]
    segments = path.split("/")
    _, colon, verb = segments[-1].partition(":")
    if colon and verb in _TASK_VERBS and segments[-2] == "tasks":
        return f"tasks:{verb}"
    # /tasks/{id}/pushNotificationConfigs, and one of them below it
    if ("tasks", _PUSH.lower()) in zip(segments[-4:-2], segments[-2:], strict=False):
        return _PUSH
    names = (name for name, _ in head.headers)
    told = any(name in _HEADERS for name in names)
    media = (head.get("content-type") or "").partition(";")[0].strip().lower()
    return "request" if told or media == MEDIA_TYPE else None


def is_card(value: Any) -> bool:
    """Say whether *value* is an agent card, by the members that every version demands."""
    if not isinstance(value, Mapping):
        return False
    reached = any(
        isinstance(value.get(key), kind)
        for key, kind in (("url", str), ("supportedInterfaces", list),
                          ("additionalInterfaces", list))
    )  # fmt: skip
    named = isinstance(value.get("name"), str) and isinstance(value.get("skills"), list)
    return reached and named and isinstance(value.get("capabilities"), Mapping)


def card_digest(card: Any) -> str:
    """Return the SHA-256 of *card* in its canonical form, in hexadecimal.

    That is JSON with sorted keys and no blanks, as in RFC 8785; signatures count too.
    """
    text = json.dumps(card, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
