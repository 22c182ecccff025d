"""Edits of a list in a user's YAML text: one item comes, or goes, and every other line stays.

As in ``edit``, the strict reader has to find the new value there and the old ones everywhere else.
Loaded only when something is edited.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from mitmgate.errors import ConfigError
from mitmgate.strictyaml.document import Document, refuse
from mitmgate.strictyaml.edit import _item, _Text, with_value
from mitmgate.strictyaml.reader import load


def with_item(text: str, key: str, item: Any, *, file: str) -> str:
    """Return *text* with the JSON *item* at the end of the list at the top-level *key*.

    The key may stand there without a value. Raises ConfigError where the change cannot be made
    without touching more than it should.
    """
    document = load(text, file=file)
    old = _old(document, key)
    if old:
        return with_value(text, (key,), [*old, item], file=file)
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    line = document.lines.get((key,), len(lines))
    above = lines[:line]
    if above and not above[-1].endswith("\n"):
        above[-1] += newline
    if (key,) not in document.lines:
        above.append(f"{key}:{newline}")
    elif document.value[key] is not None:  # an empty list
        above[-1] = f"{key}:{newline}"
    made = "".join([*above, _item(item, "  - ", newline), *lines[line:]])
    return _checked(document, key, [item], (made,))


def without_item(text: str, key: str, number: int, *, file: str) -> str:
    """Return *text* without item *number* of the list at the top-level *key*.

    Comments of its own lines go with it. Raises ConfigError as :func:`with_item` does, and
    IndexError where there is no such item.
    """
    document = load(text, file=file)
    old = _old(document, key)
    left = [*old[:number], *old[number + 1 :]]
    if len(left) == len(old):
        raise IndexError(number)
    lines = text.splitlines(keepends=True)
    start, end = _Text(text, document)._span((key, number))
    return _checked(document, key, left, ("".join([*lines[:start], *lines[end:]]),))


def item_text(item: Any) -> str:
    """Return the line that *item* is written as, without its dash."""
    return _item(item, "", "")


def _old(document: Document, key: str) -> list[Any]:
    value = document.value.get(key) if isinstance(document.value, dict) else None
    return value if isinstance(value, list) else []


def _checked(document: Document, key: str, items: list[Any], made: Iterable[str]) -> str:
    """Return the first text of *made* that says *items*, and else what *document* says."""
    expected = {**document.value, key: items}
    for candidate in made:
        with suppress(ConfigError):
            value = load(candidate, file=document.file).value
            if isinstance(value, dict) and value.get(key) is None:
                value = {**value, key: []}
            if _spelt(value) == _spelt(expected):
                return candidate
    raise refuse([document.problem(
        (key,), "cannot be changed here without harm to other lines or comments",
        hint="change it by hand, or write it with one item a line")])  # fmt: skip


def _spelt(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
