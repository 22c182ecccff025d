"""The application: it owns the board, arms the keys, and sends what the operator decided."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.css.query import NoMatches

from mitmgate.control.models import Event, HeldEvent, Pending, ResolvedEvent, Snapshot
from mitmgate_tui import keys
from mitmgate_tui.asking import Asking
from mitmgate_tui.client import Client, Gate, Gone, Heard, Strange
from mitmgate_tui.clock import Clock
from mitmgate_tui.columns import ColumnName
from mitmgate_tui.keymap import textual_keymap
from mitmgate_tui.keys import Key
from mitmgate_tui.panes import PANES
from mitmgate_tui.screens.help import HelpScreen
from mitmgate_tui.screens.main import NO_CALLS, MainScreen
from mitmgate_tui.screens.reason import ReasonScreen
from mitmgate_tui.screens.view import WIDE, Look, View
from mitmgate_tui.themes import THEMES

INTERRUPTED = 130
BELL_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the console leaves: see ``mitmgate-tui --help``."""

    until_decided: bool = False
    spawned: bool = False
    signals: bool = False
    linger: float = 1.2
    welcome: str = NO_CALLS
    theme: str = THEMES["dark"].name
    columns: tuple[ColumnName, ...] | None = None
    keys: tuple[Key, ...] = keys.KEYS
    bell: bool = False


class Console(Asking, inherit_bindings=False):
    """Shows the gate, and answers what waits, one key each."""

    TITLE = "mitmgate"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("app")]
    # Textual declares it as an instance's, so ClassVar would be refused.
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (WIDE, "-wide"),
    ]

    def __init__(
        self, gate: Gate, *, clock: Clock | None = None, options: Options | None = None
    ) -> None:
        self.options = options or Options()
        super().__init__(gate, clock or Clock(), self.options.keys)
        self.animation_level = "none"
        for theme in THEMES.values():
            self.register_theme(theme)
        self.theme = self.options.theme
        self.set_keymap(textual_keymap(self.options.keys))
        self._inbox: list[Heard] = []
        self._drawn: tuple[object, ...] = ()
        self._working = False
        self._rang = float("-inf")

    def get_default_screen(self) -> MainScreen:
        """Begin on the main screen."""
        main = MainScreen(self.clock, welcome=self.options.welcome)
        main.live.chosen_columns = self.options.columns
        return main

    def on_mount(self) -> None:
        """Start to listen, and the two heartbeats: data 5 times a second, keys 20 times."""
        self.run_worker(self._listen(), group="listen")
        self.set_interval(1 / 5, self.drain)
        self.set_interval(1 / 20, self._tick)
        if self.options.signals:
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, self.action_interrupt)
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self.action_leave)

    def drain(self) -> None:
        """Fold in all that was heard since the last time, and draw once."""
        heard, self._inbox = self._inbox, []
        for event in heard:
            match event:
                case Gone():
                    self.board.lose(event.why)
                    self.chosen.sweep(())
                case Strange():
                    self.warn("The proxy speaks a newer version: some of it is not shown.")
                case _:
                    self._fold(event)
        self._tick()

    def _fold(self, event: Event) -> None:
        self.board.now = self.clock.steady()
        self.board.apply(event)
        match event:
            case Snapshot():
                self.learn()
            case ResolvedEvent():
                self.settled()
            case HeldEvent():
                self._ring(event.pending)
            case _:
                return
        self.chosen.sweep(self.board.waiting.values())

    def _ring(self, pending: Pending) -> None:
        """Ring for a call that newly waits, at most once a second."""
        now = self.clock.steady()
        if self.options.bell and not pending.detached and now - self._rang >= BELL_PAUSE:
            self._rang = now
            self.bell()

    def settled(self) -> None:
        """Leave when that was all we came for, whoever answered, and if only the clock."""
        if self.options.until_decided:
            self.set_timer(self.options.linger, self.exit)

    # Keys that decide nothing

    def action_filter(self) -> None:
        """Type a filter for the live view."""
        self._to_main().open_filter()

    def action_notable(self) -> None:
        """Hide or show plainly allowed rows."""
        self._to_main().toggle_notable()

    def action_pause(self) -> None:
        """Let the live view stand still, or go on."""
        self._to_main().toggle_pause()

    def action_sort(self) -> None:
        """Order the live view by the next column."""
        self._to_main().next_sort()

    def action_columns(self) -> None:
        """Choose the columns of the live view."""
        self._to_main().choose_columns()

    def action_show(self, name: str) -> None:
        """Show a view by its name."""
        main = self._to_main()
        if name in PANES:
            self.push_screen(PANES[name](self.gate))
        else:
            main.live.focus()

    def _to_main(self) -> MainScreen:
        while not isinstance(self.screen, MainScreen):
            self.pop_screen()
        return self.screen

    def action_to_list(self) -> None:
        """Go back to the list."""
        if self.view is not None:
            self.view.back()

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen(self.offered_keys))

    def action_leave(self) -> None:
        """Leave the console; the gate goes on."""
        self.exit()

    def action_interrupt(self) -> None:
        """Leave; a gate that started this console ends too."""
        self.exit(return_code=INTERRUPTED if self.options.spawned else 0)

    # The machinery below

    async def on_event(self, event: events.Event) -> None:
        """See every key before it is handled, whatever has the focus."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._typed(event)
        elif isinstance(event, events.AppFocus):
            # Keys typed for another window arrive here just after a change of windows.
            self.arming.disturb()
        await super().on_event(event)

    async def _listen(self) -> None:
        async with contextlib.aclosing(self.gate.follow()) as stream:
            async for heard in stream:
                self._inbox.append(heard)

    def _tick(self) -> None:
        """Draw what changed: everything with the data, clocks each second, the keys at once."""
        if self.box is not None:
            self.box.look(self.board)
            self.box.draw(self._look())
        elif isinstance(self._top, ReasonScreen):
            self._top.look(self.board)
        view = self.view
        if view is None:
            return
        # A heartbeat may come before the first screen has its widgets, or when it has lost them.
        with contextlib.suppress(NoMatches):
            self._draw(view)
        if self.board.feed.busy and not self._working:
            self._working = True
            self.call_later(self._work)

    def _work(self) -> None:
        """Do a slice of what the live view has left to do, and let keys come in between."""
        self._working = self.board.feed.step()
        if self._working:
            self.call_later(self._work)

    def _draw(self, view: View) -> None:
        look = self._look()
        drawn = (view, self.board.version, self.board.feed.version, self._second)
        if drawn != self._drawn[:4]:
            view.draw(look)
        elif look.armed != self._drawn[4]:
            view.draw_keys(look)
        self._drawn = (*drawn, look.armed)

    @property
    def _second(self) -> tuple[int, int]:
        """What the clocks show, and how far what waits has come."""
        return int(self.clock.wall()), int(self.clock.steady())

    def _look(self) -> Look:
        return Look(
            self.board, self.clock, self.armed, self.read_only, self.offered_keys, self.chosen
        )

    def redraw(self) -> None:
        """Draw everything again."""
        self._drawn = ()
        self._tick()

    def _fatal_error(self) -> None:
        # Textual would print every local variable: the operator key and arguments among them.
        if not self._exit_renderables:
            self._exit_renderables.append(f"mitmgate-tui crashed: {_place(self._exception)}")
        self._close_messages_no_wait()


def _place(problem: BaseException | None) -> str:
    """Name an exception and where it happened, and none of the values involved."""
    frames = traceback.extract_tb(problem.__traceback__) if problem is not None else []
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(problem).__name__ + where


def connect(
    socket: Path, key: str | None, *, operator: str | None = None, options: Options | None = None
) -> Console:
    """Return a console for the proxy behind *socket*."""
    return Console(Client(socket, key, operator=operator), options=options)
