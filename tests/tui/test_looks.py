"""Themes, keys of one's own, and text that would hide what matters."""

from __future__ import annotations

import argparse
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.color import Color
from textual.filter import Monochrome

from mitmgate.errors import ConfigError
from mitmgate_tui import cli, keys
from mitmgate_tui.app import Options
from mitmgate_tui.config import ConsoleConfig, config_path, read_config
from mitmgate_tui.keymap import remap
from mitmgate_tui.screens.detail import DetailScreen
from mitmgate_tui.signs import ALLOWED, DENIED, HELD, REDACTED, SHADOW
from mitmgate_tui.text import clean, clipped, fit, isolated
from mitmgate_tui.themes import CHOICES, THEMES, chosen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tui.conftest import Desk, OpenDesk

from tests.tui.conftest import make_pending, make_row

STYLES = [sign.style for sign in (ALLOWED, DENIED, HELD, REDACTED, SHADOW)]

# Themes

TERMINALS = {
    "nothing known is dark": ({}, "dark"),
    "a dark background": ({"COLORFGBG": "15;0"}, "dark"),
    "a light background": ({"COLORFGBG": "0;default;15"}, "light"),
    "sixteen colours by name": ({"TERM": "xterm-16color"}, "ansi"),
    "the Linux console": ({"TERM": "linux"}, "ansi"),
    "a terminal that says it knows all colours": (
        {"TERM": "xterm-16color", "COLORTERM": "truecolor"}, "dark",
    ),
    "256 colours": ({"TERM": "xterm-256color"}, "dark"),
}  # fmt: skip


@pytest.mark.parametrize(("env", "name"), TERMINALS.values(), ids=list(TERMINALS))
def test_auto_takes_the_theme_of_the_terminal(env: dict[str, str], name: str) -> None:
    assert chosen("auto", env) == THEMES[name].name


def test_a_theme_that_was_asked_for_is_taken() -> None:
    assert [chosen(name, {"TERM": "linux"}) for name in ("dark", "light", "ansi")] == [
        theme.name for theme in THEMES.values()
    ]
    assert set(THEMES) == set(CHOICES) - {"auto"}


@pytest.mark.parametrize("name", ["dark", "light"])
@pytest.mark.parametrize("style", STYLES)
def test_signs_are_readable_on_their_background(name: str, style: str) -> None:
    background = Color.parse(THEMES[name].to_color_system().generate()["background"])
    light, dark = sorted(
        (Color.parse(THEMES[name].variables[f"sign-{style}"]), background),
        key=_luminance,
        reverse=True,
    )
    assert (_luminance(light) + 0.05) / (_luminance(dark) + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def _luminance(colour: Color) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
async def test_every_theme_shows_the_same_text(open_desk: OpenDesk, theme: Any) -> None:
    async with open_desk(options=Options(theme=theme.name)) as desk:
        desk.proxy.row(make_row("stopped", verdict="deny"))
        desk.proxy.hold(make_pending("pay", arguments={"amount": 1}))
        await desk.shows("✗ denied")
        await desk.shows("⏸ held, denied in")
        assert desk.app.native_ansi_color is (theme.name == THEMES["ansi"].name)


async def test_no_color_is_respected(open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_desk() as desk:
        desk.proxy.row(make_row("stopped", verdict="deny"))
        await desk.shows("✗ denied")
        assert any(isinstance(filter_, Monochrome) for filter_ in desk.app._filters)


# Keys of one's own


async def test_another_key_decides_and_the_usual_one_does_not(open_desk: OpenDesk) -> None:
    registry = remap({"approve": ["y"], "filter": ["F", "ctrl+f"]})
    async with open_desk(options=Options(keys=registry)) as desk:
        desk.proxy.hold(make_pending("pay"))
        await desk.shows("pay")
        await desk.arm()
        assert "y once" in desk.text()
        await desk.press("a")
        await desk.arm()
        await desk.press("y")
        await desk.until(lambda: desk.proxy.decided)
        assert len(desk.proxy.decided) == 1
        await desk.press("question_mark")
        await desk.shows("approve the selected call, once")
        assert " F ctrl+f" in desk.text()


async def test_two_keys_may_be_swapped(open_desk: OpenDesk) -> None:
    registry = remap({"approve": ["d"], "deny": ["a"]})
    async with open_desk(options=Options(keys=registry)) as desk:
        desk.proxy.hold(make_pending("pay"))
        await desk.shows("pay")
        await desk.arm()
        await desk.press("a")
        await desk.until(lambda: desk.proxy.decided)
        assert desk.proxy.decided[0][1].decision == "deny"


REFUSED = {
    "an action nobody knows": ({"aprove": ["y"]}, "unknown action; there are approve"),
    "two meanings of a key": ({"approve": ["x"]}, "x means both approve and notable"),
    "a key that the lists know": ({"approve": ["j"]}, "j means both approve and down"),
    "a key that the detail knows": ({"scroll-up": ["a"]}, "a means both approve and scroll-up"),
    "enter for a decision": ({"approve": ["enter"]}, "enter cannot decide"),
    "the enter key by its other name": ({"approve": ["ctrl+m"]}, "ctrl+m"),
    "space for a decision": ({"deny": ["space"]}, "space cannot decide"),
    "a blank for a decision": ({"deny": [" "]}, "' ' is no key"),
    "the mouse": ({"deny": ["click"]}, "'click' is no key"),
    "the way out": ({"end": ["y"]}, "cannot be changed"),
    "no key": ({"approve": []}, "needs a key"),
    "a key that is none": ({"help": ["hyper"]}, "'hyper' is no key"),
}


@pytest.mark.parametrize(("wanted", "says"), REFUSED.values(), ids=list(REFUSED))
def test_a_keymap_is_refused_for(wanted: dict[str, list[str]], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        remap(wanted)
    assert any(says in str(problem) for problem in caught.value.problems)


def test_no_keymap_is_the_registry() -> None:
    assert remap({}) == keys.KEYS


# The file


def test_the_file_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "console.yaml"
    file.write_text("theme: light\ncolumns: [time, what]\nkeys: {approve: [y]}\n")
    expected = ConsoleConfig(theme="light", columns=("time", "what"), keys={"approve": ("y",)})
    assert read_config(file) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("themes: dark\n", "unknown key"),
        ("theme: pink\n", "theme"),
        ("columns: [time, price]\n", "columns"),
        ("keys: {approve: y}\n", "must be a list"),
        ("theme: dark\ntheme: light\n", "theme"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "console.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert says in str(caught.value.problems[0])


def test_no_file_is_no_wish_unless_it_was_named(tmp_path: Path) -> None:
    assert read_config(tmp_path / "none.yaml") == ConsoleConfig()
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "none.yaml", must_exist=True)


def test_where_the_file_stands() -> None:
    assert str(config_path({"XDG_CONFIG_HOME": "/x"})) == "/x/mitmgate/console.yaml"
    assert str(config_path({})).endswith("/.config/mitmgate/console.yaml")


def test_the_option_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "console.yaml"
    file.write_text("theme: light\nkeys: {pause: [z]}\n")
    wishes = cli.settings(argparse.Namespace(config=file, theme="ansi"), {})
    assert wishes.theme == THEMES["ansi"].name
    assert next(key.pressed for key in wishes.keys if key.id == "pause") == "z"


# Text that would hide what matters

HEBREW, ARABIC = "מחק", "حذف"


def test_each_run_of_right_to_left_letters_is_contained() -> None:
    marked = isolated(f"pay_{HEBREW}_100_{ARABIC}")
    assert marked == f"pay_\u200e{HEBREW}\u200e_100_\u200e{ARABIC}\u200e"
    assert isolated("支払い é") == "支払い é"


@given(st.text("ab1 _" + HEBREW + ARABIC + "\u064b٣", max_size=30))
def test_what_stands_between_right_to_left_runs_stays_in_order(text: str) -> None:
    marked = isolated(text)
    assert marked.replace("\u200e", "") == text
    assert cell_len(marked) == cell_len(text)
    kinds = [unicodedata.bidirectional(char) for char in marked]
    for at, kind in enumerate(kinds):
        if kind in ("R", "AL", "AN"):  # its neighbours are of its own, marks on it, or the mark
            around = kinds[at - 1 : at] + kinds[at + 1 : at + 2]
            assert len(around) == 2
            assert all(other in ("R", "AL", "AN", "NSM") or other == "L" for other in around)
            assert "a" not in (marked[at - 1], marked[at + 1])


@pytest.mark.parametrize("name", [HEBREW * 40, f"{ARABIC} 31 ms ✓ allowed {HEBREW}"])
@pytest.mark.parametrize("size", [(140, 45), (80, 24)], ids=["wide", "narrow"])
async def test_right_to_left_names_leave_verdict_and_rule_in_place(
    open_desk: OpenDesk, size: tuple[int, int], name: str
) -> None:
    async with open_desk(size=size) as desk:
        desk.proxy.row(make_row("row", tool=name, agent=name, server=name, verdict="deny"))
        await desk.shows("✗ denied")
        line = next(text for text in desk.text().split("\n") if "✗ denied " in text)
        runs = [run for run in line.split("\u200e") if any(c in HEBREW + ARABIC for c in run)]
        assert runs
        for run in runs:
            assert not any(char.isascii() and char.isalnum() for char in run)
        assert line.index("✗ denied") < line.index("\u200e") < line.index("reads")


@pytest.mark.parametrize("size", [(140, 45), (80, 24)], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    "name", ["x" * 10_000, "\u0301" * 10_000, HEBREW * 3_400, "[b]" * 3_400, "\x1b" * 10_000]
)
async def test_names_of_ten_thousand_characters_hide_nothing(
    open_desk: OpenDesk, size: tuple[int, int], name: str
) -> None:
    async with open_desk(size=size) as desk:
        desk.proxy.hold(
            make_pending("pay", tool=name, agent=name, server=name, rule=name, reason=name,
                         endpoint=name, arguments={"amount": 4200})
        )  # fmt: skip
        await desk.shows("0:45 █")
        await seen_in_the_detail(desk)
        await desk.arm()
        await desk.press("r")
        await desk.shows("escape keeps the call waiting")
        assert "Deny " in desk.text()
        await desk.press("escape")
        await desk.arm()
        await desk.press("d")
        await desk.until(lambda: desk.proxy.decided)
        await desk.shows("✗ denied")


async def seen_in_the_detail(desk: Desk) -> None:
    if desk.app.size.width < 100:
        await desk.press("enter")
        await desk.until(lambda: isinstance(desk.app.screen, DetailScreen))
        await desk.shows("agent  ")
    else:
        await desk.press("tab", "tab")
    for _ in range(40):
        if "amount" in desk.text():
            break
        await desk.press("j")
    assert "amount 4200" in desk.text()
    await desk.press("escape")


def test_work_on_a_name_is_bounded() -> None:
    name = "\u202e" * 1_000_000
    assert len(clean(clipped(name))) < 5_000
    assert cell_len(fit(clean(clipped(name)), 20)) == 20
