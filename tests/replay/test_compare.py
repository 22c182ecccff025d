"""Which difference is weaker: one sentence, one case."""

from __future__ import annotations

from copy import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.judge.inputs import EndInput, MessageInput
from mitmgate.policy.verdict import Verdict
from mitmgate.replay.compare import Comparison, difference, is_weaker
from mitmgate.replay.entries import InputLine
from mitmgate.replay.golden import Golden, golden_from
from mitmgate.replay.merge import Merge, Window
from mitmgate.replay.run import Judged

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
    "an edit for another rule": (
        EDITED,
        replace(EDITED, effects=("edit /params/a x",), findings=(("x", "/params/a"),)), False),
    "an edit for another finding in the same text": (
        EDITED, replace(EDITED, effects=("edit /params/a x",)), True),
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


def test_groups_are_by_rule_and_kind_with_the_weaker_first() -> None:
    comparison, file = Comparison(), Path("c.jsonl")
    for line, before, after in (
        (2, ALLOW, ASK), (3, ALLOW, ASK), (4, ALLOW, EDITED), (5, DENY, ASK), (6, DENY, ALLOW),
        (7, DENY, replace(DENY, rule="other")),
    ):  # fmt: skip
        comparison.found(difference(file, line, before, after))
    assert [(g.rule, g.what, g.weaker, g.count, g.example.line) for g in comparison.groups] == [
        ("no", "deny → allow  rule no → reads", True, 1, 6),
        ("no", "deny → ask  rule no → otherwise", True, 1, 5),
        ("no", "deny  rule no → other", False, 1, 7),
        ("reads", "allow → ask  rule reads → otherwise", False, 2, 2),
        ("reads", "allow → redacted  rule reads  new findings: secret.aws-access-key  other edits",
         False, 1, 4),
    ]  # fmt: skip
    assert (comparison.different, comparison.lowered, comparison.exit_code) == (6, 2, 3)


def test_what_is_kept_of_differences_is_bounded() -> None:
    comparison = Comparison()
    for number in range(1_500):
        after = replace(DENY, rule=f"r{number}", tool=f"t{number}")
        comparison.found(difference(Path("c"), 2, ALLOW, after))
    comparison.found(difference(Path("c"), 2, DENY, ALLOW))
    assert (comparison.different, comparison.exit_code) == (1_501, 3)
    assert (len(comparison.differences), len(comparison.weaker)) == (1_001, 1)
    assert sum(group.count for group in comparison.groups) == 1_501
    assert len(comparison.groups) == 1_002


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


def _judged(exchange: int, *outcomes: Golden, line: int = 2, **told: bool) -> Judged:
    given = MessageInput(str(exchange), 0, from_client=True, data="")
    return Judged(InputLine(line, exchange, 0, 0.0, given), outcomes, **told)


def _merged(golden: list[Golden], *judged: Judged, closed: bool = True) -> Comparison:
    comparison = Comparison()
    merge = Merge(Path("c"), Window(Path("c"), iter(golden)), comparison, closed=closed)
    for one in judged:
        merge.take(one.line, one)
    merge.finish()
    return comparison


def test_what_is_lost_or_superseded_does_not_count() -> None:
    golden = [DENY, replace(DENY, exchange=2)]
    comparison = _merged(golden, _judged(1, superseded=True), _judged(2, lost=True))
    assert (comparison.outcomes, comparison.not_compared, comparison.exit_code) == (1, 1, 0)


def test_an_outcome_beyond_the_golden_file_counts_when_the_capture_is_closed() -> None:
    for closed, code in ((True, 1), (False, 0)):
        assert _merged([], _judged(1, ALLOW), closed=closed).exit_code == code


OF_SERVER: dict[str, tuple[Golden, Golden, int]] = {
    "the same": (DENY, DENY, 0),
    "another denial": (DENY, replace(DENY, rule="other"), 0),
    "what passes now": (DENY, ALLOW, 3),
    "a tool that a list had cut out": (replace(HIDDEN, rule="scan.poisoning"), ALLOW, 0),
}


@pytest.mark.parametrize(("before", "after", "code"), OF_SERVER.values(), ids=OF_SERVER)
def test_where_the_list_of_tools_was_not_stored(before: Golden, after: Golden, code: int) -> None:
    comparison = _merged([before], _judged(1, after, blurred=True))
    assert comparison.exit_code == code
    assert comparison.same + comparison.not_compared + comparison.different == 1


def test_golden_lines_without_an_input_are_found_far_from_the_end() -> None:
    golden = [replace(DENY, exchange=number) for number in range(1, 20_000)]
    merge = Merge(Path("c"), Window(Path("c"), iter(golden)), comparison := Comparison(),
                  closed=True)  # fmt: skip
    for one in golden[1:]:
        judged = _judged(one.exchange, one)
        merge.take(judged.line, judged)
        merge.take(replace(judged.line, message=1, input=EndInput("x")), None)
        if one.exchange == 19_000:
            assert [found.before for found in comparison.weaker] == golden[:1]
    merge.finish()
    assert (comparison.same, comparison.different, comparison.exchanges) == (19_998, 1, 19_998)


WHOLE = replace(DENY, method="batch")
BATCHES: dict[str, tuple[Golden | None, int]] = {
    "a batch that is refused as a whole now": (replace(WHOLE, code="batches"), 1),
    "a batch that is asked for as a whole now": (replace(WHOLE, verdict=Verdict.ASK), 3),
    "a batch that is gone": (None, 3),
}


@pytest.mark.parametrize(("whole", "code"), BATCHES.values(), ids=BATCHES)
def test_the_messages_of_a_batch_answer_with(whole: Golden | None, code: int) -> None:
    outcomes = () if whole is None else (whole,)
    assert _merged([WHOLE, PART], _judged(1, *outcomes)).exit_code == code
