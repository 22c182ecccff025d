"""The box that lists all marked calls before they are answered, one after the other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from mitmgate_tui.board import Board
from mitmgate_tui.chosen import Seen, alike, seen
from mitmgate_tui.entry import Entry
from mitmgate_tui.messages import Answer
from mitmgate_tui.screens.box import Box, told
from mitmgate_tui.signs import shown, what, whom


class MarkedScreen(Box[tuple[Seen, ...]]):
    """Dismisses with what is to be answered: never a call in which something was found."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "all", show=False)]

    def __init__(self, entries: Sequence[Entry], answer: Answer, key: str) -> None:
        super().__init__()
        self._listed = [(entry, seen(entry, key=key)) for entry in entries if entry.pending]
        self._answer_given = answer
        self._state: tuple[int, ...] = ()

    @property
    def subject(self) -> Hashable:
        """What is listed, how many each stands for, and which of them still wait."""
        return (super().subject, self._state)

    def look(self, board: Board) -> None:
        """Note how many calls each line stands for; none where it left."""
        waiting = board.waiting.values()
        self._state = tuple(
            alike(waiting, entry.pending)
            if entry.pending is not None and as_seen.still(board.waiting_entry(as_seen.row))
            else 0
            for entry, as_seen in self._listed
        )

    def lines(self, width: int) -> list[Content]:
        """List what is answered, then what is left out and why."""
        word = "Approve, once each" if self._answer_given == "allow" else "Deny"
        taken, left = [], []
        for (entry, _), count in zip(self._listed, self._state, strict=False):
            row = entry.row
            text = f"{what(row)}  {whom(row)}  {shown(row.agent)}"
            if not count:
                left.append(told(f" - {text}: has left", width, "dim"))
            elif row.findings:
                left.append(told(f" ⚠ {text}: something was found, look at it alone", width,
                                 "$sign-hold"))  # fmt: skip
            else:
                many = f"  x{count}" if count > 1 else ""
                one = ", one of them" if many and self._answer_given == "allow" else ""
                taken.append(told(f" ● {text}{many}{one}", width))
        return [told(f"{word}: {len(taken)} calls", width, "bold"), *taken, *left]

    def action_all(self) -> None:
        """Answer what is listed."""
        self.mean(tuple(
            as_seen
            for (entry, as_seen), count in zip(self._listed, self._state, strict=False)
            if count and not entry.row.findings
        ))  # fmt: skip
