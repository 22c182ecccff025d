"""``mitmgate replay``: recorded traffic through the rules of today."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mitmgate.replay.compare import Comparison

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
    a lost edit, enforce to shadow, hidden to visible); 3 wins over 1. With --update 0, or 3 and
    nothing is written.

    \b
    Example: mitmgate replay captures/ --policy policy.yaml
    """
    from mitmgate.cli import state
    from mitmgate.serve.replaying import run_files

    rules, source = state.policy_in_force(policy, state.state_dir(state_dir))
    compared = run_files(paths, rules, accept="different" if update else "nothing")
    _show(compared, source, as_json=as_json)
    raise typer.Exit(0 if compared.updated else compared.exit_code)


def _show(result: Comparison, source: str, *, as_json: bool) -> None:
    from mitmgate.record.lines import encode_line
    from mitmgate.replay.report import json_report, text_report

    if as_json:
        print(encode_line(json_report(result)).decode(), end="")
        return
    print(f"policy: {source}")
    for line in text_report(result):
        print(line)
    if result.updated:
        print("golden files written; commit them with the policy.")
    elif result.weaker:
        print(_WEAKER)
    elif result.differences:
        print(_DIFFERENT)
