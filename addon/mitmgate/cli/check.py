"""``mitmgate check``: every problem of policies and rule packs at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mitmgate.errors import ConfigError, Problem


def check(
    files: Annotated[list[Path], typer.Argument(help="Policies and rule packs, YAML.")],
) -> None:
    """Validate policies and rule packs: every problem with file, line and key; exit 2 if any.

    Warnings (rules that can never decide, servers without a rule) leave the exit code at 0.

    \b
    Example: mitmgate check my-policy.yaml
    """
    problems: list[Problem] = []
    for file in files:
        try:
            summary, warnings = _check_file(file)
        except ConfigError as error:
            problems += error.problems
            continue
        for warning in warnings:
            typer.echo(f"warning: {warning}", err=True)
        typer.echo(f"ok {file} ({summary})")
    if problems:
        raise ConfigError(*problems)


def _check_file(path: Path) -> tuple[str, list[Problem]]:
    """Return what *path* holds and the warnings about it, or raise ConfigError."""
    from mitmgate.policy.lint import lint
    from mitmgate.policy.load import load_policy
    from mitmgate.strictyaml import load, read_file

    text = read_file(path)
    document = load(text, file=str(path), past_duplicates=True)
    if isinstance(document.value, dict) and "pack" in document.value:
        from mitmgate.scan.packs import load_pack_file

        return f"pack, {_rules(len(load_pack_file(path).rules))}", []
    policy = load_policy(text, file=str(path))
    return f"policy, {_rules(policy.rule_count)}", lint(policy, document)


def _rules(count: int) -> str:
    return "1 rule" if count == 1 else f"{count} rules"
