"""The shell's side of the hold: approve, deny, what is remembered, and taking it back."""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

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
_ASKED = ("decision", "on", "names", "prefix", "reason", "operator")
_SCOPES = ("call", "values", "tool", "server", "url", "prefix", "host")

ForOption = Annotated[
    str,
    typer.Option(
        "--for",
        metavar="HOW-LONG",
        help="How long it counts: once, session, a time such as 15m or 2h (up to a day), ever.",
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
YesOption = Annotated[
    bool, typer.Option("--yes", help="With --for ever: save the rule without asking.")
]


def approve(
    id_: IdArgument,
    lasting: ForOption = "once",
    on: OnOption = None,
    same: SameOption = None,
    prefix: PrefixOption = None,
    yes: YesOption = False,
    state: StateOption = None,
    key_file: KeyOption = None,
) -> None:
    """Let one waiting call go on, and more like it where you say so. Needs the operator key.

    Where its client has given up, the next try of the same call passes, once, within the time that
    `hold.ticket` of the policy says. An answer for ever becomes a rule: it shows how the file of
    remembered answers changes, and asks.

    \b
    Example: mitmgate approve 3fa90c-1e.0 --for 15m --on tool
    """
    body = {"decision": "allow"} | _scope(lasting, on, same, prefix)
    _answer("approved", id_, body, Gate(state, key_file, yes))


def deny(
    id_: IdArgument,
    reason: Annotated[str | None, typer.Option(help="The agent reads this.")] = None,
    lasting: ForOption = "once",
    on: OnOption = None,
    same: SameOption = None,
    prefix: PrefixOption = None,
    yes: YesOption = False,
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
    _answer("denied", id_, body, Gate(state, key_file, yes))


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


@dataclass(frozen=True, slots=True)
class Gate:
    """How to reach the running proxy, and whether a rule is saved without asking."""

    state: Path | None
    key_file: Path | None
    sure: bool

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return what the proxy answers to *body*."""
        key = operator_key(self.key_file)
        return call_gate("POST", path, self.state, key=key, body=body)


def _answer(word: str, key: str, body: dict[str, Any], gate: Gate) -> None:
    body = {**body, "operator": _me()}
    place = f"/v1/pending/{quote(key, safe='')}"
    if body.get("lasting") == "ever":
        asked = {name: body[name] for name in _ASKED if body.get(name) is not None}
        body["preview"] = _confirmed(gate.post(f"{place}/preview", asked), sure=gate.sure)
    typer.echo(_told(word, gate.post(place, {**body, "via": "shell"})))


def _confirmed(shown: dict[str, Any], *, sure: bool) -> str:
    """Show the rule that would be saved, and return the hash of its file where that is wanted."""
    for line in str(shown["diff"]).splitlines():
        typer.echo(printable(line))
    for warning in shown["warnings"]:
        typer.echo(f"warning: {printable(warning)}", err=True)
    if shown["covers"]:
        typer.echo(f"It settles {shown['covers']} more that wait.")
    if not sure:
        typer.confirm("Save this rule?", abort=True)
    return str(shown["hash"])


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
    hint="say how long with --for session, 15m or ever")
            )  # fmt: skip
        return {}
    scope: dict[str, Any] = {"on": on or "call", "names": same or [], "prefix": prefix}
    if lasting in ("session", "ever"):
        return {**scope, "lasting": lasting}
    return {**scope, "lasting": "time", "seconds": _seconds(lasting)}


def _seconds(text: str) -> int:
    from mitmgate.control.decisions import MOST_SECONDS

    count, unit = text[:-1], text[-1:]
    if unit in _UNITS and count.isascii() and count.isdigit() and len(count) < 6:
        seconds = int(count) * _UNITS[unit]
        if 1 <= seconds <= MOST_SECONDS:
            return seconds
    raise ConfigError(
        Problem(f"is no time: {text!r}", key="--for",
                hint="once, session, ever, or a time up to a day: 15m, 2h")
    )  # fmt: skip


def _told(word: str, decided: dict[str, Any]) -> str:
    line = f"{word} {decided['id']}"
    if decided.get("ticket"):
        return f"{line}: the agent's next try passes (ticket {decided['ticket']})"
    if decided.get("released", 1) > 1:
        line += f" and {decided['released'] - 1} more"
    if decided.get("grant"):
        line += f"; remembered as {decided['grant']}, see `mitmgate grants`"
    return line


def _grant(grant: dict[str, Any]) -> str:
    word = "approved" if grant["answer"] == "allow" else "denied"
    left = grant["left"]
    how_long = {"session": "this session", "run": "until mitmgate ends", "ever": "for ever"}.get(
        grant["lasting"], ""
    )
    if left is not None:
        how_long = f"{int(left)} s left"
    who = f" by {grant['operator']}" if grant["operator"] else ""
    kind = "" if grant["kind"] == "grant" else f"{grant['kind']}: "
    return printable(
        f"{grant['id']}  {kind}{word}{who}  {grant['agent']}  {grant['covers']}  ({how_long})"
    )
