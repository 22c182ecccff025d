"""The box of the kill switch: it asks, whatever key opened it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from mitmgate.control.switch import Switch
from mitmgate_tui.board import Board
from mitmgate_tui.clock import Clock
from mitmgate_tui.screens.box import Box, told, wrapped

ON = (
    "Every call and every request of every agent is denied from then on, also in shadow mode.",
    "What waits is denied, open streams end. Only an operator lifts it again.",
)
OFF = ("Calls are judged by the policy again.",)


class KillScreen(Box[bool]):
    """Dismisses with what the switch is to be: True denies everything."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "turn", show=False)]

    def __init__(self, halt: Switch | None, clock: Clock) -> None:
        super().__init__()
        self._halt = halt
        self._clock = clock

    @property
    def subject(self) -> Hashable:
        """The switch as it is."""
        return (super().subject, self._halt)

    def look(self, board: Board) -> None:
        """Note how the switch is."""
        if board.state is not None:
            self._halt = board.state.halt

    def lines(self, width: int) -> list[Content]:
        """Say how the switch is, and what y would do."""
        if not self._is_on:
            title = told("Deny everything?", width, "bold $sign-deny")
            return [title, *(line for text in ON for line in wrapped(text, width))]
        halt = self._halt
        since = (
            "" if halt is None or halt.since is None else f" since {self._clock.hms(halt.since)}"
        )
        by = "" if halt is None or halt.by is None else f", by {halt.by}"
        lines = [told("Judge calls again?", width, "bold $sign-hold")]
        lines += wrapped(f"Everything is denied{since}{by}.", width)
        if halt is not None and halt.reason:
            lines += wrapped(halt.reason, width)
        return [*lines, *(line for text in OFF for line in wrapped(text, width))]

    @property
    def _is_on(self) -> bool:
        return self._halt is not None and self._halt.on

    def action_turn(self) -> None:
        """Turn the switch to the other side."""
        self.mean(not self._is_on)
