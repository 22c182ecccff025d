"""``mitmgate capture``: captures to and from other tools' files, checked, and made of a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.lines import printable

if TYPE_CHECKING:
    from mitmgate.serve.importing import Imported

app = typer.Typer(
    help="Captures: to and from other tools' files, looked through for secrets, made of a row.",
    epilog="Example: mitmgate capture verify captures/",
)

_Policy = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The policy; default: the one in force.")
]
_State = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Where mitmgate keeps its state.")
]
_Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]


@app.callback(invoke_without_command=True)
def capture(
    context: typer.Context,
    from_audit: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Make a capture of this row of the audit file."),
    ] = None,
    captures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where `run --capture` writes; default: captures in the state folder.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The new capture; default: ID.jsonl.")
    ] = None,
    state_dir: _State = None,
) -> None:
    """Bring captures to and from other tools' files, look through them, make one of a row.

    \b
    Example: mitmgate capture --from-audit a1b2c3-1f --captures captures/
    """
    if context.invoked_subcommand is not None:
        return
    if from_audit is None:
        print(context.get_help())
        raise typer.Exit(2)
    from mitmgate.cli import state
    from mitmgate.record.excerpt import captures_in, find_excerpt, write_excerpt

    folder = captures or state.state_dir(state_dir) / "captures"
    found = find_excerpt(captures_in(folder), from_audit)
    if found is None:
        raise ConfigError(
            Problem(f"no exchange {printable(from_audit[:80])} is captured here", file=str(folder),
                    hint="bodies are kept by `mitmgate run --capture DIR`; --captures names DIR")
        )  # fmt: skip
    target = out or Path(f"{from_audit.partition('.')[0]}.jsonl")
    write_excerpt(found, target, notes=f"from {from_audit}")
    carried = len({line["exchange"] for line in found.lines if line.get("carried")})
    print(f"{target}: 1 exchange, and {carried} before it that it rests on")
    if not found.complete:
        print("  its end is in another segment, or still to come: what rests on it is not compared")


@app.command("export")
def export(
    capture: Annotated[Path, typer.Argument(help="A capture.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The flow file; default: NAME.mitm.")
    ] = None,
    force: _Force = False,
) -> None:
    """Write a capture as a flow file, which mitmweb, mitmproxy and mitmdump open with -r.

    What is shown has the placeholders of the capture. Imported unchanged it is the same capture.

    \b
    Example: mitmgate capture export captures/a.jsonl --out a.mitm
    """
    from mitmgate.serve.exporting import export_flows

    target = out or capture.with_suffix(".mitm")
    if target.exists() and not force:
        raise ConfigError(
            Problem("is there already", file=str(target),
                    hint="name another with --out, or replace it with --force")
        )  # fmt: skip
    count = export_flows(capture, target)
    print(f"{target}: {count} exchanges")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A flow file of mitmproxy, or a HAR file.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The capture; default: NAME.jsonl.")
    ] = None,
    policy: _Policy = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what can be read of a damaged file.")
    ] = False,
    force: _Force = False,
    state_dir: _State = None,
) -> None:
    """Make a capture of a flow file or a HAR file; its secrets become placeholders.

    The golden file says what the policy decides on it. Exit code: 0, or 2 for unusable input.

    \b
    Example: mitmgate capture import browser.har --out captures/browser.jsonl
    """
    from mitmgate.cli import state
    from mitmgate.serve.importing import How, import_file

    folder = state.state_dir(state_dir)
    rules, _ = state.policy_in_force(policy, folder)
    target = out or source.with_suffix(".jsonl")
    _show(import_file(source, target, rules, How(partial, force, folder)))


def _show(made: Imported) -> None:
    how = "as it was exported" if made.restored else "judged by the policy"
    print(f"{made.capture}: {made.exchanges} exchanges, {how}")
    told = (
        (made.missing, "bodies are not in the file: what rests on them is not compared"),
        (made.skipped, "flows are not HTTP: left out"),
        (made.changed, "flows came from a capture and were changed: their placeholders are words"),
        (made.foreign, "flows came from another capture than the first: the same of theirs"),
    )
    for count, what in told:
        if count:
            print(f"  {count} {what}")
    for problem in made.problems:
        print(f"  left out: {problem}")


@app.command("verify")
def verify(
    paths: Annotated[
        list[Path], typer.Argument(help="Captures, golden, meta and HAR files, or folders.")
    ],
    policy: _Policy = None,
    state_dir: _State = None,
) -> None:
    """Look for secrets that are left in captures; a hook for pre-commit calls it.

    Prints file, line, place and rule, never the text. Exit code: 0 nothing, 1 something is left,
    2 a file cannot be read or is not what its meta file says.

    \b
    Example: mitmgate capture verify captures/
    """
    from mitmgate.cli import state
    from mitmgate.record.verify import files_in, look_at
    from mitmgate.serve.verifying import verifier

    folder = state.state_dir(state_dir)
    rules, _ = state.policy_in_force(policy, folder)
    files = [file for path in paths for file in files_in(path)]
    looked = look_at(files, verifier(rules, folder))
    for leak in looked.found:
        print(leak)
    if looked.problems:
        raise ConfigError(*looked.problems)
    left = len(looked.found)
    print(f"{looked.files} files: " + (f"{left} secrets are left" if left else "nothing is left"))
    raise typer.Exit(looked.exit_code)
