"""Differences: between two calls of a tool, and of a file before it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from textual.content import Content

from mitmgate.control.models import Change
from mitmgate_tui.text import clean, clipped, isolated, middle

MAX_CHANGES = 50
MAX_DIFF = 400
_STYLES = {"+": "$sign-allow", "-": "$sign-deny", "@": "dim"}


def change_lines(changes: Sequence[Change]) -> Iterator[Content]:
    """Yield how a call differs from the last approved one of its tool, a line each."""
    if not changes:
        yield Content.styled("the same as the last approved call", "dim")
        return
    yield Content.styled("changed since the last approved call", "dim")
    for change in changes[:MAX_CHANGES]:
        yield Content.assemble(
            (f" {_short(change.pointer or '/', 40)}  ", ""),
            (_value(change.before), "$sign-deny"), " → ", (_value(change.after), "$sign-allow"),
        )  # fmt: skip
    if len(changes) > MAX_CHANGES:
        more = len(changes) - MAX_CHANGES
        yield Content.styled(f"⚠ {more} more changes are not shown", "$sign-hold")


def diff_lines(diff: str, width: int) -> Iterator[Content]:
    """Yield a unified difference; no line is cut, those wider than *width* go on below."""
    lines = diff.split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    for line in lines[:MAX_DIFF]:
        if line.startswith(("+++", "---")):
            continue
        style = _STYLES.get(line[:1], "")
        text = clean(line)
        for at in range(0, max(1, len(text)), max(1, width)):
            yield Content.styled(isolated(text[at : at + width]), style)
    if len(lines) > MAX_DIFF:
        yield Content.styled(f"⚠ {len(lines) - MAX_DIFF} more lines are not shown", "$sign-hold")


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _short(text, 60)


def _short(text: str, width: int) -> str:
    return isolated(middle(clean(clipped(text, 400)), width))
