"""The grammar of a command line: lists, pipes, blocks, functions, redirections.

Read as POSIX shells and bash read it, but loosely: what a shell would refuse is read on where
that is possible, and marked as unsure.
"""

from __future__ import annotations

from typing import Final, Literal

from mitmgate.policy.shell.redirect import RedirectionReader, literal
from mitmgate.policy.shell.syntax import (
    MAX_DEPTH,
    NAME_START,
    Assignment,
    Block,
    Command,
    Function,
    Item,
    Piece,
    Redirection,
    Script,
    Simple,
    Text,
    Word,
)
from mitmgate.policy.shell.words import META, NAME

_BETWEEN: Final = ("then", "elif", "else", "do")
_BLOCKS: Final[dict[str, tuple[Literal["branch", "loop"], str]]] = {
    "if": ("branch", "fi"),
    "while": ("loop", "done"),
    "until": ("loop", "done"),
}
_KEYWORDS: Final = frozenset(
    {*_BETWEEN, *_BLOCKS, "fi", "done", "for", "select", "case", "esac", "in", "function",
     "time", "coproc", "{", "}", "!", "[["}
)  # fmt: skip
_LONGEST_KEYWORD: Final = max(map(len, _KEYWORDS))
_DECLARERS: Final = frozenset({"export", "declare", "typeset", "local", "readonly"})


class Parser(RedirectionReader):
    """Reads a script; what stays unread is told at its base class."""

    _closed_by = ""

    def script(self, *closers: str) -> Script:
        """Return the script up to one of *closers*, which is passed over."""
        items: list[Item] = []
        joiner = ""
        while True:
            self.blank_lines()
            if self.pos >= self.end:
                self._closed_by = ""
                self.unsure |= bool(closers)
                break
            if self._closes(closers):
                break
            if not self.budget.command():
                self.give_up()
                break
            before = self.pos
            commands = self._pipeline()
            if commands:
                items.append(Item(commands, joiner))
            joiner = self._joiner()
            if self.pos == before:
                self.unsure = True
                self.pos += 1
        return Script(tuple(items))

    def _closes(self, closers: tuple[str, ...]) -> bool:
        keyword = self._keyword()
        for closer in closers:
            if keyword == closer or (closer[0] in META and self.text.startswith(closer, self.pos)):
                self._closed_by = closer
                self.pos += len(closer)
                return True
        return False

    def _keyword(self) -> str:
        """Return the reserved word at the position, and do not pass it."""
        at = self.pos
        last = min(self.end, at + _LONGEST_KEYWORD + 1)
        while at < last and self.text[at] not in META:
            at += 1
        word = self.text[self.pos : at]
        return word if word in _KEYWORDS else ""

    def _joiner(self) -> str:
        self.blanks()
        pair = self.text[self.pos : self.pos + 2]
        if pair in ("&&", "||"):
            self.pos += 2
            return pair
        if pair[:1] == "&" or (pair[:1] == ";" and pair not in (";;", ";&")):
            self.pos += 1
        return ""

    def _pipeline(self) -> tuple[Command, ...]:
        commands = [self._command()]
        self.blanks()
        while self.peek() == "|" and self.peek(1) != "|":
            self.pos += 2 if self.peek(1) == "&" else 1
            self.blank_lines()
            if not self.budget.command():
                self.give_up()
            commands.append(self._command())
            self.blanks()
        return tuple(command for command in commands if command != Simple(()))

    def _command(self) -> Command:
        self.blanks()
        prefixes: list[Word] = []
        while (keyword := self._keyword()) in ("!", "time", "coproc"):
            self.pos += len(keyword)
            if keyword != "!":
                prefixes.append((Text(keyword, quoted=False),))
            self.blanks()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.give_up()
        command = self._compound(keyword)
        self.depth -= 1
        if command is None:
            return self._simple(prefixes)
        if isinstance(command, Block):
            redirections = self.redirections()
            return Block(command.kind, command.scripts, redirections, command.name, command.words)
        return command

    def _compound(self, keyword: str) -> Command | None:
        if self.peek() == "(":
            return self._parentheses()
        if not keyword or keyword in ("in", *_BETWEEN):
            return None
        self.pos += len(keyword)
        match keyword:
            case "{":
                return Block("group", (self.script("}"),))
            case "if" | "while" | "until":
                kind, closer = _BLOCKS[keyword]
                return Block(kind, self._branches(closer))
            case "for" | "select":
                return self._for()
            case "case":
                return self._case()
            case "function":
                return self._function()
            case "[[":
                return self._test()
            case _:
                self.pos -= len(keyword)  # a closing word that closes nothing
                self.unsure = True
                return None

    def _parentheses(self) -> Block:
        if self.peek(1) == "(":
            close = self.arithmetic_end(self.pos + 2)
            if close >= 0:
                inner = Parser(self.text[self.pos + 2 : close], self.budget, depth=self.depth)
                word = inner.here_document()
                self.unsure |= inner.unsure
                # To dash this is no arithmetic: it runs what stands in the parentheses.
                posix = Parser(self.text[self.pos + 2 : close], self.budget, depth=self.depth)
                self.pos = close + 2
                return Block("branch", (Script(), posix.script()), words=(word,))
        self.pos += 1
        return Block("subshell", (self.script(")"),))

    def _branches(self, closer: str) -> tuple[Script, ...]:
        scripts = [self.script(closer, *_BETWEEN)]
        while self._closed_by not in ("", closer):
            scripts.append(self.script(closer, *_BETWEEN))
        return tuple(scripts)

    def _for(self) -> Block:
        self.blanks()
        words: list[Word] = []
        name = ""
        if self.peek() == "(":
            words.extend(self._parentheses().words)
        else:
            name = literal(self.word())
            self.blank_lines()
            if self._keyword() == "in":
                self.pos += 2
                words = self._words()
        self._joiner()
        self.blank_lines()
        if self._keyword() == "{":
            self.pos += 1
            scripts: tuple[Script, ...] = (Script(), self.script("}"))
        else:
            scripts = self._branches("done")
        return Block("loop", scripts, name=name, words=tuple(words))

    def _words(self) -> list[Word]:
        words: list[Word] = []
        self.blanks()
        while word := self.word():
            words.append(word)
            self.blanks()
        return words

    def _case(self) -> Block:
        words = self._words_until_in()
        scripts = [Script()]  # none of the patterns may match
        self.blank_lines()
        while self.pos < self.end and self._keyword() != "esac":
            before = self.pos
            if self.peek() == "(":
                self.pos += 1
            while self.peek() not in (")", ""):
                words.extend(self._words())
                if self.peek() not in ("|", ")"):
                    break
                self.pos += self.peek() == "|"
            self.pos += self.peek() == ")"
            scripts.append(self.script(";;&", ";;", ";&", "esac"))
            if self._closed_by in ("", "esac") or self.pos == before:
                return Block("branch", tuple(scripts), words=tuple(words))
            self.blank_lines()
        self.unsure |= self.pos >= self.end
        self.pos = min(self.pos + len("esac"), self.end)
        return Block("branch", tuple(scripts), words=tuple(words))

    def _words_until_in(self) -> list[Word]:
        self.blanks()
        words = [self.word()]
        self.blank_lines()
        if self._keyword() == "in":
            self.pos += 2
        else:
            self.unsure = True
        return words

    def _function(self) -> Command:
        self.blanks()
        name = literal(self.word())
        self.blanks()
        if self.peek() == "(":
            self.pos += 1
            self.blanks()
            self.pos += self.peek() == ")"
        return self._function_body(name)

    def _function_body(self, name: str) -> Function:
        self.blank_lines()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.give_up()
        body = self._command()
        self.depth -= 1
        return Function(name, body)

    def _test(self) -> Block:
        """Read ``[[ ... ]]``, where operators are words of their own.

        To dash ``[[`` is some program and the operators are operators: what stands behind them
        is read as commands too, if it looks like any.
        """
        groups: list[list[Word]] = [[]]
        targets: list[Redirection] = []
        while self.pos < self.end:
            self.blank_lines()
            if self.text.startswith("]]", self.pos):
                self.pos += 2
                break
            word = self.word()
            if word:
                groups[-1].append(word)
                continue
            if self.peek() == ">":
                self.pos += 1
                self.blanks()
                target = self.word()
                targets.append(Redirection(">", target))
                groups[-1].append(target)
                continue
            self.pos += 1
            groups.append([])
        else:
            self.give_up()
        words = tuple(word for group in groups for word in group)
        commands = [Simple(tuple(group)) for group in groups[1:] if _may_run(group)]
        commands += [Simple((), (), tuple(targets))] if targets else []
        script = Script(tuple(Item((command,), "||") for command in commands))
        return Block("branch", (Script(), script), words=words)

    def _simple(self, prefixes: list[Word]) -> Command:
        words = list(prefixes)
        assignments: list[Assignment] = []
        redirections: list[Redirection] = []
        declares = False
        apart = -1
        while True:
            self.blanks()
            both = self.text.startswith("&>", self.pos)
            redirection = self.redirection()
            if redirection is not None:
                apart = len(words) if both and apart < 0 else apart
                redirections.append(redirection)
                continue
            if not words or declares:
                assignment = self._assignment()
                if assignment is not None:
                    assignments.append(assignment)
                    continue
            word = self.word()
            if not word:
                break
            words.append(word)
            declares |= len(words) == 1 and literal(word) in _DECLARERS
        if self.peek() == "(" and len(words) == 1 and not assignments:
            return self._maybe_function(words[0])
        command = Simple(tuple(words), tuple(assignments), tuple(redirections), declares)
        if not 0 < apart < len(words):
            return command
        # ``a &> b c`` is to dash ``a &`` and then ``c > b``
        both_ways = (command, Simple(tuple(words[:apart])), Simple(tuple(words[apart:])))
        return Block("branch", tuple(Script((Item((each,), ""),)) for each in both_ways))

    def _maybe_function(self, word: Word) -> Command:
        self.pos += 1
        self.blanks()
        if self.peek() != ")":
            self.pos -= 1
            self.unsure = True
            return Simple((word,))
        self.pos += 1
        return self._function_body(literal(word))

    def _assignment(self) -> Assignment | None:
        at = self.pos
        if at >= self.end or self.text[at] not in NAME_START:
            return None
        while at < self.end and self.text[at] in NAME:
            at += 1
        name_end = at
        if self.text.startswith("[", at):
            at = self.text.find("]", at, at + 64) + 1 or at
        append = self.text.startswith("+", at)
        at += append
        if not self.text.startswith("=", at):
            return None
        name, head = self.text[self.pos : name_end], self.text[self.pos : at + 1]
        element = head.partition("=")[0].rstrip("+") != name
        self.pos = at + 1
        if self.peek() == "(":
            values = self._array()
            return Assignment(name, (Text(head + "(...)", quoted=True),), values, True, append)
        value = self.word()
        word: tuple[Piece, ...] = (Text(head, quoted=True), *value)
        return Assignment(name, word, () if element else (value,), element, append)

    def _array(self) -> tuple[Word, ...]:
        self.pos += 1
        words: list[Word] = []
        while True:
            self.blank_lines()
            word = self.word()
            if not word:
                break
            words.append(word)
        if self.peek() == ")":
            self.pos += 1
        else:
            self.give_up()
        return tuple(words)


def _may_run(group: list[Word]) -> bool:
    """Say whether the words between two operators of a test begin like a command."""
    first = group[0][0] if group else None
    return isinstance(first, Text) and first.text[:1] not in ("-", "!", "=", "")
