"""Which difference is weaker: one sentence, one case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.verdict import Verdict
from mitmgate.replay.compare import Comparison, difference, grouped, is_weaker, same
from mitmgate.replay.golden import Golden, golden_from
from mitmgate.replay.run import Replayed

EDIT = ("/params/a", "[aws-access-key:1]")
FINDING = ("secret.aws-access-key", "/params/a")
ALLOW = Golden(2, 1, 0, "request", "mcp", "tools/call", "files", "get", Verdict.ALLOW, "reads",
               "rule", True, (), ())  # fmt: skip
ASK = replace(ALLOW, verdict=Verdict.ASK, rule="otherwise")
DENY = replace(ALLOW, verdict=Verdict.DENY, rule="no")
EDITED = replace(ALLOW, edits=(EDIT,), findings=(FINDING,))
SHADOW = replace(DENY, enforced=False)
FLOORED = replace(SHADOW, floor=Verdict.DENY)
BATCH = replace(DENY, parts=(("deny", "no"),))

WEAKER: dict[str, tuple[Golden | None, Golden | None, bool]] = {
    "deny to ask": (DENY, ASK, True),
    "deny to allow": (DENY, ALLOW, True),
    "ask to allow": (ASK, ALLOW, True),
    "allow to ask": (ALLOW, ASK, False),
    "ask to deny": (ASK, DENY, False),
    "deny that is only shadowed": (DENY, SHADOW, True),
    "allow to a deny that is only shadowed": (ALLOW, SHADOW, True),
    "shadow to enforced": (SHADOW, DENY, False),
    "a stop that is gone": (DENY, None, True),
    "a question that is gone": (ASK, None, True),
    "an edit that is gone with its outcome": (EDITED, None, True),
    "an allow that is gone": (ALLOW, None, False),
    "a new stop": (None, DENY, False),
    "a lost edit": (EDITED, ALLOW, True),
    "a lost edit of what asks now": (EDITED, ASK, True),
    "a lost edit of what is denied now": (EDITED, DENY, False),
    "an edit with another number": (EDITED, replace(EDITED, edits=((EDIT[0], "[x:2]"),)), False),
    "one of two edits in one place": (replace(EDITED, edits=(EDIT, EDIT)), EDITED, True),
    "an edit elsewhere": (EDITED, replace(EDITED, edits=(("/params/b", "x"),)), True),
    "a lost finding alone": (EDITED, replace(EDITED, findings=()), False),
    "another rule": (ALLOW, replace(ALLOW, rule="other"), False),
    "a floor under a shadow that is gone": (FLOORED, SHADOW, True),
    "a floor under a shadow": (SHADOW, FLOORED, False),
    "a message of a batch that passes now": (BATCH, replace(BATCH, parts=(("allow", "no"),)), True),
    "a message of a batch that is asked for": (BATCH, replace(BATCH, parts=(("ask", "x"),)), True),
    "another rule for a message of a batch": (BATCH, replace(BATCH, parts=(("deny", "x"),)), False),
}


@pytest.mark.parametrize(("before", "after", "weaker"), WEAKER.values(), ids=WEAKER)
def test_weaker(before: Golden | None, after: Golden | None, *, weaker: bool) -> None:
    assert is_weaker(before, after) is weaker


GOLDENS = st.builds(
    Golden,
    st.just(2), st.just(1), st.integers(0, 3), st.just("request"), st.just("mcp"), st.just("m"),
    st.none(), st.none() | st.just("t"), st.sampled_from(Verdict), st.sampled_from(["a", "b"]),
    st.just("rule"), st.booleans(), st.just(()),
    st.lists(st.sampled_from([EDIT, ("/b", "x")]), max_size=2).map(tuple),
)  # fmt: skip


@given(GOLDENS)
def test_a_line_reads_back_and_is_never_weaker_than_itself(golden: Golden) -> None:
    assert golden_from(golden.record()) == golden
    assert same(golden, golden)
    assert not is_weaker(golden, golden)


@given(GOLDENS, GOLDENS)
def test_only_what_differs_is_weaker_and_never_both_ways_by_verdict(a: Golden, b: Golden) -> None:
    if same(a, b):
        assert not is_weaker(a, b)
    if a.effective < b.effective:
        assert is_weaker(b, a)


def test_the_count_of_outcomes_before_it_is_no_difference() -> None:
    assert same(ALLOW, replace(ALLOW, number=5))


def test_groups_are_by_kind_with_the_weaker_first() -> None:
    file = Path("c.jsonl")
    differences = [
        difference(file, 2, ALLOW, ASK),
        difference(file, 3, ALLOW, ASK),
        difference(file, 4, DENY, ALLOW),
    ]
    assert [(g.what, g.weaker, g.count, g.example.line) for g in grouped(differences)] == [
        ("deny → allow  rule no → reads", True, 1, 4),
        ("allow → ask  rule reads → otherwise", False, 2, 2),
    ]


SAID = {
    "a lost edit": (EDITED, replace(EDITED, edits=()), "redacted → allow  rule reads  edits lost"),
    "a finding": (EDITED, replace(EDITED, findings=()),
                  "redacted  rule reads  findings lost: secret.aws-access-key"),
    "a batch": (BATCH, replace(BATCH, parts=(("deny", "x"),)),
                "deny  rule no  other decisions on messages of the batch"),
    "a rule in shadow mode": (ALLOW, replace(ALLOW, shadow=("new", "deny")),
                              "allow  rule reads  shadow - → new deny"),
    "shadow": (DENY, SHADOW, "deny → deny (shadow)  rule no"),
    "another code": (ALLOW, replace(ALLOW, code="x"), "allow  rule reads  code rule → x"),
    "another tool": (ALLOW, replace(ALLOW, tool=None), "allow  rule reads  tool get → -"),
    "nothing": (DENY, None, "deny → nothing  rule no → -"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "what"), SAID.values(), ids=SAID)
def test_a_difference_says_what_it_is(before: Golden, after: Golden | None, what: str) -> None:
    assert difference(Path("c"), 2, before, after).what == what


def test_what_is_lost_or_superseded_does_not_count() -> None:
    comparison = Comparison()
    replayed = Replayed(superseded={2}, lost={3}, exchanges=1, closed=True)
    comparison.add(Path("c"), {2: DENY, 3: DENY}, replayed)
    assert (comparison.outcomes, comparison.not_compared, comparison.exit_code) == (1, 1, 0)


def test_an_outcome_beyond_the_golden_file_counts_when_the_capture_is_closed() -> None:
    for closed, code in ((True, 1), (False, 0)):
        comparison = Comparison()
        comparison.add(Path("c"), {}, Replayed(outcomes={2: ALLOW}, exchanges=1, closed=closed))
        assert comparison.exit_code == code
