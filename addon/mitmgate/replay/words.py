"""Filter words over golden outcomes: ``replay --only 'server:github v:deny'``."""

from __future__ import annotations

from collections.abc import Callable

from mitmgate.control.words import like, parse_words
from mitmgate.replay.golden import Golden

type Test = Callable[[Golden], bool]

_FIELDS: dict[str, tuple[str, ...]] = {
    "server": ("server",),
    "tool": ("tool",),
    "method": ("method",),
    "rule": ("rule",),
    "code": ("code",),
    "t": ("kind", "channel"),
    "": ("server", "tool", "method", "rule", "code"),
}
_VERDICTS = ("allow", "ask", "deny")
_OTHER = {"v": "allow, ask, deny, edit, shadow, hidden", "f": "a finding's rule", "ex": "a number"}


def only(text: str) -> Test:
    """Return the test that *text* spells; ConfigError says what is wrong with it.

    Names: ``server tool method rule code t`` (kind or channel), ``v`` (allow, ask, deny, edit,
    shadow, hidden), ``f`` (rule of a finding), ``ex`` (number of the exchange).
    """
    return parse_words(text, _made)


def _made(name: str, value: str) -> Test:
    if name in _FIELDS:
        return _of(_FIELDS[name], like(value))
    match name:
        case "v":
            return _verdict(value)
        case "f":
            matches = like(value)
            return lambda golden: any(matches(rule) for rule, _ in golden.findings)
        case "ex":
            if not (value.isascii() and value.isdigit() and len(value) < 19):
                raise ValueError("ex: wants the number of an exchange")
            number = int(value)
            return lambda golden: golden.exchange == number
        case _:
            known = " ".join(f"{word}:" for word in (*filter(None, _FIELDS), *_OTHER))
            raise ValueError(f"{name}: is no word of golden outcomes; there are {known}")


def _of(fields: tuple[str, ...], matches: Callable[[str], bool]) -> Test:
    return lambda golden: any(matches(getattr(golden, field) or "") for field in fields)


def _verdict(value: str) -> Test:
    if value in _VERDICTS:
        return lambda golden: golden.verdict.word == value
    match value:
        case "edit":
            return lambda golden: bool(golden.edits)
        case "shadow":
            return lambda golden: not golden.enforced
        case "hidden":
            return lambda golden: golden.hidden
        case _:
            raise ValueError(f"v: does not know {value}; there are {_OTHER['v']}")
