"""The box to choose what an answer for more than once covers; it decides nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mitmgate.control.models import Pending
from mitmgate_tui.chosen import MAX_NAMES, Scoped, begin, with_name
from mitmgate_tui.screens.box import told, wrapped
from mitmgate_tui.screens.words import SCOPES
from mitmgate_tui.signs import what

_SHOWN = 10


class ScopeScreen(ModalScreen[Scoped | None]):
    """Dismisses with the scope that was chosen, or with None: it stays as it was."""

    DEFAULT_CSS = """
    ScopeScreen { align: center middle; }
    ScopeScreen Vertical { width: 78; max-width: 98%; height: auto; max-height: 96%;
                           border: round $accent; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("enter,e", "done", "Choose"),
        Binding("left,h", "wider(-1)", "Narrower"),
        Binding("right,l", "wider(1)", "Wider"),
        Binding("down,j", "move(1)", "Down"),
        Binding("up", "move(-1)", "Up"),
        Binding("space", "mark", "Mark"),
    ]

    def __init__(self, pending: Pending, scoped: Scoped) -> None:
        super().__init__()
        self._pending = pending
        self._scoped = scoped
        self._at = 0
        if scoped.prefix in scoped.choice.prefixes:
            self._at = scoped.choice.prefixes.index(scoped.prefix)

    def compose(self) -> ComposeResult:
        """Hold one block of text."""
        with Vertical():
            yield Static(id="scope-text", markup=False)

    def on_mount(self) -> None:
        """Draw it."""
        self._draw()

    def on_resize(self) -> None:
        """Fit it to the new width."""
        self._draw()

    def action_wider(self, step: int) -> None:
        """Choose the next scope on that side."""
        every = self._pending.scopes
        at = every.index(self._scoped.choice) + step
        if 0 <= at < len(every):
            self._scoped, self._at = begin(every[at]), 0
            self._draw()

    def action_move(self, step: int) -> None:
        """Choose another folder, or go to another argument."""
        choice = self._scoped.choice
        most = len(choice.prefixes or choice.names)
        self._at = max(0, min(self._at + step, most - 1))
        if choice.prefixes:
            self._scoped = replace(self._scoped, prefix=choice.prefixes[self._at])
        self._draw()

    def action_mark(self) -> None:
        """Let the value of an argument stay the same, or be any."""
        names = self._scoped.choice.names
        if names:
            self._scoped = with_name(self._scoped, names[self._at])
            self._draw()

    def action_done(self) -> None:
        """Keep the scope; nothing is decided."""
        self.dismiss(None if self._scoped.open else self._scoped)

    def action_cancel(self) -> None:
        """Leave the scope as it was."""
        self.dismiss(None)

    def _draw(self) -> None:
        width = max(20, min(74, self.size.width - 8))
        row = self._pending.row
        lines = [told(f"What s, t, f and D cover: {what(row)}", width, "bold"), self._choices()]
        lines += wrapped(self._scoped.words(row), width, most=6)
        lines += self._parts(width)
        lines += [told(line, width, "dim") for line in self._keys()]
        self.query_one("#scope-text", Static).update(Content("\n").join(lines))

    def _choices(self) -> Content:
        pieces = [Content("◂ ")]
        for choice in self._pending.scopes:
            style = "bold reverse" if choice is self._scoped.choice else ""
            pieces += [Content.styled(f" {SCOPES[choice.on]} ", style), Content(" ")]
        return Content().join([*pieces, Content("▸")])

    def _parts(self, width: int) -> list[Content]:
        choice = self._scoped.choice
        every = choice.prefixes or choice.names
        first = max(0, min(self._at - _SHOWN // 2, len(every) - _SHOWN))
        lines = []
        for at, name in enumerate(every[first : first + _SHOWN], first):
            here = "▌" if at == self._at else " "
            box = "" if choice.prefixes else f"[{'x' if name in self._scoped.names else ' '}] "
            lines.append(told(f"{here}{box}{name}", width, "bold" if here == "▌" else ""))
        return lines

    def _keys(self) -> list[str]:
        choice = self._scoped.choice
        more = []
        if choice.prefixes:
            more = ["↑ ↓ folder"]
        elif choice.names:
            more = [f"↑ ↓ space: arguments that stay the same, {MAX_NAMES} at most"]
        return [*more, "← → narrower, wider   enter keeps   escape"]
