"""What the README tells a newcomer to type works, with the exit codes that it names."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from markdown_it import MarkdownIt

from mitmgate.cli.app import app
from mitmgate.cli.reference import commands

README = Path(__file__).parents[2] / "README.md"
POLICY = "my-policy.yaml"
COMMANDS = dict(commands(typer.main.get_command(app), "mitmgate"))


def fences(info: str) -> Iterator[str]:
    """Yield the fenced blocks whose first line says *info*."""
    for token in MarkdownIt().parse(README.read_text("utf-8")):
        if token.type == "fence" and token.info == info:
            yield token.content


def shell_lines(*infos: str) -> list[str]:
    return [line for info in infos for text in fences(info) for line in text.splitlines()]


def named_exit_code(line: str) -> int:
    _, _, comment = line.rpartition("# exit code ")
    return int(comment[0]) if "# exit code " in line else 0


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder with the README's policy in it, and an environment with an empty state folder."""
    folder = tmp_path_factory.mktemp("newcomer")
    (policy,) = fences("yaml")
    (folder / POLICY).write_text(policy, "utf-8")
    commands_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return folder, {
        "PATH": commands_first,
        "HOME": str(folder),
        "MITMGATE_STATE_DIR": str(folder / "state"),
    }


@pytest.mark.parametrize("line", shell_lines("sh tested"))
def test_a_command_marked_as_tested_does_what_the_readme_says(
    line: str, newcomer: tuple[Path, dict[str, str]]
) -> None:
    folder, environment = newcomer
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == named_exit_code(line), done.stderr
    assert done.stdout
    # No proxy runs beside this test, and `env` says so.
    assert [line for line in done.stderr.splitlines() if "no proxy runs here" not in line] == []


@pytest.mark.parametrize("line", [x for x in shell_lines("sh") if x.startswith("mitmgate ")])
def test_the_other_commands_exist_with_all_their_options(line: str) -> None:
    words = shlex.split(line, comments=True)
    name = " ".join(words[:3]) if " ".join(words[:3]) in COMMANDS else " ".join(words[:2])
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= options


def test_every_make_target_that_the_readme_names_is_there() -> None:
    makefile = (README.parent / "Makefile").read_text("utf-8")
    named = [line.split()[1] for line in shell_lines("sh") if line.startswith("make ")]
    assert named
    assert [target for target in named if f"\n{target}:" not in makefile] == []


def test_the_first_policy_has_fifteen_lines_at_most() -> None:
    (policy,) = fences("yaml")
    assert len(policy.splitlines()) <= 15


def test_the_picture_is_the_console_as_it_is() -> None:
    from mitmgate_tui.screenshot import PICTURES, svg_of

    picture = (README.parent / "docs" / "console.svg").read_text("utf-8")
    assert "docs/console.svg" in README.read_text("utf-8")
    assert picture == svg_of(PICTURES["console"]) + "\n", "run `make docs`"
