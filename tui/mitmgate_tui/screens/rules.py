"""The policy in force: each rule with how often it decided, and what could become a rule."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from mitmgate.control.models import PolicyView
from mitmgate.control.rules import RuleList, RuleView, Suggestion
from mitmgate_tui.board import Board
from mitmgate_tui.screens.pane import Pane, Sight
from mitmgate_tui.text import clean, fit
from mitmgate_tui.widgets.page import Block, line_of

_MAX_TEXT = 40
_STYLE = {"allow": "$sign-allow", "ask": "$sign-hold", "deny": "$sign-deny"}


class RulesPane(Pane):
    """Suggestions first, then the rules in the order in which they are asked."""

    name_shown = "Rules"
    paths = ("rules", "policy")

    def blocks(self, sight: Sight) -> list[Block]:
        """Return the policy's facts, the suggestions, and a block for each rule."""
        blocks = []
        policy, answer = sight.answers.get("policy"), sight.answers.get("rules")
        if policy is not None:
            facts = PolicyView.model_validate_json(policy)
            blocks.append(Block((*_policy(facts, sight.width), Content())))
        if answer is None:
            return blocks
        known = RuleList.model_validate_json(answer)
        blocks += [_suggestion(hint, sight.board, sight.width) for hint in known.suggestions]
        room = max(12, sight.width - 42)
        head = f"{'rule':<{room}} {'layer':<10} {'then':<6} {'hits':>9}  last"
        spare = (Content(),) if known.suggestions else ()
        blocks.append(Block((*spare, Content.styled(head, "bold"))))
        blocks += [_rule(number, rule, sight, room) for number, rule in enumerate(known.rules)]
        return blocks if known.rules else [*blocks, Block((Content.styled("no rule", "dim"),))]


def _suggestion(hint: Suggestion, board: Board, width: int) -> Block:
    waits = hint.pending_like if hint.pending_like in board.waiting else None
    more = "  enter goes to a call that waits now and that it would settle; nothing is decided yet"
    return Block(
        (line_of(f"◆ {hint.text}", width, "$sign-edit"),),
        f"suggestion {hint.text}",
        (line_of(more, width, "dim"),) if waits is not None else (),
        waits,
    )


def _rule(number: int, rule: RuleView, sight: Sight, room: int) -> Block:
    last = "never" if rule.last_hit is None else sight.clock.moment(rule.last_hit)
    style = "dim" if rule.never else ""
    line = Content.assemble(
        (fit(clean(rule.id), room), style), " ",
        (fit(clean(rule.layer), 10), "dim"), " ",
        (f"{rule.verdict:<6}", _STYLE[rule.verdict]), " ",
        (f"{rule.hits:>9,}  {last}", style),
    )  # fmt: skip
    texts = rule.text.rstrip("\n").split("\n")
    more = [line_of(f"  {text}", sight.width, "dim") for text in texts[:_MAX_TEXT]]
    where = line_of(f"  in {rule.section}", sight.width, "dim")
    return Block((line,), f"rule {number} {rule.id}", (where, *more))


def _policy(policy: PolicyView, width: int) -> Iterator[Content]:
    yield line_of(
        f"policy {policy.policy.removeprefix('sha256:')[:12]} from {policy.source}", width
    )
    yield line_of(f"{policy.mode}, {policy.rules} rules; hits are counted since the start", width)
    if policy.problem:
        yield line_of(f"▲ {policy.problem}", width, "$sign-deny")
    if policy.waiting:
        text = "⏸ a policy that loosens waits: `mitmgate policy confirm` lets it in"
        yield line_of(text, width, "$sign-hold")
        yield from (line_of(f"  {change}", width) for change in policy.changes[:100])
