"""``mitmgate check``: every problem of policies and rule packs at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mitmgate.errors import ConfigError, Problem


def check(
    files: Annotated[list[Path], typer.Argument(help="Policies and packs of rules, YAML.")],
    locked: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The locked layer; else /etc/mitmgate/locked.yaml."),
    ] = None,
) -> None:
    """Validate policies and rule packs: every problem with file, line and key; exit 2 if any.

    Samples of rules are tried. Warnings (rules that can never decide, that loosen a locked one or
    are very broad, servers without a rule) leave the exit code at 0.

    \b
    Example: mitmgate check my-policy.yaml
    """
    problems: list[Problem] = []
    for file in files:
        try:
            summary, warnings = _check_file(file, locked)
        except ConfigError as error:
            problems += error.problems
            continue
        for warning in warnings:
            typer.echo(f"warning: {warning}", err=True)
        typer.echo(f"ok {file} ({summary})")
    if problems:
        raise ConfigError(*problems)


def _check_file(path: Path, locked: Path | None) -> tuple[str, list[Problem]]:
    """Return what *path* holds and the warnings about it, or raise ConfigError."""
    from mitmgate.policy.models import RulesFile
    from mitmgate.strictyaml import load, read_file

    text = read_file(path)
    document = load(text, file=str(path), past_duplicates=True)
    keys = set(document.value) if isinstance(document.value, dict) else set()
    if "pack" in keys:
        from mitmgate.scan.packs import load_pack_file

        return f"pack of detectors, {_rules(len(load_pack_file(path).rules))}", []
    # A description is what only packs have; without one a file of mere rules is a policy too.
    if "description" in keys and keys <= set(RulesFile.model_fields):
        return _check_pack(path, text)
    return _check_policy(path, text, locked)


def _check_policy(path: Path, text: str, locked: Path | None) -> tuple[str, list[Problem]]:
    from mitmgate.policy.lint import lint
    from mitmgate.policy.load import read_policy
    from mitmgate.policy.models import PolicyFile
    from mitmgate.policy.samples import sample_problems
    from mitmgate.policy.source import locked_file
    from mitmgate.scan.book import RuleBook
    from mitmgate.serve.books import packs_for
    from mitmgate.strictyaml import validate

    read = read_policy(text, file=str(path), base=path.parent, locked=locked_file(locked))
    parsed, _ = validate(PolicyFile, read.document)
    failed = list(sample_problems(read.document, parsed)) if parsed is not None else []
    if failed:
        raise ConfigError(*failed)
    if read.policy.packs:
        RuleBook(packs_for(read.policy))
    layers = f" and {len(read.packs)} packs" if read.packs else ""
    summary = f"policy, {_rules(read.policy.rule_count)}{layers}"
    return summary, lint(read.policy, read.document)


def _check_pack(path: Path, text: str) -> tuple[str, list[Problem]]:
    from mitmgate.policy.crosschecks import locked_problems
    from mitmgate.policy.layers import Loader, read_layer
    from mitmgate.policy.samples import sample_problems

    loader = Loader()
    layer = read_layer(text, path.name, path, loader.problems)
    loader.extend(layer.document, path.parent, (str(path.resolve()),))
    documents = [layer.document, *(one.document for one in loader.layers)]
    problems = [*loader.problems, *locked_problems(documents)]
    if layer.file is not None:
        problems += sample_problems(layer.document, layer.file)
    if problems or layer.file is None:
        raise ConfigError(*problems)
    return f"pack of rules, {_rules(len(layer.file.mcp.rules) + len(layer.file.egress.rules))}", []


def _rules(count: int) -> str:
    return "1 rule" if count == 1 else f"{count} rules"
