"""``mitmgate ca``: where the certificate authority is, and what it can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitmgate.cli.state import state_dir

if TYPE_CHECKING:
    from mitmgate.ca.authority import Authority

app = typer.Typer(
    no_args_is_help=True,
    epilog="Example: mitmgate ca show",
    help="Show the certificate authority that mitmgate signs with.",
)

StateDirOption = Annotated[
    Path | None, typer.Option("--state-dir", help="Where mitmgate keeps its files.")
]


@app.command()
def path(state: StateDirOption = None) -> None:
    """Print the path of the CA certificate, and nothing else.

    \b
    Example: export NODE_EXTRA_CA_CERTS="$(mitmgate ca path)"
    """
    typer.echo(_authority(state).cert_path)


@app.command()
def show(state: StateDirOption = None) -> None:
    """Say which CA this is, until when, and what its key can do.

    \b
    Example: mitmgate ca show
    """
    typer.echo(describe(_authority(state)))


def describe(authority: Authority) -> str:
    """Return what a person should know about *authority* before trusting it."""
    first, last = (day.date() for day in (authority.not_before, authority.not_after))
    return "\n".join(
        [
            f"subject      {authority.subject}",
            f"sha256       {authority.fingerprint}",
            f"valid        {first} to {last}",
            f"certificate  {authority.cert_path}",
            f"key          {authority.key_path}",
            "",
            "Whoever holds the key can pretend to be any web site to every program that trusts",
            "this certificate. Give away the certificate; the key never leaves this machine.",
            "",
            'To make this shell trust and use the proxy, run: eval "$(mitmgate env)"',
        ]
    )


def _authority(option: Path | None) -> Authority:
    from mitmgate.ca.authority import ensure_ca

    return ensure_ca(state_dir(option) / "ca")
