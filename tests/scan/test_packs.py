"""A rule carries its proof: packs that contradict their own samples do not load."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Detector
from mitmgate.scan.packs import Pack, hits, installed_packs, load_pack, load_pack_file
from mitmgate.scan.shipped import made_text
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
    assert hits(rule, "acme_1234")
    assert not hits(rule, "acme_1111")


INSTALLED = [rule for pack in installed_packs() for rule in pack.rules]
SURFACES = (Surface.ARGUMENTS, Surface.RESULTS, Surface.DEFINITIONS)


def test_ids_are_unique_over_all_packs() -> None:
    ids = [rule.id for rule in INSTALLED]
    assert len(ids) == len(set(ids))


def test_hundreds_of_rules_are_installed() -> None:
    kinds = [rule.detector for rule in INSTALLED]
    assert kinds.count("secrets") >= 250
    assert kinds.count("injection") >= 50


def test_every_rule_shows_what_it_leaves_alone() -> None:
    assert [rule.id for rule in INSTALLED if not rule.clean] == []


# One number may be that of people in several countries.
TOLD_APART = [pack for pack in installed_packs() if pack.detector != "pii"]


@pytest.mark.parametrize("pack", TOLD_APART, ids=[pack.name for pack in TOLD_APART])
def test_a_clean_sample_is_clean_for_every_rule_of_its_kind(scanner: Scanner, pack: Pack) -> None:
    # What is no key of one provider may be another credential to a generic rule, or an address.
    noisy = {
        (rule.id, number): found
        for rule in pack.rules
        for number, sample in enumerate(rule.clean)
        if (found := named(scanner, sample, pack.detector))
    }
    assert noisy == {}


def named(scanner: Scanner, text: str, detector: Detector) -> set[str]:
    """Return the rules of *detector* that name something in *text*, generic ones left out."""
    found = (f for surface in SURFACES for f in scanner.scan_text(surface, "", text))
    return {f.rule for f in found if f.detector == detector and not scanner.rules[f.rule].generic}


@pytest.mark.parametrize("pack", installed_packs(), ids=[pack.name for pack in installed_packs()])
def test_a_match_sample_is_found_by_its_rule(scanner: Scanner, pack: Pack) -> None:
    missed = [
        (rule.id, number)
        for rule in pack.rules
        if rule.weight == 1  # a weak sign alone is no finding
        for number, sample in enumerate(rule.match)
        if rule.id not in {f.rule for s in SURFACES for f in scanner.scan_text(s, "", sample)}
    ]
    # Another rule may name the value better, but never nobody.
    assert [each for each in missed if not scanner.rules[each[0]].generic] == []


def test_no_file_of_ours_holds_a_complete_credential(scanner: Scanner) -> None:
    folder = files("mitmgate_rules") / "packs"
    for entry in folder.iterdir():
        lines = entry.read_text(encoding="utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.startswith("    pattern:"))
        found = scanner.scan_text(Surface.RESULTS, "", text, detectors={"secrets"})
        # The parts of a sample make one where a view puts them together: that is what views do.
        whole = {f.rule for f in found if f.detector == "secrets" and not f.view}
        assert {rule for rule in whole if not scanner.rules[rule].generic} == set(), entry.name


def test_the_made_file_is_what_make_docs_writes() -> None:
    made = files("mitmgate_rules") / "packs.json"
    assert made.read_text(encoding="utf-8") == made_text()


def test_a_pack_that_changed_is_read_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"p.yaml": GOOD.encode()}
    monkeypatch.setattr("mitmgate.scan.shipped._texts", lambda: texts)
    installed_packs.cache_clear()
    try:
        assert [rule.id for pack in installed_packs() for rule in pack.rules] == ["secret.acme"]
        texts["p.yaml"] = GOOD.replace("acme, _1234", "acme, _12").encode()
        installed_packs.cache_clear()
        with pytest.raises(ConfigError, match="does not find this sample"):
            installed_packs()
    finally:
        installed_packs.cache_clear()
