"""A rule that a hostile text could make slow does not get into a policy."""

from __future__ import annotations

import pytest

from mitmgate.errors import ConfigError
from mitmgate.scan import stress
from mitmgate.scan.packs import installed_packs, load_pack
from mitmgate.scan.rule import Rule
from mitmgate.scan.stress import refuse_slow, slowness, stress_texts

PACK = """\
version: 1
pack: mine
kind: secrets
rules:
  - {id: secret.heavy, title: Heavy, severity: low, pattern: 'acme(?:.{0,300}?[a-z]{1,200}){2}!',
     keywords: [ac], reach: 4096, match: ['acme abc mmm!'], clean: [x]}
"""


def test_a_slow_rule_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pack = load_pack(PACK, file="mine.yaml")
    monkeypatch.setattr(stress, "MOST_TIMES", 2)
    with pytest.raises(ConfigError, match=r"rule secret\.heavy takes \d+ times as long"):
        refuse_slow([pack])


def test_a_fast_rule_is_taken() -> None:
    refuse_slow([load_pack(PACK, file="mine.yaml")])


def test_texts_are_made_of_what_a_rule_looks_for() -> None:
    rule = load_pack(PACK, file="mine.yaml").rules[0]
    texts = list(stress_texts(rule))
    assert any("acme abc mmm! acme abc mmm!" in text for text in texts)
    assert all(len(text) == 16 << 10 for text in texts)


SHIPPED = [rule for pack in installed_packs() for rule in pack.rules][::40]


@pytest.mark.parametrize("rule", SHIPPED, ids=[rule.id for rule in SHIPPED])
def test_the_shipped_rules_are_fast(rule: Rule) -> None:
    assert slowness(rule) < stress.MOST_TIMES
