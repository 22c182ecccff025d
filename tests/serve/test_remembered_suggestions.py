"""What was approved again and again is suggested as a rule, the narrowest that would do."""

from __future__ import annotations

from mitmgate.hold.target import On, Target
from mitmgate.serve.suggesting import ENOUGH, Suggestions

TEXTS: tuple[tuple[On, str], ...] = (("call", "this"), ("tool", "every push"), ("url", "this URL"))


def push(number: int = 0, agent: str = "me") -> Target:
    return Target(agent, "mcp", "tools/call", f"hash {number}", server="s", tool="push",
                  arguments={"a": str(number)})  # fmt: skip


def approved(suggestions: Suggestions, *targets: Target) -> list[tuple[str, int]]:
    for target in targets:
        suggestions.approved(target, TEXTS)
    return [(one.text, one.count) for one in suggestions.listed()]


def test_four_approvals_suggest_nothing() -> None:
    assert approved(Suggestions(), *[push()] * (ENOUGH - 1)) == []


def test_the_same_call_again_and_again_suggests_this_call() -> None:
    assert approved(Suggestions(), *[push()] * ENOUGH) == [("this", ENOUGH)]


def test_other_arguments_each_time_suggest_the_tool() -> None:
    assert approved(Suggestions(), *map(push, range(ENOUGH))) == [("every push", ENOUGH)]


def test_approvals_of_several_agents_do_not_add_up() -> None:
    assert approved(Suggestions(), *(push(agent=str(n)) for n in range(ENOUGH))) == []


def test_a_denial_starts_anew() -> None:
    suggestions = Suggestions()
    approved(suggestions, *map(push, range(ENOUGH)))
    suggestions.settled(push(99))
    assert suggestions.listed() == ()


def test_a_waiting_call_that_it_would_settle_is_named() -> None:
    suggestions = Suggestions()
    approved(suggestions, *map(push, range(ENOUGH)))
    [one] = suggestions.listed([("a.0", push(agent="other")), ("b.0", push(77))])
    assert (one.on, one.like) == ("tool", "b.0")


def test_the_longest_unused_is_forgotten() -> None:
    suggestions = Suggestions(limit=4)
    approved(suggestions, *[push()] * ENOUGH)
    approved(suggestions, *(push(n, agent=str(n)) for n in range(3)))
    assert suggestions.listed() == ()
