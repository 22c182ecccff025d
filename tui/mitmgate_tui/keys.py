"""The one registry of keys: bindings, key line, help screen and documentation come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

type Scope = Literal["app", "rows", "detail"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what is pressed, what it does, and how it is spelled for people."""

    pressed: str
    action: str
    shown: str
    label: str
    help: str
    scope: Scope = "app"
    on_line: bool = False


DECISIONS = (
    Key(
        "a", "decide('allow')", "a", "approve once", "approve the selected call, once", on_line=True
    ),
    Key("d", "decide('deny')", "d", "deny", "deny the selected call", on_line=True),
    Key(
        "r",
        "decide('reason')",
        "r",
        "deny with a reason",
        "deny the selected call with a reason that the agent reads",
        on_line=True,
    ),
)

KEYS = (
    *DECISIONS,
    Key("j,down", "move(1)", "j ↓", "down", "next row", "rows"),
    Key("k,up", "move(-1)", "k ↑", "up", "row before", "rows"),
    Key("pagedown", "page(1)", "PgDn", "page down", "a page on", "rows"),
    Key("pageup", "page(-1)", "PgUp", "page up", "a page back", "rows"),
    Key("g,home", "edge(False)", "g Home", "top", "first row", "rows"),
    Key("G,end", "edge(True)", "G End", "end", "last row; the live view follows again", "rows"),
    Key("enter", "open", "enter", "detail", "show the whole row; decides nothing", "rows", True),
    Key("j,down", "scroll_down", "j ↓", "down", "scroll the detail down", "detail"),
    Key("k,up", "scroll_up", "k ↑", "up", "scroll the detail up", "detail"),
    Key("x", "filter", "x", "only not allowed", "hide or show plainly allowed rows", on_line=True),
    Key("escape", "to_list", "escape", "to_list", "back to the list; let the live view follow"),
    Key("question_mark", "help", "?", "help", "this list", on_line=True),
    Key("q,ctrl+q", "leave", "q", "leave", "leave the console; the gate goes on", on_line=True),
    Key("tab", "app.focus_next", "tab", "pane", "next pane", on_line=True),
    Key("shift+tab", "app.focus_previous", "shift+tab", "pane back", "pane before"),
    Key(
        "ctrl+c", "interrupt", "ctrl+c", "end", "end the console, and a gate that brought it along"
    ),
)


def bindings(scope: Scope) -> list[Binding]:
    """Return Textual's bindings of one scope."""
    return [
        Binding(key.pressed, key.action, key.label, show=False, priority=key.pressed == "ctrl+c")
        for key in KEYS
        if key.scope == scope
    ]
