"""The result of a replay as text for people and as one JSON object for programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mitmgate.record.lines import printable
from mitmgate.replay.compare import Comparison, Group

_SHOWN = 40


def text_report(result: Comparison) -> Iterator[str]:
    """Yield the lines of the readable report, without the next step."""
    yield (
        f"{_count(result.outcomes, 'outcome')} of {_count(result.exchanges, 'exchange')} in "
        f"{_count(result.captures, 'capture')}: {result.same} same, "
        f"{result.different} different, {result.lowered} weaker"
    )
    for why, count in result.missing.most_common():
        yield f"{_count(count, 'outcome')} not compared: {why}"
    if result.unclosed:
        yield (
            f"{_count(result.unclosed, 'capture')} without an end: a part, still being written, "
            "or its proxy was killed"
        )
    if result.cut:
        yield f"{_count(result.cut, 'exchange')} whose end was not kept: they were too large"
    if result.unsealed:
        yield (
            f"{_count(result.unsealed, 'capture')} without sums in a meta file: an edit by hand "
            "would not show"
        )
    yield from _by_rule(result.groups)


def _by_rule(groups: list[Group]) -> Iterator[str]:
    rule = None
    for group in groups[:_SHOWN]:
        if group.rule != rule:
            rule = group.rule
            of_rule = [one for one in groups if one.rule == rule]
            lowered = sum(one.count for one in of_rule if one.weaker)
            total = sum(one.count for one in of_rule)
            yield f"rule {printable(rule)}: {total} different, {lowered} weaker"
        mark = "WEAKER" if group.weaker else "      "
        yield f"  {mark} {printable(group.what)}  x{group.count}  e.g. {_example(group)}"
    if len(groups) > _SHOWN:
        yield f"and {len(groups) - _SHOWN} more kinds of difference; --json lists all"


def json_report(result: Comparison) -> dict[str, Any]:
    """Return the result as one JSON object."""
    return {
        "v": 1,
        "exit": result.exit_code,
        "captures": result.captures,
        "exchanges": result.exchanges,
        "outcomes": result.outcomes,
        "same": result.same,
        "different": result.different,
        "weaker": result.lowered,
        "not_compared": result.not_compared,
        "missing": dict(result.missing),
        "unclosed": result.unclosed,
        "cut": result.cut,
        "unsealed": result.unsealed,
        "updated": result.updated,
        "groups": [_json_group(group) for group in result.groups],
    }


def _json_group(group: Group) -> dict[str, Any]:
    example = group.example
    return {
        "rule": group.rule,
        "what": group.what,
        "weaker": group.weaker,
        "count": group.count,
        "example": {
            "file": str(example.file),
            "line": example.line,
            "before": example.before.record() if example.before else None,
            "after": example.after.record() if example.after else None,
        },
    }


def _example(group: Group) -> str:
    side = group.example.example
    words = [] if side is None else [side.server or side.channel, side.tool or side.method]
    file, line = printable(shown_path(group.example.file)), group.example.line
    exchange = f", exchange {side.exchange}" if side is not None else ""
    place = f"({file}:{line})" if line else f"({file}{exchange})"
    return " ".join([*(printable(word) for word in words if word), place])


def shown_path(file: Path) -> str:
    """Return *file* below the current folder where it is there, else as it was given."""
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
