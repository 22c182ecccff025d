"""docs/scanning.md is true: it names every pack, every key of a rule, and its example loads."""

from __future__ import annotations

from pathlib import Path

from mitmgate.policy.syntax import DETECTORS
from mitmgate.scan.packs import RuleModel, installed_packs, load_pack
from mitmgate.scan.shapes import RUN_NAMES

PAGE = (Path(__file__).parents[2] / "docs" / "scanning.md").read_text("utf-8")


def test_the_page_names_every_pack_with_its_rules() -> None:
    rows = [
        f"| `{pack.name}` | {pack.detector} | {len(pack.rules)} |" for pack in installed_packs()
    ]
    assert [row for row in rows if row not in PAGE] == []
    assert PAGE.count(" | secrets | ") == sum("| secrets |" in row for row in rows)


def test_the_page_names_every_detector() -> None:
    assert {name for name in DETECTORS if f"| `{name}` |" not in PAGE} == set()


def test_the_page_explains_every_key_of_a_rule() -> None:
    assert {name for name in RuleModel.model_fields if f"| `{name}` |" not in PAGE} == set()


def test_the_page_names_every_run() -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `runs` |")]
    assert {name for name in RUN_NAMES if f"`{name}`" not in row} == set()


def test_the_example_on_the_page_loads() -> None:
    examples = [part.split("```")[0] for part in PAGE.split("```yaml\n")[1:]]
    [example] = [part for part in examples if part.startswith("version:")]
    assert load_pack(example, file="example").rules[0].id == "secret.acme-key"
