"""``mitmgate audit``: what was decided, who approved it, how it ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from mitmgate.query.join import Entry
    from mitmgate.query.records import Damage

app = typer.Typer(
    help="Look at the audit file: every decision, in order.",
    no_args_is_help=True,
    epilog="Example: mitmgate audit tail --follow",
)

_POLL_SECONDS = 0.2
StateDir = Annotated[Path | None, typer.Option(help="Where mitmgate keeps its state.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]


@app.command()
def tail(
    lines: Annotated[int, typer.Option("-n", min=0, help="How many decisions to show.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as new ones are made; Ctrl-C ends it.")
    ] = False,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> None:
    """Show the last decisions, each with who answered it and how it ended.

    Exit code: 0; 2 if there is no audit file or a line of it is damaged.

    \b
    Example: mitmgate audit tail -n 50 --follow
    """
    from mitmgate.query.filters import Filters
    from mitmgate.query.join import join, last
    from mitmgate.query.records import read_records

    path = audit_file(state_dir)
    # Where following begins is fixed first: what is written meanwhile is shown later, not lost.
    start = path.stat().st_size if follow and path.exists() else 0
    report = _Damages(path)
    entries = last(join(read_records(path), Filters(), report), lines)
    _print(entries, as_json=as_json)
    if follow:
        _follow(path, start, report, as_json=as_json)
    raise typer.Exit(report.exit_code)


@app.command()
def query(
    since: Annotated[
        str | None, typer.Option(help="Only from then on: 30m, 1h, 7d or a date and time.")
    ] = None,
    verdict: Annotated[
        Literal["allow", "ask", "deny"] | None, typer.Option(help="Only this verdict.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent (* and ? allowed).")] = None,
    server: Annotated[str | None, typer.Option(help="Only this server of the policy.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only this tool, prompt or resource.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only what this rule decided.")] = None,
    host: Annotated[str | None, typer.Option(help="Only this host.")] = None,
    method: Annotated[str | None, typer.Option(help="Only this MCP or HTTP method.")] = None,
    as_json: AsJson = False,
    state_dir: StateDir = None,
) -> None:
    """Show the decisions that all given options select.

    Exit code: 0, also when nothing matches; 2 if there is no audit file or a line is damaged.

    \b
    Example: mitmgate audit query --since 1h --verdict deny --server github
    """
    from mitmgate.query.filters import Filters
    from mitmgate.query.join import join
    from mitmgate.query.records import read_records

    filters = Filters(_since(since), verdict, agent, server, tool, rule, host, method)
    path = audit_file(state_dir)
    report = _Damages(path)
    _print(join(read_records(path), filters, report), as_json=as_json)
    raise typer.Exit(report.exit_code)


def audit_file(state_dir: Path | None) -> Path:
    """Return the path of the audit file in the state folder."""
    from mitmgate.cli import state

    return state.state_dir(state_dir) / "audit" / "audit.jsonl"


class _Damages:
    """Reports damaged lines as they are met, and remembers that there were some."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.exit_code = 0

    def __call__(self, damage: Damage) -> None:
        from mitmgate.errors import Problem

        if not damage.noted:  # a proxy that was killed or lost power says so when it starts again
            self.exit_code = 2
        problem = Problem(
            damage.message,
            file=str(self._path),
            line=damage.line,
            hint="left out; the other lines are shown",
        )
        print(f"{'warning' if damage.noted else 'error'}: {problem}", file=sys.stderr)


def _print(entries: Iterable[Entry], *, as_json: bool) -> None:
    from mitmgate.query.show import entry_json, entry_line
    from mitmgate.record.lines import encode_line

    for entry in entries:
        if as_json:
            print(encode_line(entry_json(entry)).decode(), end="")
        else:
            print(entry_line(entry))


def _follow(path: Path, start: int, report: Callable[[Damage], None], *, as_json: bool) -> None:
    from threading import Event

    from mitmgate.query.records import Damage, follow_records
    from mitmgate.query.show import record_line
    from mitmgate.record.lines import encode_line

    pause = Event()
    sys.stdout.flush()
    try:
        for record in follow_records(path, lambda: not pause.wait(_POLL_SECONDS), skip=start):
            if isinstance(record, Damage):
                report(record)
            elif as_json:
                print(encode_line(record).decode(), end="", flush=True)
            elif (line := record_line(record)) is not None:
                print(line, flush=True)
    except KeyboardInterrupt:
        return


def _since(text: str | None) -> str | None:
    from mitmgate.errors import ConfigError, Problem
    from mitmgate.query.filters import parse_since
    from mitmgate.record.lines import timestamp

    if text is None:
        return None
    try:
        return timestamp(parse_since(text, now=time.time()))
    except (ValueError, OverflowError) as error:
        raise ConfigError(Problem(str(error), key="--since")) from None
