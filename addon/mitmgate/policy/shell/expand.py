"""Expansion of words: braces, variables, substitutions, word splitting.

A word becomes fields; what is unknown in a field stands there as it was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from mitmgate.policy.shell.braces import expand_braces
from mitmgate.policy.shell.syntax import (
    MAX_CHOICES,
    MAX_VALUES,
    Arithmetic,
    Budget,
    Output,
    Piece,
    Substitution,
    Text,
    Variable,
    Word,
)
from mitmgate.policy.shell.variables import (
    HARMLESS,
    Value,
    Values,
    Variables,
    cost,
    operate,
)

type Substitute = Callable[[Substitution], Output]


class Kind(Enum):
    """How a part of a field came to be."""

    PLAIN = "unquoted, so that globs in it are globs"
    QUOTED = "known"
    GUESS = "likely, such as a default that the environment may override"
    HARMLESS = "an unknown value that nobody hides a command in, such as $HOME"
    UNKNOWN = "an unknown value that may be several words or none"
    HIDDEN = "an unknown value inside of quotes"


_KNOWN: Final = frozenset({Kind.PLAIN, Kind.QUOTED, Kind.GUESS, Kind.HARMLESS})
_SURE: Final = _KNOWN - {Kind.GUESS}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a field."""

    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Field:
    """One argument of a command. ``file`` is what ``<(...)`` gives to whoever opens it."""

    parts: tuple[Part, ...]
    file: Output = ()

    @classmethod
    def of(cls, text: str) -> Field:
        """Return the field that is just *text*."""
        return cls((Part(text, Kind.QUOTED),))

    @property
    def text(self) -> str:
        """The whole field, unknown values as they were written."""
        return "".join(part.text for part in self.parts)

    @property
    def is_known(self) -> bool:
        """Whether ``text`` is what the command gets."""
        return all(part.kind in _KNOWN for part in self.parts)

    @property
    def is_process(self) -> bool:
        """Whether the field is a ``<(...)``."""
        return self.file != ()

    @property
    def known_part(self) -> Field:
        """The field with its unknown values empty."""
        return Field(tuple(part for part in self.parts if part.kind in _KNOWN), self.file)

    @property
    def program(self) -> Field:
        """The field without what stands before the last known slash."""
        for index in range(len(self.parts) - 1, -1, -1):
            part = self.parts[index]
            head, slash, tail = part.text.rpartition("/")
            if slash and part.kind in _KNOWN:
                rest = (Part(tail, part.kind), *self.parts[index + 1 :])
                whole = not tail and not any(p.text for p in rest) and not head
                return self if whole else Field(rest, self.file)
        return self

    @property
    def names_one_program(self) -> bool:
        """Whether it is clear which program a command with this name runs."""
        if any(part.kind is Kind.UNKNOWN for part in self.parts) or self._has_glob():
            return False
        if self.parts and self.parts[0].kind is Kind.PLAIN and self.parts[0].text.startswith("="):
            return False  # to zsh =rm is the path of rm
        name = self.program
        return all(part.kind in _SURE for part in name.parts) and name.text.count("%") < 2

    def _has_glob(self) -> bool:
        plain = "".join(part.text for part in self.parts if part.kind is Kind.PLAIN)
        return "*" in plain or "?" in plain or "]" in plain.partition("[")[2]


class Expander:
    """Expands the words of one command, once for each of its ``combinations``.

    A variable that may have several values doubles the readings; ``choice`` tells which of
    them the next words are of. What a substitution prints is asked for once.
    """

    def __init__(self, variables: Variables, substitute: Substitute, budget: Budget) -> None:
        self.variables = variables
        self.choice = 0
        self.combinations = 1
        self.unsure = False
        self._substitute = substitute
        self._budget = budget
        self._outputs: dict[int, Output] = {}
        self._radix: dict[str | int, tuple[int, int]] = {}

    def fields(self, word: Word) -> list[Field]:
        """Return the fields of *word*; none where it vanishes."""
        if len(word) == 1 and isinstance(word[0], Text) and "{" not in word[0].text:
            return [Field((_part(word[0]),))]
        words = expand_braces(word, self._budget)
        if words is None:
            self.unsure = True
            words = [word]
        return [field for each in words for field in self._split(each)]

    def joined(self, word: Word) -> Field:
        """Return *word* as the one field that an assignment or a here-document makes of it."""
        parts: list[Part] = []
        file: Output = ()
        for piece in word:
            for index, field in enumerate(self._expand(piece)):
                parts.extend([Part(" ", Kind.QUOTED)] * (index > 0) + list(field.parts))
                file = field.file if field.is_process else file
        return Field(tuple(parts), file)

    def _split(self, word: Word) -> list[Field]:
        done: list[Field] = []
        parts: list[Part] = []
        file: Output = ()
        for piece in word:
            for index, field in enumerate(self._expand(piece)):
                if index > 0:
                    if parts:
                        done.append(Field(tuple(parts), file))
                    parts, file = [], ()
                parts.extend(field.parts)
                file = field.file if field.is_process else file
        if parts:
            done.append(Field(tuple(parts), file))
        return done

    def _expand(self, piece: Piece) -> list[Field]:
        """Return the fields of one piece; the first and the last join their neighbours."""
        match piece:
            case Text():
                return [Field((_part(piece),))]
            case Arithmetic():
                self.joined(piece.argument)
                return [Field((Part(piece.source, Kind.HIDDEN),))]
            case Variable():
                return self._variable(piece)
            case Substitution():
                return self._printed(piece)

    def _printed(self, piece: Substitution) -> list[Field]:
        if id(piece) not in self._outputs:
            self._outputs[id(piece)] = self._substitute(piece)
        output = self._outputs[id(piece)]
        if piece.file:
            return [Field((Part(piece.source, Kind.HIDDEN),), output)]
        values: Values = (None,) if output is None else tuple((t.rstrip("\n"),) for t in output)
        value = self._pick(id(piece), values)
        return self._valued(value, piece.source, quoted=piece.quoted)

    def _variable(self, piece: Variable) -> list[Field]:
        name = piece.name
        known = self.variables.get(name)
        value = self._pick(name, known) if known else None
        if piece.prefix == "!" and value is not None:
            name = "".join(value)
            inner = self.variables.get(name)
            value = self._pick(name, inner) if inner else None
        if name in HARMLESS and known is None and not piece.operator:
            return [Field((Part(piece.source, Kind.HARMLESS),))]
        if piece.operator in ("+", ":+"):
            return self._alternate(piece, value)
        if value is None and piece.operator in ("-", ":-", "=", ":="):
            default = self.joined(piece.argument)
            if piece.operator.endswith("="):
                self.variables.assign(name, ((default.text,),) if default.is_known else (None,))
            guess = default.text if default.is_known else None
            value = None if guess is None else (guess,)
            return self._valued(value, piece.source, quoted=piece.quoted, kind=Kind.GUESS)
        argument = self.joined(piece.argument) if piece.argument else Field(())
        if not self._budget.work(cost(piece, value)):
            self.unsure = True
            value = None
        value = operate(piece, value, argument.text) if argument.is_known else None
        return self._valued(value, piece.source, quoted=piece.quoted)

    def _alternate(self, piece: Variable, value: Value) -> list[Field]:
        argument = self.joined(piece.argument)
        if not argument.is_known:
            return [Field((Part(piece.source, Kind.UNKNOWN),))]
        options: Values = (("",), (argument.text,))
        if value is not None:
            absent = not any(value) if piece.operator == ":+" else not value
            options = options[:1] if absent else options[1:]
        return self._valued(self._pick(id(piece), options), piece.source, quoted=piece.quoted)

    def _pick(self, key: str | int, values: Values) -> Value:
        if len(values) > MAX_VALUES:
            return None
        if len(values) == 1:
            return values[0]
        if key not in self._radix:
            if self.combinations * len(values) > MAX_CHOICES:
                return None
            self._radix[key] = (self.combinations, len(values))
            self.combinations *= len(values)
        divisor, count = self._radix[key]
        return values[self.choice // divisor % count]

    def _valued(
        self, value: Value, source: str, *, quoted: bool, kind: Kind = Kind.PLAIN
    ) -> list[Field]:
        if value is None:
            return [Field((Part(source, Kind.HIDDEN if quoted else Kind.UNKNOWN),))]
        if not self._budget.work(sum(map(len, value))):
            self.unsure = True
            return [Field((Part(source, Kind.UNKNOWN),))]
        if quoted:
            sure = Kind.GUESS if kind is Kind.GUESS else Kind.QUOTED
            return [Field((Part(text, sure),)) for text in value] or [Field(())]
        separators = self.variables.get("IFS") or ((" \t\n",),)
        blanks = "".join(separators[0] or (" \t\n",))[:16]
        fields: list[Field] = []
        for text in value:
            for char in blanks:
                text = text.replace(char, "\0")  # noqa: PLW2901 - each replaces in the last
            fields.extend(Field((Part(t, kind),) if t else ()) for t in text.split("\0"))
        return fields or [Field(())]


def _part(piece: Text) -> Part:
    return Part(piece.text, Kind.QUOTED if piece.quoted else Kind.PLAIN)
