"""Words of a command line: quotes, escapes, variables, substitutions, as a shell reads them."""

from __future__ import annotations

from typing import Final, Literal

from mitmgate.policy.shell.output import decode_escapes
from mitmgate.policy.shell.syntax import (
    MAX_DEPTH,
    NAME_CHARACTERS,
    NAME_START,
    Arithmetic,
    Budget,
    Piece,
    Script,
    Substitution,
    Text,
    Variable,
    Word,
)

type Mode = Literal["word", "double", "brace", "brace in double", "here"]
"""Where text stands: a word, ``"..."``, ``${...}``, that inside of quotes, a here-document."""

META: Final = frozenset(" \t\n;&|<>()")
NAME: Final = frozenset(NAME_CHARACTERS)
_SPECIAL_NAMES: Final = frozenset("@*#?$!-0123456789")
_STOPS: Final[dict[Mode, frozenset[str]]] = {
    "word": META,
    "double": frozenset('"'),
    "brace": frozenset("}"),
    "brace in double": frozenset("}"),
    "here": frozenset(),
}
_QUOTES: Final[dict[Mode, frozenset[str]]] = {
    "word": frozenset("'\"$`\\^"),
    "double": frozenset("$`\\"),
    "brace": frozenset("'\"$`\\^"),
    "brace in double": frozenset('"$`\\'),
    "here": frozenset("$`\\"),
}
_ESCAPED_IN_DOUBLE: Final = frozenset('$`"\\}')
_OPERATORS: Final = (
    ":-", ":=", ":?", ":+", "-", "=", "?", "+", "##", "#", "%%", "%", "//", "/#", "/%", "/",
    "^^", "^", ",,", ",", "@", ":",
)  # fmt: skip


class WordReader:
    """Reads words at ``pos``; the grammar around them is the subclass's.

    Total: what cannot be read sets ``unsure``, and the rest of the text is left out.
    With *windows* a backslash is a letter, and ``^`` and the backtick are what escapes.
    """

    def __init__(self, text: str, budget: Budget, *, depth: int = 0, windows: bool = False) -> None:
        self.text = text
        self.end = len(text)
        self.pos = 0
        self.depth = depth
        self.unsure = False
        self.budget = budget
        self.windows = windows
        if depth > MAX_DEPTH or not budget.work(self.end):
            self.give_up()

    def script(self, *closers: str) -> Script:
        """Return the script up to one of *closers*, which is passed over."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Leave the rest of the text unread."""
        self.unsure = True
        self.pos = self.end

    def peek(self, ahead: int = 0) -> str:
        """Return the character at the position, empty behind the end."""
        at = self.pos + ahead
        return self.text[at] if at < self.end else ""

    def word(self) -> Word:
        """Return the word at the position, empty where none starts."""
        pieces: list[Piece] = []
        if not self.budget.pieces(1):
            self.give_up()
        self._read("word", pieces)
        while self.peek() in ("<", ">") and self.peek(1) == "(" and not self.windows:
            pieces.append(self._substitution(quoted=False, file=True))
            self._read("word", pieces)
        return tuple(pieces)

    def here_document(self) -> Word:
        """Return the whole text, read as that of a here-document."""
        pieces: list[Piece] = []
        self._read("here", pieces)
        return tuple(pieces)

    def _read(self, mode: Mode, pieces: list[Piece]) -> None:
        stops, quotes = _STOPS[mode], _QUOTES[mode]
        special = stops | quotes
        quoted = mode in ("double", "brace in double", "here")
        text, end = self.text, self.end
        while self.pos < end:
            start = at = self.pos
            while at < end and text[at] not in special:
                at += 1
            self.pos = at
            if at > start:
                pieces.append(Text(text[start:at], quoted))
            if at == end or text[at] in stops:
                return
            self._special(text[at], mode, pieces)
            if not self.budget.pieces(2):
                self.give_up()

    def _special(self, char: str, mode: Mode, pieces: list[Piece]) -> None:
        quoted = mode in ("double", "brace in double", "here")
        if char == "'":
            self._single(pieces)
        elif char == '"':
            self._double(pieces)
        elif char == "$":
            self._dollar(pieces, quoted=quoted)
        elif self._is_escape(char, quoted=quoted):
            self._escape(mode, pieces)
        elif char == "`":
            self._backticks(pieces, quoted=quoted)
        else:
            self.pos += 1
            pieces.append(Text(char, quoted))

    def _is_escape(self, char: str, *, quoted: bool) -> bool:
        if self.windows:
            return char == "`" or (char == "^" and not quoted)
        return char == "\\"

    def _escape(self, mode: Mode, pieces: list[Piece]) -> None:
        char, following = self.peek(), self.peek(1)
        self.pos = min(self.pos + 2, self.end)
        if following == "\n" or (self.windows and following == "\r"):
            return
        kept = mode in ("double", "brace in double", "here") and (
            following not in _ESCAPED_IN_DOUBLE
            or (following == '"' and mode == "here")
            or (following == "}" and mode != "brace in double")
        )
        if kept or not following:
            pieces.append(Text(char + following, quoted=True))
        else:
            pieces.append(Text(following, quoted=True))

    def _single(self, pieces: list[Piece]) -> None:
        close = self.text.find("'", self.pos + 1)
        if close < 0:
            pieces.append(Text(self.text[self.pos + 1 :], quoted=True))
            self.give_up()
            return
        pieces.append(Text(self.text[self.pos + 1 : close], quoted=True))
        self.pos = close + 1

    def _double(self, pieces: list[Piece]) -> None:
        self.pos += 1
        pieces.append(Text("", quoted=True))  # "" is a word of its own
        self._inside("double", pieces)

    def _inside(self, mode: Mode, pieces: list[Piece]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.give_up()
        self._read(mode, pieces)
        self.depth -= 1
        if self.pos >= self.end:
            self.give_up()
        else:
            self.pos += 1

    def _dollar(self, pieces: list[Piece], *, quoted: bool) -> None:
        char = self.peek(1)
        if char == "(":
            pieces.append(self._parenthesis(quoted=quoted))
        elif char == "{":
            pieces.append(self._parameter(quoted=quoted))
        elif char == "'" and not quoted and not self.windows:
            self._ansi(pieces)
        elif char == '"' and not quoted:
            self.pos += 1  # $"..." is "..." in the user's language
        elif char in NAME_START or char in _SPECIAL_NAMES:
            pieces.append(self._plain_variable(quoted=quoted))
        else:
            self.pos += 1
            pieces.append(Text("$", quoted=True))

    def _plain_variable(self, *, quoted: bool) -> Variable:
        start = self.pos + 1
        at = start + 1
        if self.text[start] in NAME_START:
            while at < self.end and self.text[at] in NAME:
                at += 1
        self.pos = at
        name = self.text[start:at]
        return Variable(name, "$" + name, quoted)

    def _ansi(self, pieces: list[Piece]) -> None:
        start = at = self.pos + 2
        while at < self.end and self.text[at] != "'":
            at += 2 if self.text[at] == "\\" else 1
        self.pos = at + 1
        if at >= self.end:
            self.give_up()
        # The shell's strings end at a NUL, so what stands behind one is not there.
        text = decode_escapes(self.text[start:at], "quote").partition("\0")[0]
        pieces.append(Text(text, quoted=True))

    def _parenthesis(self, *, quoted: bool) -> Substitution | Arithmetic:
        start = self.pos
        if self.peek(2) == "(":
            close = self.arithmetic_end(start + 3)
            if close >= 0:
                inner = type(self)(self.text[start + 3 : close], self.budget, depth=self.depth + 1)
                argument = inner.here_document()
                self.unsure |= inner.unsure
                self.pos = close + 2
                return Arithmetic(argument, self.text[start : self.pos], quoted)
        return self._substitution(quoted=quoted)

    def arithmetic_end(self, start: int) -> int:
        """Return where the ``))`` stands that closes what began before *start*, or -1."""
        level = 0
        at = start
        while at < self.end:
            char = self.text[at]
            if char == "(":
                level += 1
            elif char == ")" and level:
                level -= 1
            elif char == ")":
                break
            at += 1
        closed = self.budget.work(at - start) and self.text.startswith("))", at)
        return at if closed else -1

    def _substitution(self, *, quoted: bool, file: bool = False) -> Substitution:
        start = self.pos
        self.pos += 2
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.give_up()
        script = self.script(")")
        self.depth -= 1
        return Substitution(script, self.text[start : self.pos], quoted, file)

    def _backticks(self, pieces: list[Piece], *, quoted: bool) -> None:
        start = at = self.pos + 1
        inner: list[str] = []
        while at < self.end and self.text[at] != "`":
            char = self.text[at]
            if char == "\\" and at + 1 < self.end:
                at += 1
                escaped = self.text[at] in ('$`\\"' if quoted else "$`\\")
                char = self.text[at] if escaped else "\\" + self.text[at]
            inner.append(char)
            at += 1
        self.pos = at + 1
        if at >= self.end:
            self.give_up()
        nested = type(self)("".join(inner), self.budget, depth=self.depth + 1)
        script = nested.script()
        self.unsure |= nested.unsure
        pieces.append(Substitution(script, self.text[start - 1 : self.pos], quoted))

    def _parameter(self, *, quoted: bool) -> Variable | Substitution:
        start = self.pos
        if self.peek(2) in (" ", "\t", "\n", "|"):
            return self._shell_braces(quoted=quoted)
        self.pos += 2
        prefix = self.peek() if self.peek() in ("#", "!") and self.peek(1) not in ("}", "") else ""
        self.pos += len(prefix)
        name = self._name()
        index = self._index()
        rest = self.text[self.pos : self.pos + 2]
        operator = next((op for op in _OPERATORS if rest.startswith(op)), "")
        self.pos += len(operator)
        argument: list[Piece] = []
        self._inside("brace in double" if quoted else "brace", argument)
        source = self.text[start : self.pos]
        if not name or (argument and not operator):
            self.unsure = True  # a shell stops here and says "bad substitution"
        if not (prefix or index or operator):
            source = "$" + name
        return Variable(name, source, quoted, prefix, index, operator, tuple(argument), braced=True)

    def _shell_braces(self, *, quoted: bool) -> Substitution:
        """Read ``${ command; }``, which newer shells run without a subshell."""
        start = self.pos
        self.pos += 3
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.give_up()
        script = self.script("}")
        self.depth -= 1
        return Substitution(script, self.text[start : self.pos], quoted)

    def _name(self) -> str:
        start = at = self.pos
        while at < self.end and self.text[at] in NAME:
            at += 1
        if at == start and self.peek() in _SPECIAL_NAMES:
            at += 1
        self.pos = at
        return self.text[start:at]

    def _index(self) -> str:
        if self.peek() != "[":
            return ""
        close = self.text.find("]", self.pos, self.pos + 64)
        if close < 0:
            self.give_up()
            return ""
        index = self.text[self.pos + 1 : close]
        self.pos = close + 1
        return index
