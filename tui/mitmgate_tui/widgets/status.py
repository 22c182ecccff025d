"""The first line: is anything waiting, was anything stopped, is the gate healthy."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content
from textual.widgets import Static

from mitmgate_tui.board import Board
from mitmgate_tui.clock import Clock, minutes
from mitmgate_tui.text import clean, isolated, middle
from mitmgate_tui.widgets.waiting import time_left

GAP = 3
BAD = "bold $sign-deny"


class StatusLine(Static):
    """Draws the board's state on one line; what is least urgent goes first when it is narrow."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._shown: tuple[Board, Clock, bool] | None = None

    def on_resize(self) -> None:
        """Fit what is shown to the new width."""
        if self._shown is not None:
            board, clock, read_only = self._shown
            self.show(board, clock, read_only=read_only)

    def show(self, board: Board, clock: Clock, *, read_only: bool) -> None:
        """Draw the line for the width there is."""
        self._shown = (board, clock, read_only)
        self.update(status(board, clock, read_only=read_only, width=self.size.width), layout=False)


def status(board: Board, clock: Clock, *, read_only: bool, width: int) -> Content:
    """Return the status line, *width* cells long."""
    hour = Content.styled(clock.hms(clock.wall()), "dim")
    parts = list(_parts(board, clock, read_only=read_only, narrow=width < 100))
    while len(parts) > 1 and _length(parts) + len(hour) + GAP + 2 > width:
        parts.remove(max(parts, key=lambda part: part[0]))
    line = Content(" ") + Content(" " * GAP).join(text for _, text in parts)
    line = line.truncate(max(0, width - len(hour) - 2), ellipsis=True, pad=True)
    return Content.assemble(line, " ", hour, " ")


def _length(parts: list[tuple[int, Content]]) -> int:
    return sum(text.cell_length + GAP for _, text in parts)


def _parts(
    board: Board, clock: Clock, *, read_only: bool, narrow: bool
) -> Iterator[tuple[int, Content]]:
    """Yield the pieces from left to right, each with a number: the largest goes first."""
    state = board.state
    yield 6, _styled("mitmgate", "bold")
    if state is not None:
        shadow = state.mode == "shadow"
        yield (
            (1, _styled("◌ shadow: nothing stopped", "bold")) if shadow else (7, _styled("enforce"))
        )
        yield 7, _styled("policy " + clean(state.policy).removeprefix("sha256:")[:8])
        yield 8, _styled(middle(clean(state.listen), 24))
        if state.halt is not None and state.halt.on:
            yield 0, _styled("■ KILL SWITCH: all denied", "bold reverse $sign-deny")
    yield 1, _waiting(board, clock, narrow=narrow)
    if board.rate is not None:
        yield 5, _styled(f"{board.rate}/s")
    if state is not None:
        yield 3, _styled(f"✗ {state.denied} denied", "$sign-deny" if state.denied else "dim")
    if board.dropped:
        yield 4, _styled(f"▲ {board.dropped} rows missed", "$sign-hold")
    if read_only and board.gone is None:
        yield 2, _styled("◇ read-only", "$sign-hold")
    if state is not None and state.policy_trouble and board.gone is None:
        yield 1, _styled(f"▲ {middle(clean(state.policy_trouble), 60)}", "$sign-hold")
    yield 0, _health(board)


def _styled(text: str, style: str = "") -> Content:
    return Content.styled(isolated(text), style)


def _waiting(board: Board, clock: Clock, *, narrow: bool) -> Content:
    entries = [entry for entry in board.waiting.values() if entry.pending is not None]
    held = [entry for entry in entries if entry.pending and not entry.pending.detached]
    kept = len(entries) - len(held)
    retry = f", {kept} retry" if kept else ""
    if not held:
        text = f"⏸ 0{retry}" if narrow else f"⏸ 0 waiting{retry}"
        return _styled(text, "$sign-hold" if kept else "dim")
    left = minutes(min(time_left(entry, clock)[0] for entry in held))
    count = len(held)
    text = (
        f"⏸ {count} ({left}){retry}"
        if narrow
        else (f"⏸ {count} waiting, next denied in {left}{retry}")
    )
    return _styled(text, "bold $sign-hold")


def _health(board: Board) -> Content:
    if board.gone is not None:
        word = "connecting" if board.gone == "connecting" else "gone, reconnecting"
        return _styled(f"● {word}", BAD)
    state = board.state
    if state is None or state.healthy:
        return _styled("● healthy", "$sign-allow")
    return _styled(f"▲ {middle(clean(state.trouble or 'not healthy'), 40)}", BAD)
