"""Redaction leaves no part of a value behind, and numbers equal values alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.scan.finding import Finding
from mitmgate.scan.redact import Placeholders, placeholder, redactable, redaction_edits
from mitmgate.wire.edit import Edit
from mitmgate.wire.surfaces import Surface


def at(
    start: int, end: int, rule: str = "aws-access-key", value: str = "v", pointer: str = "/a"
) -> Finding:
    return Finding(
        detector="secrets",
        rule=f"secret.{rule}",
        severity="high",
        surface=Surface.RESULTS,
        pointer=pointer,
        start=start,
        end=end,
        value_hash=value,
    )


CASES = {
    "nothing found, nothing replaced": ([], []),
    "one value": ([at(2, 6)], [(2, 6, "[aws-access-key:1]")]),
    "equal values have one number": (
        [at(0, 4), at(9, 13)],
        [(0, 4, "[aws-access-key:1]"), (9, 13, "[aws-access-key:1]")],
    ),
    "different values have different numbers": (
        [at(0, 4, value="v"), at(9, 13, value="w")],
        [(0, 4, "[aws-access-key:1]"), (9, 13, "[aws-access-key:2]")],
    ),
    "each rule counts for itself": (
        [at(0, 4), at(9, 13, rule="jwt")],
        [(0, 4, "[aws-access-key:1]"), (9, 13, "[jwt:1]")],
    ),
    "neighbours that touch stay two": (
        [at(0, 4), at(4, 8, rule="jwt")],
        [(0, 4, "[aws-access-key:1]"), (4, 8, "[jwt:1]")],
    ),
    "an overlap is one, named after the longest, and covers both": (
        [at(0, 6), at(4, 20, rule="jwt")],
        [(0, 20, "[jwt:1]")],
    ),
    "one inside another": ([at(0, 20, rule="jwt"), at(5, 9)], [(0, 20, "[jwt:1]")]),
    "a chain of overlaps is one": (
        [at(0, 5), at(4, 9, rule="jwt"), at(8, 20, rule="npm-token")],
        [(0, 20, "[npm-token:1]")],
    ),
    "the order of findings does not matter": (
        [at(9, 13, value="w"), at(0, 4)],
        [(0, 4, "[aws-access-key:1]"), (9, 13, "[aws-access-key:2]")],
    ),
}


@pytest.mark.parametrize(("findings", "expected"), CASES.values(), ids=CASES)
def test_edits(findings: list[Finding], expected: list[tuple[int, int, str]]) -> None:
    assert redaction_edits(findings) == tuple(Edit("/a", *edit) for edit in expected)


def test_strings_are_edited_apart() -> None:
    edits = redaction_edits([at(0, 4, pointer="/b"), at(2, 6, pointer="/a")])
    assert [(edit.pointer, edit.start) for edit in edits] == [("/a", 2), ("/b", 0)]


def test_numbers_go_on_over_messages() -> None:
    numbers = Placeholders()
    redaction_edits([at(0, 4, value="v")], numbers=numbers)
    later = redaction_edits([at(0, 4, value="w"), at(5, 9, value="v")], numbers=numbers)
    assert [edit.text for edit in later] == ["[aws-access-key:2]", "[aws-access-key:1]"]


POINTERS = {
    "the whole text": ("", True),
    "a plain pointer": ("/a/0", True),
    "an escaped tilde": ("/a~0b", True),
    "an escaped slash": ("/a~1b", True),
    "a tilde escape that spells another": ("/a~01", True),
    "a key": ("/a~key", False),
    "a key at the root": ("~key", False),
    "a key with escapes": ("/a~0~1~key", False),
}


@pytest.mark.parametrize(("pointer", "expected"), POINTERS.values(), ids=POINTERS)
def test_only_values_can_be_redacted(pointer: str, expected: bool) -> None:
    assert redactable(at(0, 4, pointer=pointer)) is expected


def test_a_finding_in_a_key_is_an_error_and_not_left_out() -> None:
    with pytest.raises(ValueError, match="key of an object"):
        redaction_edits([at(0, 4), at(0, 4, pointer="/a~key")])


def test_placeholders_name_the_rule_without_its_kind() -> None:
    assert placeholder("secret.aws-access-key", 1) == "[aws-access-key:1]"
    assert placeholder("injection.new-role", 3) == "[injection.new-role:3]"


spans = st.tuples(
    st.integers(0, 60),
    st.integers(1, 20),
    st.sampled_from(["jwt", "npm-token"]),
    st.sampled_from("vw"),
)


@given(st.lists(spans))
def test_every_found_character_is_replaced_and_no_other(
    drawn: list[tuple[int, int, str, str]],
) -> None:
    findings = [at(start, start + size, rule, value) for start, size, rule, value in drawn]
    edits = redaction_edits(findings)
    covered = [place for edit in edits for place in range(edit.start, edit.end)]
    found = {place for finding in findings for place in range(finding.start, finding.end)}
    assert len(covered) == len(set(covered))
    assert set(covered) == found
