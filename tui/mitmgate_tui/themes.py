"""The themes: dark, light, and one for terminals of 16 colours.

Signs have theme variables of their own (``$sign-deny``); no widget names a colour. The colours are
light enough on dark, and dark enough on light, to stay readable as greys, which is what NO_COLOR
makes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from textual.theme import BUILTIN_THEMES, Theme

type Choice = Literal["auto", "dark", "light", "ansi"]

CHOICES: Final = ("auto", "dark", "light", "ansi")
_OLD: Final = frozenset({"linux", "ansi", "cygwin", "dumb", "vt100", "vt220"})


def _theme(name: str, like: str, **signs: str) -> Theme:
    base = BUILTIN_THEMES[like]
    colours = {f"sign-{sign}": colour for sign, colour in signs.items()}
    fields = {key: value for key, value in vars(base).items() if key not in ("name", "variables")}
    return Theme(name=f"mitmgate-{name}", variables=base.variables | colours, **fields)


THEMES: Final = {
    "dark": _theme(
        "dark", "textual-dark", allow="#7ee787", deny="#ff8b82", hold="#f2cc60", edit="#79c0ff",
        shadow="#d2a8ff",
    ),
    "light": _theme(
        "light", "textual-light", allow="#116329", deny="#a40e26", hold="#6f4a00", edit="#0550ae",
        shadow="#6639ba",
    ),
    "ansi": _theme(
        "ansi", "ansi-dark", allow="ansi_green", deny="ansi_bright_red", hold="ansi_yellow",
        edit="ansi_cyan", shadow="ansi_magenta",
    ),
}  # fmt: skip


def chosen(choice: Choice, env: Mapping[str, str]) -> str:
    """Return the name of the theme for *choice*; auto asks the terminal's environment."""
    if choice != "auto":
        return THEMES[choice].name
    if _has_few_colours(env):
        return THEMES["ansi"].name
    return THEMES["light" if _is_light(env) else "dark"].name


def _is_light(env: Mapping[str, str]) -> bool:
    # Set by rxvt, Konsole and others as "foreground;background" in the 16 colours.
    background = env.get("COLORFGBG", "").rpartition(";")[2]
    return background in ("7", "9", "10", "11", "12", "13", "14", "15")


def _has_few_colours(env: Mapping[str, str]) -> bool:
    term = env.get("TERM", "")
    few = term.endswith(("-16color", "-color")) or term.partition("-")[0] in _OLD
    return few and env.get("COLORTERM") not in ("truecolor", "24bit")
