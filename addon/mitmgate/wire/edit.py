"""Change parts of a JSON text and keep every other character as it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from mitmgate.errors import WireError
from mitmgate.wire.strictjson import parse_json
from mitmgate.wire.surfaces import escape_token


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement of part of one string.

    Code points ``start``..``end`` of the decoded string at JSON pointer ``pointer``
    (RFC 6901) become ``text``. Where a text is no JSON, ``pointer`` is ``""`` and the
    offsets count in the whole text.
    """

    pointer: str
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Swap:
    """A replacement of the whole value at ``pointer``, of any kind, by the JSON text ``json``."""

    pointer: str
    json: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A removal of the array item or object member at ``pointer``, one comma with it."""

    pointer: str


type Change = Edit | Swap | Cut


def apply_edits(text: str, edits: Sequence[Change]) -> str:
    """Return *text* with *edits* made; what they do not touch stays as it was written.

    All of them address *text* as it is given: an index counts items that others cut, too.
    A list of nothing but :class:`Edit` at ``""`` changes *text* as plain text. Raise ValueError
    for changes that overlap (an edit inside a value that goes), for a pointer to nothing, an
    edit outside of its string, a text that is no JSON. Takes time linear in *text*.
    """
    if not edits:
        return text
    plain = [edit for edit in edits if isinstance(edit, Edit) and not edit.pointer]
    if len(plain) == len(edits):
        return _edited(text, plain)
    _check(text)
    return _Rewriter(text).rewrite(_tree(edits))


def _check(text: str) -> None:
    try:
        parse_json(text)
    except WireError as error:
        raise ValueError(f"cannot edit: {error}") from None


def _edited(value: str, edits: Sequence[Edit]) -> str:
    pieces, done = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if not done <= edit.start <= edit.end <= len(value):
            raise ValueError("edits overlap or lie outside their string")
        pieces += [value[done : edit.start], edit.text]
        done = edit.end
    return "".join(pieces) + value[done:]


@dataclass(slots=True)
class _Node:
    """What happens at one place of the document, and below it by reference token."""

    edits: list[Edit] = field(default_factory=list)
    swap: Swap | None = None
    cut: bool = False
    below: dict[str, _Node] = field(default_factory=dict)


def _tree(changes: Sequence[Change]) -> _Node:
    # By token and not by whole pointer: a pointer made for every value would take time of
    # depth times length, and keys of a megabyte are legal.
    root = _Node()
    for change in changes:
        node = root
        # Tokens stay escaped: "~k" is no spelling of any key, and must not become one.
        for token in change.pointer.split("/")[1:]:
            node = node.below.setdefault(token, _Node())
        if change.pointer and not change.pointer.startswith("/"):
            raise ValueError("a JSON pointer is empty or starts with '/'")
        _place(node, change)
    return root


def _place(node: _Node, change: Change) -> None:
    match change:
        case Edit():
            node.edits.append(change)
        case Swap():
            if node.swap is not None:
                raise ValueError("changes overlap: a value is swapped twice")
            _check(change.json)
            node.swap = change
        case Cut():
            if node.cut:
                raise ValueError("changes overlap: an item is cut twice")
            node.cut = True


_BLANKS = " \t\n\r"
# The stdlib's scanner, in C: it finds where a value ends faster than any loop of ours.
_SCAN = json.JSONDecoder().raw_decode


class _Rewriter:
    """One pass over valid JSON: what changes is written anew, the rest copied in one piece."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ascii = text.isascii()
        self._pieces: list[str] = []
        self._done = 0

    def rewrite(self, root: _Node) -> str:
        if root.cut:
            raise ValueError("the whole text cannot be cut")
        self._value(self._skip_blanks(0), root)
        return "".join(self._pieces) + self._text[self._done :]

    def _value(self, start: int, node: _Node | None) -> int:
        """Rewrite the value that begins at *start*; return where it ended."""
        if node is None:
            return self._end(start)
        if node.swap is not None or node.cut:
            if node.edits or node.below or (node.cut and node.swap is not None):
                raise ValueError("changes overlap: one lies inside a value that goes")
            end = self._end(start)
            if node.swap is not None:
                self._replace(start, end, self._spelled(node.swap.json))
            return end
        if node.edits:
            return self._string(start, node)
        return self._container(start, node)

    def _string(self, start: int, node: _Node) -> int:
        if node.below or self._text[start] != '"':
            raise ValueError("an edit points at no string")
        value, end = _SCAN(self._text, start)
        written = json.dumps(_edited(value, node.edits), ensure_ascii=self._ascii)
        self._replace(start, end, written)
        return end

    def _container(self, start: int, node: _Node) -> int:
        text, is_object = self._text, self._text[start] == "{"
        if text[start] not in "{[":
            raise ValueError(_missing(node))
        index, before, number, kept = self._skip_blanks(start + 1), start + 1, 0, False
        left = dict(node.below)
        leading: int | None = None  # where a cut began that takes the comma after it
        while text[index] not in "}]":
            if leading is not None:
                self._replace(leading, index, "")
                leading = None
            token, value = self._key(index) if is_object else (str(number), index)
            below = left.pop(token, None)
            end = self._value(value, below)
            if below is None or not below.cut:
                kept = True
            elif kept:
                self._replace(before, end, "")  # the comma before it goes with it
            else:
                leading = index
            before, number = end, number + 1
            index = self._skip_blanks(end)
            if text[index] == ",":
                index = self._skip_blanks(index + 1)
        if leading is not None:
            self._replace(leading, before, "")
        if left:
            raise ValueError(_missing(next(iter(left.values()))))
        return index + 1

    def _key(self, start: int) -> tuple[str, int]:
        """Return the token of the member at *start*, and where its value begins."""
        key, end = _SCAN(self._text, start)
        return escape_token(key), self._skip_blanks(self._skip_blanks(end) + 1)

    def _end(self, start: int) -> int:
        return _SCAN(self._text, start)[1]

    def _skip_blanks(self, index: int) -> int:
        text, size = self._text, len(self._text)
        while index < size and text[index] in _BLANKS:
            index += 1
        return index

    def _replace(self, start: int, end: int, text: str) -> None:
        self._pieces += [self._text[self._done : start], text]
        self._done = end

    def _spelled(self, text: str) -> str:
        # A text that kept to ASCII may be in a charset that has nothing else.
        if not self._ascii or text.isascii():
            return text
        return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)


def _missing(node: _Node) -> str:
    """Say what is wrong with a place that the document does not have."""
    while node.below:
        node = next(iter(node.below.values()))
    return "an edit points at no string" if node.edits else "a change points at nothing"
