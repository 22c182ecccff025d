"""The page about the console names every key and sign; the picture is the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmgate_tui import signs
from mitmgate_tui.cli import _parser
from mitmgate_tui.keys import KEYS, Key
from mitmgate_tui.screenshot import PICTURES, svg_of

FOLDER = Path(__file__).parents[2] / "docs"
PAGE = (FOLDER / "console.md").read_text(encoding="utf-8")
README = (FOLDER.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", KEYS, ids=lambda key: f"{key.scope} {key.shown}")
def test_every_key_is_in_the_docs(key: Key) -> None:
    spelled = " ".join(f"`{name}`" for name in key.shown.split(" "))
    assert f"| {spelled} | {key.help} |" in PAGE


def test_no_key_means_two_things_in_one_place() -> None:
    pressed = [(key.scope, name) for key in KEYS for name in key.pressed.split(",")]
    assert len(pressed) == len(set(pressed))


def test_every_sign_is_in_the_docs() -> None:
    for sign in (signs.ALLOWED, signs.APPROVED, signs.REDACTED, signs.HELD, signs.DENIED):
        row = next(line for line in PAGE.split("\n") if line.startswith(f"| `{sign.sign}` |"))
        assert sign.word in row


def test_help_ends_with_an_example() -> None:
    assert _parser().format_help().split("\n\n")[-1].startswith("Example:")


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_the_console_as_it_is(name: str) -> None:
    file = FOLDER / f"{name}.svg"
    assert f"({name}.svg)" in PAGE or f"docs/{name}.svg" in README
    assert file.exists(), "run `make docs`"
    assert file.read_text("utf-8") == svg_of(PICTURES[name]) + "\n", "run `make docs`"


def test_no_picture_is_left_over() -> None:
    assert {file.stem for file in FOLDER.glob("console*.svg")} == set(PICTURES)
