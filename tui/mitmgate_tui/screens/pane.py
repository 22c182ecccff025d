"""A page about the gate that is asked for every two seconds while it is in sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.css.query import NoMatches

from mitmgate_tui import keys
from mitmgate_tui.board import Board
from mitmgate_tui.client import Absent, Gate, Refused
from mitmgate_tui.clock import Clock
from mitmgate_tui.screens.main import MainScreen
from mitmgate_tui.screens.view import Look, View
from mitmgate_tui.widgets.keyline import KeyLine
from mitmgate_tui.widgets.page import Block, Page, line_of
from mitmgate_tui.widgets.status import StatusLine

EVERY = 2.0
_LINE = ("live", "servers", "rules", "health", "undo", "kill", "help", "leave")


@dataclass(frozen=True, slots=True)
class Sight:
    """What a page is drawn from: the proxy's answers by path, the console's own knowledge.

    ``width`` is in cells.
    """

    answers: Mapping[str, bytes]
    board: Board
    clock: Clock
    width: int


class Pane(View):
    """Shows what the control API says at ``paths``; nothing can be decided here.

    The first path is what the page is about: a proxy that does not offer it has no such page.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        binding for binding in keys.bindings("rows") if binding.id == "open"
    ]
    name_shown: ClassVar[str]
    paths: ClassVar[tuple[str, ...]]

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self._answers: dict[str, bytes] = {}
        self._trouble: str | None = "asking the proxy"
        self._look: Look | None = None
        self._drawn: tuple[int, int, bool] | None = None

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
        """Draw the status now, and the page once a second."""
        self._look = look
        status = self.query_one("#status", StatusLine)
        status.show(look.board, look.clock, read_only=look.read_only)
        drawn = (int(look.clock.wall()), self.size.width, look.board.gone is None)
        if drawn != self._drawn:
            self._drawn = drawn
            self._draw_page(look)
        self.draw_keys(look)

    def _draw_page(self, look: Look) -> None:
        page = self.query_one(Page)
        width = max(20, self.size.width - 6)
        trouble = None if self._trouble is None else line_of(self._trouble, width, "$sign-hold")
        head = [] if trouble is None else [Block((trouble,))]
        try:
            blocks = self.blocks(Sight(self._answers, look.board, look.clock, width))
        except ValueError:
            told = "The proxy's answer is not understood: is it a newer version?"
            blocks = [Block((line_of(told, width),))]
        page.show([*head, *blocks])

    def draw_keys(self, look: Look) -> None:
        """Draw the key line."""
        known = {key.id: key for key in look.keys}
        here = [replace(known[name], on_line=True) for name in _LINE if name in known]
        self.query_one("#keys", KeyLine).show(here, armed=False, target=False)

    def back(self) -> None:
        """Go back to the live view."""
        self.dismiss()

    def blocks(self, sight: Sight) -> list[Block]:
        """Return the page.

        Raises ValueError where an answer of the proxy is not understood.
        """
        raise NotImplementedError

    def action_open(self) -> None:
        """Go to the call that waits for an answer about this, or copy what it offers."""
        block = self.query_one(Page).chosen
        if block is None:
            return
        if block.leads_to is not None:
            main = next(s for s in self.app.screen_stack if isinstance(s, MainScreen))
            self.dismiss()
            main.go_to(block.leads_to)
        elif block.copies is not None:
            self.app.copy_to_clipboard(block.copies)
            self.notify("copied, where the terminal allows it", markup=False, timeout=3)

    def _ask(self) -> None:
        self.run_worker(self._asked(), group="ask", exclusive=True)

    async def _asked(self) -> None:
        trouble = None
        for path in self.paths:
            try:
                self._answers[path] = await self._gate.get(path)
            except Absent:
                self._answers.pop(path, None)
                if path == self.paths[0]:
                    trouble = f"This proxy does not offer {path}."
            except Refused as refusal:
                trouble = trouble or str(refusal)
        self._trouble = trouble
        self._drawn = None
        if self._look is not None and self.is_attached:
            try:
                self.draw(self._look)
            except NoMatches:  # the page was left meanwhile
                return
