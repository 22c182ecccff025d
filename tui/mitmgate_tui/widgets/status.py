"""The first line: is anything waiting, was anything stopped, is the gate healthy."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.widgets import Static

from mitmgate_tui.board import Board
from mitmgate_tui.clock import Clock, minutes
from mitmgate_tui.signs import PALETTE
from mitmgate_tui.text import clean, middle

GAP = 3
BAD = f"bold {PALETTE['deny']}"


class StatusLine(Static):
    """Draws the board's state on one line; what is least urgent goes first when it is narrow."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)

    def show(self, board: Board, clock: Clock, *, read_only: bool) -> None:
        """Draw the line for the width there is."""
        self.update(status(board, clock, read_only=read_only, width=self.size.width))


def status(board: Board, clock: Clock, *, read_only: bool, width: int) -> Text:
    """Return the status line, *width* cells long."""
    now = clock.wall()
    hour = Text(clock.hms(now), "dim")
    parts = list(_parts(board, now, read_only=read_only, narrow=width < 100))
    while len(parts) > 1 and _length(parts) + len(hour) + GAP + 2 > width:
        parts.remove(max(parts, key=lambda part: part[0]))
    line = Text(" ") + Text(" " * GAP).join(text for _, text in parts)
    line.truncate(max(0, width - len(hour) - 2), overflow="ellipsis", pad=True)
    return line.append(" ").append_text(hour).append(" ")


def _length(parts: list[tuple[int, Text]]) -> int:
    return sum(text.cell_len + GAP for _, text in parts)


def _parts(
    board: Board, now: float, *, read_only: bool, narrow: bool
) -> Iterator[tuple[int, Text]]:
    """Yield the pieces from left to right, each with a number: the largest goes first."""
    state = board.state
    yield 6, Text("mitmgate", "bold")
    if state is not None:
        shadow = state.mode == "shadow"
        yield (1, Text("◌ shadow: nothing stopped", "bold")) if shadow else (7, Text("enforce"))
        yield 7, Text("policy " + clean(state.policy).removeprefix("sha256:")[:8])
        yield 8, Text(middle(clean(state.listen), 24))
    yield 1, _waiting(board, now, narrow=narrow)
    if state is not None:
        yield 3, Text(f"✗ {state.denied} denied", PALETTE["deny"] if state.denied else "dim")
    if board.dropped:
        yield 4, Text(f"▲ {board.dropped} rows missed", PALETTE["hold"])
    if read_only and board.gone is None:
        yield 2, Text("◇ read-only", PALETTE["hold"])
    if state is not None and state.policy_trouble and board.gone is None:
        yield 1, Text(f"▲ {middle(clean(state.policy_trouble), 60)}", PALETTE["hold"])
    yield 0, _health(board)


def _waiting(board: Board, now: float, *, narrow: bool) -> Text:
    deadlines = [e.pending.deadline for e in board.waiting.values() if e.pending is not None]
    if not deadlines:
        return Text("⏸ 0" if narrow else "⏸ 0 waiting", "dim")
    left = minutes(min(deadlines) - now)
    count = len(deadlines)
    text = f"⏸ {count} ({left})" if narrow else f"⏸ {count} waiting, next denied in {left}"
    return Text(text, f"bold {PALETTE['hold']}")


def _health(board: Board) -> Text:
    if board.gone is not None:
        word = "connecting" if board.gone == "connecting" else "gone, reconnecting"
        return Text(f"● {word}", BAD)
    state = board.state
    if state is None or state.healthy:
        return Text("● healthy", PALETTE["allow"])
    return Text(f"▲ {middle(clean(state.trouble or 'not healthy'), 40)}", BAD)
