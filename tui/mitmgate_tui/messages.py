"""The whole vocabulary between the console's parts: workers and widgets only post these."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

from textual.message import Message

from mitmgate.control.models import Decided, DecideRequest

type Answer = Literal["allow", "deny"]


class SelectionMoved(Message):
    """Another row stands under the cursor, whoever moved it."""

    def can_replace(self, message: Message) -> bool:
        """Let a flood of moves become one."""
        return isinstance(message, SelectionMoved)


class RowOpened(Message):
    """Enter was pressed on a row: show all of it."""


class DetailWanted(Message):
    """All of the row with the id *row* is to be shown; *known* tells how far it has come."""

    def __init__(self, row: str, known: Hashable) -> None:
        super().__init__()
        self.row = row
        self.known = known


class DecisionTaken(Message):
    """The proxy took an answer of ours to *entry*, which is about the row with the id *row*."""

    def __init__(self, entry: str, row: str, asked: DecideRequest, decided: Decided) -> None:
        super().__init__()
        self.entry = entry
        self.row = row
        self.asked = asked
        self.decided = decided


class DecisionFailed(Message):
    """The proxy did not take an answer of ours; ``why`` is a sentence for the operator."""

    def __init__(self, entry: str, why: str) -> None:
        super().__init__()
        self.entry = entry
        self.why = why
