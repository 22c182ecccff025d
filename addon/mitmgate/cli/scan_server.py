"""``mitmgate scan --server`` and ``--stdio``: a report on a server before anybody uses it."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from string import ascii_letters, digits
from typing import TYPE_CHECKING

import typer

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate.survey.judged import Spot
    from mitmgate.survey.look import Command, Survey, Url

FOUND = 1
NOT_SEEN = 2

_TOKEN = frozenset(ascii_letters + digits + "!#$%&'*+-.^_`|~")
_HEADER_HINT = "write --header 'Name: value'"


class Format(StrEnum):
    """How a report is written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """From which severity on a finding makes the exit code 1."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about a look at a server."""

    server: str | None = None
    stdio: str | None = None
    header: Sequence[str] = field(default=(), repr=False)
    env: Sequence[str] = field(default=(), repr=False)
    ca: Path | None = None
    deep: bool = False
    timeout: float = 60.0
    format: Format = Format.TEXT
    fail_on: FailOn = FailOn.LOW
    verbose: bool = False


def scan_server(options: Options) -> None:
    """Look at the server that *options* name and print the report.

    Exits with 1 where something was found, with 2 where something was not seen; ConfigError
    where nothing was.
    """
    from mitmgate.scan.engine import Scanner
    from mitmgate.scan.packs import installed_packs
    from mitmgate.survey.judged import judge
    from mitmgate.survey.line import Limits
    from mitmgate.survey.look import look

    survey = look(target_of(options), Limits(seconds=options.timeout), deep=options.deep)
    # Of the place alone: the same finding has the same print wherever the report is made.
    key = hashlib.sha256(b"mitmgate survey\0" + survey.place.encode("utf-8", "replace")).digest()
    try:
        spots = judge(survey, Scanner(installed_packs(), hash_key=key))
    except RuntimeError:
        raise ConfigError(
            Problem("the search for patterns ran out of memory", file=survey.place)
        ) from None
    typer.echo(_report(options.format, survey, spots))
    code = exit_code(survey, spots, options.fail_on)
    if code:
        raise typer.Exit(code)


def exit_code(survey: Survey, spots: Sequence[Spot], fail_on: FailOn) -> int:
    """Return 1 for a finding that counts; where there is none, 2 for a look with gaps."""
    from mitmgate.survey.report import SEVERITIES

    counts = SEVERITIES[SEVERITIES.index(fail_on.value) :]
    if any(spot.severity in counts for spot in spots):
        return FOUND
    return NOT_SEEN if survey.gaps else 0


def target_of(options: Options) -> Url | Command:
    """Return where the server is; ConfigError for options that say it twice or wrongly."""
    from mitmgate.survey.look import Url

    problems = [
        Problem(f"goes with {other} only", key=key)
        for key, given, other, there in (
            ("--header", options.header, "--server", options.server),
            ("--ca", options.ca, "--server", options.server),
            ("--env", options.env, "--stdio", options.stdio),
            ("--verbose", options.verbose, "--stdio", options.stdio),
        )
        if given and there is None
    ]
    if options.server is not None and options.stdio is not None:
        problems.append(Problem("is one server, and --stdio another", key="--server"))
    if problems:
        raise ConfigError(*problems)
    if options.stdio is not None:
        return _command(options)
    url = _url(options.server or "")
    return Url(url, [_header(text) for text in options.header], options.ca)


def _report(form: Format, survey: Survey, spots: Sequence[Spot]) -> str:
    from mitmgate.survey.report import json_report, text_report
    from mitmgate.survey.sarif import sarif_report

    match form:
        case Format.TEXT:
            return "\n".join(text_report(survey, spots))
        case Format.JSON:
            return json_report(survey, spots)
        case Format.SARIF:
            return sarif_report(survey, spots)


def _url(text: str) -> str:
    import httpx

    try:
        url = httpx.URL(text)
        good = url.scheme in {"http", "https"} and bool(url.host)
    except httpx.InvalidURL:
        good = False
    if not good:
        hint = "it starts with https:// or http:// and names a host"
        raise ConfigError(Problem("is no address of a server", key="--server", hint=hint))
    return text


def _header(text: str) -> tuple[str, str]:
    # httpx would refuse it as well, and quote the value while it does.
    name, colon, value = text.partition(":")
    value = value.strip()
    if not colon or not name or not _TOKEN.issuperset(name):
        raise ConfigError(Problem("has no name", key="--header", hint=_HEADER_HINT))
    if not (value.isascii() and value.isprintable()):
        shown = f"the value of {name} has characters that no header may have"
        raise ConfigError(Problem(shown, key="--header", hint=_HEADER_HINT))
    return name, value


def _command(options: Options) -> Command:
    from mitmgate.survey.look import Command

    try:
        words = shlex.split(options.stdio or "")
    except ValueError:
        words = []
    if not words:
        hint = "for example --stdio 'npx -y some-server /data'"
        raise ConfigError(Problem("is no command, or a quote is open", key="--stdio", hint=hint))
    show = _say if options.verbose else None
    return Command(words, _environment(options.env), show)


def _environment(given: Sequence[str]) -> Mapping[str, str]:
    """Return the variables of *given*: ``NAME=VALUE``, or ``NAME`` for its value here."""
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or (not equals and name not in os.environ):
            problem = f"{name} is not set here" if name else "has no name"
            raise ConfigError(Problem(problem, key="--env", hint="NAME=VALUE, or NAME if set"))
        found[name] = value if equals else os.environ[name]
    return found


def _say(line: str) -> None:
    print(f"server: {line}", file=sys.stderr)
