"""The last line: the keys that count now; dim while they do not."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from mitmgate_tui.keys import DECISIONS, KEYS


class KeyLine(Static):
    """Draws the registry's keys. An ellipsis before the decision keys says: not yet."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)

    def show(self, *, armed: bool, target: bool) -> None:
        """Draw the line; *target* tells whether there is anything to decide."""
        self.update(key_line(armed=armed, target=target, width=self.size.width))


def key_line(*, armed: bool, target: bool, width: int) -> Text:
    """Return the keys that fit in *width* cells."""
    line = Text(" ▸ " if armed and target else " … " if target else "   ")
    for key in KEYS:
        if not key.on_line:
            continue
        live = key not in DECISIONS or (armed and target)
        piece = Text.assemble(
            (key.shown, "bold" if live else "dim"), (f" {key.label}  ", "" if live else "dim")
        )
        if line.cell_len + piece.cell_len - 2 <= width:
            line.append_text(piece)
    return line
