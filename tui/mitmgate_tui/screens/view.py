"""What every screen that shows the gate can be asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from textual.screen import Screen

from mitmgate_tui.board import Board
from mitmgate_tui.chosen import Chosen
from mitmgate_tui.clock import Clock
from mitmgate_tui.keys import KEYS, Key

WIDE = 100
"""From so many columns on the detail stands beside the lists."""
LISTS = 62
"""Per cent of the width that the lists have then."""


@dataclass(frozen=True, slots=True)
class Look:
    """All that a screen needs to draw itself."""

    board: Board
    clock: Clock
    armed: bool
    read_only: bool
    keys: tuple[Key, ...] = KEYS
    chosen: Chosen = field(default_factory=Chosen)


class View(Screen[None]):
    """A screen whose target row can be decided on."""

    @property
    def target(self) -> str | None:
        """The id of the row that a decision key would be about."""
        raise NotImplementedError

    @property
    def subject(self) -> tuple[str, str | None, str | None]:
        """What must stay the same for the keys to arm: screen, pane, row."""
        return (type(self).__name__, self.focused.id if self.focused else None, self.target)

    def draw(self, look: Look) -> None:
        """Draw everything."""
        raise NotImplementedError

    def draw_keys(self, look: Look) -> None:
        """Draw the key line only."""
        raise NotImplementedError

    def back(self) -> None:
        """Answer the escape key."""

    @property
    def typing(self) -> bool:
        """Whether letters go into a line of text, and decide nothing."""
        return False

    def answered(self, row_id: str, left: int) -> None:
        """Note that the operator's answer about that row was taken; *left* calls go with it."""


def can_decide(look: Look, target: str | None) -> bool:
    """Whether a decision key would do something about *target*."""
    return (
        target is not None and not look.read_only and look.board.waiting_entry(target) is not None
    )


def keys_for(look: Look, target: str | None) -> tuple[Key, ...]:
    """Return the keys that do something about *target*: not all calls can be remembered."""
    entry = None if target is None else look.board.waiting_entry(target)
    pending = None if entry is None else entry.pending
    if pending is not None and pending.scopes:
        return look.keys
    return tuple(key for key in look.keys if not key.remembers)
