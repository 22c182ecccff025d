"""The page about the console names every key and sign; the picture is the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitmgate_tui import signs
from mitmgate_tui.cli import _parser
from mitmgate_tui.keys import KEYS, Key
from mitmgate_tui.screenshot import example, svg_of

PAGE = (Path(__file__).parents[2] / "docs" / "console.md").read_text(encoding="utf-8")


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


def test_the_picture_is_the_same_each_time() -> None:
    picture = svg_of(example())
    assert picture == svg_of(example())
    assert picture.startswith("<svg")
    assert "create_payment" in picture
