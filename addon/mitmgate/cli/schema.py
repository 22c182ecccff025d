"""``mitmgate schema``: the JSON Schema of policies and packs, for editors."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    pack: Annotated[
        bool, typer.Option("--pack", help="Of packs and the locked layer, not of policies.")
    ] = False,
) -> None:
    """Print the JSON Schema of policy files, so that editors complete and check them.

    A policy names it in its first line: # yaml-language-server: $schema=policy.schema.json

    \b
    Example: mitmgate schema > policy.schema.json
    """
    from mitmgate.policy.schema import pack_schema, policy_schema, schema_text

    typer.echo(schema_text(pack_schema() if pack else policy_schema()), nl=False)
