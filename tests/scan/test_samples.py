"""Stand-in values for a replay: as many as it needs, all different, all found whole."""

from __future__ import annotations

import pytest

from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs, load_pack
from mitmgate.wire.surfaces import Surface

SECRETS = [
    rule.id for pack in installed_packs() for rule in pack.rules if rule.detector == "secrets"
]


# A checksum or a fixed head is all that they are: what varies them breaks them.
RIGID = {"secret.putty-key", "secret.bitcoin-wif"}


def is_found_whole(scanner: Scanner, rule: str, value: str) -> bool:
    """Tell whether *value* is found in the place of the value in a sample of *rule*."""
    first = scanner.sample_for(rule, 1)
    for sample in scanner.rules[rule].match:
        for known in (first, value):
            start = sample.find(known)
            text = sample[: max(start, 0)] + value + sample[max(start, 0) + len(known) :]
            found = scanner.scan_text(Surface.RESULTS, "", text)
            spans = {(f.start, f.end) for f in found if f.rule == rule and not f.view}
            if start >= 0 and (start, start + len(value)) in spans:
                return True
    return False


@pytest.mark.parametrize("rule", SECRETS)
def test_values_differ_and_are_found_whole_in_their_place(scanner: Scanner, rule: str) -> None:
    count = 1 if rule in RIGID else 12
    values = [scanner.sample_for(rule, number) for number in range(1, count + 1)]
    assert len(set(values)) == count
    assert [value for value in values if not is_found_whole(scanner, rule, value)] == []


def test_the_same_number_gives_the_same_value_in_every_scanner(scanner: Scanner) -> None:
    other = Scanner(installed_packs(), hash_key=b"another key")
    assert other.sample_for("secret.jwt", 7) == scanner.sample_for("secret.jwt", 7)


def test_the_samples_of_the_pack_come_first(scanner: Scanner) -> None:
    rule = scanner.rules["secret.npm-token"]
    assert scanner.sample_for("secret.npm-token", 1) == rule.match[0]


def test_an_unknown_rule_is_a_key_error(scanner: Scanner) -> None:
    with pytest.raises(KeyError):
        scanner.sample_for("secret.none", 1)


@pytest.mark.parametrize("number", [0, -1])
def test_numbers_begin_at_one(scanner: Scanner, number: int) -> None:
    with pytest.raises(ValueError, match="from 1"):
        scanner.sample_for("secret.jwt", number)


def test_a_rule_that_finds_one_value_has_no_second_sample() -> None:
    pack = load_pack(
        "{version: 1, pack: p, kind: secrets, rules: [{id: secret.one, title: One, severity: low,"
        " pattern: the-only-one, keywords: [only], match: [the-only-one]}]}",
        file="p.yaml",
    )
    scanner = Scanner([pack], hash_key=b"key")
    assert scanner.sample_for("secret.one", 1) == "the-only-one"
    with pytest.raises(ValueError, match=r"no 2 distinct samples can be made for secret\.one"):
        scanner.sample_for("secret.one", 2)
