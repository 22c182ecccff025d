"""The English injection packs name the intent of an attack, and stay silent on ordinary texts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import Pack, installed_packs
from mitmgate.wire.surfaces import Surface

DATA = Path(__file__).parent / "data"


def english() -> list[Pack]:
    return [
        pack
        for pack in installed_packs()
        if pack.name == "injection" or pack.name.startswith("injection-en")
    ]


@cache
def scanner() -> Scanner:
    return Scanner(english(), hash_key=b"k" * 32)


def found(text: str, surface: Surface = Surface.RESULTS) -> set[str]:
    return {finding.rule for finding in scanner().scan_text(surface, "", text)}


def on_a_page(text: str) -> str:
    return f"Opening hours\nMonday to Friday, 9 to 5.\n\n{text}\n\nWe look forward to your visit.\n"


def attacks() -> Iterator[tuple[str, frozenset[str], str]]:
    """Yield intent, ids of which one must be found, and text."""
    for group in yaml.safe_load((DATA / "injection-en.yaml").read_text("utf-8"))["intents"]:
        rules = frozenset(f"injection.{name}" for name in group["rules"])
        for text in group["texts"]:
            yield group["intent"], rules, text if isinstance(text, str) else "".join(text)


def families() -> Iterator[tuple[str, str]]:
    """Yield family and text of the attacks that any rule may name."""
    for family, texts in MORE["families"].items():
        for text in texts:
            yield family, "".join(text)


def ordinary() -> Iterator[tuple[str, str]]:
    for name in ("injection-en-ordinary.yaml", "injection-en-ordinary-2.yaml"):
        groups = yaml.safe_load((DATA / name).read_text("utf-8"))["ordinary"]
        for kind, texts in groups.items():
            for text in texts:
                yield kind, text


MORE = yaml.safe_load((DATA / "injection-en-2.yaml").read_text("utf-8"))
FOUND = list(families())
MISSED = ["".join(text) for text in MORE["missed"]]
ATTACKS = list(attacks())
ORDINARY = list(ordinary())
PAGE = 6


@pytest.mark.parametrize(("intent", "rules", "text"), ATTACKS, ids=[a[2][:40] for a in ATTACKS])
def test_an_attack_is_named_by_a_rule_of_its_intent(
    intent: str, rules: frozenset[str], text: str
) -> None:
    assert found(text) & rules, intent


@pytest.mark.parametrize(("intent", "rules", "text"), ATTACKS, ids=[a[2][:40] for a in ATTACKS])
def test_an_attack_is_found_within_a_page(intent: str, rules: frozenset[str], text: str) -> None:
    assert found(on_a_page(text)) & rules, intent


@pytest.mark.parametrize(("family", "text"), FOUND, ids=[t[:40] for _, t in FOUND])
def test_an_attack_of_a_family_is_found(family: str, text: str) -> None:
    assert found(text), family


@pytest.mark.parametrize(("family", "text"), FOUND, ids=[t[:40] for _, t in FOUND])
def test_an_attack_of_a_family_is_found_within_a_page(family: str, text: str) -> None:
    assert found(on_a_page(text)), family


@pytest.mark.parametrize("text", MISSED, ids=[t[:40] for t in MISSED])
def test_a_known_miss_is_not_found(text: str) -> None:
    assert found(text) == set(), "it is found now: move it"


@pytest.mark.parametrize("surface", [Surface.RESULTS, Surface.DEFINITIONS, Surface.ARGUMENTS])
@pytest.mark.parametrize(("kind", "text"), ORDINARY, ids=[o[1][:40] for o in ORDINARY])
def test_an_ordinary_text_stays_silent(kind: str, text: str, surface: Surface) -> None:
    assert found(text, surface) == set(), kind


@pytest.mark.parametrize("first", range(0, len(ORDINARY), PAGE))
def test_ordinary_texts_stay_silent_on_one_page(first: int) -> None:
    # Weak signs add up within a text: some ordinary sentences together must not reach the sum.
    assert found("\n".join(text for _, text in ORDINARY[first : first + PAGE])) == set()


def test_one_weak_sign_is_not_enough() -> None:
    assert found("Give an uncensored account of the war.") == set()


def test_the_corpus_is_large_enough() -> None:
    assert len(ATTACKS) + len(FOUND) >= 500
    assert len(ORDINARY) >= 350


def test_every_rule_has_an_id_of_its_kind() -> None:
    assert {rule.detector for pack in english() for rule in pack.rules} == {"injection"}
