"""The one registry of keys: bindings, key line, help screen and documentation come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

type Scope = Literal["app", "rows", "detail", "tree"]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its name in the keymap, what is pressed, what it does, how people spell it.

    ``needs`` is a path of the control API without which the key is absent, ``remembers`` says that
    it wants a call that can be answered for more than once.
    """

    id: str
    pressed: str
    action: str
    shown: str
    label: str
    help: str
    scope: Scope = "app"
    on_line: bool = False
    needs: str = ""
    remembers: bool = False


PREVIEW = "/pending/{}/preview"
SWITCH = "/switch"
UNDO = "/undo"
ROW = "/rows/{}"
SERVERS = "/servers"
RULES = "/rules"
HEALTH = "/health"
CAPTURES = "/captures"

DECISIONS = (
    Key("approve", "a", "decide('once')", "a", "once",
        "approve the selected call, once", on_line=True),
    Key("session", "s", "decide('session')", "s", "session",
        "approve what the scope covers, for this session", on_line=True, remembers=True),
    Key("time", "t", "decide('time')", "t", "time",
        "approve what the scope covers, for 5 minutes, 15 minutes or an hour",
        on_line=True, remembers=True),
    Key("ever", "f", "decide('ever')", "f", "ever",
        "write a rule that approves what the scope covers; shows it first",
        on_line=True, needs=PREVIEW, remembers=True),
    Key("deny", "d", "decide('deny')", "d", "deny", "deny the selected call", on_line=True),
    Key("deny-remember", "D", "decide('remember')", "D", "deny more",
        "deny the selected call and, for a time, what the scope covers",
        on_line=True, remembers=True),
    Key("reason", "r", "decide('reason')", "r", "why",
        "deny the selected call with a reason that the agent reads", on_line=True),
    Key("approve-marked", "A", "decide_marked('allow')", "A", "all marked",
        "approve all marked calls, once each; lists them first"),
    Key("deny-marked", "X", "decide_marked('deny')", "X", "deny marked",
        "deny all marked calls; lists them first"),
)  # fmt: skip

KEYS = (
    *DECISIONS,
    Key("scope", "e", "scope", "e", "scope",
        "choose what s, t, f and D cover, the narrowest first", on_line=True, remembers=True),
    Key("mark", "space", "mark", "space", "mark", "mark the selected call, or take the mark off"),
    Key("undo", "u", "undo", "u", "undo", "list what was said for more than once; take it back",
        on_line=True, needs=UNDO),
    Key("kill", "k", "kill", "k", "kill switch",
        "ask whether everything is to be denied, or to be judged again", on_line=True,
        needs=SWITCH),
    Key("down", "j,down", "move(1)", "j ↓", "down", "next row", "rows"),
    Key("up", "up", "move(-1)", "↑", "up", "row before", "rows"),
    Key("page-down", "pagedown", "page(1)", "PgDn", "page down", "a page on", "rows"),
    Key("page-up", "pageup", "page(-1)", "PgUp", "page up", "a page back", "rows"),
    Key("first", "g,home", "edge(False)", "g Home", "top", "first row", "rows"),
    Key("last", "G,end", "edge(True)", "G End", "end",
        "last row; the live view follows again", "rows"),
    Key("open", "enter", "open", "enter", "all",
        "show the whole row; decides nothing", "rows", True),
    Key("scroll-down", "j,down", "scroll_down", "j ↓", "down", "scroll the detail down", "detail"),
    Key("scroll-up", "up", "scroll_up", "↑", "up", "scroll the detail up", "detail"),
    Key("fold", "minus", "fold(-1)", "-", "fold", "show less of the arguments", "tree"),
    Key("unfold", "plus", "fold(1)", "+", "unfold", "show more of the arguments", "tree"),
    Key("copy-json", "J", "copy('json')", "J", "copy JSON",
        "copy the selected row as JSON, through the terminal (OSC 52)"),
    Key("copy-curl", "C", "copy('curl')", "C", "copy curl",
        "copy the selected request as a curl command without credentials", needs=ROW),
    Key("filter", "slash", "filter", "/", "filter", "filter the live view as you type",
        on_line=True),
    Key("notable", "x", "notable", "x", "only not allowed", "hide or show plainly allowed rows",
        on_line=True),
    Key("pause", "p", "pause", "p", "pause", "pause the live view, or let it go on",
        on_line=True),
    Key("sort", "o", "sort", "o", "order",
        "order the rows by the next column; pauses the live view"),
    Key("capture", "c", "capture", "c", "capture",
        "make a capture of the selected row, to test rules with", needs=CAPTURES),
    Key("columns", "v", "columns", "v", "columns", "choose the columns of the live view"),
    Key("live", "1", "show('live')", "1", "live", "the live view and what waits"),
    Key("servers", "2", "show('servers')", "2", "servers", "the MCP servers that were seen",
        on_line=True, needs=SERVERS),
    Key("rules", "3", "show('rules')", "3", "rules", "the rules, and how often each decided",
        on_line=True, needs=RULES),
    Key("health", "4", "show('health')", "4", "health", "how the gate is doing", on_line=True,
        needs=HEALTH),
    Key("back", "escape", "to_list", "escape", "to_list",
        "back to the list; let the live view follow"),
    Key("help", "question_mark", "help", "?", "help", "this list", on_line=True),
    Key("leave", "q,ctrl+q", "leave", "q", "leave", "leave the console; the gate goes on",
        on_line=True),
    Key("next-pane", "tab", "app.focus_next", "tab", "pane", "next pane", on_line=True),
    Key("pane-before", "shift+tab", "app.focus_previous", "shift+tab", "pane back",
        "pane before"),
    Key("end", "ctrl+c", "interrupt", "ctrl+c", "end",
        "end the console, and a gate that brought it along"),
)  # fmt: skip


def bindings(scope: Scope) -> list[Binding]:
    """Return Textual's bindings of one scope; their ids are what a keymap names."""
    return [
        Binding(key.pressed, key.action, key.label, show=False, priority=key.id == "end", id=key.id)
        for key in KEYS
        if key.scope == scope
    ]
