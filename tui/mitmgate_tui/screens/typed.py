"""The box for the name of a tool whose call holds a high finding: typed, letter by letter."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from textual import events
from textual.content import Content

from mitmgate.control.models import Row
from mitmgate_tui.arming import BURST
from mitmgate_tui.board import Board
from mitmgate_tui.chosen import Seen
from mitmgate_tui.entry import Entry
from mitmgate_tui.screens.box import Box, told, wrapped
from mitmgate_tui.screens.length import LEFT
from mitmgate_tui.signs import shown, what

MAX_TYPED = 40
MIN_TYPED = 4
FASTEST = 0.01
"""Two keys closer together than this many seconds were not typed."""


def wanted_of(row: Row, entry: str) -> str:
    """Return what has to be typed: the tool's name, or host, as far as a keyboard has its letters.

    Else the id of the approval: letters that only look alike cannot be told apart by typing, and
    a key held down types one letter again and again.
    """
    name = row.tool or (row.host if row.channel == "egress" else row.method)
    plain = name.isascii() and name.isprintable() and name == name.strip()
    long = MIN_TYPED <= len(name) <= MAX_TYPED and len(set(name.lower())) > 1
    return name if plain and long else entry


class TypedScreen(Box[bool]):
    """Dismisses with True once the whole name stands there; no enter, no paste."""

    answers = frozenset()
    line = "the last letter approves   backspace   escape no"

    def __init__(self, entry: Entry, seen: Seen, steady: Callable[[], float]) -> None:
        super().__init__()
        self._row = entry.row
        self._seen = seen
        self._wanted = wanted_of(entry.row, seen.entry)
        self._steady = steady
        self._text = ""
        self._keys = 0
        self._last = steady()
        self._fast = False
        self._still = True
        self._awake = False

    def on_mount(self) -> None:
        """Take all keys here."""
        self.set_focus(None)

    @property
    def subject(self) -> Hashable:
        """What stands there, and whether its call still waits."""
        return (super().subject, self._text, self._fast, self._still)

    def ready(self, armed: bool) -> bool:
        """Whether letters count: from the first time on that no key was pressed for a while."""
        self._awake = self._awake or armed
        return self._awake

    def look(self, board: Board) -> None:
        """Note whether the call still waits."""
        self._still = self._seen.still(board.waiting_entry(self._seen.row))

    def lines(self, width: int) -> list[Content]:
        """Show what was found, what to type, and what was typed."""
        row = self._row
        lines = [told(f"Approve {what(row)} of {shown(row.agent)}", width, "bold")]
        for finding in row.findings[:10]:
            text = f"⚠ {finding.severity} {finding.rule} at {finding.pointer or '/'}"
            lines.append(told(text, width, "$sign-hold"))
        kind = "the id of this approval" if self._wanted == self._seen.entry else "its name"
        lines += wrapped(f"Something severe was found. Type {kind} to approve all the same:", width)
        lines += [told(f"  {self._wanted}", width, "bold"), told(f"> {self._text}▏", width)]
        if self._fast:
            lines.append(told("That came too fast to be typed: begin again.", width, "$sign-deny"))
        return lines if self._still else [*lines, told(LEFT, width, "$sign-hold")]

    def on_key(self, event: events.Key) -> None:
        """Take one letter."""
        if event.key in ("escape", "ctrl+c"):
            return
        event.stop()
        event.prevent_default()
        if not self._awake:
            return
        now = self._steady()
        too_fast, self._last, self._keys = now - self._last < FASTEST, now, self._keys + 1
        if event.key == "backspace":
            self._text = self._text[:-1]
        elif event.character is not None and event.is_printable:
            self._text = "" if too_fast else (self._text + event.character)[: MAX_TYPED + 1]
            self._fast = too_fast
        if self._text == self._wanted:
            keys = self._keys
            self.set_timer(BURST, lambda: self._settle(keys))

    def on_paste(self, event: events.Paste) -> None:
        """Take nothing that was pasted."""
        event.stop()
        self._text, self._fast, self._keys = "", True, self._keys + 1

    def _settle(self, keys: int) -> None:
        if keys == self._keys and self._text == self._wanted and self._still:
            self._answer(True)
