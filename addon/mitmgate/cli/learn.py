"""``mitmgate learn``: rules for what was asked, approved and denied, as a patch to read."""

from __future__ import annotations

import difflib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.policy.load import ReadPolicy
    from mitmgate.query.learn import Lessons

_MOST_LINES = 50


@dataclass(frozen=True, slots=True)
class Lesson:
    """The rules that are proposed, and the policy with them in it.

    ``loosens`` are sentences on what it lets through more, ``other`` the hosts on which it still
    says something else than a person did.
    """

    rules: list[dict[str, Any]]
    left_out: list[str]
    loosens: list[str]
    other: list[str]
    patch: str
    folder: str = ""


def learn(
    since: Annotated[
        str, typer.Option(help="From then on: 30m, 1h, 7d or a date and time.")
    ] = "1d",
    agent: Annotated[str | None, typer.Option(help="Only this agent (* and ? allowed).")] = None,
    policy: Annotated[Path | None, typer.Option(help="The policy; else the one in force.")] = None,
    locked: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The locked layer; else /etc/mitmgate/locked.yaml."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Where mitmgate keeps its state.")] = None,
) -> None:
    """Propose the narrowest egress rules for what was asked, approved and denied, as a patch.

    Nothing is changed. What a person approved becomes an allow, what a person denied a deny; what
    no rule was for becomes an ask, or an allow where it was let through.

    \b
    Example: mitmgate learn --since 1d > learned.patch
    """
    lesson = _lesson(since, agent, (policy, locked), state_dir)
    if as_json:
        typer.echo(json.dumps(
            {"rules": lesson.rules, "left_out": lesson.left_out, "loosens": lesson.loosens,
             "still_other": lesson.other, "patch": lesson.patch}, indent=2))  # fmt: skip
        return
    typer.echo("\n".join(lines(lesson)))


def lines(lesson: Lesson) -> Iterator[str]:
    """Yield the patch, below comments on what it does; `patch` passes over these."""
    count = len(lesson.rules)
    yield f"# {count or 'no'} rule{'' if count == 1 else 's'} proposed; nothing was changed."
    yield from _told("left out", lesson.left_out)
    yield from _told("loosens", lesson.loosens)
    yield from _told("not settled, since another rule decides", lesson.other)
    if lesson.patch:
        yield f"# read it, and apply it in {lesson.folder} with: patch < FILE"
        yield lesson.patch.rstrip("\n")


def _told(word: str, texts: list[str]) -> Iterator[str]:
    yield from (f"# {word}: {text}" for text in texts[:_MOST_LINES])
    if len(texts) > _MOST_LINES:
        yield f"# {word}: {len(texts) - _MOST_LINES} more"


def _lesson(
    since: str, agent: str | None, policy: tuple[Path | None, Path | None], state: Path | None
) -> Lesson:
    from mitmgate.cli.state import POLICY_FILE, policy_source, state_dir

    folder = state_dir(state)
    source = policy_source(policy[0], folder, policy[1])
    read = source.read()[0]
    found = _found(folder, since, agent)
    path = source.path or folder / POLICY_FILE
    return _written(read, found, path, (source.path is None, source.locked))


def _found(folder: Path, since: str, agent: str | None) -> Lessons:
    from mitmgate.query.filters import Filters, parse_since
    from mitmgate.query.join import join
    from mitmgate.query.learn import lessons
    from mitmgate.query.records import Damage, read_records
    from mitmgate.record.lines import timestamp

    try:
        start = timestamp(parse_since(since, now=time.time()))
    except (ValueError, OverflowError) as error:
        raise ConfigError(Problem(str(error), key="--since")) from None
    damaged: list[Damage] = []
    records = read_records(folder / "audit" / "audit.jsonl")
    found = lessons(join(records, Filters(since=start, agent=agent), damaged.append))
    for _ in damaged:
        found.leave_out("a damaged line of the audit file")
    return found


def _written(
    read: ReadPolicy, found: Lessons, path: Path, layers: tuple[bool, Path | None]
) -> Lesson:
    from mitmgate.policy.crosschecks import rule_ids
    from mitmgate.policy.load import load_policy, starter_text
    from mitmgate.policy.loosening import loosened
    from mitmgate.query.learn import placed, still_other
    from mitmgate.record.lines import printable
    from mitmgate.strictyaml import read_file

    is_new, locked = layers
    left_out = [f"{printable(why)} ({count} times)" for why, count in found.left_out.items()]
    if not found.groups:
        return Lesson([], left_out, [], [], "")
    text = starter_text() if is_new else read_file(path)
    old = (read.document.value.get("egress") or {}).get("rules") or []
    documents = [read.document, *(one.document for one in (*read.packs, *read.locked))]
    taken = [rule_id for one in documents for _, rule_id in rule_ids(one)]
    new_rules = placed(read.policy, found, len(old), taken)
    changed = _inserted(text, old, new_rules, str(path))
    new = load_policy(changed, file=str(path), base=path.parent, locked=locked)
    return Lesson(
        [rule for place in sorted(new_rules) for rule in new_rules[place]],
        left_out,
        list(loosened(read.policy, new)),
        still_other(new, found),
        _diff("" if is_new else text, changed, path, is_new=is_new),
        str(path.parent),
    )


def _inserted(text: str, old: list[Any], new: dict[int, list[dict[str, Any]]], file: str) -> str:
    """Return the policy *text* with the rules *new* above the places that they are given by."""
    from mitmgate.strictyaml import load
    from mitmgate.strictyaml.edit import with_value

    where = ("egress", "rules")
    changed = with_value(text, where, [*old, *new.get(len(old), [])], file=file)
    whole = [rule for n, one in enumerate([*old, None]) for rule in (*new.get(n, []), one) if rule]
    places = load(changed, file=file).lines
    lines = io.StringIO(changed, newline="\n").readlines()
    for number in sorted(set(new) - {len(old)}, reverse=True):
        at = places[*where, number] - 1
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip(" "))]
        while at and lines[at - 1].lstrip(" ").startswith("#"):
            at -= 1  # a comment belongs to what is below it
        lines[at:at] = [f"{indent}- {_flow(rule)}\n" for rule in new[number]]
    try:
        if load("".join(lines), file=file).value["egress"]["rules"] == whole:
            return "".join(lines)
    except ConfigError:
        pass  # the rules do not stand one below the other
    return with_value(text, where, whole, file=file)


def _flow(rule: dict[str, Any]) -> str:
    # JSON is YAML, and no text in it can be taken for something else.
    return f"{{{', '.join(f'{key}: {json.dumps(value)}' for key, value in rule.items())}}}"


def _diff(old: str, new: str, path: Path, *, is_new: bool) -> str:
    # Other line ends than \n are none to `patch`, and it takes no absolute names.
    before, after = (io.StringIO(text, newline="\n").readlines() for text in (old, new))
    from_name = "/dev/null" if is_new else path.name
    parts = difflib.unified_diff(before, after, from_name, path.name)
    ended = (part if part.endswith("\n") else f"{part}\n\\ No newline at end of file\n"
             for part in parts)  # fmt: skip
    return "".join(ended)
