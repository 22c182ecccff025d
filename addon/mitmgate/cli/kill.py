"""The shell's side of the kill switch."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from mitmgate.cli.operator import KeyOption, StateOption, call_gate, operator_key, printable
from mitmgate.errors import ConfigError, Problem


def kill(
    lift: Annotated[bool, typer.Option("--lift", help="Let the rules decide again.")] = False,
    reason: Annotated[str | None, typer.Option(help="Recorded, and shown to operators.")] = None,
    state: StateOption = None,
    key_file: KeyOption = None,
) -> None:
    """Deny everything at once: what waits, what is open, and all that comes.

    It stays so over a restart. Needs the operator key; without it, SIGUSR1 to the proxy or a file
    `halt` in its state folder does the same, and only --lift ends it.

    \b
    Example: mitmgate kill --reason "the agent deletes things"
    """
    if reason is not None and len(reason) > 500:
        problem = Problem("is longer than 500 characters", key="--reason", hint="say it shorter")
        raise ConfigError(problem)
    body = {"on": not lift, "reason": reason, "operator": getpass.getuser()[:100], "via": "shell"}
    answer = call_gate("POST", "/v1/switch", state, key=operator_key(key_file), body=body)
    if not answer["on"]:
        typer.echo("The kill switch is off: the rules decide again.")
        return
    by = f" (by {answer['by']})" if answer["by"] else ""
    typer.echo(printable(f"Everything is denied{by}; `mitmgate kill --lift` ends that."))
