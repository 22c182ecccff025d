"""Decoded JSON as a tree, with findings and differences marked where they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from textual.content import Content

from mitmgate.control.models import Change, FindingView
from mitmgate_tui.text import clean, clipped, isolated, middle

MAX_LINES = 500
MAX_CHILDREN = 60
MAX_DEPTH = 30
MAX_TEXT = 2_000
_MAX_KEY = 40


@dataclass(frozen=True, slots=True)
class Marks:
    """What is noted at JSON pointers; ``within`` are all pointers on the way to them."""

    at: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    within: frozenset[str] = frozenset()


def marks_of(findings: Sequence[FindingView], changes: Sequence[Change] | None) -> Marks:
    """Return what a tree notes, of a whole message or of its params or result alone."""
    at: dict[str, tuple[tuple[str, str], ...]] = {}
    for finding in findings:
        pointer = _place(finding.pointer)
        note = (f"⚠ {finding.severity} {finding.rule}", "$sign-hold")
        for place in {pointer, pointer.removeprefix("/params").removeprefix("/result")}:
            at[place] = (*at.get(place, ()), note)
    for change in changes or ():
        was = "new" if change.before is None else f"was {_scalar(change.before)}"
        at[change.pointer] = (*at.get(change.pointer, ()), (was, "$sign-edit"))
    within = {pointer[:end] for pointer in at for end in _ends(pointer)}
    return Marks(at, frozenset(within))


class _Place(NamedTuple):
    """A member of an object or list: its name, pointer, indent, and whether it is the last."""

    name: str
    pointer: str
    indent: str
    last: bool


def tree_lines(value: Any, marks: Marks, *, depth: int = MAX_DEPTH) -> list[Content]:
    """Return *value* as lines, at most 500; what lies deeper than *depth* is folded.

    A folded part is unfolded where something is marked in it.
    """
    lines: list[Content] = []
    for line in _lines(value, "", "", marks, min(depth, MAX_DEPTH)):
        if len(lines) == MAX_LINES:
            lines.append(Content.styled("⚠ more lines are not shown", "$sign-hold"))
            break
        lines.append(line)
    return lines


def _place(pointer: str) -> str:
    """Return *pointer* without what a detector says of the place: ``~key``, ``~decoded``."""
    for at, char in enumerate(pointer):
        if char == "~" and pointer[at + 1 : at + 2] not in ("0", "1"):
            return pointer[:at]
    return pointer


def _ends(pointer: str) -> Iterator[int]:
    for at, char in enumerate(pointer):
        if char == "/":
            yield at


def _lines(value: Any, pointer: str, indent: str, marks: Marks, depth: int) -> Iterator[Content]:
    children = _children(value)
    if children is None:
        yield from _text(value, indent, Content(indent), marks.at.get(pointer, ()))
        return
    shown = [
        (name, f"{pointer}/{_escaped(name)}", child)
        for at, (name, child) in enumerate(children)
        if at < MAX_CHILDREN or _is_marked(f"{pointer}/{_escaped(name)}", marks)
    ]
    left = len(children) - len(shown)
    for at, (name, where, child) in enumerate(shown):
        last = at == len(shown) - 1 and not left
        yield from _branch(_Place(name, where, indent, last), child, marks, depth)
    if left:
        yield Content.styled(f"{indent}└ … {left} more", "$sign-hold")


def _branch(place: _Place, child: Any, marks: Marks, depth: int) -> Iterator[Content]:
    name, where, indent, last = place
    label = isolated(middle(clean(clipped(name)), _MAX_KEY))
    head = Content.assemble((f"{indent}{'└' if last else '├'} ", "dim"), (label, "bold"))
    below = f"{indent}{'  ' if last else '│ '}"
    noted = marks.at.get(where, ())
    inside = _children(child)
    if not inside:
        yield from _text(child, below, head + Content(" "), noted)
    elif (depth <= 1 and where not in marks.within) or len(indent) >= 2 * MAX_DEPTH:
        kind = "members" if isinstance(child, dict) else "items"
        yield head + Content.styled(f" ▸ {len(inside)} {kind}", "dim") + _notes(noted)
    else:
        yield head + _notes(noted)
        yield from _lines(child, where, below, marks, depth - 1)


def _text(
    value: Any, below: str, head: Content, noted: Sequence[tuple[str, str]]
) -> Iterator[Content]:
    if not isinstance(value, str):
        yield head + Content(_scalar(value)) + _notes(noted)
        return
    long = f" ({len(value)} characters)" if len(value) > MAX_TEXT else ""
    first, *rest = clipped(value, MAX_TEXT).split("\n")
    yield (
        head
        + Content(isolated(clean(first)))
        + (Content(long) if not rest else Content())
        + (_notes(noted))
    )
    for at, line in enumerate(rest, 1):
        tail = long if at == len(rest) else ""
        yield Content.assemble((below, "dim"), isolated(clean(line)), (tail, "dim"))


def _children(value: Any) -> list[tuple[str, Any]] | None:
    if isinstance(value, dict):
        return [(str(name), child) for name, child in value.items()]
    if isinstance(value, list | tuple):
        return [(str(at), child) for at, child in enumerate(value)]
    return None


def _is_marked(pointer: str, marks: Marks) -> bool:
    return pointer in marks.at or pointer in marks.within


def _notes(noted: Sequence[tuple[str, str]]) -> Content:
    notes = [Content.styled(f"   {isolated(clean(text))}", style) for text, style in noted[:4]]
    return Content().join(notes)


def _scalar(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return isolated(middle(clean(clipped(text, 200)), 100))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
