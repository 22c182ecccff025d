"""How a row is spelled: a sign and a word for what became of it, never colour alone."""

from __future__ import annotations

from typing import NamedTuple

from mitmgate.control.models import Row
from mitmgate_tui.entry import Entry
from mitmgate_tui.text import clean, clipped


class Sign(NamedTuple):
    """A sign, its word, and its style: ``$sign-deny`` in texts, ``rows--deny`` in lists."""

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
TICKET = Sign("↻", "ticket", "hold")
UNKNOWN = Sign("?", "unknown", "hold")


def sign_of(entry: Entry) -> Sign:
    """Return what became of the row, as far as we know."""
    if not entry.get("enforced"):
        return SHADOW
    if entry.ticket:
        return TICKET
    if entry.lost:
        return UNKNOWN
    if entry.answer is not None:
        return APPROVED if entry.answer.answer == "allow" else DENIED
    verdict = entry.get("verdict")
    if verdict == "deny":
        return DENIED
    if verdict == "ask":
        return HELD
    return REDACTED if entry.get("edits") else ALLOWED


def shown(name: str) -> str:
    """Return a stranger's name, clean and of bounded length."""
    return clean(clipped(name))


def what(row: Row) -> str:
    """Name what was wanted, in a few words; ``←`` marks what came back."""
    if row.channel == "mcp":
        name = row.tool or row.method
    else:
        name = f"{row.method} {row.endpoint.partition('://')[2] or row.endpoint or row.host}"
    back = "← " if row.kind in ("answer", "event") else ""
    return back + shown(name)


def whom(row: Row) -> str:
    """Name the server of a row: its name in the policy, else the host; ``-`` for egress."""
    if row.server is not None:
        return shown(row.server)
    return shown(row.host) if row.channel == "mcp" else "-"


def why(entry: Entry) -> str:
    """Name the rule; a row that was only judged says what would have been done."""
    rule = entry.get("rule")
    return shown(rule if entry.get("enforced") else f"{entry.get('verdict')}: {rule}")
