"""All commands, and what their failures look like: 2 for usage and files, 70 for our crash."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from mitmgate import __version__
from mitmgate.cli import (
    agent,
    audit,
    ca,
    canary,
    capture,
    check,
    decide,
    demo,
    env,
    explain,
    indexes,
    kill,
    learn,
    operator,
    packs,
    policy,
    replay,
    rules,
    run,
    scan,
    schema,
    servers,
    whatif,
)
from mitmgate.errors import ConfigError

USAGE = 2
CRASH = 70

_EXAMPLES = """\
mitmgate: a gate on the network path of AI agents.

  mitmgate run                     start the gate, with the console beside it
  mitmgate demo                    a guided minute with a real MCP server and client
  mitmgate explain --server github --tool push_files

All commands: mitmgate --help
"""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See and stop what AI agents do over MCP, and over everything else.",
    epilog="Example: mitmgate demo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mitmgate {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(_EXAMPLES, nl=False)


app.command()(run.run)
app.command()(operator.tui)
app.command()(env.env)
app.command()(check.check)
app.command()(explain.explain)
app.command()(operator.pending)
app.command()(decide.approve)
app.command()(decide.deny)
app.command()(decide.grants)
app.command()(decide.undo)
app.command()(kill.kill)
app.command()(servers.servers)
app.command()(replay.replay)
app.command()(whatif.whatif)
app.command()(packs.packs)
app.command()(indexes.indexes)
app.command()(learn.learn)
app.command()(schema.schema)
app.add_typer(policy.app, name="policy")
app.add_typer(agent.app, name="agent")
app.add_typer(audit.app, name="audit")
app.add_typer(ca.app, name="ca")
app.add_typer(canary.app, name="canary")
app.add_typer(capture.app, name="capture")
app.add_typer(rules.app, name="rules")
app.command()(scan.scan)
app.command()(demo.demo)


def invoke(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    try:
        app(args=arguments, prog_name="mitmgate", standalone_mode=True)
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return USAGE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except BrokenPipeError:
        # Whoever read us has left (a pager, head): nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the last place that can say it well
        _crashed(error)
        return CRASH
    return 0


def _crashed(error: Exception) -> None:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    print(
        f"mitmgate crashed: {type(error).__name__} in {frame.name}, line {frame.lineno}. "
        "This is our mistake: please report it with the command that you ran.",
        file=sys.stderr,
    )
