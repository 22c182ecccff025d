"""How the gate is doing: what the console measures, and the proxy's own numbers."""

from __future__ import annotations

from textual.content import Content

from mitmgate_tui.board import Board
from mitmgate_tui.clock import Clock
from mitmgate_tui.columns import seconds
from mitmgate_tui.screens.pane import Pane, line_of
from mitmgate_tui.text import clean

MAX_METRICS = 500


class HealthPane(Pane):
    """Numbers, one a line."""

    name_shown = "Health"
    path = "metrics"

    def lines(self, board: Board, clock: Clock, width: int) -> list[Content]:
        """Return the main numbers, then the proxy's metrics."""
        del clock
        lines = [*self.trouble(), *(line_of(text, width) for text in _facts(board))]
        lines += [Content(), Content.styled("the proxy's metrics since its start", "bold")]
        for text in (self._answer or b"").decode("utf-8", "replace").split("\n")[:MAX_METRICS]:
            if text and not text.startswith("#"):
                name, _, value = text.rpartition(" ")
                lines.append(line_of(f"{clean(value):>14}  {name}", width))
        return lines


def quantile(values: list[float], share: float) -> float | None:
    """Return the value below which *share* of the sorted *values* lies, None without any."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


def _facts(board: Board) -> list[str]:
    state = board.state
    latencies = sorted(board.latencies)
    middle, most = quantile(latencies, 0.5), quantile(latencies, 0.95)
    rate = "-" if board.rate is None else str(board.rate)
    facts = [
        f"{'decisions a second':<28}{rate}",
        f"{'latency of the last calls':<28}p50 {seconds(middle) or '-'},"
        f" p95 {seconds(most) or '-'}",
        f"{'rows kept here':<28}{len(board.entries):,} of {board.entries.capacity:,}",
        f"{'rows missed':<28}{board.dropped:,}",
    ]
    if state is not None:
        facts += [
            f"{'decisions':<28}{state.decisions:,}, {state.denied:,} of them denied",
            f"{'waiting':<28}{state.pending}",
            f"{'operators attached':<28}{state.operators}",
            f"{'version':<28}{state.version}, {state.mode}, listens on {state.listen}",
            f"{'policy':<28}{state.policy}",
            f"{'healthy':<28}{'yes' if state.healthy else 'no: ' + (state.trouble or '?')}",
        ]
    return facts
