"""The one question of the first start on a terminal: which model API the agent may reach."""

from __future__ import annotations

from pathlib import Path

import typer

from mitmgate.cli.state import POLICY_FILE


def ask_model_api(state: Path) -> None:
    """Ask once, and write the answer into ``policy.yaml`` in the folder *state*."""
    from mitmgate.ca.storage import private_folder, write_whole
    from mitmgate.errors import ConfigError
    from mitmgate.policy.load import starter_text, with_model_api
    from mitmgate.policy.models_list import model_apis

    path = state / POLICY_FILE
    if path.exists():
        return
    private_folder(state)
    # A rule for a whole cloud is no answer to this question, so patterns are not offered.
    hosts = [api.host for api in model_apis() if "*" not in api.host][:6]
    typer.echo("First start. An agent may reach a few documentation sites, and nothing else unless")
    typer.echo("a rule opens it. Which model API does it need?")
    for number, host in enumerate(hosts, start=1):
        typer.echo(f"  {number}  {host}")
    typer.echo("  0  none")
    text = starter_text()
    while True:
        try:
            answer = typer.prompt("A number, or another host", default="0").strip()
        except typer.Abort:
            typer.echo("\nNothing was started.")
            raise typer.Exit(130) from None
        if answer == "0":
            break
        if answer.isascii() and answer.isdigit() and int(answer) > len(hosts):
            typer.echo(f"  not a number of this list: 0 to {len(hosts)}, or the name of a host")
            continue
        host = hosts[int(answer) - 1] if answer in map(str, range(1, len(hosts) + 1)) else answer
        try:
            text = with_model_api(text, host)
        except ConfigError as error:
            for problem in error.problems:
                typer.echo(f"  {problem}")
            continue
        break
    write_whole(path, text.encode(), mode=0o600)
    typer.echo(f"Written to {path}. Change it there; `mitmgate check` looks it over.\n")
