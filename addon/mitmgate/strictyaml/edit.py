"""Edits of a user's YAML text: one value changes, and every other line stays as it was.

The smallest part that holds the value is written anew, comments kept, and only if the strict
reader then reads the new value there and the old values everywhere else. Loaded by what edits: the
commands, and the proxy when an operator has it remember an answer for ever.
"""

from __future__ import annotations

import io
import json
import string
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from mitmgate.errors import ConfigError
from mitmgate.strictyaml.document import Document, KeyPath, refuse
from mitmgate.strictyaml.reader import load
from mitmgate.strictyaml.scalars import CONSTANTS, plain_value

_PLAIN: Final = frozenset(string.ascii_letters + string.digits + "-_./")
_NEVER_WRAP: Final = 1 << 30  # a line that is longer than a terminal is what its writer wanted
_BOM: Final = "\ufeff"


def with_value(text: str, path: tuple[str, ...], value: Any, *, file: str) -> str:
    """Return *text* with the JSON *value* at *path*, a chain of keys that are made if missing.

    Raises ConfigError if *text* is not strict YAML, if something else than a mapping stands on
    the way, or if the change cannot be made without touching more than it should.
    """
    if not path:
        raise ValueError("a path has at least one key")
    document = load(text, file=file)
    expected = _replaced(document, path, value)
    if _same(document.value, expected):
        return text
    bom = _BOM if text.startswith(_BOM) else ""
    body = _Text(text.removeprefix(_BOM), document)
    for candidate in body.candidates(path, value):
        # A line that looked like the right one may stand inside a quoted text, and the writer may
        # spell a value as the strict reader does not take it.
        with suppress(ConfigError):
            if _same(load(candidate, file=file).value, expected):
                return bom + candidate
    raise refuse(
        [
            document.problem(
                path,
                "cannot be changed here without harm to other lines or comments",
                hint="change it by hand, or write this part with one key a line",
            )
        ]
    )


def _same(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _replaced(document: Document, path: KeyPath, value: Any) -> Any:
    """Return what *document* holds once *value* stands at *path*; nothing is changed in place."""

    def put(at: Any, number: int) -> Any:
        if number == len(path):
            return value
        if at is not None and not isinstance(at, dict):
            raise refuse([document.problem(path[:number], "must be a mapping of keys to values")])
        inside = at or {}
        return {**inside, path[number]: put(inside.get(path[number]), number + 1)}

    return put(document.value, 0)


class _Text:
    """The lines of a document, and the ways to write a part of them anew."""

    def __init__(self, text: str, document: Document) -> None:
        self._lines = text.splitlines(keepends=True)
        self._value = document.value
        self._places = document.lines
        self._newline = "\r\n" if "\r\n" in text else "\n"

    def candidates(self, path: tuple[str, ...], value: Any) -> Iterator[str]:
        """Yield texts with *value* at *path*, those that change the fewest lines first."""
        if isinstance(value, list):
            yield from self._listed(path, value)
        depth = len(path)
        while depth and path[:depth] not in self._places:
            depth -= 1
        if depth < len(path):
            yield from self._inserted(path[: depth + 1], _nested(path[depth + 1 :], value))
        for length in range(depth, -1, -1):
            # Whatever the writer stumbles over, the next larger part is tried, or nothing is done.
            with suppress(Exception):
                yield from self._written(path[:length], path[max(length - 1, 0) :], value)

    def _listed(self, path: tuple[str, ...], value: list[Any]) -> Iterator[str]:
        """Yield the text without the lines of items that go, or with a line for each new one."""
        old = self._value
        for key in path:
            old = old.get(key) if isinstance(old, dict) else None
        if not isinstance(old, list) or not old:
            return
        if value[: len(old)] == old:
            start, end = self._span((*path, len(old) - 1))
            dash = _indent(self._lines[start]) + "- "
            new = [_item(item, dash, self._newline) for item in value[len(old) :]]
            yield "".join([*self._ended(self._lines[:end]), *new, *self._lines[end:]])
        else:
            gone = {self._places[*path, n] for n, item in enumerate(old) if item not in value}
            yield "".join(line for n, line in enumerate(self._lines, 1) if n not in gone)

    def _inserted(self, path: tuple[str, ...], value: Any) -> Iterator[str]:
        """Yield the text with a line for the new key at the end of *path* below its siblings."""
        parent = path[:-1]
        first = min(
            (line for place, line in self._places.items()
             if len(place) == len(path) and place[:-1] == parent),
            default=None,
        )  # fmt: skip
        if first is None:
            return  # nothing stands below it that would show how to write there
        indent = _indent(self._lines[first - 1])
        _, end = self._span(parent)
        lines = _dump({path[-1]: value}, indent, self._newline)
        above = self._ended(self._lines[:end])
        if not parent:
            yield "".join([*above, self._newline, *lines, *self._lines[end:]])
        yield "".join([*above, *lines, *self._lines[end:]])

    def _written(self, part: tuple[str, ...], rest: tuple[str, ...], value: Any) -> Iterator[str]:
        """Yield the text with the lines of *part* written anew, *value* at *rest* in them."""
        start, end = self._span(part)
        indent = _indent(self._lines[start]) if part else ""
        lines = [line.removeprefix(indent) for line in self._lines[start:end]]
        writer = _writer(lines)
        root = writer.load("".join(lines))
        if _written_by(writer, root).count("#") != "".join(lines).count("#"):
            raise ValueError("a comment would be lost")  # those in brackets over several lines are
        _put(root, rest, value)
        new = _indented(_written_by(writer, root), indent, self._newline)
        for candidate in (_spaced(new, self._lines[start:end]), new):
            yield "".join([*self._lines[:start], *candidate, *self._lines[end:]])

    def _span(self, part: KeyPath) -> tuple[int, int]:
        """Return the first line of *part*, from 0, and the line after its last.

        Blank lines and comments behind it that are not indented further belong to what follows.
        """
        if not part:
            return 0, len(self._lines)
        start = self._places[part] - 1
        after = (line - 1 for place, line in self._places.items()
                 if place[: len(part)] != part and line - 1 > start)  # fmt: skip
        end = min(after, default=len(self._lines))
        indent = len(_indent(self._lines[start]))
        while end > start + 1 and _is_outside(self._lines[end - 1], indent):
            end -= 1
        return start, end

    def _ended(self, lines: Sequence[str]) -> list[str]:
        if not lines or lines[-1].endswith(("\n", "\r")):
            return list(lines)
        return [*lines, self._newline]


def _is_outside(line: str, indent: int) -> bool:
    words = line.strip()
    return not words or (words.startswith("#") and len(_indent(line)) <= indent)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" "))]


def _indented(text: str, indent: str, newline: str) -> list[str]:
    lines = text.removesuffix("\n").split("\n")
    return [f"{indent if line else ''}{line}{newline}" for line in lines]


def _spaced(new: Sequence[str], old: Sequence[str]) -> list[str]:
    """Return *new* with the space before each comment that it has in *old*.

    ruamel.yaml leaves a comment in its column, far away where the line became shorter.
    """
    splits = [line.partition(" #") for line in old]
    gaps = {rest: head[len(head.rstrip(" ")) :] for head, mark, rest in splits if mark}
    lines = []
    for line in new:
        head, mark, rest = line.partition(" #")
        if mark and head.strip() and rest in gaps:
            head = head.rstrip(" ") + gaps[rest]
        lines.append(f"{head}{mark}{rest}")
    return lines


# --- ruamel.yaml ---------------------------------------------------------------------------


def _writer(lines: Sequence[str]) -> YAML:
    """Return a reader and writer that keeps comments and quotes, and indents as *lines* do."""
    writer = YAML(typ="rt", pure=True)
    writer.preserve_quotes = True
    writer.width = _NEVER_WRAP
    writer.allow_unicode = True
    writer.explicit_start = any(line.startswith("---") for line in lines)
    mapping, offset = _layout(lines)
    writer.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    return writer


def _layout(lines: Sequence[str]) -> tuple[int, int]:
    """Return how far *lines* indent a mapping in a mapping, and a list in a mapping."""
    mapping, offset = None, None
    above = ""
    for line in lines:
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        deeper = len(_indent(line)) - len(_indent(above))
        if above and not above.strip().startswith("-"):
            if words.startswith("- ") and deeper >= 0:
                offset = deeper if offset is None else offset
            elif deeper > 0:
                mapping = deeper if mapping is None else mapping
        above = line
    return mapping or 2, 2 if offset is None else offset


def _dump(value: Any, indent: str, newline: str) -> list[str]:
    """Return the lines of the new mapping *value*: its keys one a line, what is below in flow."""
    root = CommentedMap()
    for key, below in value.items():
        root[_text(key)] = _fresh(below)
    return _indented(_written_by(_writer([]), root), indent, newline)


def _item(value: Any, dash: str, newline: str) -> str:
    """Return the line of the new list item *value*, behind its *dash*."""
    written = _written_by(_writer([]), CommentedSeq([_fresh(value)]))
    return dash + written.strip().removeprefix("- ") + newline


def _written_by(writer: YAML, root: Any) -> str:
    stream = io.StringIO()
    writer.dump(root, stream)
    return stream.getvalue()


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = _Block({key: value})
    return value


class _Block(dict[str, Any]):
    """A mapping on the way to the new value: written with one key a line."""


def _put(node: CommentedMap, path: Sequence[str], value: Any) -> None:
    """Set *value* at *path* in *node*, keeping all that does not differ."""
    for key in path[:-1]:
        below = node.get(key)
        if not isinstance(below, CommentedMap):
            below = node[_text(key)] = CommentedMap()
        if not below and not node.fa.flow_style():
            below.fa.set_block_style()
        node = below
    key = path[-1]
    if key in node:
        node[key] = _merged(node[key], value)
    else:
        node[_text(key)] = _fresh(value)


def _merged(old: Any, new: Any) -> Any:
    """Return *old* changed to mean *new*, or a new node where they have nothing in common."""
    if isinstance(old, CommentedMap) and isinstance(new, dict):
        for key in [key for key in old if key not in new]:
            del old[key]
        for key, below in new.items():
            _put(old, [key], below)
        return old
    if isinstance(old, CommentedSeq) and isinstance(new, list):
        for number in reversed(range(len(old))):
            if old[number] not in new:
                del old[number]
        old.extend(_fresh(item) for item in new[len(old) :])
        return old if _same(old, new) else _fresh(new)
    return old if _same(old, new) else _fresh(new)


def _fresh(value: Any) -> Any:
    """Return the JSON *value* as a node in one line, texts in quotes where that is safer."""
    if isinstance(value, dict):
        mapping = CommentedMap()
        for key, below in value.items():
            mapping[_text(key)] = _fresh(below)
        if not isinstance(value, _Block):
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list | tuple):
        items = CommentedSeq(map(_fresh, value))
        items.fa.set_flow_style()
        return items
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    plain = text[:1].isalnum() and _PLAIN.issuperset(text) and text not in CONSTANTS
    with suppress(ValueError):
        if plain and plain_value(text) == text:
            return text
    quoted: str = DoubleQuotedScalarString(text)
    return quoted
