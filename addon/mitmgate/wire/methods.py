"""The methods of MCP, of every revision, and what kind each is: tables, no logic on messages."""

from __future__ import annotations

HOUSEKEEPING_REQUESTS = frozenset(
    {
        "initialize",
        "server/discover",
        "ping",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "roots/list",
        "skills/list",
        "tasks/list",
        "logging/setLevel",
        "subscriptions/listen",
        "resources/subscribe",
        "resources/unsubscribe",
        # The rest of an answer to a call that was judged when it was made: asking a person
        # at every poll would teach that person to press the key without reading.
        "tasks/get",
        "tasks/result",
        "tasks/cancel",
    }
)

MCP_METHODS = HOUSEKEEPING_REQUESTS | {
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/directory/read",
    "completion/complete",
    "sampling/createMessage",
    "elicitation/create",
    "tasks/update",
    "skills/get",
}
"""Request methods of both eras, both directions, and of the stable extensions."""

MCP_NOTIFICATIONS = frozenset(
    {
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/message",
        "notifications/roots/list_changed",
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/elicitation/complete",
        "notifications/tasks/status",
        "notifications/tasks",
        "notifications/subscriptions/acknowledged",
    }
)

HOUSEKEEPING_METHODS = HOUSEKEEPING_REQUESTS | MCP_NOTIFICATIONS

SHARED_METHODS = frozenset(
    {
        "initialize",
        "ping",
        "tasks/get",
        "tasks/list",
        "tasks/cancel",
        "tasks/result",
        "tasks/update",
    }
)
"""MCP methods that other protocols (LSP, ACP, A2A) use under the same name."""

MCP_ONLY_METHODS = (MCP_METHODS - SHARED_METHODS) | MCP_NOTIFICATIONS

KNOWN_METHODS = MCP_METHODS | MCP_NOTIFICATIONS


def is_housekeeping(method: str) -> bool:
    """Say whether *method* only keeps a session going and runs nothing."""
    return method in HOUSEKEEPING_REQUESTS or method.startswith("notifications/")
