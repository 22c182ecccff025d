"""Writes ``docs/cli.md`` from the commands themselves: ``python -m mitmgate.cli.reference``.

Nothing here depends on the terminal, so that the page is the same wherever it is made.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer
from typer.core import TyperCommand, TyperGroup

from mitmgate.cli.app import app

_INTRODUCTION = """\
<!-- Made by `make docs` from the commands themselves. Change the text there. -->

# The commands

Every command takes `-h` and `--help`; `mitmgate --version` prints the version. The console has a
command of its own, `mitmgate-tui`: see [the console](console.md). A failure is one line for each
problem on standard error: `error: <file>:<line>: <key>: <what> (<what to do>)`.

## Exit codes

| code | meaning |
|---|---|
| 0 | done; `explain`: allow; `replay`: the same outcomes |
| 1 | `replay`: different outcomes, none weaker; `scan`: something was found; `rules test`: noise; \
`demo`: something did not come out as told |
| 2 | the usage or a file is wrong; `replay`: unusable input; `scan`: not everything could be seen |
| 3 | `explain`: ask; `replay`: weaker, something gets through that did not before |
| 4 | `explain`: deny |
| 70 | mitmgate crashed: our mistake |
| 130 | Ctrl-C at a question, or in a console that `mitmgate run` brought along |

## Environment

| variable | meaning |
|---|---|
| `MITMGATE_STATE_DIR` | the state folder, where `--state-dir` does not say it |
| `XDG_STATE_HOME` | the folder to keep `mitmgate/` in; else `~/.local/state` |
| `MITMGATE_OPERATOR_KEY` | the operator key, where `--operator-key-file` does not say it |
| `NO_COLOR` | no colours in the console |

## The state folder

Readable by its owner only; `run` and `env` make it.

| file | what it is |
|---|---|
| `policy.yaml` | [the policy](policy.md), unless `--policy` names another; else the starter |
| `ca/` | the CA and the bundles for agents; [its key never leaves](../certs/README.md) |
| `audit/audit.jsonl` | [every decision](audit.md) |
| `servers.json` | [the MCP servers that were seen](servers.md) |
| `control.sock` | where the console and the commands reach the running proxy |
| `canaries.json` | the planted canaries: `mitmgate canary` |
| `hash.key` | the key of the hashes in the audit file |
| `run.json`, `run.lock` | where the running proxy listens, and that there is one |
| `upstream-roots.pem` | what `--upstream-ca` adds up to |
"""


def reference() -> str:
    """Return the reference page of all commands."""
    root = typer.main.get_command(app)
    pages = [_page(name, command) for name, command in commands(root, "mitmgate")]
    return "\n".join([_INTRODUCTION, *pages])


def commands(command: object, name: str) -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command below *command* that does something, by its full name."""
    if isinstance(command, TyperGroup):
        for word, child in command.commands.items():
            yield from commands(child, f"{name} {word}")
    elif isinstance(command, TyperCommand):
        yield name, command


def _page(name: str, command: TyperCommand) -> str:
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [record for record in records if record is not None and "--help" not in record[0]]
    parts = [f"## {name}", f"```\n{usage}\n```", *_prose(command.help or "")]
    if rows:
        table = [f"| `{_cell(left)}` | {_cell(right)} |" for left, right in rows]
        parts.append("\n".join(["| option | meaning |", "|---|---|", *table]))
    return "\n\n".join(parts) + "\n"


def _prose(text: str) -> list[str]:
    """Return the paragraphs of a help text; the examples after ``\\b`` become a block."""
    parts = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b"):
            lines = [
                line.strip().removeprefix("Example:").strip() for line in paragraph.splitlines()
            ]
            parts.append("\n".join(["```sh", *(line for line in lines if line.strip("\b")), "```"]))
        else:
            parts.append(paragraph)
    return parts


def _cell(text: str) -> str:
    return text.replace("  [", " [").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference())
