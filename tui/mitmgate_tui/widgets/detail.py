"""All of one row: who, what, why, what was found, and what the call would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from mitmgate.control.detail import Detail as Known
from mitmgate.control.models import Pending
from mitmgate_tui import keys
from mitmgate_tui.chosen import alike
from mitmgate_tui.clock import Clock, minutes
from mitmgate_tui.entry import Entry
from mitmgate_tui.messages import DetailWanted
from mitmgate_tui.screens.view import Look
from mitmgate_tui.signs import sign_of, what
from mitmgate_tui.text import clean, clipped, isolated, middle
from mitmgate_tui.widgets.difference import change_lines
from mitmgate_tui.widgets.tree import MAX_DEPTH, marks_of, tree_lines
from mitmgate_tui.widgets.waiting import time_left

MAX_SHOWN = 200
MAX_EVENTS = 20
MAX_TRACE = 100
DEPTH = 6


class Detail(VerticalScroll, can_focus=True):
    """Shows an entry; scrolls and folds, decides nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("detail"), *keys.bindings("tree")]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._entry: Entry | None = None
        self._look: Look | None = None
        self._depth = DEPTH
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        """Hold one block of text, which is never read as markup."""
        yield Static(markup=False)

    def show(self, entry: Entry | None, look: Look) -> None:
        """Draw *entry*, or what to do to see one."""
        if entry is not self._entry:
            self._depth = DEPTH
        self._entry, self._look = entry, look
        self.border_title = "Detail"
        if entry is None:
            self._draw(Content.styled("Select a row to see all of it.", "dim"), (None,))
            return
        if self.has_focus:
            self._want(entry)
        pending = entry.pending
        known = look.chosen.details.get(entry.id)
        scoped = None if pending is None else look.chosen.scope(pending)
        second = int(look.clock.steady()) if entry.pending is not None else 0
        drawn = (entry, look.board.version, second, self._depth, id(known), scoped, look.keys)
        if drawn != self._drawn:
            self._draw(Content("\n").join(_lines(entry, look, self._depth)), drawn)

    def _draw(self, text: Content, drawn: tuple[object, ...]) -> None:
        self._drawn = drawn
        self.query_one(Static).update(text)

    def on_focus(self) -> None:
        """Ask for all of it."""
        if self._entry is not None:
            self._want(self._entry)

    def _want(self, entry: Entry) -> None:
        known = (entry.done is not None, entry.answer is not None)
        self.post_message(DetailWanted(entry.id, known))

    def action_fold(self, step: int) -> None:
        """Show more levels of what was sent, or fewer."""
        self._depth = max(1, min(self._depth + step, MAX_DEPTH))
        if self._look is not None:
            self.show(self._entry, self._look)


def _lines(entry: Entry, look: Look, depth: int) -> Iterator[Content]:
    yield Content.styled(isolated(middle(what(entry.row), MAX_SHOWN)), "bold")
    yield Content()
    yield from _facts(entry)
    yield Content()
    yield from _verdict(entry, look.clock)
    yield from _findings(entry)
    pending = entry.pending
    if pending is not None:
        yield Content()
        if pending.changed is not None:
            yield from change_lines(pending.changed)
            yield Content()
        yield from _arguments(entry, depth)
        if look.board.waiting_entry(entry.id) is not None and not look.read_only:
            yield Content()
            yield from _keys(entry, look)
    known = look.chosen.details.get(entry.id)
    if known is not None:
        yield Content()
        yield from _more(known, depth, pending)


def _keys(entry: Entry, look: Look) -> Iterator[Content]:
    """Say what each key would come to."""
    pending = entry.pending
    scoped = None if pending is None else look.chosen.scope(pending)
    if pending is None:
        return
    count = alike(look.board.waiting.values(), pending)
    shown = {key.id: key.shown for key in look.keys}
    one = "one of them, the others go on waiting" if count > 1 else "this call only"
    if pending.detached:
        one = "the next try passes, once"
    yield from _key(shown, "approve", f"approve: {one}")
    if scoped is not None:
        covers = _safe(scoped.words(entry.row))
        yield Content.assemble(_label("scope"), ("◂ ", "dim"), covers, (" ▸", "dim"))
        yield from _key(shown, "session", "approve the scope, this session")
        yield from _key(shown, "time", "approve the scope, for 5m, 15m or 1h")
        yield from _key(shown, "ever", "write a rule for the scope; shown before")
        yield from _key(shown, "deny-remember", "deny the scope, for a time")
    yield from _key(shown, "deny", "deny all of this row" if count > 1 else "deny: this call only")


def _key(shown: Mapping[str, str], name: str, text: str) -> Iterator[Content]:
    if name in shown:
        yield Content.assemble((f"{shown[name]:<10}", "bold"), text)


def _more(known: Known | str, depth: int, pending: Pending | None) -> Iterator[Content]:
    if isinstance(known, str):
        yield Content.styled(_safe(known), "dim")
        return
    marks = marks_of(known.row.findings, None)
    parts = [("request", known.request if pending is None else None), ("answer", known.answer)]
    parts += [(f"event {at}", event) for at, event in enumerate(known.events[:MAX_EVENTS], 1)]
    for name, value in parts:
        if value is not None:
            yield Content.styled(name, "dim")
            more = max(0, depth - DEPTH)
            yield from tree_lines(value, marks, depth=depth, more=more)
            yield Content()
    if len(known.events) > MAX_EVENTS:
        yield Content.styled(f"⚠ {len(known.events) - MAX_EVENTS} more events", "$sign-hold")
    if known.trace:
        yield Content.styled("trace", "dim")
        yield from (Content(f" {_safe(line)}") for line in known.trace[:MAX_TRACE])


def _facts(entry: Entry) -> Iterator[Content]:
    row = entry.row
    yield _fact("agent", row.agent)
    yield _fact("server", row.server or "-")
    yield _fact("endpoint", row.endpoint or row.host)
    yield _fact("method", row.method)
    if row.tool is not None:
        yield _fact("tool", row.tool)


def _verdict(entry: Entry, clock: Clock) -> Iterator[Content]:
    row, sign = entry.row, sign_of(entry)
    more = _became(entry, clock)
    yield Content.assemble(_label("verdict"), (str(sign), f"bold $sign-{sign.style}"), more)
    yield _fact("rule", row.rule)
    yield _fact("why", row.reason)
    if row.severity is not None:
        yield _fact("severity", row.severity)
    if row.shadow is not None:
        yield _fact("shadow", f"◌ {row.shadow}")
    if row.edits:
        yield _fact("edits", f"✎ {row.edits} redacted")
    if entry.answer is not None:
        yield _fact("answer", _answer(entry))
    if entry.done is not None:
        done = entry.done
        status = "" if done.status is None else f"{done.status}, "
        sizes = f"{done.request_bytes} B out, {done.response_bytes} B back"
        yield _fact("ended", f"{done.fate}, {status}{done.latency * 1000:.0f} ms, {sizes}")


def _became(entry: Entry, clock: Clock) -> str:
    left = minutes(time_left(entry, clock)[0])
    detached = entry.pending is not None and entry.pending.detached
    if entry.waits and not detached:
        return f", denied in {left}"
    if entry.ticket:
        return ": the next try passes, once"
    if entry.lost:
        return ": the connection broke while it waited; the audit log tells"
    if detached:
        return f", nobody waits: for {left} an approval lets the next try pass"
    return "" if entry.get("enforced") else f": would {clean(entry.row.verdict)}"


def _answer(entry: Entry) -> str:
    answer = entry.answer
    if answer is None:
        return ""
    who = f" ({answer.operator})" if answer.operator else ""
    reason = f": {answer.reason}" if answer.reason else ""
    return f"{answer.answer} by {answer.via}{who} after {answer.waited:.1f} s{reason}"


def _findings(entry: Entry) -> Iterator[Content]:
    for finding in entry.row.findings:
        text = (
            f"⚠ {finding.severity} {finding.rule} in {finding.surface} at {finding.pointer or '/'}"
        )
        yield Content.styled(_safe(text), "$sign-hold")


def _arguments(entry: Entry, depth: int) -> Iterator[Content]:
    pending = entry.pending
    if pending is None or pending.arguments is None:
        yield Content.styled("arguments are shown only with the operator key", "dim")
        return
    yield Content.styled("arguments", "dim")
    marks = marks_of(entry.row.findings, pending.changed)
    value, folded = pending.arguments, frozenset[str]()
    if isinstance(value, dict):
        # What tells calls apart comes first: the name stands above, _meta is the client's.
        first = [name for name in value if name == "arguments"]
        own = [name for name in value if name != "name" or value[name] != entry.row.tool]
        value = {name: value[name] for name in dict.fromkeys([*first, *own])}
        folded = frozenset({"/_meta"}) if depth <= DEPTH else folded
    yield from tree_lines(value, marks, depth=depth, more=max(0, depth - DEPTH), folded=folded)


def _label(name: str) -> tuple[str, str]:
    return f"{name:<10}", "dim"


def _fact(name: str, value: str) -> Content:
    # A name of 10,000 characters must not push what matters out of sight: it says how long it is.
    long = f" ({len(value)} characters)" if len(value) > MAX_SHOWN else ""
    return Content.assemble(_label(name), _safe(value) + long)


def _safe(text: str) -> str:
    return isolated(middle(clean(clipped(text, MAX_SHOWN)), MAX_SHOWN))
