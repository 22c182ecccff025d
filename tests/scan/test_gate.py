"""The first pass: every place of every keyword, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmgate.errors import ConfigError
from mitmgate.scan import gate as gates
from mitmgate.scan.gate import Gate, Passed
from mitmgate.scan.loading import load_pack
from mitmgate.scan.patterns import Pattern
from mitmgate.scan.rule import Rule
from mitmgate.scan.search import spans_of
from mitmgate.scan.shapes import RUNS, Tokens, run_places
from mitmgate.wire.surfaces import Surface

LETTERS = st.lists(st.sampled_from([*"abxyü.1 ", "needle", "éab"]), max_size=60).map("".join)


def rules(*keywords: Sequence[str], more: str = "") -> tuple[Rule, ...]:
    entries = "".join(
        f"""
  - id: secret.number-{number}
    title: a word
    severity: low
    {more}
    keywords: {list(words)}
    pattern: {"|".join(words)}
    match: [{words[0]}]
    clean: [nothing]"""
        for number, words in enumerate(keywords)
    )
    return load_pack(f"version: 1\npack: mine\nkind: secrets\nrules:{entries}\n", file="p").rules


def passed(gate: Gate, text: str) -> Passed:
    data = text.encode()
    return gate.passed(data, Tokens(data), {Surface.RESULTS}, None)


def places(gate: Gate, text: str) -> dict[Rule, list[tuple[int, int]]]:
    """Return where the keywords of each rule stand, in order."""
    found = passed(gate, text)
    return {
        rule: sorted(place for word in words for place in found.places[word])
        for rule, words in found.words.items()
    }


@given(text=LETTERS, at_once=st.integers(1, 40))
def test_every_place_of_every_keyword_is_found_wherever_the_text_is_cut(
    text: str, at_once: int
) -> None:
    made = rules(["ab", "abx"], ["needle"], ["ü.1"], ["éab", "b1"])
    gate, data = Gate(made), text.encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gates, "_AT_ONCE", at_once)
        found = places(gate, text)
    for rule in made:
        expected = sorted(
            (start, start + len(word))
            for word in rule.words
            for start in range(len(data))
            if data.startswith(word, start)
        )
        assert found.get(rule, []) == expected


def test_rules_of_other_surfaces_and_detectors_are_left_out() -> None:
    [general] = rules(["needle"])
    [narrow] = rules(["needle"], more="surfaces: [definitions]")
    gate, data = Gate([general, narrow]), b"a needle"
    tokens = Tokens(data)
    assert set(gate.passed(data, tokens, {Surface.RESULTS}, None).words) == {general}
    assert set(gate.passed(data, tokens, {Surface.DEFINITIONS}, None).words) == {general, narrow}
    both = {Surface.DEFINITIONS, Surface.RESULTS}
    assert set(gate.passed(data, tokens, both, None).words) == {general, narrow}
    assert set(gate.passed(data, tokens, both, ["pii"]).words) == set()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", ["needle", "xneedle", "9thread", "éneedle", "_thread"]),
        ("starts: [needle]", ["needle", "9thread", "éneedle", "_thread"]),
        ("starts: all", ["needle", "éneedle", "_thread"]),
    ],
)
def test_a_keyword_that_starts_a_word_is_none_in_the_middle_of_one(
    more: str, expected: list[str]
) -> None:
    [one] = rules(["needle", "thread"], more=more)
    [everywhere] = rules(["needle", "thread"])
    gate = Gate([everywhere, one])
    texts = ["needle", "xneedle", "9thread", "éneedle", "_thread"]
    assert [text for text in texts if spans_of(one, gate, text)] == expected
    assert [text for text in texts if spans_of(one, Gate([one]), text)] == expected
    assert all(spans_of(everywhere, gate, text) for text in texts)


def test_only_keywords_of_the_rule_can_start_a_word() -> None:
    with pytest.raises(ConfigError, match="name keywords of this rule"):
        rules(["needle"], more="starts: [other]")


@given(text=st.text("15akxyzZ0.+/= _-", max_size=200), least=st.integers(16, 60))
def test_tokens_are_the_runs_of_letters_that_credentials_have(text: str, least: int) -> None:
    tokens, data = Tokens(text.encode()), text.encode()
    starts, ends = tokens.of(least)
    letters = set(b"15akxyzZ0+/=_-")
    expected, start = [], 0
    for end in range(len(data) + 1):
        if end == len(data) or data[end] not in letters:
            if end - start >= least:
                expected.append((start, end))
            start = end + 1
    assert list(zip(starts, ends, strict=True)) == expected


@given(
    text=st.lists(
        st.sampled_from(["1kx9", "lz8a", "0", " ", ".", "a1b2c3d4e5f6g7h8"]), max_size=40
    ),
    name=st.sampled_from(sorted(RUNS)),
)
def test_runs_are_found_in_tokens_as_they_are_in_the_whole_text(
    text: list[str], name: bytes
) -> None:
    data = "".join(text).encode()
    whole = [match.span()[0] for match in RUNS[name].finditer(data)]
    found = dict(run_places([name], data, Tokens(data)))
    assert [start for start, _ in found.get(name, [])] == whole


@pytest.mark.parametrize("pattern", ["a+", r"\bx", "(?P<secret>b)?a", r"(?:y|$)a", "needle"])
@given(text=LETTERS)
def test_what_a_pattern_finds_is_what_its_search_finds(pattern: str, text: str) -> None:
    made, data = Pattern(pattern), text.encode()
    spans, start = [], 0
    while (found := made.find(data, start))[0][0] >= 0:
        spans.append(found[0])
        start = max(found[0][1], found[0][0] + 1)
    assert spans == [match.span() for match in made.compile().finditer(data)]
