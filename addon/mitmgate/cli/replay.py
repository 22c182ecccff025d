"""``mitmgate replay``: recorded traffic through the rules of today."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mitmgate.policy.load import Policy
    from mitmgate.policy.source import PolicySource
    from mitmgate.replay.compare import Comparison
    from mitmgate.replay.coverage import Coverage
    from mitmgate.serve.replaying import Accept

WEAKER = 3
_DIFFERENT = "If this is what you meant: run it again with --update to accept it."
_WEAKER = (
    "These let more through than before; --update alone does not accept them. If you mean it: "
    "run it again with --update --accept-weaker."
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
    accept_weaker: Annotated[
        bool, typer.Option("--accept-weaker", help="With --update: accept weaker ones too.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER",
            help="Compare only these outcomes, such as 'server:files v:deny !tool:get_*'.",
        ),
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Tell which rules decided, and which never did.")
    ] = False,
    fail_under: Annotated[
        float | None,
        typer.Option(min=0, max=100, help="With --coverage: exit 1 below this percentage."),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the outcomes to this file as JUnit XML.")
    ] = None,
    github: Annotated[
        bool,
        typer.Option("--github", help="Print annotations; default: where GITHUB_ACTIONS is true."),
    ] = False,
    live: Annotated[
        bool,
        typer.Option("--live", help="Then play the clients' side through a proxy, too."),
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
    from mitmgate.replay.coverage import Coverage

    _check(update=update, accept_weaker=accept_weaker, coverage=coverage, fail_under=fail_under)
    rules, source = state.policy_in_force(policy, state.state_dir(state_dir))
    accept: Accept = "nothing"
    if update:
        accept = "weaker" if accept_weaker else "different"
    watch = Coverage() if coverage else None
    with ExitStack() as stack:
        read = _captures_of(paths, rules, stack)
        compared = _run(read, rules, only, junit, accept, watch)
        if github or os.environ.get("GITHUB_ACTIONS") == "true":
            _annotate(compared)
        _show(compared, source, watch, as_json=as_json)
        code = 0 if compared.updated else compared.exit_code
        if watch is not None and fail_under is not None and watch.percent < fail_under:
            code = code or 1
        if live:
            whence = state.policy_source(policy, state.state_dir(state_dir))
            code = _played(read, whence, code, as_json=as_json)
    raise typer.Exit(code)


def _check(*, update: bool, accept_weaker: bool, coverage: bool, fail_under: float | None) -> None:
    if accept_weaker and not update:
        raise ConfigError(
            Problem("--accept-weaker goes with --update", hint="name both, or neither")
        )
    if fail_under is not None and not coverage:
        raise ConfigError(Problem("--fail-under goes with --coverage", hint="name both"))


def _played(read: Mapping[Path, Path], source: PolicySource, code: int, *, as_json: bool) -> int:
    """Play what was replayed to *code*; return the exit code of both: what is weaker wins."""
    from mitmgate.cli.replay_live import play

    try:
        return max(code, play(read, source, as_json=as_json))
    except ConfigError as error:
        if code < WEAKER:
            raise
        for problem in error.problems:
            typer.echo(f"error: {problem}", err=True)
        return code


def _run(
    read: Mapping[Path, Path],
    rules: Policy,
    only: str | None,
    junit: Path | None,
    accept: Accept,
    watch: Coverage | None,
) -> Comparison:
    from mitmgate.replay.junit import JUnit
    from mitmgate.replay.words import only as chosen
    from mitmgate.serve.replaying import run_files

    words = None if only is None else chosen(only)
    with ExitStack() as stack:
        report = None
        if junit is not None:
            report = JUnit(junit)
            stack.callback(report.discard)
        hear = None if report is None else report.hear
        compared = run_files(read, rules, only=words, watch=watch, accept=accept, hear=hear)
        if compared.updated:
            _keep_golden(read)
        if report is not None:
            report.close()
    return compared


def _captures_of(paths: Sequence[Path], rules: Policy, stack: ExitStack) -> dict[Path, Path]:
    """Return what to replay and what it was made of; flow and HAR files are imported first."""
    from mitmgate.serve.importing import as_capture, is_foreign

    read: dict[Path, Path] = {}
    for number, path in enumerate(paths):
        made = path
        if path.suffix != ".jsonl" and is_foreign(path):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mitmgate-"))
            try:
                made = as_capture(path, Path(folder, str(number)), rules)
            except ConfigError as error:
                raise _named(error, folder, path) from None
        read[made] = path
    return read


def _named(error: ConfigError, folder: str, path: Path) -> ConfigError:
    """Return *error* with *path* in the place of what was made of it in *folder*."""
    return ConfigError(*(
        replace(problem, file=str(path), line=None)
        if (problem.file or "").startswith(folder) else problem
        for problem in error.problems
    ))  # fmt: skip


def _keep_golden(read: Mapping[Path, Path]) -> None:
    """Put the new golden files of what was imported beside the files that it was made of."""
    from mitmgate.record.capture import golden_path
    from mitmgate.record.meta import replace_file

    for made, path in read.items():
        if made != path:
            beside = golden_path(path.with_suffix(".jsonl"))
            replace_file(beside, [golden_path(made).read_bytes()])


def _annotate(result: Comparison) -> None:
    from mitmgate.replay.annotate import commands

    for line in commands(result):
        typer.echo(line, err=True)


def _show(result: Comparison, source: str, watch: Coverage | None, *, as_json: bool) -> None:
    from mitmgate.record.lines import encode_line
    from mitmgate.replay.report import json_report, text_report

    if as_json:
        more = {} if watch is None else {"coverage": watch.record()}
        print(encode_line(json_report(result) | more).decode(), end="")
        return
    print(f"policy: {source}")
    for line in text_report(result):
        print(line)
    for line in () if watch is None else watch.text():
        print(line)
    if result.updated:
        print("golden files written; commit them with the policy.")
    elif result.lowered:
        print(_WEAKER)
    elif result.different:
        print(_DIFFERENT)
