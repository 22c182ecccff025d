"""The application: it owns the board, arms the keys, and sends what the operator decided."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import traceback
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from textual import events
from textual.app import App, ScreenStackError
from textual.binding import BindingType
from textual.css.query import NoMatches

from mitmgate.control.models import ResolvedEvent
from mitmgate_tui import keys
from mitmgate_tui.arming import BURST, Arming
from mitmgate_tui.board import Board
from mitmgate_tui.client import Client, Gate, Gone, Heard, Refused, Strange
from mitmgate_tui.clock import Clock
from mitmgate_tui.columns import ColumnName
from mitmgate_tui.entry import Entry
from mitmgate_tui.keymap import textual_keymap
from mitmgate_tui.keys import Key
from mitmgate_tui.messages import Answer, DecisionFailed, DecisionTaken
from mitmgate_tui.screens.health import HealthPane
from mitmgate_tui.screens.help import HelpScreen
from mitmgate_tui.screens.main import NO_CALLS, WIDE, MainScreen
from mitmgate_tui.screens.pane import Pane
from mitmgate_tui.screens.reason import ReasonScreen
from mitmgate_tui.screens.rules import RulesPane
from mitmgate_tui.screens.servers import ServersPane
from mitmgate_tui.screens.view import Look, View
from mitmgate_tui.signs import what
from mitmgate_tui.text import isolated, middle
from mitmgate_tui.themes import THEMES

INTERRUPTED = 130
NO_KEY = (
    "Read-only: no operator key. `mitmgate run` hands it to its own console and shows it once when"
    " it starts headless; pass it as --operator-key-file FILE or MITMGATE_OPERATOR_KEY."
)
BAD_KEY = "Read-only: the proxy does not know this operator key. Take the one of its ready line."

PANES: dict[str, type[Pane]] = {
    "servers": ServersPane,
    "rules": RulesPane,
    "health": HealthPane,
}

type Kind = Literal["allow", "deny", "reason"]


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


class Console(App[None], inherit_bindings=False):
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
        super().__init__()
        self.gate = gate
        self.clock = clock or Clock()
        self.options = options or Options()
        self.board = Board()
        self.arming = Arming(self.clock.steady)
        self.animation_level = "none"
        for theme in THEMES.values():
            self.register_theme(theme)
        self.theme = self.options.theme
        self.set_keymap(textual_keymap(self.options.keys))
        self._deciding = _decision_keys(self.options.keys)
        self._inbox: list[Heard] = []
        self._intent: tuple[str, Kind, float] | None = None
        self._typed_at: deque[float] = deque(maxlen=8)
        self._asked: set[str] = set()
        self._drawn: tuple[object, ...] = ()
        self._working = False

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

    @property
    def view(self) -> View | None:
        """The screen on top, unless it is a box."""
        try:
            screen = self.screen
        except ScreenStackError:  # a timer may still fire while the app ends
            return None
        return screen if isinstance(screen, View) else None

    @property
    def read_only(self) -> bool:
        """Whether the proxy would take no answer from us."""
        return not (self.gate.has_key and self.board.operator)

    @property
    def armed(self) -> bool:
        """Whether a decision key would count now."""
        view = self.view
        if view is None or view.typing:
            return False
        self.arming.see(view.subject)
        return self.arming.armed

    def drain(self) -> None:
        """Fold in all that was heard since the last time, and draw once."""
        heard, self._inbox = self._inbox, []
        for event in heard:
            match event:
                case Gone():
                    self.board.lose(event.why)
                case Strange():
                    self._warn("The proxy speaks a newer version: some of it is not shown.")
                case _:
                    self.board.apply(event)
                    if isinstance(event, ResolvedEvent):
                        self._settled()
        self._tick()

    # Deciding

    def action_decide(self, kind: Kind) -> None:
        """Mean a decision about the row under the cursor; a burst of keys undoes it."""
        view = self.view
        if view is None or view.typing:
            return
        target = view.target
        obstacle = self._obstacle(target)
        if obstacle is not None or target is None:
            self._warn(obstacle or "Nothing waits.")
        elif self.arming.take(view.subject):
            self._intent = (target, kind, self.clock.steady())
            self.set_timer(BURST, self._commit)

    def _obstacle(self, target: str | None) -> str | None:
        if self.board.gone is not None:
            return "The proxy is out of reach: nothing can be decided."
        if self.read_only:
            return BAD_KEY if self.gate.has_key else NO_KEY
        if target is not None and self.board.waiting_entry(target) is None:
            return "This row does not wait for an answer."
        return None

    def _typed(self, event: events.Key | events.Paste) -> None:
        """Note every key when it comes, before anything that it does."""
        self._typed_at.append(self.clock.steady())
        if isinstance(event, events.Paste) or event.key not in self._deciding:
            self.arming.disturb()

    def _commit(self) -> None:
        intent, self._intent = self._intent, None
        if intent is None:
            return
        row_id, kind, meant_at = intent
        if sum(at > meant_at - BURST for at in self._typed_at) > 1:
            self._warn("Keys came in a burst, as pasted text does: nothing was decided.")
            return
        entry = self.board.waiting_entry(row_id)
        if entry is None:
            self._warn("Too late: the call already left the queue. The live view tells how.")
        elif kind == "reason":
            self.push_screen(ReasonScreen(entry), lambda reason: self._with_reason(row_id, reason))
        else:
            self._send(row_id, kind, None)

    def _with_reason(self, row_id: str, reason: str | None) -> None:
        if reason is not None:
            self._send(row_id, "deny", reason)

    def _send(self, row_id: str, answer: Answer, reason: str | None) -> None:
        entry = self.board.waiting_entry(row_id)
        if entry is None or entry.pending is None:
            self._warn("Too late: the call already left the queue. The live view tells how.")
        elif entry.pending.id not in self._asked:
            self._asked.add(entry.pending.id)
            self.run_worker(self._ask(entry, entry.pending.id, answer, reason), group="decide")

    async def _ask(self, entry: Entry, asked: str, answer: Answer, reason: str | None) -> None:
        try:
            await self.gate.decide(asked, answer, reason)
        except Refused as refusal:
            self.post_message(DecisionFailed(asked, str(refusal)))
        else:
            self.post_message(DecisionTaken(asked, entry.id, answer))

    def on_decision_taken(self, message: DecisionTaken) -> None:
        """Say so, and leave when that was all we came for."""
        self._asked.discard(message.entry)
        word = "✓ approved once" if message.answer == "allow" else "✗ denied"
        entry = self.board.waiting.get(message.entry) or self.board.entries.get(message.row)
        self._say(f"{word}: {isolated(middle(what(entry.row), 60))}" if entry is not None else word)
        if self.view is not None:
            self.view.answered(message.row)
        self._settled()

    def _settled(self) -> None:
        """Leave when that was all we came for, whoever answered, and if only the clock."""
        if self.options.until_decided:
            self.set_timer(self.options.linger, self.exit)

    def on_decision_failed(self, message: DecisionFailed) -> None:
        """Say why."""
        self._asked.discard(message.entry)
        self._warn(message.why)

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
        self.push_screen(HelpScreen(self.options.keys))

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
        armed = self.armed
        look = Look(self.board, self.clock, armed, self.read_only, self.options.keys)
        drawn = (view, self.board.version, self.board.feed.version, int(self.clock.wall()))
        if drawn != self._drawn[:4]:
            view.draw(look)
        elif armed != self._drawn[4]:
            view.draw_keys(look)
        self._drawn = (*drawn, armed)

    def _say(self, text: str) -> None:
        self.notify(text, markup=False, timeout=3)

    def _warn(self, text: str) -> None:
        self.notify(text, severity="warning", markup=False, timeout=6)

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


def _decision_keys(registry: tuple[Key, ...]) -> frozenset[str]:
    ids = {key.id for key in keys.DECISIONS}
    return frozenset(one for key in registry if key.id in ids for one in key.pressed.split(","))


def connect(
    socket: Path, key: str | None, *, operator: str | None = None, options: Options | None = None
) -> Console:
    """Return a console for the proxy behind *socket*."""
    return Console(Client(socket, key, operator=operator), options=options)
