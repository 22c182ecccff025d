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
from mitmgate_tui.text import middle
from mitmgate_tui.widgets.brief import arguments_line


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
        taken, left, calls = [], [], 0
        allows = self._answer_given == "allow"
        for (entry, _), count in zip(self._listed, self._state, strict=False):
            row, pending = entry.row, entry.pending
            text = f"{middle(what(row), 24)}  {whom(row)}  {shown(row.agent)}"
            if not count:
                left.append(told(f" - {text}: has left", width, "dim"))
            elif row.findings:
                left.append(told(f" ⚠ {text}: something was found, look at it alone", width,
                                 "$sign-hold"))  # fmt: skip
            else:
                many = f"  x{count}" if count > 1 else ""
                one = ", one of them" if many and allows else ""
                later = ", its next try passes" if allows and pending and pending.detached else ""
                taken.append(told(f" ● {text}{many}{one}{later}", width))
                if pending is not None and pending.arguments is not None:
                    carries = f"   {arguments_line(pending, width - 3)}"
                    taken.append(told(carries, width, "dim"))
                calls += 1
        return [
            told(f"{word}: {calls} call{'' if calls == 1 else 's'}", width, "bold"),
            *taken,
            *left,
        ]

    def action_all(self) -> None:
        """Answer what is listed."""
        self.mean(tuple(
            as_seen
            for (entry, as_seen), count in zip(self._listed, self._state, strict=False)
            if count and not entry.row.findings
        ))  # fmt: skip
