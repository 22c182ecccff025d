"""The list of keys and signs."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mitmgate_tui import signs
from mitmgate_tui.filters import WORDS
from mitmgate_tui.keys import KEYS, Key

SIGNS = (
    signs.ALLOWED, signs.REDACTED, signs.HELD, signs.DENIED, signs.TICKET, signs.SHADOW,
)  # fmt: skip
WIDTH = 71
"""Cells of the list in 80 columns."""


class HelpScreen(ModalScreen[None]):
    """Any of its keys closes it; none decides."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,space", "dismiss", "Close")
    ]

    def __init__(self, keys: Sequence[Key] = KEYS) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Show the registry."""
        with VerticalScroll(id="help-box"):
            yield Static(help_text(self._keys), markup=False)


def help_text(keys: Sequence[Key]) -> Content:
    """Return the keys, the signs and the words of the filter, a line each."""
    lines = [_title("Keys")]
    lines += [line for key in keys for line in _folded(f" {key.shown:<11}", key.help)]
    lines += [Content(), _title("Signs")]
    lines += [Content(" " + "   ".join(str(sign) for sign in SIGNS)), Content()]
    lines.append(_title("Filter"))
    lines += [line for word, told in WORDS for line in _folded(f" {word:<28} ", told)]
    lines += [
        Content(),
        Content("Decision keys count once a row has stood under the cursor for 0.3 seconds;"),
        Content("until then the key line is dim. Enter, space and the mouse never decide."),
    ]
    return Content("\n").join(lines)


def _folded(head: str, told: str) -> list[Content]:
    """Return *told* beside *head*, and below itself where it is too long."""
    first, *rest = wrap(told, WIDTH - len(head))
    under = [Content(" " * len(head) + line) for line in rest]
    return [Content.assemble((head, "bold"), first), *under]


def _title(text: str) -> Content:
    return Content.styled(text, "bold")
