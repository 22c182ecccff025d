"""The shell's side of the control API: what waits, the console, and how to reach the proxy."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mitmgate.cli.state import SOCKET_FILE, state_dir
from mitmgate.errors import ConfigError, Problem

KEY_VARIABLE = "MITMGATE_OPERATOR_KEY"

StateOption = Annotated[
    Path | None, typer.Option("--state-dir", metavar="DIR", help="Where mitmgate keeps its files.")
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--operator-key-file", metavar="FILE", help=f"The operator key; else ${KEY_VARIABLE}."
    ),
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The id that `pending` shows.")]


def pending(
    state: StateOption = None,
    key_file: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the calls that wait for a person, and those whose client has given up.

    Equal calls are marked with how many they are (x3). With the operator key it also shows what
    they ask for.

    \b
    Example: mitmgate pending --json
    """
    answer = call_gate("GET", "/v1/pending", state, key=operator_key(key_file, needed=False))
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    entries = answer["pending"]
    if not entries:
        typer.echo("Nothing waits.")
    for entry in entries:
        typer.echo(_entry(entry))


def tui(state: StateOption = None, key_file: KeyOption = None) -> None:
    """Attach the console to a running proxy.

    Without the operator key it only watches. The key is in the ready line of a headless
    `mitmgate run`; one that has its own console opens it again when you press Enter there.

    \b
    Example: MITMGATE_OPERATOR_KEY=... mitmgate tui
    """
    command = [sys.executable, "-m", "mitmgate_tui", "--state-dir", str(state_dir(state))]
    if key_file is not None:
        command += ["--operator-key-file", str(key_file)]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606 - our own console, no shell in between


def read_key_file(path: Path) -> str:
    """Return the operator key in *path*; raise ConfigError where there is none to read."""
    from mitmgate.ca.storage import check_private_file

    try:
        check_private_file(path)
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        raise ConfigError(
            Problem(f"cannot be read: {why}", file=str(path), hint="give a file with the key alone")
        ) from error
    if len(key) < 16 or not key.isprintable() or " " in key:
        raise ConfigError(
            Problem(
                "holds no operator key: 16 printable characters or more",
                file=str(path),
                hint="for example: openssl rand -hex 24",
            )
        )
    return key


def operator_key(file: Path | None, *, needed: bool = True) -> str | None:
    """Return the operator key in *file* or the environment; ConfigError where it is needed."""
    if file is not None:
        return read_key_file(file)
    key = os.environ.get(KEY_VARIABLE)
    if not key and needed:
        raise ConfigError(
            Problem(
                "deciding needs the operator key",
                key=KEY_VARIABLE,
                hint="a headless `mitmgate run` shows it once in its ready line: set the variable "
                "or use --operator-key-file; beside a console, decide there",
            )
        )
    return key or None


def call_gate(
    method: str, path: str, state: Path | None, *, key: str | None, body: Any = None
) -> dict[str, Any]:
    """Return what the running proxy answers; ConfigError where it refuses or is not there."""
    import httpx

    socket = state_dir(state) / SOCKET_FILE
    headers = {"authorization": f"Bearer {key}"} if key else {}
    transport = httpx.HTTPTransport(uds=str(socket))
    try:
        with httpx.Client(transport=transport, base_url="http://mitmgate", timeout=10) as client:
            answer = client.request(method, path, headers=headers, json=body)
            content: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ConfigError(
            Problem(
                "no mitmgate answers here",
                file=str(socket),
                hint="start one with `mitmgate run`, or name its --state-dir",
            )
        ) from error
    if answer.status_code >= 400:
        raise ConfigError(_refusal(answer.status_code, content))
    return content


def _refusal(status: int, content: dict[str, Any]) -> Problem:
    if status == 403:
        return Problem(
            "the running proxy has another operator key",
            hint="it stands in that proxy's ready line, which is new at each start",
        )
    hints = {
        404: "see `mitmgate pending` for what waits",
        409: "see `mitmgate audit tail` for what became of it",
    }
    return Problem(str(content.get("detail", "refused")), hint=hints.get(status))


def _entry(entry: dict[str, Any]) -> str:
    row = entry["row"]
    left = entry.get("left")
    left = max(0, int(entry["deadline"] - time.time() if left is None else left))
    where = row["server"] or row["endpoint"]
    what = f"{row['method']} {row['tool']}" if row["tool"] else row["method"]
    still = "nobody waits" if entry.get("detached") else f"{left:>3} s left"
    alike = f"  x{entry['count']}" if entry.get("count", 1) > 1 else ""
    line = f"{entry['id']}  {still}{alike}  {row['agent']}  {where}  {what}  [{row['rule']}] " \
           f"{row['reason']}"  # fmt: skip
    shown = printable(line)
    if entry.get("arguments") is None:
        return shown
    return f"{shown}\n    {json.dumps(entry['arguments'], ensure_ascii=True)}"


def printable(text: str) -> str:
    """Return *text* with everything that a terminal could act on escaped."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
