"""A page about the gate that is asked for every two seconds while it is in sight."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.widgets import Static

from mitmgate_tui import keys
from mitmgate_tui.board import Board
from mitmgate_tui.client import Gate, Refused
from mitmgate_tui.clock import Clock
from mitmgate_tui.screens.view import Look, View
from mitmgate_tui.text import clean, isolated, middle
from mitmgate_tui.widgets.keyline import DECIDING, KeyLine
from mitmgate_tui.widgets.status import StatusLine

EVERY = 2.0
MAX_LINES = 2_000


class Page(VerticalScroll, can_focus=True):
    """Lines that scroll."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("detail")]

    def compose(self) -> ComposeResult:
        """Hold one block of text."""
        yield Static(markup=False)

    def show(self, lines: list[Content]) -> None:
        """Draw the lines, so many at most."""
        if len(lines) > MAX_LINES:
            lines = [*lines[:MAX_LINES], Content(f"{len(lines) - MAX_LINES} more are not shown")]
        self.query_one(Static).update(Content("\n").join(lines))


class Pane(View):
    """Shows what the control API says at ``path``; nothing can be decided here."""

    name_shown: ClassVar[str]
    path: ClassVar[str]

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self._answer: bytes | None = None
        self._trouble: str | None = "asking the proxy"
        self._look: Look | None = None

    def compose(self) -> ComposeResult:
        """Hold the status, the page, the keys."""
        yield StatusLine(id="status")
        yield Page(id="page")
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Ask at once, and again every two seconds."""
        self.query_one(Page).focus()
        self.query_one(Page).border_title = self.name_shown
        self._ask()
        self.set_interval(EVERY, self._ask)

    @property
    def target(self) -> None:
        """Nothing here can be decided."""

    def draw(self, look: Look) -> None:
        """Draw the page as it is now."""
        self._look = look
        status = self.query_one("#status", StatusLine)
        status.show(look.board, look.clock, read_only=look.read_only)
        width = max(20, self.size.width - 5)
        self.query_one(Page).show(self.lines(look.board, look.clock, width))
        self.draw_keys(look)

    def draw_keys(self, look: Look) -> None:
        """Draw the key line."""
        here = [
            replace(key, on_line=True) if key.id == "live" else key
            for key in look.keys
            if key.id not in DECIDING and key.scope == "app"
        ]
        self.query_one("#keys", KeyLine).show(here, armed=False, target=False)

    def back(self) -> None:
        """Go back to the live view."""
        self.dismiss()

    def lines(self, board: Board, clock: Clock, width: int) -> list[Content]:
        """Return the page, each line at most *width* cells."""
        raise NotImplementedError

    def trouble(self) -> list[Content]:
        """Return why the proxy's answer is missing, if it is."""
        if self._trouble is None:
            return []
        return [line_of(self._trouble, 200, "$sign-hold"), Content()]

    def _ask(self) -> None:
        self.run_worker(self._asked(), group="ask", exclusive=True)

    async def _asked(self) -> None:
        try:
            self._answer = await self._gate.get(self.path)
            self._trouble = None
        except Refused as refusal:
            self._trouble = str(refusal)
        if self._look is not None and self.is_attached:
            try:
                self.draw(self._look)
            except NoMatches:  # the page was left meanwhile
                return


def line_of(text: str, width: int, style: str = "") -> Content:
    """Return a stranger's text as one line."""
    return Content.styled(isolated(middle(clean(text), width)), style)
