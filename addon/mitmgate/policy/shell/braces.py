"""Brace expansion: ``{rm,-rf,/}`` is three words, ``{1..3}`` too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mitmgate.policy.shell.syntax import (
    MAX_BRACES,
    MAX_DEPTH,
    NAME_CHARACTERS,
    NAME_START,
    Budget,
    Piece,
    Text,
    Variable,
    Word,
)

_MARKS: Final = ("{", ",", "}")


@dataclass(frozen=True, slots=True)
class _Choice:
    """Braces with their alternatives."""

    options: tuple[_Sequence, ...]


type _Sequence = list[Piece | _Choice]


def expand_braces(word: Word, budget: Budget) -> list[Word] | None:
    """Return the words that *word* spells, itself where it has no braces; None for too many."""
    if not any(isinstance(p, Text) and not p.quoted and "{" in p.text for p in word):
        return [word]
    atoms = _atoms(word)
    sequence = _tree(atoms) if budget.pieces(len(atoms)) else None
    words = None if sequence is None else _expand(sequence, budget)
    return None if words is None else [_renamed(each) for each in words]


def _renamed(word: Word) -> Word:
    """Return *word* with ``$a`` and a ``b`` that braces put behind it as ``$ab``.

    Braces are expanded before variables: to bash ``{$a,}b`` is ``$ab b``.
    """
    pieces: list[Piece] = []
    for piece in word:
        last = pieces[-1] if pieces else None
        if (
            isinstance(piece, Text)
            and not piece.quoted
            and isinstance(last, Variable)
            and not (last.braced or last.quoted)
            and last.name[0] in NAME_START
        ):
            rest = piece.text.lstrip(NAME_CHARACTERS)
            name = last.name + piece.text[: len(piece.text) - len(rest)]
            pieces[-1] = Variable(name, "$" + name, quoted=False)
            if rest:
                pieces.append(Text(rest, quoted=False))
        else:
            pieces.append(piece)
    return tuple(pieces)


def _tree(atoms: list[Piece]) -> _Sequence | None:
    """Return *atoms* with their braces nested, or None where they are nested too deep.

    None too where bash takes a later brace for the end: ``{a}b,c}`` is ``a}b c``.
    """
    stack: list[list[_Sequence]] = [[[]]]
    odd = ""
    for piece in atoms:
        mark = piece.text if isinstance(piece, Text) and not piece.quoted else ""
        if mark == "{":
            stack.append([[]])
            if len(stack) > MAX_DEPTH:
                return None
        elif mark == "," and len(stack) > 1:
            stack[-1].append([])
        elif mark == "}" and len(stack) > 1:
            closed = _closed(stack.pop())
            stack[-1][-1].extend(closed)
            if len(stack) == 1 and len(closed) > 1:
                odd = "{"
        else:
            if odd == "," and mark == "}":
                return None
            odd = "," if odd and mark == "," else odd
            stack[-1][-1].append(piece)
    while len(stack) > 1:  # what was not closed are just characters
        options = stack.pop()
        stack[-1][-1].extend([Text("{", quoted=False), *_with_commas(options)])
    return stack[0][0]


def _atoms(word: Word) -> list[Piece]:
    """Return the pieces of *word*, each unquoted brace and comma as one of its own."""
    atoms: list[Piece] = []
    for piece in word:
        if not isinstance(piece, Text) or piece.quoted:
            atoms.append(piece)
            continue
        start = 0
        for at, char in enumerate(piece.text):
            if char in _MARKS:
                if at > start:
                    atoms.append(Text(piece.text[start:at], quoted=False))
                atoms.append(Text(char, quoted=False))
                start = at + 1
        if start < len(piece.text):
            atoms.append(Text(piece.text[start:], quoted=False))
    return atoms


def _closed(options: list[_Sequence]) -> _Sequence:
    if len(options) > 1:
        return [_Choice(tuple(options))]
    only = options[0]
    if len(only) == 1 and isinstance(only[0], Text) and not only[0].quoted:
        steps = _range(only[0].text)
        if steps is not None:
            return [_Choice(tuple([Text(step, quoted=False)] for step in steps))]
    return [Text("{", quoted=False), *only, Text("}", quoted=False)]


def _with_commas(options: list[_Sequence]) -> _Sequence:
    joined = list(options[0])
    for option in options[1:]:
        joined.extend([Text(",", quoted=False), *option])
    return joined


def _range(text: str) -> list[str] | None:
    """Return the steps of ``1..3``, ``a..e`` or ``1..9..2``; None where it is none of them."""
    first, dots, rest = text.partition("..")
    last, _, by = rest.partition("..")
    step = abs(int(by)) if _is_integer(by) else 1
    if not dots or (by and not _is_integer(by)):
        return None
    step = step or 1
    if _is_integer(first) and _is_integer(last):
        width = max(len(first), len(last)) if _is_padded(first) or _is_padded(last) else 0
        numbers = _numbers(int(first), int(last), step)
        return [f"{number:0{width}d}" for number in numbers]
    if len(first) == len(last) == 1 and first.isascii() and last.isascii():
        return [chr(code) for code in _numbers(ord(first), ord(last), step)]
    return None


def _numbers(first: int, last: int, step: int) -> list[int]:
    numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    return list(numbers[: MAX_BRACES + 1])  # one too many, which is then refused


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) <= 9


def _is_padded(text: str) -> bool:
    digits = text.removeprefix("-")
    return len(digits) > 1 and digits.startswith("0")


def _expand(sequence: _Sequence, budget: Budget) -> list[Word] | None:
    words: list[list[Piece]] = [[]]
    for node in sequence:
        if not isinstance(node, _Choice):
            for word in words:
                word.append(node)
            if not budget.work(len(words)):
                return None
            continue
        endings: list[Word] = []
        for option in node.options:
            expanded = _expand(option, budget)
            if expanded is None or len(endings) + len(expanded) > MAX_BRACES:
                return None
            endings.extend(expanded)
        size = len(words) * len(endings)
        if size > MAX_BRACES or not budget.work(sum(map(len, words)) * len(endings)):
            return None
        words = [[*word, *ending] for word in words for ending in endings]
    return [tuple(word) for word in words]
