"""A rule carries its proof: packs that contradict their own samples do not load."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mitmgate.errors import ConfigError
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import Rule, installed_packs, load_pack, load_pack_file
from mitmgate.wire.surfaces import Surface

GOOD = """\
version: 1
pack: tests
kind: secrets
rules:
  - id: secret.acme
    title: Acme key
    severity: high
    keywords: [acme_]
    pattern: 'acme_[0-9]{4}'
    match: [[acme, _1234], 'x acme_5678']
    clean: ['acme_12']
    known_miss: ['acme 1234']
"""

DEFECTS = {
    "a match sample that the pattern misses": (
        ("acme, _1234", "acme, _12"),
        "match.0",
        "does not find this sample",
    ),
    "a clean sample that the pattern hits": (
        ("['acme_12']", "['acme_1299']"),
        "clean.0",
        "finds something in this clean sample",
    ),
    "a known miss that is none any more": (
        ("['acme 1234']", "['acme_1234']"),
        "known_miss.0",
        "move it to match",
    ),
    "a match sample without a keyword": (
        ("[acme_]", "[bcme_]"),
        "match.0",
        "none of the rule's keywords",
    ),
    "no match sample at all": (("match: [[acme, _1234], 'x acme_5678']", "match: []"), "match", ""),
    "no keywords": (("keywords: [acme_]", "keywords: []"), "keywords", ""),
    "a keyword of one letter": (("keywords: [acme_]", "keywords: [a]"), "keywords", ""),
    "a pattern that RE2 refuses": (("[0-9]{4}'", "[0-9{4}'"), "pattern", "RE2 refuses it"),
    "a look-around": (("'acme_[0-9]{4}'", "'(?=a)acme_[0-9]{4}'"), "pattern", "RE2 refuses it"),
    "a pattern that matches nothing at all": (
        ("'acme_[0-9]{4}'", "'(?:acme_[0-9]{4})?'"),
        "pattern",
        "empty text",
    ),
    "a pattern bound to the whole text": (
        ("'acme_[0-9]{4}'", r"'\Aacme_[0-9]{4}'"),
        "pattern",
        r"\A is not allowed; use ^",
    ),
    "a pattern that reads single bytes": (
        ("'acme_[0-9]{4}'", r"'acme_\C[0-9]{3}'"),
        "pattern",
        r"\C is not allowed",
    ),
    "an id of another kind": (("secret.acme", "injection.acme"), "id", "secret. followed by"),
    "an id in capitals": (("secret.acme", "secret.Acme"), "id", "a-z, 0-9 and -"),
    "an unknown key": (("    title: Acme", "    titel: Acme"), "rules.0", ""),
    "an unknown kind": (("kind: secrets", "kind: virus"), "kind", ""),
    "a later version": (("version: 1", "version: 2"), "version", ""),
}


def test_a_pack_loads_with_its_samples_joined() -> None:
    pack = load_pack(GOOD, file="p.yaml")
    assert (pack.name, pack.detector, len(pack.rules)) == ("tests", "secrets", 1)
    assert pack.rules[0].match == ("acme_1234", "x acme_5678")


@pytest.mark.parametrize(("change", "key", "words"), DEFECTS.values(), ids=DEFECTS)
def test_a_pack_is_refused_for(change: tuple[str, str], key: str, words: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(ConfigError) as refused:
        load_pack(text, file="p.yaml")
    spelled = [str(problem) for problem in refused.value.problems]
    assert any(key in problem and words in problem for problem in spelled), spelled
    assert all(problem.startswith("p.yaml:") for problem in spelled)


def test_every_problem_is_reported_at_once() -> None:
    text = GOOD.replace("acme, _1234", "acme, _12").replace("['acme_12']", "['acme_1299']")
    with pytest.raises(ConfigError) as refused:
        load_pack(text, file="p.yaml")
    assert len(refused.value.problems) == 2


def test_two_rules_of_one_pack_may_not_share_an_id() -> None:
    rule = GOOD[GOOD.index("  - id") :]
    with pytest.raises(ConfigError, match="another rule of this pack has this id"):
        load_pack(GOOD + rule, file="p.yaml")


def test_a_missing_pack_file_is_a_problem_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_pack_file(tmp_path / "none.yaml")


def test_a_pack_file_loads_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_pack_file(path).rules[0].id == "secret.acme"


def test_values_of_too_few_different_characters_do_not_count() -> None:
    rule = load_pack(
        GOOD.replace("    match:", "    min_distinct: 9\n    match:"), file="p.yaml"
    ).rules[0]
    assert rule.hits("acme_1234")
    assert not rule.hits("acme_1111")


INSTALLED = [rule for pack in installed_packs() for rule in pack.rules]
CLEAN = [(rule.id, number, text) for rule in INSTALLED for number, text in enumerate(rule.clean)]
MATCH = [(rule, number, text) for rule in INSTALLED for number, text in enumerate(rule.match)]


def test_ids_are_unique_over_all_packs() -> None:
    ids = [rule.id for rule in INSTALLED]
    assert len(ids) == len(set(ids))


def test_at_least_ten_credential_formats_and_ten_injections_are_installed() -> None:
    kinds = [rule.detector for rule in INSTALLED]
    assert kinds.count("secrets") >= 10
    assert kinds.count("injection") >= 10


def test_every_rule_shows_what_it_leaves_alone() -> None:
    assert [rule.id for rule in INSTALLED if not rule.clean] == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [(id_, text) for id_, _, text in CLEAN],
    ids=[f"{id_}-{number}" for id_, number, _ in CLEAN],
)
def test_a_clean_sample_is_clean_for_every_rule(scanner: Scanner, rule: str, text: str) -> None:
    found = list(scanner.scan_text(Surface.RESULTS, "", text))
    assert [finding.rule for finding in found] == [], f"clean sample of {rule}"


@pytest.mark.parametrize(
    ("rule", "text"),
    [(rule, text) for rule, _, text in MATCH],
    ids=[f"{rule.id}-{number}" for rule, number, _ in MATCH],
)
def test_a_match_sample_is_found_by_its_rule_and_no_other_of_its_kind(
    scanner: Scanner, rule: Rule, text: str
) -> None:
    found = {finding.rule for finding in scanner.scan_text(Surface.RESULTS, "", text)}
    assert rule.id in found
    if rule.detector == "secrets":
        assert {name for name in found if name.startswith("secret.")} == {rule.id}


@pytest.mark.parametrize("rule", INSTALLED, ids=[rule.id for rule in INSTALLED])
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
    ],
)
@given(data=st.data())
def test_nothing_that_a_pattern_matches_slips_past_its_keywords(
    scanner: Scanner, rule: Rule, data: st.DataObject
) -> None:
    # The keywords stand before the pattern: one that is missing is a silent hole in the rule.
    text = data.draw(st.from_regex(re.compile(rule.pattern, re.MULTILINE | re.ASCII)))
    if rule.hits(text):
        found = scanner.scan_text(Surface.RESULTS, "", text)
        assert rule.id in {finding.rule for finding in found}


def test_no_file_of_ours_holds_a_complete_credential(scanner: Scanner) -> None:
    folder = files("mitmgate_rules") / "packs"
    for entry in folder.iterdir():
        found = scanner.scan_text(
            Surface.RESULTS, "", entry.read_text(encoding="utf-8"), detectors={"secrets"}
        )
        assert [finding.rule for finding in found] == [], entry.name
