"""``mitmgate policy``: the policy of a running proxy; reload it, confirm one that loosens."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any

import typer

from mitmgate.cli.operator import KeyOption, StateOption, call_gate, operator_key
from mitmgate.errors import ConfigError, Problem

app = typer.Typer(
    help="The policy of a running proxy.",
    epilog="Example: mitmgate policy show",
    no_args_is_help=True,
)
REFUSED = 1


@app.command()
def show(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the policy in force, and one that waits for an operator.

    \b
    Example: mitmgate policy show --json
    """
    _print(call_gate("GET", "/v1/policy", state, key=None), as_json=as_json)


@app.command()
def reload(
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read the policy again now; the proxy also does it when the file changes, and on SIGHUP.

    Exit code 0: in force, unchanged, or waiting for an operator; 1: refused, the old one counts.

    \b
    Example: mitmgate policy reload
    """
    answer = call_gate("POST", "/v1/policy/reload", state, key=None)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
    else:
        typer.echo(answer["result"])
        _print(answer["view"], as_json=False)
    raise typer.Exit(REFUSED if answer["result"] == "refused" else 0)


@app.command()
def confirm(
    policy: Annotated[
        str | None, typer.Argument(metavar="HASH", help="The hash that `policy show` tells.")
    ] = None,
    state: StateOption = None,
    key_file: KeyOption = None,
) -> None:
    """Put a policy in force that lets through more than the one before. Needs the operator key.

    \b
    Example: MITMGATE_OPERATOR_KEY=... mitmgate policy confirm
    """
    key = operator_key(key_file)
    view = call_gate("GET", "/v1/policy", state, key=None)
    if view["waiting"] is None:
        raise ConfigError(Problem("no policy waits", hint="see `mitmgate policy show`"))
    if policy is None:
        _print(view, as_json=False)
    body = {"policy": policy or view["waiting"], "operator": getpass.getuser()[:100]}
    answer = call_gate("POST", "/v1/policy/confirm", state, key=key, body=body)
    typer.echo(f"in force: {answer['view']['policy']}")


def _print(view: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(view, ensure_ascii=False))
        return
    typer.echo(f"policy   {view['policy']} ({view['rules']} rules, {view['mode']})")
    typer.echo(f"source   {view['source']}")
    if view["problem"]:
        typer.echo(f"problem  {view['problem']}")
    if view["waiting"]:
        typer.echo(f"waiting  {view['waiting']}")
        for change in view["changes"]:
            typer.echo(f"  loosens: {change}")
