"""A box on top of a screen, whose answers count like decisions: armed, once, never pasted."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.css.query import NoMatches
from textual.screen import ModalScreen
from textual.widgets import Static

from mitmgate_tui.board import Board
from mitmgate_tui.screens.view import Look
from mitmgate_tui.text import clean, isolated, middle

MAX_LINES = 500


class Hand(Protocol):
    """The part of the application that lets a key count."""

    def mean(self, subject: Hashable, act: Callable[[], None]) -> bool:
        """Do *act* unless more keys follow at once; False where the keys are not armed yet."""


class Box[T](ModalScreen[T | None]):
    """Dismisses with an answer, or with None: nothing is decided. Enter and space never answer.

    ``answers`` are the keys that answer, ``line`` spells them.
    """

    DEFAULT_CSS = """
    Box { align: center middle; }
    Box .box { width: 78; max-width: 98%; height: auto; max-height: 96%;
               border: round $warning; padding: 0 1; background: $surface; }
    Box .box-text { height: auto; max-height: 100%; scrollbar-size-vertical: 1;
                   scrollbar-gutter: stable; }
    Box .box-text > Static { width: 1fr; }
    Box .box-keys { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]
    answers: ClassVar[frozenset[str]] = frozenset({"y"})
    line: ClassVar[str] = "y yes   escape no"

    def __init__(self) -> None:
        super().__init__()
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Hold a text that scrolls, and the keys below it."""
        with Vertical(classes="box"):
            with VerticalScroll(classes="box-text"):
                yield Static(classes="box-lines", markup=False)
            yield Static(classes="box-keys", markup=False)

    @property
    def subject(self) -> Hashable:
        """What must stay the same for the keys to arm."""
        return (type(self).__name__, id(self))

    def look(self, board: Board) -> None:
        """Note what the box is about as it is now."""

    def lines(self, width: int) -> list[Content]:
        """Return the text, each line at most *width* cells."""
        raise NotImplementedError

    def ready(self, armed: bool) -> bool:
        """Whether the keys count now, where they are *armed*."""
        return armed

    def draw(self, look: Look) -> None:
        """Draw what changed."""
        width = max(20, min(73, self.size.width - 9))
        armed = self.ready(look.armed)
        drawn = (self.subject, armed, self.size)
        if drawn == self._drawn:
            return
        try:
            lines = self.lines(width)
            if len(lines) > MAX_LINES:
                lines = [*lines[:MAX_LINES], told(f"{len(lines) - MAX_LINES} lines more", width)]
            # The keys stay in sight below a text that is taller than the screen.
            room = self.size.height * 96 // 100 - 3
            self.query_one(".box-text").styles.max_height = max(1, room)
            self.query_one(".box-lines", Static).update(Content("\n").join(lines))
            mark, style = ("▸", "bold") if armed else ("…", "dim")
            keys = Content.styled(f"{mark} {self.line}", style)
            self.query_one(".box-keys", Static).update(keys, layout=False)
        except NoMatches:  # before it is composed, or after it is gone
            return
        self._drawn = drawn

    def mean(self, answer: T) -> None:
        """Answer, if the keys are armed."""
        cast("Hand", self.app).mean(self.subject, lambda: self._answer(answer))

    def _answer(self, answer: T) -> None:
        if self.is_current:
            self.dismiss(answer)

    def action_cancel(self) -> None:
        """Leave everything as it is."""
        self.dismiss(None)


def _pieces(text: str, width: int) -> Iterator[str]:
    while len(text) > width:
        # A word longer than half a line is cut: a name must not leave a line nearly empty.
        at = text.rfind(" ", width // 2, width + 1)
        at = width if at < 0 else at
        yield text[:at]
        text = text[at:].removeprefix(" ")
    yield text


def told(text: str, width: int, style: str = "") -> Content:
    """Return a stranger's text as one line."""
    return Content.styled(isolated(middle(clean(text[: 4 * width + 400]), width)), style)


def wrapped(text: str, width: int, style: str = "", *, most: int = 20) -> list[Content]:
    """Return a stranger's text on as many lines as it takes, so many at most, cut at blanks."""
    pieces = list(islice(_pieces(clean(text[: width * (most + 1)]), max(1, width)), most + 1))
    if len(pieces) > most:
        pieces = [*pieces[:most], "…"]
    return [Content.styled(isolated(middle(piece, width)), style) for piece in pieces]
