"""What the console asks of the proxy beside answers: previews, undo, the switch, details."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from mitmgate.control.captures import CaptureMade, CaptureRequest
from mitmgate.control.decisions import Model, Preview, PreviewRequest
from mitmgate.control.detail import Detail
from mitmgate.control.models import GrantList, Undone, UndoRequest
from mitmgate.control.switch import Switch, SwitchRequest
from mitmgate_tui import keys
from mitmgate_tui.answers import scoped_request
from mitmgate_tui.chosen import Seen
from mitmgate_tui.client import Gate, Refused, segment
from mitmgate_tui.clock import Clock
from mitmgate_tui.deciding import Deciding
from mitmgate_tui.keys import Key
from mitmgate_tui.messages import DetailWanted
from mitmgate_tui.screens.kill import KillScreen
from mitmgate_tui.screens.preview import PreviewScreen
from mitmgate_tui.screens.undo import UndoScreen
from mitmgate_tui.text import clean, isolated, middle

MAX_COPIED = 70_000
"""Characters: terminals drop longer sequences of OSC 52."""
STRANGE = "The proxy's answer is not understood: is it a newer version?"
_ALWAYS: Final = frozenset({keys.UNDO, keys.SERVERS})


@dataclass(frozen=True, slots=True)
class Offer:
    """The paths that the proxy offers, as far as it was asked, without version and names."""

    paths: frozenset[str] = _ALWAYS

    def __contains__(self, key: Key) -> bool:
        return not key.needs or key.needs in self.paths


def offer_of(document: bytes) -> Offer:
    """Read the proxy's OpenAPI document; total."""
    try:
        paths = json.loads(document)["paths"]
        return Offer(frozenset(_plain(str(path)) for path in paths))
    except (ValueError, KeyError, TypeError):
        return Offer()


def _plain(path: str) -> str:
    parts = path.removeprefix("/v1").split("/")
    return "/".join("{}" if part.startswith("{") else part for part in parts)


class Asking(Deciding):
    """The part of the console that asks the proxy for more than the stream tells."""

    def __init__(self, gate: Gate, clock: Clock, registry: tuple[Key, ...]) -> None:
        super().__init__(gate, clock, registry)
        self.registry = registry
        self.offer = Offer()
        self._fetched: Hashable = None

    @property
    def offered_keys(self) -> tuple[Key, ...]:
        """The keys that do something with this proxy."""
        return tuple(key for key in self.registry if key in self.offer)

    def learn(self) -> None:
        """Ask what the proxy offers; it may be another one after a reconnect."""
        self.run_worker(self._learn(), group="learn", exclusive=True)

    async def _learn(self) -> None:
        try:
            self.offer = offer_of(await self.gate.get("openapi.json"))
        except Refused:
            self.offer = Offer()
        self.redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Take a key whose endpoint the proxy does not offer for no key at all."""
        spelled = f"{action}({', '.join(map(repr, parameters))})" if parameters else action
        return all(key in self.offer for key in self.registry if key.action == spelled)

    # For ever

    def preview(self, about: Seen) -> None:
        """Ask which rule would be written, and show it."""
        self.run_worker(self._preview(about), group="preview", exclusive=True)

    async def _preview(self, about: Seen) -> None:
        scoped = about.scoped
        if scoped is None:
            return
        asked = PreviewRequest(
            decision="allow", on=scoped.choice.on, names=scoped.names, prefix=scoped.prefix
        )
        path = f"pending/{segment(about.entry)}/preview"
        preview = await self._told(path, asked, Preview)
        if preview is None or self.view is None:
            return
        entry = self._still(about)
        if entry is not None:
            request = scoped_request(about, "allow", lasting="ever")
            request = request.model_copy(update={"preview": preview.hash})
            box = PreviewScreen(entry, about, preview)
            self.push_screen(box, lambda yes: self._send(about, request) if yes else None)

    # Taking back

    def action_undo(self) -> None:
        """List what was said for more than once."""
        obstacle = self._obstacle(None)
        if obstacle is not None:
            self.warn(obstacle)
        elif self.view is not None and not self.view.typing:
            self.run_worker(self._undo(), group="undo", exclusive=True)

    async def _undo(self) -> None:
        listed = await self._told("grants", None, GrantList)
        if listed is None or self.view is None:
            return
        if not listed.grants:
            self.warn("There is nothing to take back. A call that passed has run.")
            return
        self.push_screen(UndoScreen(listed.grants, self.gate.operator), self._take_back)

    def _take_back(self, grant: str | None) -> None:
        if grant is not None:
            self.run_worker(self._taken_back(grant), group="undo")

    async def _taken_back(self, grant: str) -> None:
        undone = await self._told("undo", UndoRequest(grant=grant), Undone)
        if undone is not None:
            covers = isolated(middle(clean(undone.grant.covers), 60))
            self.say(f"↶ taken back: {covers}")

    # The kill switch

    def action_kill(self) -> None:
        """Ask; the key alone turns nothing."""
        obstacle = self._obstacle(None)
        if obstacle is not None:
            self.warn(obstacle)
        elif self.view is not None and not self.view.typing:
            halt = None if self.board.state is None else self.board.state.halt
            self.push_screen(KillScreen(halt, self.clock), self._turn)

    def _turn(self, on: bool | None) -> None:
        if on is not None:
            self.run_worker(self._turned(on), group="kill")

    async def _turned(self, on: bool) -> None:
        switch = await self._told("switch", SwitchRequest(on=on), Switch)
        if switch is not None:
            word = "✗ everything is denied" if switch.on else "calls are judged again"
            self.say(word)

    # Details

    async def on_detail_wanted(self, message: DetailWanted) -> None:
        """Ask for all of a row that somebody opened, again once more is known of it."""
        wanted = (message.row, message.known)
        if keys.ROW in self.offer.paths and not self.read_only and self._fetched != wanted:
            self._fetched = wanted
            self.run_worker(self._detailed(message.row), group="detail", exclusive=True)

    async def _detailed(self, row: str) -> None:
        try:
            detail = Detail.model_validate_json(await self.gate.get(f"rows/{segment(row)}"))
            self.chosen.learn(row, detail)
        except Refused as refusal:
            self.chosen.learn(row, str(refusal))
        except ValidationError:
            self.chosen.learn(row, STRANGE)
        self.redraw()

    def action_copy(self, kind: str) -> None:
        """Copy the selected row."""
        view = self.view
        entry = None if view is None or view.target is None else self.board.find(view.target)
        if entry is None:
            self.warn("No row is selected.")
        else:
            self.run_worker(self._copy(entry.id, kind), group="copy", exclusive=True)

    def action_capture(self) -> None:
        """Make a capture of the selected row, with its golden file."""
        view = self.view
        entry = None if view is None or view.target is None else self.board.find(view.target)
        if entry is None:
            self.warn("No row is selected.")
        else:
            self.run_worker(self._capture(entry.id), group="capture", exclusive=True)

    async def _capture(self, row: str) -> None:
        try:
            answer = await self.gate.post("captures", CaptureRequest(id=row))
            made = CaptureMade.model_validate_json(answer)
        except Refused as problem:
            self.warn(str(problem))
        except ValidationError:
            self.warn(STRANGE)
        else:
            self.say(f"captured: {made.path}")

    async def _copy(self, row: str, kind: str) -> None:
        if keys.ROW in self.offer.paths and not self.read_only:
            await self._detailed(row)
        detail = self.chosen.details.get(row)
        text = _copied(detail, kind)
        if text is None and kind == "json" and not isinstance(detail, Detail):
            text = self._known(row)
        if text is None:
            why = detail if isinstance(detail, str) else "This cannot be said as one command."
            self.warn(f"Nothing was copied. {why}")
        elif len(text) > MAX_COPIED:
            self.warn(f"Nothing was copied: {len(text)} characters are too long for a terminal.")
        else:
            self.copy_to_clipboard(text)
            self.say("copied, where the terminal allows it")

    def _known(self, row: str) -> str | None:
        entry = self.board.find(row)
        if entry is None:
            return None
        arguments = None if entry.pending is None else entry.pending.arguments
        facts = {"row": entry.row.model_dump(), "arguments": arguments}
        return json.dumps(facts, ensure_ascii=False, indent=2)

    async def _told[M: Model](self, path: str, body: Model | None, model: type[M]) -> M | None:
        try:
            answer = await (self.gate.get(path) if body is None else self.gate.post(path, body))
            return model.model_validate_json(answer)
        except Refused as refusal:
            self.warn(str(refusal))
        except ValidationError:
            self.warn(STRANGE)
        return None


def _copied(detail: Detail | str | None, kind: str) -> str | None:
    if not isinstance(detail, Detail):
        return None
    return detail.curl if kind == "curl" else detail.model_dump_json(indent=2)
