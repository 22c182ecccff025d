"""What a call would do in two lines, for narrow screens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich.cells import cell_len

from mitmgate.control.models import Change, Pending
from mitmgate_tui.chosen import Chosen
from mitmgate_tui.entry import Entry
from mitmgate_tui.screens.words import SCOPES
from mitmgate_tui.signs import what
from mitmgate_tui.text import clean, clipped, middle

MAX_LINE = 2_000
_MAX_NAME = 30
_VALUE = 24
_MEMBERS = 60
_META = "_meta"


def brief(entry: Entry, chosen: Chosen, width: int) -> tuple[str, str]:
    """Return two lines of *width* cells: which call, with scope and findings; what it carries."""
    row, pending = entry.row, entry.pending
    scoped = None if pending is None else chosen.widened(pending)
    marks = [] if scoped is None else [f"scope: {SCOPES[scoped.choice.on]}"]
    marks += [f"⚠ {f.rule} at {clean(clipped(f.pointer or '/'))}" for f in row.findings[:4]]
    more = "  ".join(marks)
    name = middle(what(row), width if not more else max(_MAX_NAME, width - cell_len(more) - 2))
    first = middle(f"{name}  {more}" if more else name, width)
    if pending is None or pending.arguments is None:
        return first, middle(clean(clipped(row.reason, MAX_LINE)), width)
    return first, arguments_line(pending, width)


def arguments_line(pending: Pending, width: int) -> str:
    """Spell the arguments of a call on one line, what changed first; text where it is text."""
    value = carried(pending)
    if not isinstance(value, dict):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return middle(clean(text[:MAX_LINE]), width)
    pieces = list(_members(value, pending.changed or ()))
    if len(pieces) == 1:
        return middle(pieces[0], width)
    line = ""
    for at, piece in enumerate(pieces):
        left = len(pieces) - at
        short = middle(piece, max(_VALUE, width // 2))
        room = width - cell_len(line) - (len(f"  … {left - 1} more") if left > 1 else 0)
        if at >= _MEMBERS or cell_len(short) + 2 > room:
            return middle(f"{line}… {left} more", width)
        line += short + ("  " if left > 1 else "")
    return line


def carried(pending: Pending) -> Any:
    """Return what tells calls apart: the arguments of a tool; params without ``_meta`` else."""
    params = pending.arguments
    if not isinstance(params, dict):
        return params
    if pending.row.tool is not None and "arguments" in params:
        return params["arguments"]
    return {name: value for name, value in params.items() if name != _META}


def _members(value: dict[Any, Any], changes: tuple[Change, ...]) -> Iterator[str]:
    notes: dict[str, str] = {}
    for change in changes:
        name, _, rest = change.pointer.removeprefix("/arguments/").partition("/")
        name = name.replace("~1", "/").replace("~0", "~")
        notes[name] = "(changed)" if rest else f"(was {_short(change.before)})"
        if not rest and change.before is None:
            notes[name] = "(new)"
    for name in sorted(value, key=lambda name: str(name) not in notes)[: _MEMBERS + 1]:
        note = notes.pop(str(name), "")
        yield f"{_short(str(name))} {_short(value[name])}" + (f" {note}" if note else "")
    for name, note in notes.items():
        yield f"{_short(name)} gone {note}"


def _short(value: Any) -> str:
    if isinstance(value, str):
        text = value[: _VALUE * 40] if len(value) <= _VALUE * 40 else clipped(value, _VALUE * 40)
    elif isinstance(value, dict | list):
        text = f"{{{len(value)}}}" if isinstance(value, dict) else f"[{len(value)}]"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return clean(text)
