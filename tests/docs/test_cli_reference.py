"""docs/cli.md is what the commands say about themselves, and each of them gives an example."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mitmgate.cli.app import CRASH, USAGE, app
from mitmgate.cli.explain import EXIT_CODES
from mitmgate.cli.reference import commands, reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = dict(commands(typer.main.get_command(app), "mitmgate"))
PROMISED = {
    *("run", "tui", "env", "check", "explain", "pending", "approve", "deny", "replay", "scan"),
    *("audit tail", "audit query", "ca path", "ca show", "demo", "servers"),
}


def test_the_page_is_what_make_docs_writes() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run `make docs`"


def test_the_page_does_not_depend_on_the_terminal() -> None:
    narrow = os.environ | {"COLUMNS": "30", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "mitmgate.cli.reference"]
    printed = subprocess.run(command, env=narrow, capture_output=True, text=True, check=True).stdout
    assert printed == reference()


def test_every_promised_command_is_there() -> None:
    assert {name.removeprefix("mitmgate ") for name in COMMANDS} >= PROMISED


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_gives_an_example(name: str) -> None:
    help_text = COMMANDS[name].help or ""
    _, mark, example = help_text.partition("\b\nExample:")
    assert mark, "its help has no verbatim paragraph that starts with Example:"
    assert name in example


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    silent = [
        parameter.opts
        for parameter in COMMANDS[name].params
        if not getattr(parameter, "help", None)
    ]
    assert silent == []


def test_every_exit_code_is_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    codes = {0, 1, USAGE, CRASH, *EXIT_CODES.values()}
    assert [code for code in codes if f"| {code} |" not in text] == []
