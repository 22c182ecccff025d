"""``mitmgate replay``: recorded traffic through the rules of today."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mitmgate.errors import Problem
    from mitmgate.policy.load import Policy
    from mitmgate.replay.compare import Comparison
    from mitmgate.replay.golden import Golden
    from mitmgate.replay.run import Replayed

_DIFFERENT = "If this is what you meant: run it again with --update to accept it."
_WEAKER = (
    "These let more through than before; --update does not accept them. If you mean it, delete "
    "the golden file and write a new one with --update."
)


def replay(
    paths: Annotated[list[Path], typer.Argument(help="Captures, or folders of captures.")],
    policy: Annotated[
        Path | None, typer.Option(help="The policy to judge by; default: the one in force.")
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update", help="Accept the outcomes as the new golden ones, unless any is weaker."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    state_dir: Annotated[Path | None, typer.Option(help="Where mitmgate keeps its state.")] = None,
) -> None:
    """Judge recorded traffic again and show what would now be decided differently.

    Exit code: 0 same, 1 different, 2 unusable input, 3 weaker (a step down deny > ask > allow,
    a lost edit, enforce to shadow); 3 wins over 1. With --update 0, or 3 and nothing is written.

    \b
    Example: mitmgate replay captures/ --policy policy.yaml
    """
    from mitmgate.cli import state

    rules, source = state.policy_in_force(policy, state.state_dir(state_dir))
    compared, goldens = replay_files(paths, rules, update=update)
    written = update and not compared.weaker
    if written:
        from mitmgate.replay.golden import write_golden

        for path, lines in goldens:
            write_golden(path, lines)
    _show(compared, source, as_json=as_json, updated=written)
    raise typer.Exit(0 if written else compared.exit_code)


def replay_files(
    paths: list[Path], rules: Policy, *, update: bool = False
) -> tuple[Comparison, list[tuple[Path, list[Golden]]]]:
    """Replay every capture that *paths* name; also returns what ``--update`` would write.

    ConfigError with every problem when any input cannot be used.
    """
    from mitmgate.errors import ConfigError
    from mitmgate.judge.judge import Judge
    from mitmgate.record.capture import golden_path
    from mitmgate.replay.capture import read_capture
    from mitmgate.replay.compare import Comparison
    from mitmgate.replay.golden import read_golden
    from mitmgate.replay.run import replay as run
    from mitmgate.scan.engine import Scanner
    from mitmgate.serve.books import packs_for

    # Hashes only tell equal values apart here, so any key does.
    scanner = Scanner(packs_for(rules), hash_key=os.urandom(32))
    compared = Comparison()
    goldens: list[tuple[Path, list[Golden]]] = []
    problems: list[Problem] = []
    for file in _files(paths, problems):
        try:
            golden = read_golden(golden_path(file))
            if golden is None and not update:
                raise ConfigError(_no_golden(file))
            replayed = run(
                read_capture(file, scanner.sample_for),
                lambda shadow: Judge(rules, scanner, shadow=shadow),
                scanner,
            )
        except ConfigError as error:
            problems += error.problems
            continue
        if replayed.exchanges == 0 and file in paths:
            problems.append(_nothing(file))
        if golden is None:
            golden = replayed.outcomes
        compared.add(file, golden, replayed)
        goldens.append((golden_path(file), _accepted(golden, replayed)))
    if not problems and compared.exchanges == 0:
        problems = [_nothing(path) for path in paths]
    if problems:
        raise ConfigError(*problems)
    return compared, goldens


def _files(paths: list[Path], problems: list[Problem]) -> list[Path]:
    from mitmgate.errors import ConfigError
    from mitmgate.replay.capture import capture_files

    files: list[Path] = []
    for path in paths:
        try:
            files += [file for file in capture_files(path) if file not in files]
        except ConfigError as error:
            problems += error.problems
    return files


def _accepted(golden: dict[int, Golden], replayed: Replayed) -> list[Golden]:
    """Return the new golden lines; what could not be judged again keeps its old one."""
    kept = {
        line: golden[line]
        for line in replayed.uncertain | replayed.lost
        if line in golden and line not in replayed.superseded
    }
    lines = replayed.outcomes | kept
    return [lines[line] for line in sorted(lines)]


def _no_golden(file: Path) -> Problem:
    from mitmgate.errors import Problem

    return Problem(
        "its golden file is missing",
        file=str(file),
        hint="`mitmgate replay --update` writes it from what the policy decides now",
    )


def _nothing(path: Path) -> Problem:
    from mitmgate.errors import Problem

    return Problem(
        "nothing was recorded here",
        file=str(path),
        hint="send traffic through `mitmgate run --capture DIR` and stop it with Ctrl-C",
    )


def _show(result: Comparison, source: str, *, as_json: bool, updated: bool) -> None:
    from mitmgate.record.lines import encode_line
    from mitmgate.replay.report import json_report, text_report

    if as_json:
        print(encode_line(json_report(result, updated=updated)).decode(), end="")
        return
    print(f"policy: {source}")
    for line in text_report(result):
        print(line)
    if updated:
        print("golden files written; commit them with the policy.")
    elif result.weaker:
        print(_WEAKER)
    elif result.differences:
        print(_DIFFERENT)
