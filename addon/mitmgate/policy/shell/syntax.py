"""What a command line is made of once it is read: words, commands, blocks; and the bounds."""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Final, Literal

MAX_TEXT: Final = 256 * 1024
"""Longer than any command that an agent means: Linux takes 128 KiB for one argument."""
MAX_DEPTH: Final = 16
"""Substitutions, blocks and shells inside of each other; people stop at four."""
MAX_COMMANDS: Final = 2_000
MAX_WORK: Final = 4 * MAX_TEXT
"""What one reading may cost, in characters: nesting and loops then multiply nothing."""
PIECE_COST: Final = 32
"""What a piece of a word costs, measured: as long as 32 plain characters take."""
COMMAND_COST: Final = 64
MAX_BRACES: Final = 1_000
"""Words that one brace expansion may give."""
MAX_VARIABLES: Final = 256
MAX_VALUES: Final = 8
"""Values that one variable may have at one place; with more it is an unknown one."""
MAX_CHOICES: Final = 64
"""Readings of one command, for variables with several values."""
NAME_START: Final = frozenset(string.ascii_letters + "_")
NAME_CHARACTERS: Final = string.ascii_letters + string.digits + "_"

type Output = tuple[str, ...] | None
"""The texts that a command may print; None where nobody can tell."""


@dataclass(frozen=True, slots=True)
class Text:
    """Constant text; an unquoted one may hold globs and braces."""

    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Variable:
    """``$name`` or ``${name}``, with the *operator* and *argument* of ``${name%x}``.

    ``prefix`` is ``#`` (the length) or ``!`` (the variable that this one names), ``index`` the
    text between brackets, ``source`` the whole as it was written.
    """

    name: str
    source: str
    quoted: bool
    prefix: str = ""
    index: str = ""
    operator: str = ""
    argument: Word = ()
    braced: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Substitution:
    """``$(...)`` or backticks; with ``file`` ``<(...)``, a name instead of the text itself."""

    script: Script
    source: str
    quoted: bool
    file: bool = False


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """``$((...))``: some number. The substitutions inside of ``argument`` run."""

    argument: Word
    source: str
    quoted: bool


type Piece = Text | Variable | Substitution | Arithmetic
type Word = tuple[Piece, ...]


@dataclass(slots=True)
class Redirection:
    """``<``, ``>``, ``<>`` with a file, ``&`` with a descriptor, ``<<`` with the text itself."""

    operator: str
    target: Word


@dataclass(frozen=True, slots=True)
class Assignment:
    """``name=value``; ``values`` are the words of an array. ``word`` is how it was written."""

    name: str
    word: Word
    values: tuple[Word, ...]
    array: bool = False
    append: bool = False


@dataclass(frozen=True, slots=True)
class Simple:
    """One program with its words; none where there are only assignments or redirections.

    With ``declares`` the assignments are words of ``export`` and the like.
    """

    words: tuple[Word, ...]
    assignments: tuple[Assignment, ...] = ()
    redirections: tuple[Redirection, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Several scripts as one command; of a branch or loop, each may run or not.

    ``name`` is the variable of a ``for``, ``words`` its values or what a ``case`` compares.
    """

    kind: Literal["group", "subshell", "branch", "loop"]
    scripts: tuple[Script, ...]
    redirections: tuple[Redirection, ...] = ()
    name: str = ""
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function's definition: nothing of it runs before it is called."""

    name: str
    body: Command


type Command = Simple | Block | Function


@dataclass(frozen=True, slots=True)
class Item:
    """Commands joined by pipes, and what stands before: ``&&``, ``||`` or nothing."""

    commands: tuple[Command, ...]
    joiner: str


@dataclass(frozen=True, slots=True)
class Script:
    """Items in the order in which they run."""

    items: tuple[Item, ...] = field(default=())


class Budget:
    """What one reading may still cost; a part that costs more is not read."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def work(self, cost: int) -> bool:
        """Take *cost* from the budget; False when it is spent."""
        self._left -= cost
        return self._left >= 0

    def pieces(self, count: int) -> bool:
        """Take *count* pieces of words from the budget; False when it is spent."""
        return self.work(count * PIECE_COST)

    def command(self, words: int = 0) -> bool:
        """Take a command with that many *words* from the budget; False when it is spent."""
        return self.work(COMMAND_COST + words * PIECE_COST)
