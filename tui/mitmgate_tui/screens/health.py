"""How the gate is doing: what the proxy says of itself, and what the console measures."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from mitmgate.control.health import Health
from mitmgate.control.switch import Switch
from mitmgate_tui.board import Board
from mitmgate_tui.clock import Clock
from mitmgate_tui.columns import milliseconds
from mitmgate_tui.screens.pane import Pane, Sight
from mitmgate_tui.widgets.page import Block, line_of

STAGES = {
    "prepare": "read and scan",
    "conclude": "rules and memory",
    "record": "audit file",
    "hold": "a person's answer",
    "whole": "all but the hold",
}
_BAD = "bold $sign-deny"


class HealthPane(Pane):
    """Numbers, one a line."""

    name_shown = "Health"
    paths = ("health",)

    def blocks(self, sight: Sight) -> list[Block]:
        """Return what the proxy says, then what the console knows by itself."""
        lines: list[Content] = []
        answer = sight.answers.get("health")
        if answer is not None:
            lines += _health(Health.model_validate_json(answer), sight)
        lines += [Content(), Content.styled("this console", "bold")]
        lines += [line_of(text, sight.width) for text in _own(sight.board)]
        return [Block(tuple(lines))]


def _health(health: Health, sight: Sight) -> Iterator[Content]:
    width = sight.width
    halt = health.halt
    if halt.on:
        yield line_of(f"■ {switched(halt, sight.clock)}: everything is denied", width, _BAD)
        yield Content()
    yield _fact("calls a second", f"{health.calls_per_second:.1f}", width)
    yield _fact("waiting", f"{health.pending:,}", width)
    yield _fact("unanswered, kept", f"{health.detached:,}", width)
    yield _fact("readers", f"{health.readers:,}, {health.dropped:,} messages missed", width)
    yield _fact("policy", health.policy_hash.removeprefix("sha256:")[:12], width)
    parts = [("policy file", health.policy), ("audit file", health.audit)]
    if health.capture is not None:
        parts.append(("capture", health.capture))
    for name, trouble in parts:
        yield _fact(name, "fine" if trouble is None else f"▲ {trouble}", width, bad=trouble)
    if not halt.on:
        yield _fact("kill switch", "off", width)
    yield Content()
    yield Content.styled(f"{'time of a call, by stage':<28}{'p50':>10}{'p95':>10}", "bold")
    for name, times in health.stages.items():
        told = f"{name}, {STAGES[name]}" if name in STAGES else name
        numbers = f"{milliseconds(times.p50):>10}{milliseconds(times.p95):>10}"
        yield line_of(f"{told:<28}{numbers}", width)


def switched(halt: Switch, clock: Clock) -> str:
    """Say who turned the kill switch on, when and why."""
    by = f" by {halt.by}" if halt.by else ""
    since = f" since {clock.hms(halt.since)}" if halt.since is not None else ""
    return f"kill switch on{since}{by}" + (f", {halt.reason}" if halt.reason else "")


def quantile(values: list[float], share: float) -> float | None:
    """Return the value below which *share* of the sorted *values* lies, None without any."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


def _fact(name: str, value: str, width: int, *, bad: object = None) -> Content:
    return line_of(f"{name:<28}{value}", width, "$sign-deny" if bad else "")


def _own(board: Board) -> Iterator[str]:
    latencies = sorted(board.latencies)
    middle, most = quantile(latencies, 0.5), quantile(latencies, 0.95)
    yield f"{'until the answer ended':<28}p50 {milliseconds(middle)}, p95 {milliseconds(most)}"
    yield f"{'rows kept':<28}{len(board.entries):,} of {board.entries.capacity:,}"
    yield f"{'rows missed':<28}{board.dropped:,}"
    state = board.state
    if state is not None:
        yield f"{'decisions':<28}{state.decisions:,}, {state.denied:,} of them denied"
        yield f"{'operators attached':<28}{state.operators}"
        yield f"{'version':<28}{state.version}, {state.mode}, listens on {state.listen}"
        healthy = "yes" if state.healthy else "no: " + (state.trouble or "?")
        yield f"{'healthy':<28}{healthy}"
