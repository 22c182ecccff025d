"""Decoded JSON as a tree, with findings and differences marked where they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from textual.content import Content

from mitmgate.control.models import Change, FindingView
from mitmgate_tui.text import clean, clipped, isolated, middle

MAX_LINES = 500
MAX_CHILDREN = 60
MAX_DEPTH = 30
MAX_TEXT = 2_000
MAX_EACH = 40
OBJECT = 4
"""So many times more members of an object than items of a list are shown."""
MAX_MORE = 3
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


class Limits(NamedTuple):
    """How many lines a tree has, and a text in it; characters of a text, items of a list."""

    lines: int
    each: int
    text: int
    children: int


class _Place(NamedTuple):
    """A member of an object or list: its name, pointer, indent, and whether it is the last."""

    name: str
    pointer: str
    indent: str
    last: bool


def tree_lines(
    value: Any, marks: Marks, *, depth: int = MAX_DEPTH, more: int = 0,
    folded: frozenset[str] = frozenset(),
) -> list[Content]:  # fmt: skip
    """Return *value* as lines, at most 500; what lies deeper than *depth* is folded.

    So are the members at the pointers *folded*. A folded part is unfolded where something is
    marked in it. Each step of *more* raises the limits, two and four times. What is cut says so in
    its place, and each member has its first line before another has its forty-first.
    """
    more = min(more, MAX_MORE)
    lines = MAX_LINES << more
    limits = Limits(lines, MAX_EACH << 2 * more, MAX_TEXT << 2 * more, MAX_CHILDREN << more)
    tree = _Tree(marks, limits, folded)
    if not isinstance(value, dict | list | tuple):
        tree = _Tree(marks, limits._replace(each=lines), folded)
        return tree.text(value, "", Content(), marks.at.get("", ()), limits.lines)
    return tree.lines(value, _Spot("", "", min(depth, MAX_DEPTH)), limits.lines)


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


class _Spot(NamedTuple):
    """Where children stand: pointer of their parent, indent, and how many levels are unfolded."""

    pointer: str
    indent: str
    depth: int


class _Tree:
    """Draws JSON within limits; sizes are counted before anything is drawn."""

    def __init__(self, marks: Marks, limits: Limits, folded: frozenset[str]) -> None:
        self._marks = marks
        self._limits = limits
        self._folded = folded

    def lines(self, value: Any, spot: _Spot, room: int) -> list[Content]:
        """Return the lines of the members of *value*, at most *room*, shared out fairly."""
        chosen = self._shown(value, spot.pointer)
        cut = len(chosen) < len(value) or len(chosen) > room
        shown = [
            (name, f"{spot.pointer}/{_escaped(name)}", child)
            for name, child in chosen[: max(1, room - cut)]
        ]
        left = len(value) - len(shown)
        sizes = [self._size(child, where, spot, room) for _, where, child in shown]
        lines: list[Content] = []
        for at, size in enumerate(_shared(sizes, room - bool(left))):
            name, where, child = shown[at]
            last = at == len(shown) - 1 and not left
            place = _Place(name, where, spot.indent, last)
            lines += self._branch(place, child, spot.depth, size)
        if left:
            lines.append(Content.styled(f"{spot.indent}└ ⚠ … {left} more", "$sign-hold"))
        return lines

    def text(
        self, value: Any, below: str, head: Content, noted: Sequence[tuple[str, str]], room: int
    ) -> list[Content]:
        """Return a text, what is left out of it marked in its place, or another plain value."""
        if not isinstance(value, str):
            return [head + Content(_scalar(value)) + _notes(noted)]
        before, cut, after = _cut(value, self._limits.text)
        every = before.split("\n")
        rest = after.split("\n") if cut else []
        most = max(1, min(self._limits.each, room))
        if not cut and len(every) <= most:
            return _block(every, below, head, noted)
        kept = most - 1
        if kept < 1:
            said = _left_out(len(value), len(value) - len(every[0]))
            return [head + Content(f"{isolated(clean(every[0]))} ") + said + _notes(noted)]
        # The end of a text tells as much as its beginning: half of the lines are from there.
        tail = (rest or every)[-(kept // 2):] if kept > 1 else []  # fmt: skip
        top = every[: kept - len(tail)]
        gone = len(value) - sum(len(line) + 1 for line in (*top, *tail))
        lines = _block(top, below, head, noted)
        lines.append(Content.assemble((below, "dim"), _left_out(len(value), max(1, gone))))
        return lines + [Content.assemble((below, "dim"), isolated(clean(one))) for one in tail]

    def _branch(self, place: _Place, child: Any, depth: int, room: int) -> list[Content]:
        name, where, indent, last = place
        label = isolated(middle(clean(clipped(name)), _MAX_KEY))
        head = Content.assemble((f"{indent}{'└' if last else '├'} ", "dim"), (label, "bold"))
        below = f"{indent}{'  ' if last else '│ '}"
        noted = self._marks.at.get(where, ())
        if not _holds(child):
            return self.text(child, below, head + Content(" "), noted, room)
        kind = "members" if isinstance(child, dict) else "items"
        if self._is_folded(where, depth) or len(indent) >= 2 * MAX_DEPTH:
            return [head + Content.styled(f" ▸ {len(child)} {kind}", "dim") + _notes(noted)]
        if room < 2:
            told = Content.styled(f" ⚠ {len(child)} {kind} are left out", "$sign-hold")
            return [head + told + _notes(noted)]
        under = self.lines(child, _Spot(where, below, depth - 1), room - 1)
        return [head + _notes(noted), *under]

    def _size(self, value: Any, where: str, spot: _Spot, most: int) -> int:
        """Count the lines of a member, up to *most*."""
        if isinstance(value, str):
            breaks = value.count("\n", 0, self._limits.text)
            # A text that is cut has its beginning, what is left out, and its end.
            return min(breaks + (1 if len(value) <= self._limits.text else 3), self._limits.each)
        deep = len(spot.indent) >= 2 * MAX_DEPTH
        if not _holds(value) or deep or self._is_folded(where, spot.depth):
            return 1
        count = 1
        inner = _Spot(where, f"{spot.indent}  ", spot.depth - 1)
        shown = self._shown(value, where)
        for name, child in shown:
            if count >= most:
                return most
            count += self._size(child, f"{where}/{_escaped(name)}", inner, most - count)
        return count + (len(shown) < len(value))

    def _shown(self, value: Any, where: str) -> list[tuple[str, Any]]:
        """Return the first children, and those in which something is marked."""
        most = self._limits.children * (OBJECT if isinstance(value, dict) else 1)
        if where not in self._marks.within:
            return list(islice(_children(value), most))
        return [
            (name, child)
            for at, (name, child) in enumerate(_children(value))
            if at < most or self._is_marked(f"{where}/{_escaped(name)}")
        ]

    def _is_marked(self, pointer: str) -> bool:
        return pointer in self._marks.at or pointer in self._marks.within

    def _is_folded(self, where: str, depth: int) -> bool:
        wanted = depth <= 1 or where in self._folded
        return wanted and where not in self._marks.within


def _shared(sizes: Sequence[int], room: int) -> list[int]:
    """Share *room* lines out: at least one each, small ones whole, large ones the same."""
    given = [0] * len(sizes)
    left, open_ = max(room, len(sizes)), sorted(range(len(sizes)), key=sizes.__getitem__)
    for done, at in enumerate(open_):
        given[at] = max(1, min(sizes[at], left // (len(open_) - done)))
        left -= given[at]
    return given


def _cut(value: str, most: int) -> tuple[str, bool, str]:
    if len(value) <= most:
        return value, False, ""
    return value[: most // 2], True, value[-(most // 2) :]


def _left_out(whole: int, gone: int) -> Content:
    text = f"⚠ {gone:,} of {whole:,} characters are left out here, + shows more"
    return Content.styled(text, "$sign-hold")


def _block(
    lines: Sequence[str], below: str, head: Content, noted: Sequence[tuple[str, str]]
) -> list[Content]:
    first = head + Content(isolated(clean(lines[0]))) + _notes(noted)
    under = [Content.assemble((below, "dim"), isolated(clean(line))) for line in lines[1:]]
    return [first, *under]


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((str(name), child) for name, child in value.items())
    return ((str(at), child) for at, child in enumerate(value))


def _holds(value: Any) -> bool:
    """Whether *value* has members or items."""
    return isinstance(value, dict | list | tuple) and bool(value)


def _notes(noted: Sequence[tuple[str, str]]) -> Content:
    notes = [Content.styled(f"   {isolated(clean(text))}", style) for text, style in noted[:4]]
    return Content().join(notes)


def _scalar(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return isolated(middle(clean(clipped(text, 200)), 100))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
