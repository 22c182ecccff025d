"""``mitmgate canary``: credentials that open nothing, to plant where only a thief would look."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mitmgate.cli.state import state_dir
from mitmgate.errors import ConfigError, Problem
from mitmgate.strictyaml import did_you_mean

app = typer.Typer(
    help="Plant credentials as bait; any sight of one in traffic is critical.",
    no_args_is_help=True,
    epilog='Example: mitmgate canary new github --at "~/.git-credentials on build-3"',
)

StateOption = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Where mitmgate keeps its files.")
]
_LONGEST_PLACE = 200


@app.command()
def new(
    kind: Annotated[
        str, typer.Argument(help="What it looks like; `mitmgate canary kinds` lists them.")
    ],
    at: Annotated[
        str, typer.Option("--at", metavar="PLACE", help="Where you plant it; findings say it.")
    ],
    state: StateOption = None,
) -> None:
    """Make a canary and print it, this once. A running proxy looks for it at once.

    \b
    Example: mitmgate canary new aws --at "the .env of the billing service"
    """
    from mitmgate.scan.canary import KINDS, Canary, canary_name, canary_values
    from mitmgate.serve.canaries import canaries_locked, load_canaries, save_canaries

    if kind not in KINDS:
        nearest = did_you_mean(kind, KINDS)
        hint = f"did you mean {nearest}?" if nearest else f"there are {', '.join(sorted(KINDS))}"
        raise ConfigError(Problem(f"there is no kind {kind!r}", key="KIND", hint=hint))
    place = _place(at)
    folder = state_dir(state)
    with canaries_locked(folder):
        planted = load_canaries(folder)
        name = canary_name(place, (one.name for one in planted))
        today = datetime.now(UTC).date().isoformat()
        canary = Canary(name, kind, canary_values(kind), place, today)
        save_canaries(folder, [*planted, canary])
    for value in canary.values:
        typer.echo(value)
    typer.echo(f"planted as {name}: put it at {place}; it is not shown again", err=True)


@app.command()
def kinds() -> None:
    """List what a canary can look like.

    \b
    Example: mitmgate canary kinds
    """
    from mitmgate.scan.canary import KINDS

    typer.echo("\n".join(sorted(KINDS)))


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    state: StateOption = None,
) -> None:
    """List what is planted and where, without the credentials.

    \b
    Example: mitmgate canary list --json
    """
    from mitmgate.serve.canaries import load_canaries

    planted = load_canaries(state_dir(state))
    if as_json:
        shown = [
            {"name": one.name, "kind": one.kind, "place": one.place, "created": one.created}
            for one in planted
        ]
        typer.echo(json.dumps(shown, indent=2))
        return
    if not planted:
        typer.echo("no canaries are planted (mitmgate canary new KIND --at PLACE)", err=True)
        return
    width = max(len(one.name) for one in planted)
    for one in planted:
        typer.echo(f"{one.name:{width}}  {one.kind:12}  {one.created}  {one.place}")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The name of the canary.")], state: StateOption = None
) -> None:
    """Look for a canary no longer. A running proxy goes on until an operator confirms.

    \b
    Example: mitmgate canary remove git-credentials-on-build-3
    """
    from mitmgate.serve.canaries import canaries_locked, load_canaries, save_canaries

    folder = state_dir(state)
    with canaries_locked(folder):
        planted = load_canaries(folder)
        left = [one for one in planted if one.name != name]
        if len(left) == len(planted):
            nearest = did_you_mean(name, [one.name for one in planted])
            hint = f"did you mean {nearest}?" if nearest else "see mitmgate canary list"
            raise ConfigError(Problem(f"there is no canary {name!r}", key="NAME", hint=hint))
        save_canaries(folder, left)
    typer.echo(f"{name} is removed", err=True)


def _place(text: str) -> str:
    place = " ".join(text.split())
    if not place or len(place) > _LONGEST_PLACE or not place.isprintable():
        raise ConfigError(
            Problem(
                f"a place has 1 to {_LONGEST_PLACE} printable characters",
                key="--at",
                hint="say where you plant it, in your own words",
            )
        )
    return place
