"""The box that lists what was said for more than once, to take it back."""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from mitmgate.control.models import GrantView
from mitmgate_tui.clock import minutes
from mitmgate_tui.screens.box import Box, told

_SHOWN = 12
_LASTS = {"session": "this session", "run": "until mitmgate ends"}


class UndoScreen(Box[str]):
    """Dismisses with the id of what is to be taken back. Begins with the last one of *operator*."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "take_back", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("up", "move(-1)", show=False),
    ]
    line = "y take it back   ↑ ↓ another one   escape no"

    def __init__(self, grants: tuple[GrantView, ...], operator: str | None) -> None:
        super().__init__()
        self._grants = grants[::-1]
        mine = (at for at, grant in enumerate(self._grants) if grant.operator == operator)
        self._at = next(mine, 0)

    def on_mount(self) -> None:
        """Keep the arrow keys for the list."""
        self.set_focus(None)

    @property
    def subject(self) -> Hashable:
        """What would be taken back."""
        return (super().subject, self._at)

    def lines(self, width: int) -> list[Content]:
        """List what counts, the newest first."""
        first = max(0, min(self._at - _SHOWN // 2, len(self._grants) - _SHOWN))
        lines = [told("Take back", width, "bold")]
        for at, grant in enumerate(self._grants[first : first + _SHOWN], first):
            sign = "✓" if grant.answer == "allow" else "✗"
            mark = "▌" if at == self._at else " "
            text = f"{mark}{sign} {_lasts(grant)}, {grant.operator or '-'}: {grant.covers}"
            lines.append(told(text, width, "bold" if at == self._at else ""))
        chosen = self._grants[self._at]
        lines += [Content(), told(f"{chosen.id}, for {chosen.agent}", width, "dim")]
        lines.append(told("A call that passed has run: that cannot be undone.", width, "dim"))
        return lines

    def action_move(self, step: int) -> None:
        """Choose another one."""
        self._at = max(0, min(self._at + step, len(self._grants) - 1))

    def action_take_back(self) -> None:
        """Take back what is chosen."""
        self.mean(self._grants[self._at].id)


def _lasts(grant: GrantView) -> str:
    if grant.left is not None:
        return f"{minutes(grant.left)} left"
    return _LASTS.get(grant.lasting, "for ever")
