"""Variables of a command line: what each may hold, and what ``${name%x}`` makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mitmgate.policy.globs import Glob
from mitmgate.policy.shell.syntax import MAX_VALUES, MAX_VARIABLES, Variable

type Value = tuple[str, ...] | None
"""What one variable holds: its text, or the elements of an array, none where it is unset.

None where nobody can tell.
"""
type Values = tuple[Value, ...]
"""What it may hold at one place, after branches that may have run or not."""

HARMLESS: Final = frozenset(
    {"HOME", "PWD", "OLDPWD", "USER", "LOGNAME", "TMPDIR", "HOSTNAME", "UID", "EUID", "LANG",
     "?", "#", "$", "!", "SECONDS", "LINENO", "RANDOM", "PPID"}
)  # fmt: skip
_ROOTED: Final = frozenset({"HOME", "PWD", "OLDPWD", "PATH", "SHELL", "BASH"})
_MAX_REPLACED: Final = 100_000
_MAX_TRIMMED: Final = 200
"""Trimming tries every length of a value; longer ones are unknown afterwards."""


class Variables:
    """What the variables of a shell may hold. One that is not here is the environment's.

    ``@`` holds the positional parameters.
    """

    def __init__(self, values: dict[str, Values] | None = None) -> None:
        start: dict[str, Values] = {"@": ((),), "IFS": ((" \t\n",),)}
        self._values = start if values is None else values
        self._exported: frozenset[str] = frozenset()
        self.full = False

    def get(self, name: str) -> Values | None:
        """Return what *name* may hold, or None: nothing here says."""
        if name == "*":
            return self._values["@"]
        if name.isdigit() and name.isascii() and len(name) < 4 and name != "0":
            index = int(name) - 1
            return tuple(
                None if value is None else (value[index] if index < len(value) else "",)
                for value in self._values["@"]
            )
        return self._values.get(name)

    def assign(self, name: str, values: Values) -> None:
        """Let *name* hold *values* and nothing else."""
        if name not in self._values and len(self._values) >= MAX_VARIABLES:
            self.full = True
            return
        distinct = tuple(dict.fromkeys(values))
        self._values[name] = distinct if len(distinct) <= MAX_VALUES else (None,)

    def copy(self) -> Variables:
        """Return variables of their own that hold the same."""
        twin = Variables(dict(self._values))
        twin.full, twin._exported = self.full, self._exported
        return twin

    def export(self, name: str) -> None:
        """Hand *name* on to the programs that are started."""
        self._exported |= {name}

    def of_child(self) -> Variables:
        """Return what a shell that is started here knows of these variables.

        One that is not exported may be all the same: by the environment it came with.
        """
        child = Variables()
        for name, values in self._values.items():
            if name not in ("@", "IFS"):
                child._values[name] = values if name in self._exported else (None, *values)
        child._exported = frozenset(child._values)
        return child

    def changed_since(self, before: Variables) -> list[str]:
        """Return the names that held something else *before*."""
        return [name for name, held in self._values.items() if before._values.get(name) != held]

    def become(self, ends: list[Variables]) -> None:
        """Let each hold what it holds in one of *ends*."""
        first, *rest = ends
        self._values = dict(first._values)
        self.full |= first.full
        self._exported = first._exported
        for end in rest:
            self.merge(end)

    def merge(self, other: Variables) -> None:
        """Let each hold what it holds here or in *other*: only one of them happened."""
        self._exported &= other._exported
        self.full |= other.full
        if self._values == other._values:
            return
        for name in self._values.keys() | other._values.keys():
            mine = self._values.get(name, (None,))
            theirs = other._values.get(name, (None,))
            if mine != theirs:
                self.assign(name, mine + theirs)


def operate(piece: Variable, value: Value, argument: str) -> Value:
    """Return what *piece* makes of *value*; *argument* is the expanded one of its operator."""
    if not value and piece.operator in _DEFAULTS and value is not None:
        return (argument,)
    if value is None:
        first = piece.operator == ":" and argument == "0:1" and piece.name in _ROOTED
        return ("/",) if first else None
    if piece.index and piece.index not in "@*":
        at = int(piece.index) if piece.index.isdigit() and len(piece.index) < 5 else None
        if at is None:
            return None
        value = value[at : at + 1] or ("",)
    elif not piece.index and piece.name not in "@*":
        value = value[:1] or ("",)
    if piece.prefix == "#":
        return (str(len(value[0]) if len(value) == 1 else len(value)),)
    change = _CHANGES.get(piece.operator)
    if change is None:
        return value if piece.operator in _KEEPING else None
    if piece.operator in _DEFAULTS:
        empty = not any(value) and piece.operator.startswith(":")
        return (argument,) if empty else value
    changed = [change(text, argument) for text in value[:_MAX_TRIMMED]]
    known = tuple(text for text in changed if text is not None)
    return known if len(known) == len(value) else None


def cost(piece: Variable, value: Value) -> int:
    """Return what it costs in characters to make something of *value*."""
    size = sum(map(len, value or ()))
    return size * min(size, _MAX_TRIMMED) if piece.operator[:1] in ("#", "%") else size


def _substring(text: str, argument: str) -> str | None:
    start, _, length = argument.strip().partition(":")
    first, count = _integer(start), _integer(length)
    if first is None or (length and count is None):
        return None
    rest = text[first:] if first >= 0 or -first <= len(text) else ""
    return rest[:count] if length else rest


def _integer(text: str) -> int | None:
    text = text.strip()
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 7 else None


def _trim(*, end: bool, longest: bool) -> Callable[[str, str], str | None]:
    def trim(text: str, pattern: str) -> str | None:
        if len(text) > _MAX_TRIMMED or len(pattern) > 64 or any(c in "[]\\" for c in pattern):
            return None
        glob = Glob.of(pattern)
        lengths = range(len(text) + 1)
        for size in reversed(lengths) if longest else lengths:
            gone = text[len(text) - size :] if end else text[:size]
            if glob.matches(gone):
                return text[: len(text) - size] if end else text[size:]
        return text

    return trim


def _replace(*, every: bool) -> Callable[[str, str], str | None]:
    def replace(text: str, argument: str) -> str | None:
        old, _, new = argument.partition("/")
        if not old or any(char in "*?[]\\" for char in old):
            return None
        if len(text) * (len(new) + 1) > _MAX_REPLACED:
            return None
        return text.replace(old, new) if every else text.replace(old, new, 1)

    return replace


def _cased(change: Callable[[str], str], *, every: bool) -> Callable[[str, str], str | None]:
    def cased(text: str, pattern: str) -> str | None:
        if pattern:
            return None
        return change(text) if every else change(text[:1]) + text[1:]

    return cased


def _same(text: str, _argument: str) -> str:
    return text


_DEFAULTS: Final = frozenset({"-", ":-", "=", ":="})
_KEEPING: Final = frozenset({"", "?", ":?"})
_CHANGES: Final[dict[str, Callable[[str, str], str | None]]] = {
    **dict.fromkeys(_DEFAULTS, _same),
    ":": _substring,
    "#": _trim(end=False, longest=False),
    "##": _trim(end=False, longest=True),
    "%": _trim(end=True, longest=False),
    "%%": _trim(end=True, longest=True),
    "/": _replace(every=False),
    "//": _replace(every=True),
    "^": _cased(str.upper, every=False),
    "^^": _cased(str.upper, every=True),
    ",": _cased(str.lower, every=False),
    ",,": _cased(str.lower, every=True),
}
