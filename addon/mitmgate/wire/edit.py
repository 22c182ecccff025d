"""Replace parts of strings inside a JSON text and keep every other byte as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """Return *text* with *edits* made; only the strings they touch are written anew.

    Raise ValueError for edits that overlap, point at no string, or lie outside of it.
    """
    if not edits:
        return text
    by_pointer: dict[str, list[Edit]] = {}
    for edit in edits:
        by_pointer.setdefault(edit.pointer, []).append(edit)
    if by_pointer.keys() == {""}:
        return _edited(text, by_pointer[""])
    return _edit_json(text, by_pointer)


def _edit_json(text: str, by_pointer: dict[str, list[Edit]]) -> str:
    try:
        parse_json(text)
    except WireError as error:
        raise ValueError(f"cannot edit: {error}") from None
    pieces, done, missing = [], 0, set(by_pointer)
    for pointer, start, end in _strings(text):
        if pointer in missing:
            missing.discard(pointer)
            value = _edited(json.loads(text[start:end]), by_pointer[pointer])
            # A text that kept to ASCII may be in a charset that has nothing else.
            written = json.dumps(value, ensure_ascii=text.isascii())
            pieces += [text[done:start], written]
            done = end
    if missing:
        raise ValueError("an edit points at no string")
    return "".join(pieces) + text[done:]


def _edited(value: str, edits: Sequence[Edit]) -> str:
    pieces, done = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if not done <= edit.start <= edit.end <= len(value):
            raise ValueError("edits overlap or lie outside their string")
        pieces += [value[done : edit.start], edit.text]
        done = edit.end
    return "".join(pieces) + value[done:]


@dataclass(slots=True)
class _Frame:
    """An open object or array: its pointer, and the key or index we are at."""

    pointer: str
    is_object: bool
    token: str | int = 0
    at_key: bool = False

    def place(self) -> str:
        token = self.token if isinstance(self.token, int) else escape_token(self.token)
        return f"{self.pointer}/{token}"

    def advance(self) -> None:
        if self.is_object:
            self.at_key = True
        elif isinstance(self.token, int):
            self.token += 1


def _strings(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield pointer, start and end (quotes included) of each string value of valid JSON."""
    frames: list[_Frame] = []
    index = 0
    while index < len(text):
        mark = text[index]
        if mark == '"':
            end = _string_end(text, index)
            if frames and frames[-1].at_key:
                frames[-1].token, frames[-1].at_key = json.loads(text[index:end]), False
            else:
                yield (frames[-1].place() if frames else ""), index, end
            index = end
            continue
        if mark in "{[":
            pointer = frames[-1].place() if frames else ""
            frames.append(_Frame(pointer, is_object=mark == "{", at_key=mark == "{"))
        elif mark in "}]":
            frames.pop()
        elif mark == ",":
            frames[-1].advance()
        index += 1


def _string_end(text: str, start: int) -> int:
    end = start
    while True:
        end = text.index('"', end + 1)
        slashes = end - 1
        while text[slashes] == "\\":
            slashes -= 1
        if (end - 1 - slashes) % 2 == 0:
            return end + 1
