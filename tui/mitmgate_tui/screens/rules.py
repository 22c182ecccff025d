"""The policy in force, and the rules that decided since the console came."""

from __future__ import annotations

from textual.content import Content

from mitmgate.control.models import PolicyView
from mitmgate_tui.board import Board
from mitmgate_tui.clock import Clock
from mitmgate_tui.screens.pane import Pane, line_of
from mitmgate_tui.signs import shown
from mitmgate_tui.text import fit


class RulesPane(Pane):
    """Rules by how often they decided."""

    name_shown = "Rules"
    path = "policy"

    def lines(self, board: Board, clock: Clock, width: int) -> list[Content]:
        """Return the policy's facts, then a line for each rule."""
        lines = [*self.trouble(), *_policy(self._answer, width), Content()]
        rules = sorted(board.rules.items(), key=lambda item: item[1].hits, reverse=True)
        room = max(12, width - 45)
        head = (
            f"{'rule that decided':<{room}} {'hits':>7} {'allowed':>8} {'asked':>6} {'denied':>7}"
        )
        lines.append(Content.styled(f"{head}  {'last':<8}", "bold"))
        for name, seen in rules:
            counts = f" {seen.hits:>7} {seen.allowed:>8} {seen.asked:>6} {seen.denied:>7}"
            last = f"  {clock.hms(seen.last)}"
            lines.append(Content.assemble(fit(shown(name), room), counts, (last, "dim")))
        return lines if rules else [*lines, Content.styled("no decision yet", "dim")]


def _policy(answer: bytes | None, width: int) -> list[Content]:
    if answer is None:
        return []
    try:
        policy = PolicyView.model_validate_json(answer)
    except ValueError:
        return [Content("The proxy's answer is not understood: is it a newer version?")]
    lines = [
        line_of(f"policy {policy.policy.removeprefix('sha256:')[:12]} from {policy.source}", width),
        line_of(f"{policy.mode}, {policy.rules} rules", width),
    ]
    if policy.problem:
        lines.append(line_of(f"▲ {policy.problem}", width, "$sign-deny"))
    if policy.waiting:
        text = "⏸ a policy that loosens waits: `mitmgate policy confirm` lets it in"
        lines.append(line_of(text, width, "$sign-hold"))
        lines += [line_of(f"  {change}", width) for change in policy.changes[:100]]
    return lines
