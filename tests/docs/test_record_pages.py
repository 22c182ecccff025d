"""The pages on replay and audit name every option, exit code and field that there is."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import typer

from mitmgate.cli.app import app
from mitmgate.judge.outcome import Completion, Fate, Outcome, Resolution, Subject, Via
from mitmgate.judge.records import completion_record, outcome_record, resolution_record
from mitmgate.policy.verdict import Verdict
from mitmgate.record.audit import note_record, start_record

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = {
    "replay.md": ["replay"], "audit.md": ["audit tail", "audit query"], "whatif.md": ["whatif"],
}  # fmt: skip
PAIRS = [(page, command) for page, commands in COMMANDS.items() for command in commands]


@pytest.mark.parametrize(("page", "command"), PAIRS, ids=[command for _, command in PAIRS])
def test_every_option_is_on_the_page(page: str, command: str) -> None:
    text = (DOCS / page).read_text()
    found = typer.main.get_command(app)
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]
    options = [option for parameter in found.params for option in parameter.opts]
    named = [option for option in options if option.startswith("-")]
    assert len(named) >= 4
    assert [option for option in named if option not in text] == []


def test_every_exit_code_of_replay_is_on_the_page() -> None:
    text = (DOCS / "replay.md").read_text()
    assert all(f"| {code} |" in text for code in (0, 1, 2, 3))


def test_every_field_of_every_record_is_on_the_page() -> None:
    subject = Subject("a", "mcp", "h", 443, "e", "m")
    outcome = Outcome("x", 0, "request", subject, Verdict.DENY, "r", "c", "w", "w", "p")
    records = [
        start_record(time=0, tool="t", policy="p", mode="m", listen="l"),
        outcome_record(outcome, time=0),
        resolution_record(Resolution("x.0", "deny", "shell", None, None, 0), time=0),
        completion_record(Completion("x", None, 0, 0, 0, "denied"), time=0),
        note_record("n", time=0),
    ]
    text = (DOCS / "audit.md").read_text()
    assert {f"`{key}`" for record in records for key in record if f"`{key}`" not in text} == set()


def test_every_way_of_an_answer_and_every_end_is_on_the_page() -> None:
    text = (DOCS / "audit.md").read_text()
    words = [*get_args(Via.__value__), *get_args(Fate.__value__)]
    assert words
    assert [word for word in words if f"`{word}`" not in text] == []
