"""The box to choose the columns of the live view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mitmgate_tui.columns import COLUMNS, ColumnName

_CHOICES = tuple(column for column in COLUMNS if column.width)


class ColumnsScreen(ModalScreen[tuple[ColumnName, ...]]):
    """Dismisses with the columns that are marked; those that do not fit stay hidden."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,c", "done", "Close"),
        Binding("j,down", "move(1)", "Down"),
        Binding("k,up", "move(-1)", "Up"),
        Binding("enter,space", "mark", "Mark"),
    ]

    def __init__(self, shown: Sequence[ColumnName]) -> None:
        super().__init__()
        self._marked = set(shown)
        self._at = 0

    def compose(self) -> ComposeResult:
        """List the columns."""
        with VerticalScroll(id="columns-box"):
            yield Static("Columns of the live view", id="columns-title", markup=False)
            yield Static(id="columns", markup=False)
            yield Static("enter marks   escape closes", markup=False)

    def on_mount(self) -> None:
        """Draw the list."""
        self._draw()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        self._at = max(0, min(self._at + step, len(_CHOICES) - 1))
        self._draw()

    def action_mark(self) -> None:
        """Show or hide the column under the cursor."""
        self._marked ^= {_CHOICES[self._at].name}
        self._draw()

    def action_done(self) -> None:
        """Close, and use what is marked."""
        self.dismiss(tuple(c.name for c in COLUMNS if c.name in self._marked or not c.width))

    def _draw(self) -> None:
        lines = [
            Content.styled(
                f"{'▌' if at == self._at else ' '}[{'x' if c.name in self._marked else ' '}]"
                f" {c.title}",
                "bold" if at == self._at else "",
            )
            for at, c in enumerate(_CHOICES)
        ]
        self.query_one("#columns", Static).update(Content("\n").join(lines))
