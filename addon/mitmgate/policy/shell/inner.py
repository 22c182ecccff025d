"""The commands inside of a command: ``sh -c``, ``sudo``, ``find -exec``, ``xargs``, ``cmd /c``."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mitmgate.policy.shell.expand import Field, Kind, Part
from mitmgate.policy.shell.programs import (
    FINDERS,
    SHELLS,
    WRAPPERS,
    cmd_code,
    find_commands,
    powershell_code,
    shell_call,
    unwrap,
)
from mitmgate.policy.shell.syntax import Output
from mitmgate.policy.shell.variables import Value

_SSH_COMMANDS: Final = frozenset({"proxycommand", "localcommand", "knownhostscommand"})
_UNKNOWN: Final = Field((Part("", Kind.UNKNOWN),))


@dataclass(frozen=True, slots=True)
class Pipe:
    """What a command reads from its input; None where nobody can tell."""

    texts: Output


@dataclass(frozen=True, slots=True)
class Run:
    """A command by its words."""

    words: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Text that a shell reads; ``texts`` are what it may be, not ``sure`` where it may be more.

    ``parameters`` are its ``$1`` and so on. With ``here`` it is read by the shell that stands
    there and not by a new one, so what it assigns stays.
    """

    texts: tuple[str, ...]
    sure: bool = True
    windows: bool = False
    parameters: Value = ()
    here: bool = False


type Inner = Run | Read


def inner_commands(name: str, fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    """Return what the program *name* runs; *fields* are its words, *given* is its input."""
    if name in SHELLS:
        return _shell(fields, given)
    special = _SPECIAL.get(name)
    if special is not None:
        return special(fields, given)
    if name in FINDERS:
        texts = [field.text for field in fields]
        found = find_commands(texts, FINDERS[name])
        return [Run(_named(fields[start:end])) for start, end in found if end > start]
    return _wrapped(name, fields) if name in WRAPPERS else []


def _named(words: Sequence[Field]) -> tuple[Field, ...]:
    """Return the words that ``find`` runs: ``{}`` in the program's place is any file."""
    if words[0].text == "{}":
        return (Field((Part("{}", Kind.HIDDEN),)), *words[1:])
    return tuple(words)


def _code(field: Field, *, windows: bool = False, parameters: Value = ()) -> Read:
    return Read((field.text,), field.is_known, windows, parameters)


def _joined(fields: Sequence[Field], *, windows: bool = False, here: bool = False) -> list[Inner]:
    if not fields:
        return []
    text = " ".join(field.text for field in fields)
    return [Read((text,), all(field.is_known for field in fields), windows, here=here)]


def _input(texts: Output, *, windows: bool = False) -> Read:
    return Read(texts or (), texts is not None, windows)


def _shell(fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    inner: list[Inner] = [_input(field.file) for field in fields if field.is_process]
    call = shell_call([field.text for field in fields])
    if call.code is not None:
        rest = fields[call.operands + 1 :]
        known = all(field.is_known for field in rest)
        parameters = tuple(field.text for field in rest) if known else None
        inner.append(_code(fields[call.code], parameters=parameters))
    elif call.reads_input and given is not None:
        inner.append(_input(given.texts))
    return inner


def _eval(fields: Sequence[Field], _given: Pipe | None) -> list[Inner]:
    rest = fields[1:]
    return _joined(rest[1:] if rest and rest[0].text == "--" else rest, here=True)


def _source(fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    inner: list[Inner] = [_input(field.file) for field in fields[1:2] if field.is_process]
    if given is not None and [field.text for field in fields[1:2]] == ["/dev/stdin"]:
        inner.append(_input(given.texts))
    return inner


def _trap(fields: Sequence[Field], _given: Pipe | None) -> list[Inner]:
    rest = [field for field in fields[1:] if field.text != "--"]
    if len(rest) < 2 or rest[0].text in ("-", "", "-l", "-p"):
        return []
    return [Read((rest[0].text,), rest[0].is_known, here=True)]


def _from_input(_fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    return [_input(given.texts)] if given is not None else []


def _cmd(fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    found = cmd_code([field.text for field in fields])
    if found is None:
        return [_input(given.texts, windows=True)] if given is not None else []
    at, cut = found
    if at >= len(fields):
        return []
    first = Field((Part(fields[at].text[cut:], Kind.QUOTED),)) if cut else fields[at]
    return _joined([first, *fields[at + 1 :]], windows=True)


def _powershell(fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    found = powershell_code([field.text for field in fields])
    if found is None:
        return [_input(given.texts, windows=True)] if given is not None else []
    at, encoded = found
    if not encoded:
        return _joined(fields[at:], windows=True)
    if at >= len(fields):
        return []
    packed = fields[at].text
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
        return [Read((data.decode("utf-16-le"),), windows=True)]
    except (binascii.Error, ValueError):
        return [Read((), sure=False)]


def _expression(fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    inner: list[Inner] = [_input(given.texts, windows=True)] if given is not None else []
    return inner + _joined(fields[1:], windows=True)


def _wrapped(name: str, fields: Sequence[Field]) -> list[Inner]:
    wrapped = unwrap(name, [field.text for field in fields])
    if wrapped is None:
        return []
    inner: list[Inner] = []
    for at, cut in wrapped.code:
        field = fields[at]
        inner.append(Read((field.text[cut:],), field.is_known))
    rest = fields[wrapped.start :]
    inner.extend(_option_commands(fields[1 : wrapped.start]))
    if wrapped.joined:
        return inner + _joined(rest)
    return [*inner, Run(tuple(rest))] if rest else inner


def _option_commands(options: Sequence[Field]) -> list[Inner]:
    """Return what ``ssh -o ProxyCommand=...`` runs on this side."""
    inner: list[Inner] = []
    for field in options:
        name, separator, code = field.text.partition("=")
        if separator and name.lower().removeprefix("-o").strip() in _SSH_COMMANDS:
            inner.append(Read((code,), field.is_known))
    return inner


def _xargs(fields: Sequence[Field], given: Pipe | None) -> list[Inner]:
    words = [field.text for field in fields]
    wrapped = unwrap("xargs", words)
    if wrapped is None or wrapped.start >= len(fields):
        return []
    command = fields[wrapped.start :]
    mark = _replaced_mark(words[: wrapped.start])
    texts = given.texts if given is not None else None
    if not mark:
        tails = [(_UNKNOWN,)] if texts is None else [_split(text) for text in texts]
        return [Run((*command, *tail)) for tail in tails]
    if texts is None:
        return [Run(tuple(_filled(field, mark, None) for field in command))]
    lines = [line.strip() for text in texts for line in text.split("\n")]
    return [
        Run(tuple(_filled(field, mark, line) for field in command))
        for line in dict.fromkeys(filter(None, lines))
    ]


def _replaced_mark(options: Sequence[str]) -> str:
    for index, word in enumerate(options):
        if word in ("-I", "--replace", "-J") and index + 1 < len(options):
            return options[index + 1]
        if word.startswith(("-I", "-i", "--replace")):
            return word.removeprefix("--replace=").removeprefix("-I").removeprefix("-i") or "{}"
    return ""


def _split(text: str) -> tuple[Field, ...]:
    bare = text.replace("'", "").replace('"', "").replace("\\", "").replace("\0", " ")
    return tuple(map(Field.of, bare.split()))


def _filled(field: Field, mark: str, line: str | None) -> Field:
    if mark not in field.text:
        return field
    if line is None:
        return Field((Part(field.text, Kind.HIDDEN),))
    return Field.of(field.text.replace(mark, line))


_SPECIAL: Final[dict[str, Callable[[Sequence[Field], Pipe | None], list[Inner]]]] = {
    "eval": _eval,
    ".": _source,
    "source": _source,
    "trap": _trap,
    "xargs": _xargs,
    "at": _from_input,
    "batch": _from_input,
    "cmd": _cmd,
    "powershell": _powershell,
    "pwsh": _powershell,
    "iex": _expression,
    "invoke-expression": _expression,
}
