"""Where a command stands in its shell, and the builtins that change that place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from mitmgate.policy.shell.expand import Field
from mitmgate.policy.shell.inner import Pipe
from mitmgate.policy.shell.output import printed_by
from mitmgate.policy.shell.syntax import Command
from mitmgate.policy.shell.variables import Values, Variables


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command stands: its shell's variables and functions, its input, how deep.

    ``calls`` are the functions and aliases that are being read.
    """

    variables: Variables
    functions: dict[str, tuple[Command, ...]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    given: Pipe | None = None
    depth: int = 0
    windows: bool = False
    calls: frozenset[str] = frozenset()

    @classmethod
    def outermost(cls, *, windows: bool = False) -> Self:
        """Return the place of a tool's whole command line."""
        return cls(Variables(), windows=windows)

    def below(self) -> Place:
        """Return a place one level deeper, with variables of its own."""
        return replace(self, variables=self.variables.copy(), depth=self.depth + 1)


def do_builtin(name: str, fields: Sequence[Field], place: Place) -> bool:
    """Do what a builtin of the shell does to its variables; False for all others."""
    variables, rest = place.variables, fields[1:]
    words = [each.text for each in rest]
    match name:
        case "set" if "--" in words or (words and words[0][:1] not in "-+"):
            start = words.index("--") + 1 if "--" in words else 0
            known = all(each.is_known for each in rest)
            variables.assign("@", (tuple(words[start:]) if known else None,))
        case "export" | "declare" | "typeset":
            for word in words:
                variables.export(word.partition("=")[0])
        case "shift":
            held = variables.get("@") or ((),)
            variables.assign("@", tuple(v and v[1:] for v in held) if not words else (None,))
        case "alias":
            pairs = (word.partition("=") for word in words if "=" in word)
            place.aliases.update((key, value) for key, _, value in pairs)
        case "unset":
            for word in words:
                variables.assign(word, ((),))
        case "read" | "mapfile" | "readarray" | "getopts":
            _reads(words, place)
        case "printf" if words[:1] == ["-v"] and len(words) > 2:
            known = all(each.is_known for each in rest)
            printed = printed_by("printf", words[2:], None) if known else None
            variables.assign(words[1], ((printed[0],),) if printed else (None,))
        case _:
            return False
    return True


def _reads(words: Sequence[str], place: Place) -> None:
    names = [word for word in words if not word.startswith("-")] or ["REPLY", "MAPFILE"]
    given = place.given.texts if place.given is not None else None
    values: Values = (None,)
    if given and len(names) == 1:
        lines = [line for text in given for line in text.rstrip("\n").split("\n")]
        values = tuple((line,) for line in dict.fromkeys(lines))
    for name in names:
        place.variables.assign(name, values)
