"""All of one row: who, what, why, what was found, and what the call would do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from mitmgate_tui import keys
from mitmgate_tui.clock import Clock, minutes
from mitmgate_tui.entry import Entry
from mitmgate_tui.signs import sign_of, what
from mitmgate_tui.text import clean, clipped, isolated, middle
from mitmgate_tui.widgets.waiting import time_left

MAX_LINES = 500
MAX_LINE = 2_000
MAX_SHOWN = 200


class Detail(VerticalScroll, can_focus=True):
    """Shows an entry; scrolls, decides nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.bindings("detail")]

    def compose(self) -> ComposeResult:
        """Hold one block of text, which is never read as markup."""
        yield Static(markup=False)

    def show(self, entry: Entry | None, clock: Clock) -> None:
        """Draw *entry*, or what to do to see one."""
        self.border_title = "Detail"
        text = Content.styled("Select a row to see all of it.", "dim")
        if entry is not None:
            text = Content("\n").join(_lines(entry, clock))
        self.query_one(Static).update(text)


def _lines(entry: Entry, clock: Clock) -> Iterator[Content]:
    yield Content.styled(isolated(middle(what(entry.row), MAX_SHOWN)), "bold")
    yield Content()
    yield from _facts(entry)
    yield Content()
    yield from _verdict(entry, clock)
    yield from _findings(entry)
    if entry.pending is not None:
        yield Content()
        yield from _arguments(entry.pending.arguments)


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
    more = ""
    if entry.waits:
        more = f", denied in {minutes(time_left(entry, clock.wall())[0])}"
    elif not row.enforced:
        more = f": would {clean(row.verdict)}"
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


def _arguments(arguments: Any) -> Iterator[Content]:
    if arguments is None:
        yield Content.styled("arguments are shown only with the operator key", "dim")
        return
    yield Content.styled("arguments", "dim")
    lines = pretty(arguments)
    for line in lines[:MAX_LINES]:
        yield Content(isolated(middle(clean(line), MAX_LINE)))
    if len(lines) > MAX_LINES:
        missing = len(lines) - MAX_LINES
        yield Content.styled(f"⚠ {missing} more lines are not shown", "$sign-hold")


def pretty(arguments: Any) -> list[str]:
    """Spell decoded params as indented JSON lines, and a body's text as its lines."""
    if isinstance(arguments, str):
        return arguments.split("\n")
    return json.dumps(arguments, indent=2, ensure_ascii=False).split("\n")


def brief(entry: Entry) -> str:
    """Spell what a call would do on one line, for narrow screens."""
    marks = f"⚠ {len(entry.row.findings)} found  " if entry.row.findings else ""
    arguments = entry.pending.arguments if entry.pending is not None else None
    if arguments is None:
        return marks + clean(entry.row.reason)
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return marks + clean(text[:MAX_LINE])


def _label(name: str) -> tuple[str, str]:
    return f"{name:<10}", "dim"


def _fact(name: str, value: str) -> Content:
    # A name of 10,000 characters must not push what matters out of sight: it says how long it is.
    long = f" ({len(value)} characters)" if len(value) > MAX_SHOWN else ""
    return Content.assemble(_label(name), _safe(value) + long)


def _safe(text: str) -> str:
    return isolated(middle(clean(clipped(text, MAX_SHOWN)), MAX_SHOWN))
