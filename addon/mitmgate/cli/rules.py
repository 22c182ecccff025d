"""``mitmgate rules``: what the scanner looks for, and whether a rule of yours is any good."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.scan.packs import Pack
    from mitmgate.scan.rule import Rule

app = typer.Typer(
    help="Look at the rules of the scanner, and try your own.",
    no_args_is_help=True,
    epilog="Example: mitmgate rules list --kind secrets --provider github",
)
_CROWD = 200  # the ordinary texts in which a keyword may stand before it costs too much


@app.command("list")
def list_(
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Only secrets, injection, poisoning or pii."),
    ] = None,
    provider: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of a provider.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the rules that are installed: id, severity, title.

    \b
    Example: mitmgate rules list --kind injection
    """
    from mitmgate.scan.packs import installed_packs

    packs = installed_packs()
    kinds = sorted({pack.detector for pack in packs})
    if kind is not None and kind not in kinds:
        hint = f"there are {', '.join(kinds)}"
        raise ConfigError(Problem(f"there is no kind {kind!r}", key="--kind", hint=hint))
    found = [
        (pack, rule)
        for pack in packs
        for rule in pack.rules
        if kind in (None, rule.detector) and provider in (None, rule.provider)
    ]
    if as_json:
        typer.echo(json.dumps([_brief(pack, rule) for pack, rule in found], indent=2))
        return
    width = max((len(rule.id) for _, rule in found), default=0)
    for _, rule in found:
        typer.echo(f"{rule.id:{width}}  {rule.severity:8}  {rule.title}")


@app.command()
def show(rule_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the rule.")]) -> None:
    """Print all of a rule but the credentials among its samples.

    \b
    Example: mitmgate rules show secret.github-token
    """
    from mitmgate.scan.packs import installed_packs
    from mitmgate.strictyaml import did_you_mean

    packs = {rule.id: (pack, rule) for pack in installed_packs() for rule in pack.rules}
    if rule_id not in packs:
        nearest = did_you_mean(rule_id, packs)
        hint = f"did you mean {nearest}?" if nearest else "see mitmgate rules list"
        raise ConfigError(Problem(f"there is no rule {rule_id!r}", key="ID", hint=hint))
    pack, rule = packs[rule_id]
    for key, value in (_brief(pack, rule) | _details(rule)).items():
        if value not in (None, "", (), [], False):
            typer.echo(f"{key:12}  {', '.join(value) if isinstance(value, list) else value}")


@app.command("test")
def try_(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Packs to try; none: the installed ones.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Say which rules find something in it; - reads it."),
    ] = None,
) -> None:
    """Try packs: their own samples, and the clean samples of every installed rule.

    With --text it is told which rules find something there, and where; never what. Exit 1 where a
    rule finds something in a text that should be clean.

    \b
    Example: mitmgate rules test acme.yaml --text "my key is acme_5f2a9c"
    """
    from mitmgate.scan.packs import installed_packs, load_pack_file
    from mitmgate.scan.stress import refuse_slow

    problems: list[Problem] = []
    packs: list[Pack] = []
    for file in files or ():
        try:
            packs.append(load_pack_file(file))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)
    refuse_slow(packs)
    if text is not None:
        _find(packs or [*installed_packs()], sys.stdin.read() if text == "-" else text)
        return
    noisy = False
    for pack in packs or installed_packs():
        for line in _alarms(pack):
            noisy = True
            typer.echo(line)
        for line in _costs(pack):
            typer.echo(f"warning: {line}", err=True)
        typer.echo(f"ok {pack.name} ({len(pack.rules)} rules, their samples are as they say)")
    if noisy:
        raise typer.Exit(1)


def _brief(pack: Pack, rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "title": rule.title,
        "severity": rule.severity,
        "kind": rule.detector,
        "provider": rule.provider,
        "pack": pack.name,
    }


def _details(rule: Rule) -> dict[str, Any]:
    return {
        "pattern": rule.regex.text,
        "keywords": [word.decode() for word in rule.words],
        "also": [word.decode() for word in rule.also],
        "reach": rule.reach or "all",
        "contains": list(rule.contains),
        "min_distinct": rule.min_distinct,
        "entropy": rule.entropy,
        "unless": [pattern.text for pattern in rule.unless],
        "surfaces": sorted(rule.surfaces or ()),
        "home": list(rule.home),
        "weight": rule.weight if rule.weight < 1 else None,
        "generic": rule.generic,
        "samples": f"{len(rule.match)} found, {len(rule.clean)} clean, "
        f"{len(rule.known_miss)} known to be missed",
        "misses": list(rule.known_miss) if rule.detector != "secrets" else [],
    }


def _find(packs: list[Pack], text: str) -> None:
    from mitmgate.scan.engine import Scanner
    from mitmgate.wire.surfaces import Surface

    scanner = Scanner(packs, hash_key=os.urandom(16))
    seen: set[tuple[str, int, int, str]] = set()
    for surface in Surface:
        for found in scanner.scan_text(surface, "", text):
            place = found.rule, found.start, found.end, found.view
            if place not in seen:
                seen.add(place)
                view = f" as {found.view}" if found.view else ""
                typer.echo(f"{found.rule} {found.start}-{found.end}{view}")
    if not seen:
        typer.echo("nothing is found", err=True)


def _alarms(pack: Pack) -> Iterator[str]:
    """Yield what *pack* finds in the clean samples of all installed rules.

    What is clean for one format may well be a secret to a generic rule.
    """
    from mitmgate.scan.engine import Scanner
    from mitmgate.scan.packs import installed_packs
    from mitmgate.wire.surfaces import Surface

    scanner = Scanner([pack], hash_key=os.urandom(16))
    generic = {rule.id for rule in pack.rules if rule.generic}
    for other in installed_packs():
        for rule in other.rules:
            for number, sample in enumerate(rule.clean):
                found = {f.rule for f in scanner.scan_text(Surface.RESULTS, "", sample)}
                for name in sorted(found - {rule.id} - generic):
                    yield f"{name} finds something in clean sample {number} of {rule.id}"


def _costs(pack: Pack) -> Iterator[str]:
    """Yield the keywords that stand in so many ordinary texts that the gate hardly saves work."""
    from mitmgate.scan.packs import installed_packs

    texts = [
        sample.lower().encode()
        for other in installed_packs()
        if other.name != pack.name
        for rule in other.rules
        for sample in rule.clean
    ]
    for rule in pack.rules:
        for word in rule.words:
            crowd = sum(word in text for text in texts)
            if crowd > _CROWD and not rule.also:
                yield f"{rule.id}: keyword {word.decode()!r} stands in {crowd} ordinary texts; slow"
