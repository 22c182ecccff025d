"""The filter language of the live view: mitmproxy's words beside ours, for text as it is typed.

Words stand side by side (all must match) or with ``&``; ``|`` is or, ``!`` is not, parentheses
group, quotes hold blanks together. ``*`` stands for anything; without it a part is enough. Case
does not matter.

Total: every text is a filter, none is an error. A word that is not finished matches every row, and
:attr:`Filter.note` says what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mitmgate.control.words import MAX_DEPTH, MAX_TEXT, like
from mitmgate_tui.entry import Entry
from mitmgate_tui.signs import sign_of
from mitmgate_tui.text import clean, middle

type Test = Callable[[Entry], bool]

_PLAIN: Final = ("agent", "server", "host", "endpoint", "method", "tool", "rule", "reason", "code")
_SEVERITIES: Final = ("info", "low", "medium", "high", "critical")
_VERDICTS: Final = {
    "allow": "allowed", "allowed": "allowed", "approved": "approved", "ask": "held",
    "held": "held", "hold": "held", "deny": "denied", "denied": "denied", "edit": "redacted",
    "redacted": "redacted", "shadow": "shadow", "ticket": "ticket", "unknown": "unknown",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """What rows to show: ``keep`` is None where all are. ``note`` says what is not finished."""

    text: str
    keep: Test | None = None
    note: str | None = None


def parse(text: str) -> Filter:
    """Return the filter that *text* spells."""
    if len(text) > MAX_TEXT:
        return Filter(text, None, f"a filter has at most {MAX_TEXT} characters: all rows are shown")
    parser = _Parser(_tokens(text))
    keep = parser.either(0)
    return Filter(text, keep, parser.note)


def _tokens(text: str) -> list[str]:
    """Cut *text* into signs and words; a word keeps a quote in front if it was quoted whole."""
    tokens: list[str] = []
    word, quote = "", ""
    for char in text:
        if quote:
            word, quote = (word, "") if char == quote else (word + char, quote)
        elif char in "\"'" and (not word or word.endswith(":")):
            quote, word = char, word or "'"
        elif char in "()|&" or char.isspace() or (char == "!" and not word):
            tokens += [word] if word else []
            tokens += [] if char.isspace() else [char]
            word = ""
        else:
            word += char
    return [*tokens, word] if word else tokens


class _Parser:
    """Recursive descent; None stands for a word that is not there yet, and matches all."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self.note: str | None = None

    def either(self, depth: int) -> Test | None:
        """Read words with ``|`` between them."""
        tests = [self._all(depth)]
        while self._take("|"):
            tests.append(self._all(depth))
        if len(tests) == 1:
            return tests[0]
        known = [test for test in tests if test is not None]
        if len(known) < len(tests):
            self._say("| wants a word on both sides")
            return None
        return lambda entry: any(test(entry) for test in known)

    def _all(self, depth: int) -> Test | None:
        tests: list[Test] = []
        while (token := self._peek()) is not None and token != "|":
            if token == ")" and depth:
                break
            test = self._one(depth)
            if test is not None:
                tests.append(test)
        if len(tests) < 2:
            return tests[0] if tests else None
        return lambda entry: all(test(entry) for test in tests)

    def _one(self, depth: int) -> Test | None:
        token = self._tokens[self._at]
        self._at += 1
        if token == "!":
            return self._not(depth)
        if token == "(":
            return self._group(depth)
        if token in ("&", ")"):  # between words it says what is so anyway; alone it says nothing
            return None
        if token.startswith("~"):
            return self._tilde(token[1:])
        return self._word(token)

    def _not(self, depth: int) -> Test | None:
        token = self._peek()
        if depth >= MAX_DEPTH or token is None or token in ("|", ")", "&"):
            self._say("! wants a word")
            return None
        test = self._one(depth + 1)
        return None if test is None else (lambda entry: not test(entry))

    def _group(self, depth: int) -> Test | None:
        if depth >= MAX_DEPTH:
            self._at = len(self._tokens)
            self._say("too many parentheses")
            return None
        test = self.either(depth + 1)
        if not self._take(")"):
            self._say(") is missing")
        return test

    def _tilde(self, name: str) -> Test | None:
        make = _TILDE.get(name)
        if make is None:
            known = " ".join(f"~{word}" for word in _TILDE)
            self._say(f"~{clean(middle(name, 20))} is no word; there are {known}")
            return None
        value = self._peek()
        if value is None or value in ("|", ")", "&", "!", "("):
            self._say(f"~{name} wants a value")
            return None
        self._at += 1
        return self._made(make, value.removeprefix("'"), f"~{name}")

    def _word(self, token: str) -> Test | None:
        if token.startswith("'"):
            return _plain(token[1:]) if token[1:] else None
        name, colon, value = token.partition(":")
        make = _NAMED.get(name.lower()) if colon else None
        if make is None:
            return _plain(token)
        if not value or value == "!":
            self._say(f"{name}: wants a value")
            return None
        if value.startswith("!"):
            test = self._made(make, value[1:], f"{name}:")
            return None if test is None else (lambda entry: not test(entry))
        return self._made(make, value, f"{name}:")

    def _made(self, make: Callable[[str], Test | None], value: str, word: str) -> Test | None:
        test = make(value)
        if test is None:
            self._say(f"{word} does not know {clean(middle(value, 20))}")
        return test

    def _peek(self) -> str | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self, token: str) -> bool:
        taken = self._peek() == token
        self._at += taken
        return taken

    def _say(self, note: str) -> None:
        self.note = self.note or note


def _of(*names: str) -> Callable[[str], Test]:
    """Return a maker of tests on these fields of a row."""

    def make(value: str) -> Test:
        matches = like(value)
        return lambda entry: any(matches(entry.get(name) or "") for name in names)

    return make


_plain = _of(*_PLAIN)


def _verdict(value: str) -> Test | None:
    words = {word for name, word in _VERDICTS.items() if name.startswith(value.lower())}
    return (lambda entry: sign_of(entry).word in words) if words else None


def _status(value: str) -> Test | None:
    pattern = value.lower().replace("x", "")
    if not pattern.isdecimal() or len(value) > 3:
        return None
    return lambda entry: str(entry.status or "").startswith(pattern)


def _severity(value: str) -> Test | None:
    least = next((at for at, name in enumerate(_SEVERITIES) if name.startswith(value.lower())), -1)
    if least < 0:
        return None
    wanted = frozenset(_SEVERITIES[least:])

    def matches(entry: Entry) -> bool:
        found = (finding[2] for finding in entry.get("findings"))
        return entry.get("severity") in wanted or any(name in wanted for name in found)

    return matches


def _finding(value: str) -> Test:
    matches = like(value)
    return lambda entry: any(
        matches(detector) or matches(rule) for detector, rule, *_ in entry.get("findings")
    )


_TILDE: Final[dict[str, Callable[[str], Test | None]]] = {
    "d": _of("host"),
    "m": _of("method"),
    "u": _of("endpoint"),
    "c": _status,
    "t": _of("kind", "channel"),
}
_NAMED: Final[dict[str, Callable[[str], Test | None]]] = {
    "server": _of("server"),
    "tool": _of("tool"),
    "agent": _of("agent"),
    "rule": _of("rule"),
    "v": _verdict,
    "f": _finding,
    "s": _severity,
}
WORDS: Final = (
    ("~d host", "the host"), ("~m method", "the method"), ("~u text", "the URL"),
    ("~c status", "the status of the answer: 404, 4xx"),
    ("~t type", "request, answer, event, message, connect, dial; mcp, egress"),
    ("server: tool: agent: rule:", "by name; * stands for anything"),
    ("v:deny", "what became of it: allow, approved, ask, deny, edit, shadow, ticket, unknown"),
    ("f:secret s:high", "a finding by its name; findings at least as severe"),
    ("! | ( )", "not, or, grouping; words side by side must all match"),
)  # fmt: skip
