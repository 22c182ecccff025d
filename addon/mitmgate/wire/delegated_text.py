"""The texts that may ask their receiver to call MCP servers, and the JSON documents in them.

Pure; work is linear in the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mitmgate.errors import WireError
from mitmgate.wire.strictjson import fold_key, parse_json

SERVER_LISTS = frozenset({"mcpservers", "mcpserver", "mcpserverids"})
# In quotes: text that speaks of MCP, in which quotes are escaped, is no reason to parse it.
_WORDS = ("mcp", "connector", "erver_ur", "erverur", "integration")
_IN_NAME = frozenset("abcdefghijklmnopqrstuvwxyz_-\u017f\u212a")
_LONGEST_NAME = 40
# A letter, "_" or "-" that is written as an escape: the words above may be hidden by it.
_ESCAPES = ("\\u004", "\\u005", "\\u006", "\\u007", "\\u002d")
_FAR_ESCAPES = ("\\u017f", "\\u212a")
_MOST_LOOKS = 4000
_MOST_IN_A_ROW = 4000
_PLAIN = json.JSONDecoder()


def plain_key(key: str) -> str:
    """Return *key* without case, ``_`` and ``-``: ``server_url`` and ``serverUrl`` are one."""
    return fold_key(key[:256]).replace("_", "").replace("-", "")


def ambiguous(why: str) -> WireError:
    """Return the error for a delegation that two programs could read in two ways."""
    return WireError("ambiguous_delegation", why)


def may_delegate(text: str) -> bool:
    """Tell whether *text* may name a server: then it is worth parsing.

    NULs do not count: text in UTF-16 that is taken for UTF-8 is full of them.
    """
    lowered = text.replace("\0", "").lower()
    if any(_is_quoted(lowered, word) for word in _WORDS):
        return True
    if "\\u" not in lowered:
        return False
    near = "\\u00" in lowered and any(escape in lowered for escape in _ESCAPES)
    return near or any(escape in lowered for escape in _FAR_ESCAPES)


def documents(text: str, *, lines_only: bool = False) -> tuple[list[Any], bool]:
    """Return those documents in *text* that may name a server, and whether it is nothing else.

    *text* is no single document. It is read as lines, else as documents in a row; where it is
    neither, whatever it begins with counts, and every line that is a document. *lines_only* is for
    a text with more values than should be held at once. WireError ``ambiguous_delegation`` for a
    document that cannot be read in one way.
    """
    lines = [line for line in map(str.strip, text.split("\n")) if line]
    values, read = _of_lines(lines)
    # A document that goes on over such lines would need a comma between them.
    if read and all(line[0] in "{[" and line[-1] in "}]" for line in lines):
        return values, True
    if lines_only:
        return values, False
    begun, ended = _in_a_row(text)
    return (begun, True) if ended else ([*begun, *values], False)


def _of_lines(lines: Iterable[str]) -> tuple[list[Any], bool]:
    values: list[Any] = []
    read = True
    for line in lines:
        if line[0] not in "{[" or not may_delegate(line):
            continue
        try:
            values.append(parse_json(line))
        except WireError as broken:
            if broken.code != "not_json":
                raise ambiguous(f"it may name MCP servers, and {broken}") from None
            read = False
    return values, read


def _in_a_row(text: str) -> tuple[list[Any], bool]:
    values: list[Any] = []
    at = 0
    for _ in range(_MOST_IN_A_ROW):
        while at < len(text) and text[at].isspace():  # U+001E too, of RFC 7464
            at += 1
        if at == len(text):
            return values, True
        if text[at] not in "{[":
            break
        try:
            end = _PLAIN.raw_decode(text, at)[1]
        except (ValueError, RecursionError):
            break
        if may_delegate(text[at:end]):
            try:
                values.append(parse_json(text[at:end]))
            except WireError as broken:
                raise ambiguous(f"it may name MCP servers, and {broken}") from None
        at = end
    return values, False


def _places(text: str, word: str) -> Iterator[int]:
    """Yield where *word* stands in *text*, and -1 after too many of them."""
    at = text.find(word)
    for _ in range(_MOST_LOOKS):
        if at < 0:
            return
        yield at
        at = text.find(word, at + 1)
    yield -1


def _is_quoted(text: str, word: str) -> bool:
    for at in _places(text, word):
        if at < 0:
            return True
        start, end = at, at + len(word)
        while start > max(0, at - _LONGEST_NAME) and text[start - 1] in _IN_NAME:
            start -= 1
        while end < min(len(text), at + _LONGEST_NAME) and text[end] in _IN_NAME:
            end += 1
        if text[start - 1 : start] == '"' and text[end : end + 1] == '"':
            # "mcp__server__tool" is how clients name tools of servers that they call themselves.
            if "mcp__" in text[start:end] and plain_key(text[start:end]) not in SERVER_LISTS:
                continue
            return True
        # "mcp/x" is a plugin of LM Studio.
        if word == "mcp" and text[start - 1 : start] == '"' and text[end : end + 1] == "/":
            return True
    return False
