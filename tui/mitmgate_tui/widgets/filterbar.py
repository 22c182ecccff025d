"""The line to type a filter in, and what it waits for."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from mitmgate.control.words import MAX_TEXT
from mitmgate_tui.filters import Filter, parse


class FilterBar(Horizontal):
    """Hidden until it is opened; enter keeps the filter, escape clears it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear", "Clear", show=False)]

    class Changed(Message):
        """Another filter stands in the line."""

        def __init__(self, filter: Filter) -> None:
            super().__init__()
            self.filter = filter

    class Closed(Message):
        """Typing is over."""

    def compose(self) -> ComposeResult:
        """Hold a slash, the line, and the note."""
        yield Static("/", id="filter-slash", markup=False)
        yield Input(
            id="filter",
            max_length=MAX_TEXT,
            compact=True,
            select_on_focus=False,
            placeholder="server:github tool:create_* v:!allow ~d host   ? in the docs",
        )
        yield Static("", id="filter-note", markup=False)

    @property
    def typing(self) -> bool:
        """Whether letters go here."""
        return self.query_one(Input).has_focus

    def open(self) -> None:
        """Take the keyboard."""
        self.add_class("open")
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Hand on what was typed, as it is typed."""
        event.stop()
        self._hand_on(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go back to the list; the filter stays."""
        event.stop()
        self.set_class(bool(event.value.strip()), "open")
        self.post_message(self.Closed())

    def action_clear(self) -> None:
        """Forget the filter."""
        with self.query_one(Input).prevent(Input.Changed):
            self.query_one(Input).value = ""
        self._hand_on("")
        self.remove_class("open")
        self.post_message(self.Closed())

    def _hand_on(self, text: str) -> None:
        found = parse(text)
        self.query_one("#filter-note", Static).update(found.note or "")
        self.post_message(self.Changed(found))
