"""How a row is spelled: a sign and a word for what became of it, never colour alone."""

from __future__ import annotations

from typing import NamedTuple

from mitmgate.control.models import Row
from mitmgate_tui.board import Entry
from mitmgate_tui.text import clean

# Light enough to stay readable as greys, which is what NO_COLOR makes of them.
PALETTE = {
    "allow": "#7ee787",
    "deny": "#ff8b82",
    "hold": "#f2cc60",
    "edit": "#79c0ff",
    "shadow": "#d2a8ff",
}


class Sign(NamedTuple):
    """A sign, its word, and the name of its style."""

    sign: str
    word: str
    style: str

    def __str__(self) -> str:
        return f"{self.sign} {self.word}"


ALLOWED = Sign("✓", "allowed", "allow")
APPROVED = Sign("✓", "approved", "allow")
REDACTED = Sign("✎", "redacted", "edit")
DENIED = Sign("✗", "denied", "deny")
HELD = Sign("⏸", "held", "hold")
SHADOW = Sign("◌", "shadow", "shadow")


def sign_of(entry: Entry) -> Sign:
    """Return what became of the row, as far as we know."""
    row = entry.row
    if not row.enforced:
        return SHADOW
    if entry.answer is not None:
        return APPROVED if entry.answer.answer == "allow" else DENIED
    if row.verdict == "deny":
        return DENIED
    if row.verdict == "ask":
        return HELD
    return REDACTED if row.edits else ALLOWED


def what(row: Row) -> str:
    """Name what was wanted, in a few words; ``←`` marks what came back."""
    if row.channel == "mcp":
        name = row.tool or row.method
    else:
        name = f"{row.method} {row.endpoint.partition('://')[2] or row.endpoint or row.host}"
    back = "← " if row.kind in ("answer", "event") else ""
    return back + clean(name)


def whom(row: Row) -> str:
    """Name the server of a row: its name in the policy, else the host; ``-`` for egress."""
    if row.server is not None:
        return clean(row.server)
    return clean(row.host) if row.channel == "mcp" else "-"


def why(entry: Entry) -> str:
    """Name the rule; a row that was only judged says what would have been done."""
    row = entry.row
    return clean(row.rule if row.enforced else f"{row.verdict}: {row.rule}")
