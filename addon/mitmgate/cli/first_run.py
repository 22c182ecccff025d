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
    hosts = [api.host for api in model_apis()][:6]
    typer.echo("Egress is denied but for a short list. Which model API may the agent reach?")
    for number, host in enumerate(hosts, start=1):
        typer.echo(f"  {number}  {host}")
    typer.echo("  0  none")
    text = starter_text()
    while True:
        answer = typer.prompt("A number, or another host", default="0").strip()
        if answer == "0":
            break
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
