"""``mitmgate whatif``: what another policy would have done with the traffic of some time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.control.whatif import WhatIfGroup, WhatIfView
    from mitmgate.policy.load import Policy
    from mitmgate.serve.whatif import Traffic

_CURRENT = "current"
_SHOWN = 40
_HINT = "name a longer time with --since, or captures with --captures"


def whatif(
    policy: Annotated[Path, typer.Option(help="The policy to try.")],
    against: Annotated[
        str, typer.Option(metavar="FILE", help="The policy to compare with; `current` is in force.")
    ] = _CURRENT,
    since: Annotated[
        str, typer.Option(help="From then on: 30m, 1h, 7d or a date and time.")
    ] = "7d",
    captures: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Captures of that time, or a folder of them; default: captures in the state "
            "folder. May be repeated.",
        ),
    ] = None,
    locked: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The locked layer; else /etc/mitmgate/locked.yaml."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Where mitmgate keeps its state.")] = None,
) -> None:
    """Show what another policy would have denied, asked for and allowed of the recorded traffic.

    Nothing is changed. What was captured is judged again with its bodies, the rest from the audit
    file, which has none: what only a body tells is undecidable.

    Exit code: 0 nothing changes, 1 something does or may, 2 unusable input, 3 something is newly
    allowed or no longer redacted; 3 wins over 1.

    \b
    Example: mitmgate whatif --policy new.yaml --since 7d
    """
    from mitmgate.cli import state
    from mitmgate.record.lines import encode_line
    from mitmgate.serve.whatif import whatif as ask
    from mitmgate.serve.whatif_view import view_of

    folder = state.state_dir(state_dir)
    before, source = _policy(None if against == _CURRENT else Path(against), folder, locked)
    after, _ = _policy(policy, folder, locked)
    view = view_of(ask(before, after, _traffic(since, captures or [], folder)))
    if not view.decisions:
        raise ConfigError(Problem(f"no decisions since {since}", key="--since", hint=_HINT))
    if as_json:
        print(encode_line(view.model_dump(mode="json")).decode(), end="")
    else:
        print(f"policy: {policy} against {source}")
        print("\n".join(lines(view)))
    if view.damaged:
        print(f"error: {view.damaged} lines of the audit file are damaged and were left out",
              file=sys.stderr)  # fmt: skip
        raise typer.Exit(2)
    raise typer.Exit(view.exit)


def lines(view: WhatIfView) -> Iterator[str]:
    """Yield the lines of the readable report."""
    from mitmgate.control.whatif import sentence

    text = sentence(view)
    yield f"{text[:1].upper()}{text[1:]}."
    if view.with_bodies:
        yield f"{view.with_bodies} of them were judged with their bodies."
    yield from map(_line, view.groups[:_SHOWN])
    if len(view.groups) > _SHOWN:
        yield f"and {len(view.groups) - _SHOWN} more kinds of change; --json lists all"


def _line(group: WhatIfGroup) -> str:
    from mitmgate.control.whatif import words_of
    from mitmgate.record.lines import printable

    what = f"{group.before} → {group.after}" if group.after else group.why
    why = f" ({group.why})" if group.why and group.after else ""
    rule = f"{group.rule}: " if group.rule else ""
    ids = ", ".join(group.examples)
    return printable(f"{words_of(group.kind).upper():<18} {rule}{what}{why}  x{group.count}  "
                     f"e.g. {ids}")  # fmt: skip


def _policy(path: Path | None, folder: Path, locked: Path | None) -> tuple[Policy, str]:
    """Return a policy with the answers for ever, as `run` would read it, and its name."""
    from dataclasses import replace

    from mitmgate.cli.state import policy_source
    from mitmgate.policy.remembered import Kept
    from mitmgate.serve.remembered import FILE as REMEMBERED
    from mitmgate.serve.state import hash_key

    source = policy_source(path, folder, locked)
    if (folder / REMEMBERED).exists():
        source = replace(source, kept=Kept(folder / REMEMBERED, hash_key(folder)))
    return source.read()[0].policy, source.name


def _traffic(since: str, captures: list[Path], folder: Path) -> Traffic:
    from mitmgate.query.filters import parse_since
    from mitmgate.serve.whatif import Traffic

    now = time.time()
    try:
        start = parse_since(since, now=now)
    except (ValueError, OverflowError) as error:
        raise ConfigError(Problem(str(error), key="--since")) from None
    audit, kept = folder / "audit" / "audit.jsonl", folder / "captures"
    if not captures and any(kept.glob("*.jsonl")):
        captures = [kept]
    there = audit.exists() or not captures
    return Traffic(audit if there else None, tuple(captures), start, now)
