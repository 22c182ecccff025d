"""docs/scanning.md is true: it lists every rule that is installed, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmgate.scan.packs import RuleModel, installed_packs, load_pack

PAGE = (Path(__file__).parents[2] / "docs" / "scanning.md").read_text("utf-8")
INSTALLED = {rule.id: rule for pack in installed_packs() for rule in pack.rules}


def table() -> dict[str, list[str]]:
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): [cell.strip() for cell in cells] for cells in rows}


def test_the_page_lists_exactly_the_installed_rules() -> None:
    listed = {name for name in table() if name.startswith(("secret.", "injection."))}
    assert listed == set(INSTALLED)


@pytest.mark.parametrize("rule", INSTALLED)
def test_the_page_says_what_a_rule_finds(rule: str) -> None:
    assert table()[rule][1:3] == [INSTALLED[rule].title, INSTALLED[rule].severity]


def test_the_page_explains_every_key_of_a_rule() -> None:
    assert {name for name in RuleModel.model_fields if f"| `{name}` |" not in PAGE} == set()


def test_the_example_on_the_page_loads() -> None:
    example = PAGE.split("```yaml\n")[1].split("```")[0]
    assert load_pack(example, file="example").rules[0].id == "secret.acme-key"
