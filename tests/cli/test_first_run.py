"""The one question of the first start: what it offers is what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mitmgate.cli.first_run import ask_model_api
from mitmgate.policy.load import load_policy_file

ASKING = typer.Typer()


@ASKING.command()
def ask(state: Path) -> None:
    ask_model_api(state)


def asked(state: Path, answers: str) -> tuple[str, list[str]]:
    """Answer the question; return what was said, and the egress rules of the policy written."""
    result = CliRunner().invoke(ASKING, [str(state)], input=answers)
    assert result.exit_code == 0, result.output
    written = load_policy_file(state / "policy.yaml")
    return result.output, [rule.id for rule in written.egress_rules]


@pytest.mark.parametrize("number", range(1, 7))
def test_every_offered_number_is_taken(tmp_path: Path, number: int) -> None:
    _, rules = asked(tmp_path / "state", f"{number}\n")
    assert rules[0] == "model-api"


CASES = {
    "none": ("0\n", False, ""),
    "Enter alone is none": ("\n", False, ""),
    "another host": ("llm.example.com\n", True, ""),
    "a number that is not on the list": ("99\n1\n", True, "not a number of this list"),
    "a wildcard": ("*.example.com\n1\n", True, "too wide"),
    "a URL": ("https://llm.example.com/v1\n1\n", True, "without scheme or path"),
}


@pytest.mark.parametrize(("answers", "opened", "said"), CASES.values(), ids=CASES)
def test_an_answer_is_taken_or_asked_again(
    tmp_path: Path, answers: str, opened: bool, said: str
) -> None:
    output, rules = asked(tmp_path / "state", answers)
    assert ("model-api" in rules) is opened
    assert said in output


def test_it_asks_only_once(tmp_path: Path) -> None:
    asked(tmp_path / "state", "0\n")
    output, _ = asked(tmp_path / "state", "")
    assert output == ""
