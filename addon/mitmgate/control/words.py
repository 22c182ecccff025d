"""The filter words that commands and console share: ``server:files (v:deny | v:ask) !tool:get_*``.

Words side by side, or with ``&``, must all match; ``|`` is or, ``!`` is not, parentheses group and
quotes hold blanks together. Strict: what cannot be read in one way is an error, unlike in the
console, where a filter is a filter while it is typed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mitmgate.errors import ConfigError, Problem

MAX_TEXT = 500
MAX_DEPTH = 30
_SIGNS = "()|&!"

type Maker[T] = Callable[[str, str], Callable[[T], bool]]
"""Makes the test for a name (``""``: a plain word) and a value; ValueError says what is wrong."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A sign, or a word; what was in quotes is no sign and has no name."""

    text: str
    quoted: bool = False

    def is_sign(self, sign: str) -> bool:
        return self.text == sign and not self.quoted


def parse_words[T](text: str, make: Maker[T]) -> Callable[[T], bool]:
    """Return the test that *text* spells; ConfigError says what is wrong with it."""
    if len(text) > MAX_TEXT:
        raise _wrong(f"it has more than {MAX_TEXT} characters")
    parser = _Parser(_tokens(text), make)
    test = parser.either(0)
    parser.finish()
    return test


def like(pattern: str) -> Callable[[str], bool]:
    """Return a test for texts that are like *pattern*, in time linear in both.

    ``*`` stands for anything; without it a part is enough. Case does not matter.
    """
    wanted = pattern.casefold()
    if "*" not in wanted:
        return lambda text: wanted in text.casefold()
    head, *between, tail = wanted.split("*")

    def matches(text: str) -> bool:
        text = text.casefold()
        end = len(text) - len(tail)
        if not text.startswith(head) or not text.endswith(tail):
            return False
        at = len(head)
        for piece in between:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return at <= end

    return matches


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    word, quote, quoted = "", "", False
    for char in f"{text} ":
        if quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'" and (not word or word.endswith(":")):
            quote, quoted = char, not word
        elif char in "()|&" or char.isspace() or (char == "!" and not word):
            tokens += [_Token(word, quoted)] if word or quoted else []
            tokens += [] if char.isspace() else [_Token(char)]
            word, quoted = "", False
        else:
            word += char
    if quote:
        raise _wrong(f"the quote {quote} is not closed")
    return tokens


class _Parser[T]:
    """Recursive descent over tokens."""

    def __init__(self, tokens: list[_Token], make: Maker[T]) -> None:
        self._tokens = tokens
        self._make = make
        self._at = 0

    def finish(self) -> None:
        """Refuse what was not read."""
        if self._at < len(self._tokens):
            raise _wrong(f"{self._tokens[self._at].text} stands where a word should")

    def either(self, depth: int) -> Callable[[T], bool]:
        """Read words with ``|`` between them."""
        tests = [self._all(depth)]
        while self._take("|"):
            tests.append(self._all(depth))
        return tests[0] if len(tests) == 1 else lambda one: any(test(one) for test in tests)

    def _all(self, depth: int) -> Callable[[T], bool]:
        tests = [self._one(depth)]
        while self._take("&") or self._begins():
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda one: all(test(one) for test in tests)

    def _begins(self) -> bool:
        if self._at == len(self._tokens):
            return False
        token = self._tokens[self._at]
        return token.quoted or token.text not in (")", "|", "&")

    def _one(self, depth: int) -> Callable[[T], bool]:
        if depth > MAX_DEPTH:
            raise _wrong(f"it is nested deeper than {MAX_DEPTH} levels")
        if self._take("!"):
            test = self._one(depth + 1)
            return lambda one: not test(one)
        if self._take("("):
            test = self.either(depth + 1)
            if not self._take(")"):
                raise _wrong(") is missing")
            return test
        if not self._begins():
            raise _wrong("a word is missing")
        self._at += 1
        return self._word(self._tokens[self._at - 1])

    def _word(self, token: _Token) -> Callable[[T], bool]:
        name, colon, value = token.text.partition(":")
        if token.quoted or not colon:
            name, value = "", token.text
        if not value or value == "!":
            raise _wrong(f"{name}: wants a value")
        try:
            if name and value.startswith("!"):
                test = self._make(name, value[1:])
                return lambda one: not test(one)
            return self._make(name, value)
        except ValueError as error:
            raise _wrong(str(error)) from None

    def _take(self, sign: str) -> bool:
        taken = self._at < len(self._tokens) and self._tokens[self._at].is_sign(sign)
        self._at += taken
        return taken


def _wrong(what: str) -> ConfigError:
    return ConfigError(
        Problem(f"the filter cannot be read: {what}",
                hint="such as: server:files v:deny !tool:get_*")
    )  # fmt: skip
