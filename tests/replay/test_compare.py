"""Which difference is weaker: one sentence, one case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.policy.verdict import Verdict
from mitmgate.replay.compare import Comparison, difference, grouped, is_weaker
from mitmgate.replay.golden import Golden, golden_from
from mitmgate.replay.run import Replayed

EDIT = "edit /params/a secret.aws-access-key"
FINDING = ("secret.aws-access-key", "/params/a")
ALLOW = Golden(1, "0", "request", "mcp", "tools/call", "files", "get", Verdict.ALLOW, "reads",
               "rule")  # fmt: skip
ASK = replace(ALLOW, verdict=Verdict.ASK, rule="otherwise")
DENY = replace(ALLOW, verdict=Verdict.DENY, rule="no")
EDITED = replace(ALLOW, effects=(EDIT,), findings=(FINDING,))
SHADOW = replace(DENY, effects=("shadow",))
FLOORED = replace(DENY, effects=("floor:deny", "shadow"))
CLEANED = replace(ALLOW, effects=("edit /a x", "floor-edit /a x", "shadow"))
HIDDEN = replace(DENY, code="hidden", effects=("hidden",))
LISTED = replace(ALLOW, kind="answer", effects=("cut /result/tools/1",))
PART = replace(DENY, message="0.1")

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
    "an edit for another rule": (EDITED, replace(EDITED, effects=("edit /params/a x",)), False),
    "one of two edits in one place": (replace(EDITED, effects=(EDIT, EDIT)), EDITED, True),
    "an edit elsewhere": (EDITED, replace(EDITED, effects=("edit /params/b x",)), True),
    "an edit that becomes another change": (
        EDITED, replace(EDITED, effects=("swap /params/a",)), True),
    "a lost finding alone": (EDITED, replace(EDITED, findings=()), False),
    "another rule": (ALLOW, replace(ALLOW, rule="other"), False),
    "a floor under a shadow that is gone": (FLOORED, SHADOW, True),
    "a floor under a shadow": (SHADOW, FLOORED, False),
    "an edit of the floor that is lost": (CLEANED, replace(ALLOW, effects=("shadow",)), True),
    "an edit that only the policy made": (
        replace(ALLOW, effects=("edit /a x", "shadow")),
        replace(ALLOW, effects=("shadow",)), False),
    "a hidden tool that is refused in words": (HIDDEN, DENY, True),
    "a refused tool that is hidden": (DENY, HIDDEN, False),
    "a hidden tool that nothing hid in shadow mode": (
        replace(HIDDEN, effects=("hidden", "shadow")), replace(DENY, effects=("shadow",)), False),
    "a tool that is listed again": (LISTED, replace(LISTED, effects=()), True),
    "a message of a batch that passes now": (PART, replace(PART, verdict=Verdict.ALLOW), True),
    "another rule for a message of a batch": (PART, replace(PART, rule="x"), False),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after", "weaker"), WEAKER.values(), ids=WEAKER)
def test_weaker(before: Golden | None, after: Golden | None, *, weaker: bool) -> None:
    assert is_weaker(before, after) is weaker


GOLDENS = st.builds(
    Golden,
    st.just(1), st.just("2") | st.just("2.0"), st.just("request"), st.just("mcp"), st.just("m"),
    st.none(), st.none() | st.just("t"), st.sampled_from(Verdict), st.sampled_from(["a", "b"]),
    st.just("rule"), st.just(()),
    st.lists(st.sampled_from([EDIT, "cut /b", "floor-swap /a b", "shadow", "hidden", "floor:deny",
                              "would-ask:new"]), max_size=3, unique=True).map(sorted).map(tuple),
)  # fmt: skip


@given(GOLDENS)
def test_a_line_reads_back_and_is_never_weaker_than_itself(golden: Golden) -> None:
    assert golden_from(golden.record()) == golden
    assert not is_weaker(golden, golden)


@given(GOLDENS, GOLDENS)
def test_only_what_differs_is_weaker_and_never_both_ways_by_verdict(a: Golden, b: Golden) -> None:
    if a == b:
        assert not is_weaker(a, b)
    if a.effective < b.effective:
        assert is_weaker(b, a)


BAD_EFFECTS = ["", "shadows", "floor:maybe", "floor:", "would-drop:x", "would-deny:", "edit", "cut"]


@pytest.mark.parametrize("word", BAD_EFFECTS)
def test_an_unknown_effect_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"effect|verdict"):
        golden_from(ALLOW.record() | {"effects": [word]})


@pytest.mark.parametrize("message", ["", "-1", "1.", "a", "1.2.3", "²", "1" * 10])
def test_a_message_that_is_no_ordinal_is_refused(message: str) -> None:
    with pytest.raises(ValueError, match="ordinal"):
        golden_from(ALLOW.record() | {"message": message})


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
    "a lost edit": (EDITED, replace(EDITED, effects=()),
                    "redacted → allow  rule reads  edits lost"),
    "a finding": (EDITED, replace(EDITED, findings=()),
                  "redacted  rule reads  findings lost: secret.aws-access-key"),
    "a hidden tool": (HIDDEN, DENY, "deny  rule no  code hidden → rule  visible now"),
    "a rule in shadow mode": (ALLOW, replace(ALLOW, effects=("would-deny:new",)),
                              "allow  rule reads  would - → deny:new"),
    "the locked layer": (FLOORED, SHADOW, "deny (shadow)  rule no  floor deny → -"),
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
    replayed = Replayed(superseded={(1, 0)}, lost={(1, 1)}, exchanges=1, closed=True)
    comparison.add(Path("c"), {(1, "0"): DENY, (1, "1"): replace(DENY, message="1")}, replayed)
    assert (comparison.outcomes, comparison.not_compared, comparison.exit_code) == (1, 1, 0)


def test_an_outcome_beyond_the_golden_file_counts_when_the_capture_is_closed() -> None:
    for closed, code in ((True, 1), (False, 0)):
        comparison = Comparison()
        replayed = Replayed({ALLOW.key: ALLOW}, lines={(1, 0): 2}, exchanges=1, closed=closed)
        comparison.add(Path("c"), {}, replayed)
        assert comparison.exit_code == code


WHOLE = replace(DENY, method="batch")
BATCHES: dict[str, tuple[Golden | None, int]] = {
    "a batch that is refused as a whole now": (replace(WHOLE, code="batches"), 1),
    "a batch that is asked for as a whole now": (replace(WHOLE, verdict=Verdict.ASK), 3),
    "a batch that is gone": (None, 3),
}


@pytest.mark.parametrize(("whole", "code"), BATCHES.values(), ids=BATCHES)
def test_the_messages_of_a_batch_answer_with(whole: Golden | None, code: int) -> None:
    outcomes = {} if whole is None else {whole.key: whole}
    comparison = Comparison()
    replayed = Replayed(outcomes, lines={(1, 0): 2}, exchanges=1, closed=True)
    comparison.add(Path("c"), {WHOLE.key: WHOLE, PART.key: PART}, replayed)
    assert comparison.exit_code == code
