"""The shell's side of the hold: approve, deny, what is remembered, and taking it back."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mitmgate.cli.operator import (
    IdArgument,
    KeyOption,
    StateOption,
    call_gate,
    operator_key,
    printable,
)
from mitmgate.errors import ConfigError, Problem

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SCOPES = ("call", "values", "tool", "server", "url", "prefix", "host")

ForOption = Annotated[
    str,
    typer.Option(
        "--for",
        metavar="HOW-LONG",
        help="How long it counts: once, session, or a time such as 15m or 2h (a day at most).",
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="SCOPE",
        help="What it counts for: call (as it is), values, tool, server; url, prefix, host.",
    ),
]
SameOption = Annotated[
    list[str] | None,
    typer.Option(
        "--same",
        metavar="ARGUMENT",
        help="With --on values: an argument whose value must stay the same. Can be repeated.",
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="With --on prefix: the folder; else the deepest one."),
]


def approve(
    id_: IdArgument,
    lasting: ForOption = "once",
    on: OnOption = None,
    same: SameOption = None,
    prefix: PrefixOption = None,
    state: StateOption = None,
    key_file: KeyOption = None,
) -> None:
    """Let one waiting call go on, and more like it where you say so. Needs the operator key.

    Where its client has given up, the next try of the same call passes, once, within ten minutes.

    \b
    Example: mitmgate approve 3fa90c-1e.0 --for 15m --on tool
    """
    body = {"decision": "allow"} | _scope(lasting, on, same, prefix)
    typer.echo(_told("approved", _decide(id_, body, state, key_file)))


def deny(
    id_: IdArgument,
    reason: Annotated[str | None, typer.Option(help="The agent reads this.")] = None,
    lasting: ForOption = "once",
    on: OnOption = None,
    same: SameOption = None,
    prefix: PrefixOption = None,
    state: StateOption = None,
    key_file: KeyOption = None,
) -> None:
    """Stop one waiting call and all that equal it, and more where you say so.

    Needs the operator key.

    \b
    Example: mitmgate deny 3fa90c-1e.0 --reason "not on a Friday"
    """
    if reason is not None and len(reason) > 500:
        raise ConfigError(Problem("is longer than 500 characters", key="--reason",
                                  hint="say it shorter"))  # fmt: skip
    body = {"decision": "deny", "reason": reason} | _scope(lasting, on, same, prefix)
    typer.echo(_told("denied", _decide(id_, body, state, key_file)))


def grants(
    state: StateOption = None,
    key_file: KeyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the answers that count for calls to come. Needs the operator key.

    \b
    Example: mitmgate grants --json
    """
    answer = call_gate("GET", "/v1/grants", state, key=operator_key(key_file))
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))
        return
    if not answer["grants"]:
        typer.echo("Nothing is remembered.")
    for grant in answer["grants"]:
        typer.echo(_grant(grant))


def undo(
    grant: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The id that `grants` shows.")
    ] = None,
    state: StateOption = None,
    key_file: KeyOption = None,
) -> None:
    """Take back an answer, the last one of yours without an id. Needs the operator key.

    A call that passed has run: that cannot be undone.

    \b
    Example: mitmgate undo g3
    """
    body = {"grant": grant, "operator": _me(), "via": "shell"}
    answer = call_gate("POST", "/v1/undo", state, key=operator_key(key_file), body=body)
    typer.echo(f"undone: {_grant(answer['grant'])}")


def _decide(
    key: str, body: dict[str, Any], state: Path | None, key_file: Path | None
) -> dict[str, Any]:
    body = {**body, "via": "shell", "operator": _me()}
    return call_gate("POST", f"/v1/pending/{key}", state, key=operator_key(key_file), body=body)


def _me() -> str:
    return getpass.getuser()[:100]


def _scope(
    lasting: str, on: str | None, same: list[str] | None, prefix: str | None
) -> dict[str, Any]:
    if on is not None and on not in _SCOPES:
        raise ConfigError(Problem(f"is no scope: {on!r}", key="--on",
                                  hint=f"one of {', '.join(_SCOPES)}"))  # fmt: skip
    if lasting == "once":
        if on is not None:
            raise ConfigError(
                Problem("an answer for once is about this call only", key="--on",
                        hint="say how long with --for session or --for 15m")
            )  # fmt: skip
        return {}
    scope: dict[str, Any] = {"on": on or "call", "names": same or [], "prefix": prefix}
    if lasting == "session":
        return {**scope, "lasting": "session"}
    return {**scope, "lasting": "time", "seconds": _seconds(lasting)}


def _seconds(text: str) -> int:
    from mitmgate.control.decisions import ALLOW_SECONDS, DENY_SECONDS, MOST_SECONDS

    count, unit = text[:-1], text[-1:]
    if unit in _UNITS and count.isascii() and count.isdigit() and len(count) < 6:
        seconds = int(count) * _UNITS[unit]
        if 1 <= seconds <= MOST_SECONDS:
            return seconds
    raise ConfigError(
        Problem(f"is no time: {text!r}", key="--for",
                hint=f"once, session, or a time up to a day: {ALLOW_SECONDS // 60}m, "
                f"{DENY_SECONDS // 3600}h")
    )  # fmt: skip


def _told(word: str, decided: dict[str, Any]) -> str:
    line = f"{word} {decided['id']}"
    if decided.get("ticket"):
        return f"{line}: the agent's next try passes (ticket {decided['ticket']}, ten minutes)"
    if decided.get("released", 1) > 1:
        line += f" and {decided['released'] - 1} more"
    if decided.get("grant"):
        line += f"; remembered as {decided['grant']}, see `mitmgate grants`"
    return line


def _grant(grant: dict[str, Any]) -> str:
    word = "approved" if grant["answer"] == "allow" else "denied"
    left = grant["left"]
    how_long = {"session": "this session", "run": "until mitmgate ends"}.get(grant["lasting"], "")
    if left is not None:
        how_long = f"{int(left)} s left"
    who = f" by {grant['operator']}" if grant["operator"] else ""
    kind = "" if grant["kind"] == "grant" else f"{grant['kind']}: "
    return printable(
        f"{grant['id']}  {kind}{word}{who}  {grant['agent']}  {grant['covers']}  ({how_long})"
    )
