"""How a key becomes an answer: armed, meant, looked at again, sent, and told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

from textual import events
from textual.app import App, ScreenStackError
from textual.notifications import Notify
from textual.screen import ModalScreen

from mitmgate.control.models import DecideRequest
from mitmgate_tui import keys
from mitmgate_tui.answers import calls, outcome_of, scoped_request
from mitmgate_tui.arming import BURST, Arming
from mitmgate_tui.board import Board
from mitmgate_tui.chosen import Chosen, Scoped, Seen, alike, is_severe, key_of, seen
from mitmgate_tui.client import TOO_LATE, Gate, Refused
from mitmgate_tui.clock import Clock
from mitmgate_tui.entry import Entry
from mitmgate_tui.keys import Key
from mitmgate_tui.messages import Answer, DecisionFailed, DecisionTaken
from mitmgate_tui.screens.box import Box
from mitmgate_tui.screens.length import LengthScreen
from mitmgate_tui.screens.marked import MarkedScreen
from mitmgate_tui.screens.reason import ReasonScreen
from mitmgate_tui.screens.scope import ScopeScreen
from mitmgate_tui.screens.typed import TypedScreen
from mitmgate_tui.screens.view import LISTS, WIDE, View
from mitmgate_tui.signs import what
from mitmgate_tui.text import isolated, middle

NO_KEY = "Read-only: no operator key, see `mitmgate-tui --help`"
BAD_KEY = "Read-only: the proxy does not know this operator key."
MOVED = "That is another call by now: nothing was decided."

type Kind = Literal["once", "session", "time", "ever", "deny", "remember", "reason"]
_REMEMBERS = frozenset({"session", "time", "ever", "remember"})


@dataclass(frozen=True, slots=True)
class _Intent:
    act: Callable[[], None]
    at: float


class Deciding(App[None], inherit_bindings=False):
    """The part of the console that answers what waits."""

    def __init__(self, gate: Gate, clock: Clock, registry: tuple[Key, ...]) -> None:
        super().__init__()
        self.gate = gate
        self.clock = clock
        self.board = Board()
        self.chosen = Chosen()
        self.arming = Arming(clock.steady)
        self._deciding = _decision_keys(registry)
        self._intent: _Intent | None = None
        self._typed_at: deque[float] = deque(maxlen=8)
        self._asked: set[str] = set()
        self._pressed = ""

    @property
    def view(self) -> View | None:
        """The screen on top, unless it is a box."""
        screen = self._top
        return screen if isinstance(screen, View) else None

    @property
    def box(self) -> Box[object] | None:
        """The box on top, if its answers count like decisions."""
        screen = self._top
        return screen if isinstance(screen, Box) else None

    @property
    def _top(self) -> object:
        try:
            return self.screen
        except ScreenStackError:  # a timer may still fire while the app ends
            return None

    @property
    def read_only(self) -> bool:
        """Whether the proxy would take no answer from us."""
        return not (self.gate.has_key and self.board.operator)

    @property
    def subject(self) -> Hashable:
        """What a key would be about: the row, its fingerprint and count, and the scope."""
        if self.box is not None:
            return self.box.subject
        view = self.view
        if view is None:
            return None
        entry = None if view.target is None else self.board.waiting_entry(view.target)
        if entry is None or entry.pending is None:
            return view.subject
        pending = entry.pending
        count = alike(self.board.waiting.values(), pending)
        return (view.subject, pending.fingerprint, count, self.chosen.scope(pending))

    @property
    def armed(self) -> bool:
        """Whether a decision key would count now."""
        view = self.view
        if (view is None or view.typing) and self.box is None:
            return False
        self.arming.see(self.subject)
        return self.arming.armed

    @property
    def waits_for_more(self) -> bool:
        """Whether a key was pressed that counts unless more keys come at once."""
        return self._intent is not None

    def mean(self, subject: Hashable, act: Callable[[], None]) -> bool:
        """Do *act* unless more keys follow at once; False where the keys are not armed yet."""
        if not self.arming.take(subject):
            return False
        self._intent = _Intent(act, self.clock.steady())
        self.set_timer(BURST, self._commit)
        return True

    def _commit(self) -> None:
        intent, self._intent = self._intent, None
        if intent is None:
            return
        if sum(at > intent.at - BURST for at in self._typed_at) > 1:
            self.warn("Keys came in a burst, as pasted text does: nothing was decided.")
            return
        intent.act()

    def _typed(self, event: events.Key | events.Paste) -> None:
        """Note every key when it comes, before anything that it does."""
        self._typed_at.append(self.clock.steady())
        if isinstance(event, events.Paste):
            self.arming.disturb()
            return
        self._pressed = event.key
        counts = self._deciding if self.box is None else self.box.answers
        if event.key not in counts:
            self.arming.disturb()

    # The keys

    def action_decide(self, kind: Kind) -> None:
        """Mean a decision about the row under the cursor; a burst of keys undoes it."""
        view = self.view
        if view is None or view.typing:
            return
        obstacle = self._obstacle(view.target)
        entry = None if view.target is None else self.board.waiting_entry(view.target)
        if obstacle is not None or entry is None or entry.pending is None:
            self.warn(obstacle or "Nothing waits.")
            return
        scoped = self.chosen.scope(entry.pending)
        if kind in _REMEMBERS and (scoped is None or scoped.open):
            self.warn(
                "This call can be answered for once only."
                if scoped is None
                else "Choose with e which arguments must stay the same."
            )
            return
        about = seen(entry, scoped, self._key(kind))
        self.mean(self.subject, lambda: self._decide(kind, about))

    def action_scope(self) -> None:
        """Choose what the answers for more than once cover."""
        entry = self._target()
        if entry is None or entry.pending is None:
            return
        pending, scoped = entry.pending, self.chosen.scope(entry.pending)
        if scoped is None:
            self.warn("This call can be answered for once only.")
            return

        def chosen(scope: Scoped | None) -> None:
            if scope is not None:
                self.chosen.choose(pending, scope)
                self.redraw()

        self.push_screen(ScopeScreen(pending, scoped), chosen)

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take the mark off."""
        entry = self._target()
        if entry is not None and entry.pending is not None:
            self.chosen.toggle(entry.pending)
            self.redraw()

    def _key(self, kind: str) -> str:
        return self._pressed[:20] or kind

    def _target(self) -> Entry | None:
        view = self.view
        if view is None or view.typing or view.target is None:
            return None
        return self.board.waiting_entry(view.target)

    def _obstacle(self, target: str | None) -> str | None:
        if self.board.gone is not None:
            return "The proxy is out of reach: nothing can be decided."
        if self.read_only:
            return BAD_KEY if self.gate.has_key else NO_KEY
        if target is not None and self.board.waiting_entry(target) is None:
            return "This row does not wait for an answer."
        return None

    # From the key to the answer

    def _decide(self, kind: Kind, about: Seen) -> None:
        entry = self._still(about)
        if entry is None:
            return
        key = about.key
        match kind:
            case "once":
                self._send(about, DecideRequest(decision="allow", key=key))
            case "deny":
                self._send(about, DecideRequest(decision="deny", key=key))
            case "session":
                self._send(about, scoped_request(about, "allow", lasting="session"))
            case "remember":
                self._send(about, scoped_request(about, "deny", lasting="time"))
            case "reason":
                self.push_screen(
                    ReasonScreen(entry, about), lambda text: self._with_reason(about, text)
                )
            case "time":
                box = LengthScreen(entry, about)
                self.push_screen(box, lambda seconds: self._for(about, seconds))
            case "ever":
                self.preview(about)

    def preview(self, about: Seen) -> None:
        """Show what rule would be written."""

    def _with_reason(self, about: Seen, reason: str | None) -> None:
        if reason is not None:
            self._send(about, DecideRequest(decision="deny", reason=reason, key=about.key))

    def _for(self, about: Seen, seconds: int | None) -> None:
        if seconds is not None:
            self._send(about, scoped_request(about, "allow", lasting="time", seconds=seconds))

    def _still(self, about: Seen) -> Entry | None:
        entry = self.board.waiting_entry(about.row)
        if entry is None:
            self.warn(TOO_LATE)
        elif not about.still(entry):
            self.warn(MOVED)
            return None
        return entry

    def _send(self, about: Seen, asked: DecideRequest) -> None:
        entry = self._still(about)
        if entry is None:
            return
        if asked.decision == "allow" and is_severe(entry.row):
            box = TypedScreen(entry, about, self.clock.steady)
            self.push_screen(box, lambda typed: self._post(about, asked) if typed else None)
        else:
            self._post(about, asked)

    def _post(self, about: Seen, asked: DecideRequest) -> None:
        if self._still(about) is not None and about.entry not in self._asked:
            self._asked.add(about.entry)
            self.run_worker(self._ask_one(about, asked), group="decide")

    async def _ask_one(self, about: Seen, asked: DecideRequest) -> None:
        why = await self._ask(about, asked)
        if why is not None:
            self.post_message(DecisionFailed(about.entry, why))

    async def _ask(self, about: Seen, asked: DecideRequest) -> str | None:
        """Send an answer; return why it was not taken."""
        asked = asked.model_copy(update={"fingerprint": about.fingerprint or None})
        try:
            decided = await self.gate.decide(about.entry, asked)
        except Refused as refusal:
            self._asked.discard(about.entry)
            return str(refusal)
        self.post_message(DecisionTaken(about.entry, about.row, asked, decided))
        return None

    def on_decision_taken(self, message: DecisionTaken) -> None:
        """Say so, and leave when that was all we came for."""
        self._asked.discard(message.entry)
        entry = self.board.waiting.get(message.entry) or self.board.entries.get(message.row)
        word = outcome_of(message.asked, message.decided)
        self.say(f"{word}: {isolated(middle(what(entry.row), 60))}" if entry is not None else word)
        for screen in self.screen_stack:
            if isinstance(screen, View):
                screen.answered(message.row, message.decided.released)
        self.settled()

    def on_decision_failed(self, message: DecisionFailed) -> None:
        """Say why."""
        self._asked.discard(message.entry)
        self.warn(message.why)

    # Marked calls

    def action_decide_marked(self, answer: Answer) -> None:
        """Mean a decision about all marked rows; they are listed first."""
        view = self.view
        if view is None or view.typing:
            return
        obstacle = self._obstacle(None)
        entries = self._marked()
        if obstacle is not None or not entries:
            self.warn(obstacle or "Nothing is marked: space marks the selected call.")
            return
        key = self._key(answer)
        self.mean(self.subject, lambda: self._list_marked(answer, key))

    def _marked(self) -> list[Entry]:
        """Return one entry for each marked row, that which the others equal."""
        rows: dict[str, Entry] = {}
        for entry in self.board.waiting.values():
            if entry.pending is not None and self.chosen.is_marked(entry.pending):
                rows.setdefault(key_of(entry.pending), entry)
        return list(rows.values())

    def _list_marked(self, answer: Answer, key: str) -> None:
        box = MarkedScreen(self._marked(), answer, key)
        self.push_screen(box, lambda those: self._answer_all(answer, those))

    def _answer_all(self, answer: Answer, those: tuple[Seen, ...] | None) -> None:
        if those:
            self.run_worker(self._ask_all(answer, those), group="decide")

    async def _ask_all(self, answer: Answer, those: tuple[Seen, ...]) -> None:
        """Answer one after the other; pass over what left, stop where the proxy refuses."""
        gone = 0
        for done, about in enumerate(those):
            entry = self.board.waiting_entry(about.row)
            if entry is None or not about.still(entry):
                gone += 1
                continue
            self._asked.add(about.entry)
            asked = DecideRequest(decision=answer, key=about.key)
            why = await self._ask(about, asked)
            if why is not None:
                name, left = isolated(middle(what(entry.row), 40)), len(those) - done - 1
                self.warn(f"Stopped at {name}, {left} left: {why}")
                return
        if gone:
            self.warn(f"{calls(gone)} of {len(those)} had left, or became another: not answered.")

    # What the rest of the console adds

    def settled(self) -> None:
        """Note that something was answered."""

    def redraw(self) -> None:
        """Draw everything again."""

    def say(self, text: str) -> None:
        """Tell something good."""
        self._tell(text, "information", 3)

    def warn(self, text: str) -> None:
        """Tell something that did not work."""
        self._tell(text, "warning", 6)

    def _on_notify(self, _: Notify) -> None:
        # Textual's own handler comes after this one and adds the new notice.
        self._notifications.clear()

    def _tell(self, text: str, severity: Literal["information", "warning"], seconds: int) -> None:
        """Show a notice on one line below the lists, instead of the one before."""
        self.clear_notifications()
        room = self.size.width * (LISTS if self.size.width >= WIDE else 100) // 100
        line = middle(text, max(20, room - 6))
        self.notify(line, severity=severity, markup=False, timeout=seconds)

    def push_screen(self, screen: Any, *args: Any, **named: Any) -> Any:
        """Show *screen*; a notice must not cover a box."""
        if isinstance(screen, ModalScreen):
            self.clear_notifications()
        return super().push_screen(screen, *args, **named)


def _decision_keys(registry: tuple[Key, ...]) -> frozenset[str]:
    ids = {key.id for key in keys.DECISIONS}
    return frozenset(one for key in registry if key.id in ids for one in key.pressed.split(","))
