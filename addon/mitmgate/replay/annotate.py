"""Differences as annotations of GitHub Actions.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterator

from mitmgate.record.lines import printable
from mitmgate.replay.compare import Comparison, Group
from mitmgate.replay.report import shown_path

_MOST = 10
"""GitHub shows ten of a kind for each step, and drops the others without a word."""


def commands(result: Comparison) -> Iterator[str]:
    """Yield a workflow command for each kind of difference: errors are weaker, warnings are not.

    A notice says what could not be compared, and why.
    """
    for weaker in (True, False):
        kinds = [group for group in result.groups if group.weaker is weaker]
        yield from map(_command, kinds[:_MOST])
    for why, count in result.missing.most_common():
        yield f"::notice title=mitmgate replay%3A not compared::{_data(why)}  x{count}"


def _command(group: Group) -> str:
    example = group.example
    title = "weaker" if group.weaker else "different"
    places = {
        "file": shown_path(example.file),
        "line": str(max(example.line, 1)),
        "title": f"mitmgate replay: {title} ({group.rule})",
    }
    told = ",".join(f"{key}={_property(value)}" for key, value in places.items())
    text = _data(f"{group.what}  x{group.count}")
    return f"::{'error' if group.weaker else 'warning'} {told}::{text}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
