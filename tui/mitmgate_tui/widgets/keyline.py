"""The last line: the keys that count now; dim while they do not."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from mitmgate_tui.keys import DECISIONS, Key

DECIDING = frozenset(key.id for key in DECISIONS)
ALWAYS = frozenset({"help"})
ORDER = (
    "approve", "deny", "reason", "scope", "open", "session", "time", "ever", "deny-remember",
    "kill", "undo", "leave",
)  # fmt: skip
"""What comes first where the line is too short for all; the others follow as they are listed."""


class KeyLine(Static):
    """Draws the registry's keys. An ellipsis before the decision keys says: not yet."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._shown: tuple[Sequence[Key], bool, bool] | None = None

    def on_resize(self) -> None:
        """Fit what is shown to the new width."""
        if self._shown is not None:
            keys, armed, target = self._shown
            self.show(keys, armed=armed, target=target)

    def show(self, keys: Sequence[Key], *, armed: bool, target: bool) -> None:
        """Draw the line; *target* tells whether there is anything to decide."""
        self._shown = (keys, armed, target)
        line = key_line(keys, armed=armed, target=target, width=self.size.width)
        self.update(line, layout=False)


def key_line(keys: Sequence[Key], *, armed: bool, target: bool, width: int) -> Content:
    """Return those of *keys* that fit in *width* cells."""
    line = Content(" ▸ " if armed and target else " … " if target else "   ")
    tail = Content().join(_piece(key, live=True) for key in keys if key.id in ALWAYS)
    rank = {name: at for at, name in enumerate(ORDER)}
    for key in sorted(keys, key=lambda key: rank.get(key.id, len(ORDER))):
        if key.on_line and key.id not in ALWAYS:
            piece = _piece(key, live=key.id not in DECIDING or (armed and target))
            if line.cell_length + piece.cell_length + tail.cell_length - 2 <= width:
                line += piece
    return line + tail


def _piece(key: Key, *, live: bool) -> Content:
    shown = key.shown.partition(" ")[0]
    return Content.assemble(
        (shown, "bold" if live else "dim"), (f" {key.label}  ", "" if live else "dim")
    )
