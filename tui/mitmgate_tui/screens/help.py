"""The list of keys and signs."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mitmgate_tui import signs
from mitmgate_tui.keys import KEYS

SIGNS = (signs.ALLOWED, signs.REDACTED, signs.HELD, signs.DENIED, signs.SHADOW)


class HelpScreen(ModalScreen[None]):
    """Any of its keys closes it; none decides."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,space", "dismiss", "Close")
    ]

    def compose(self) -> ComposeResult:
        """Show the registry."""
        with VerticalScroll(id="help-box"):
            yield Static(help_text(), markup=False)


def help_text() -> Text:
    """Return the keys and the signs, a line each."""
    lines = [Text("Keys", "bold")]
    lines += [Text.assemble((f" {key.shown:<11}", "bold"), key.help) for key in KEYS]
    lines += [Text(), Text("Signs", "bold"), Text(" " + "   ".join(str(sign) for sign in SIGNS))]
    lines += [
        Text(),
        Text("Decision keys count once a row has stood under the cursor for 0.3 seconds;"),
        Text("until then the key line is dim. Enter, space and the mouse never decide."),
    ]
    return Text("\n").join(lines)
