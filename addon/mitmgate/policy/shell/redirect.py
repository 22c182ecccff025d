"""Redirections and here-documents of a command line, and the blanks between its words."""

from __future__ import annotations

from typing import Final

from mitmgate.policy.shell.syntax import Budget, Redirection, Text, Word
from mitmgate.policy.shell.words import NAME, WordReader

_REDIRECTIONS: Final = (
    "&>>", "&>", "<<<", "<<-", "<<", "<>", "<&", "<", ">>", ">&", ">|", ">",
)  # fmt: skip
_LONGEST_FD: Final = 32


class RedirectionReader(WordReader):
    """Reads what stands between and beside words."""

    def __init__(self, text: str, budget: Budget, *, depth: int = 0, windows: bool = False) -> None:
        super().__init__(text, budget, depth=depth, windows=windows)
        self._here: list[tuple[Redirection, str, bool, bool]] = []

    def blanks(self) -> None:
        """Pass blanks, comments and continued lines."""
        while self.pos < self.end:
            char = self.text[self.pos]
            if char in " \t" or (char == "\r" and self.windows):
                self.pos += 1
            elif char == "\\" and self.peek(1) == "\n":
                self.pos += 2
            elif char == "#":
                line_end = self.text.find("\n", self.pos)
                self.pos = self.end if line_end < 0 else line_end
            else:
                return

    def blank_lines(self) -> None:
        """Pass blanks and line ends, and the here-documents behind these."""
        self.blanks()
        while self.peek() == "\n":
            self._newline()
            self.blanks()

    def _newline(self) -> None:
        self.pos += 1
        waiting, self._here = self._here, []
        for redirection, delimiter, tabs, quoted in waiting:
            body = self._here_body(delimiter, tabs=tabs)
            if quoted:
                redirection.target = (Text(body, quoted=True),)
                continue
            nested = type(self)(body, self.budget, depth=self.depth + 1)
            redirection.target = nested.here_document()
            self.unsure |= nested.unsure

    def _here_body(self, delimiter: str, *, tabs: bool) -> str:
        lines: list[str] = []
        while self.pos < self.end:
            line_end = self.text.find("\n", self.pos)
            line_end = self.end if line_end < 0 else line_end
            line = self.text[self.pos : line_end]
            self.pos = min(line_end + 1, self.end)
            line = line.lstrip("\t") if tabs else line
            if line == delimiter:
                break
            lines.append(line + "\n")
        return "".join(lines)

    def redirections(self) -> tuple[Redirection, ...]:
        """Return all the redirections that stand here."""
        redirections: list[Redirection] = []
        self.blanks()
        while (redirection := self.redirection()) is not None:
            redirections.append(redirection)
            self.blanks()
        return tuple(redirections)

    def redirection(self) -> Redirection | None:
        """Return the redirection that stands here, or None."""
        at = self._descriptor_end()
        operator = next((op for op in _REDIRECTIONS if self.text.startswith(op, at)), "")
        if not operator or (operator in ("<", ">") and self.text.startswith("(", at + 1)):
            return None
        self.pos = at + len(operator)
        self.blanks()
        if operator in ("<<", "<<-"):
            return self._here_redirection(operator)
        target = self.word()
        self.unsure |= not target
        return Redirection(_kind(operator, literal(target)), target)

    def _descriptor_end(self) -> int:
        at = self.pos
        limit = min(self.end, at + _LONGEST_FD)
        if self.text.startswith("{", at):
            close = self.text.find("}", at, limit)
            named = close > 0 and NAME.issuperset(self.text[at + 1 : close])
            return close + 1 if named and self.text[close + 1 : close + 2] in ("<", ">") else at
        while at < limit and self.text[at].isdigit():
            at += 1
        return at if self.text[at : at + 1] in ("<", ">") else self.pos

    def _here_redirection(self, operator: str) -> Redirection:
        start = self.pos
        delimiter = literal(self.word())
        quoted = any(char in self.text[start : self.pos] for char in "'\"\\")
        redirection = Redirection("<<", ())
        self._here.append((redirection, delimiter, operator == "<<-", quoted))
        return redirection


def literal(word: Word) -> str:
    """Return the constant text of *word*."""
    return "".join(piece.text for piece in word if isinstance(piece, Text))


def _kind(operator: str, target: str) -> str:
    if operator in ("<&", ">&") and target.rstrip("-").isdigit() | (target == "-"):
        return "&"
    if operator == "<<<":
        return "<<"
    if operator == "<>":
        return "<>"
    return "<" if operator.startswith("<") else ">"
