"""``mitmgate packs``: the packs of rules and the starter policies, to read or to copy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Annotated

import typer

from mitmgate.errors import ConfigError, Problem

STARTERS = ("observe", "balanced", "strict")
"""Policies to begin with, from the one that stops nothing to the one that stops most."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that is shipped. ``rules`` counts those of the packs that it extends, too."""

    name: str
    description: str
    rules: int
    text: str


def packs(
    name: Annotated[
        str | None, typer.Argument(help="Print the YAML of this pack or starter policy.")
    ] = None,
    starters: Annotated[
        bool, typer.Option("--starters", help="List the policies to begin with, not the packs.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the packs of rules that a policy can extend, or print one.

    \b
    Example: mitmgate packs balanced > policy.yaml
    """
    if name is not None:
        _print_one(_named(name), as_json=as_json)
        return
    found = list(shipped_starters() if starters else shipped_rules())
    if as_json:
        typer.echo(json.dumps([{k: v for k, v in asdict(one).items() if k != "text"}
                               for one in found], indent=2))  # fmt: skip
        return
    typer.echo("\n".join(listing(found)))


def listing(found: list[Shipped]) -> Iterator[str]:
    """Yield a line for each of *found*, in columns."""
    width = max(len(one.name) for one in found)
    for one in found:
        rules = "1 rule" if one.rules == 1 else f"{one.rules} rules"
        yield f"{one.name:{width}}  {rules:>8}  {one.description}"


def shipped_rules() -> Iterator[Shipped]:
    """Yield the packs that are shipped, in the order of their names."""
    from mitmgate.policy.layers import read_layer, shipped_packs

    for name in shipped_packs():
        text = _text("rulesets", name)
        file = read_layer(text, name, None, []).file
        if file is not None:
            count = len(file.mcp.rules) + len(file.egress.rules)
            yield Shipped(name, file.description or "", count, text)


def shipped_starters() -> Iterator[Shipped]:
    """Yield the starter policies; the first line of each says what it is for."""
    from mitmgate.policy.load import read_policy

    for name in STARTERS:
        text = _text("policies", name)
        policy = read_policy(text, file=f"{name}.yaml").policy
        described = text.partition("\n")[0].removeprefix("# ")
        yield Shipped(name, described, policy.rule_count, text)


def _named(name: str) -> Shipped:
    """Return what is shipped as *name*, or raise ConfigError with the nearest name."""
    from mitmgate.policy.layers import shipped_packs
    from mitmgate.strictyaml import did_you_mean

    known = (*shipped_packs(), *STARTERS)
    if name not in known:
        nearest = did_you_mean(name, known)
        hint = f"did you mean {nearest}?" if nearest else "mitmgate packs lists them"
        raise ConfigError(Problem(f"there is no pack {name!r}", key="packs", hint=hint))
    every = shipped_starters() if name in STARTERS else shipped_rules()
    return next(one for one in every if one.name == name)


def _print_one(one: Shipped, *, as_json: bool) -> None:
    typer.echo(json.dumps(asdict(one), indent=2) if as_json else one.text, nl=as_json)


def _text(folder: str, name: str) -> str:
    file = resources.files("mitmgate_rules").joinpath(folder, f"{name}.yaml")
    return file.read_bytes().decode("utf-8")
