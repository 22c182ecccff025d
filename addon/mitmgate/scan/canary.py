"""Canaries: credentials that open nothing, planted where only a thief would look.

Any sight of one is critical, so they are looked for as they are, whatever else is switched off.
"""

from __future__ import annotations

import base64
import json
import secrets
import string
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import re2

from mitmgate.scan.loading import Pack
from mitmgate.scan.patterns import Pattern
from mitmgate.scan.rule import Rule

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE32 = string.ascii_uppercase + "234567"
_HEX = "0123456789abcdef"
_LETTERS = frozenset(string.ascii_lowercase + string.digits)


@dataclass(frozen=True, slots=True)
class Canary:
    """A planted credential. ``values`` are its parts, each of which gives it away.

    ``place`` says where it was planted, in the words of who did; ``created`` is a date (RFC 3339).
    """

    name: str
    kind: str
    values: tuple[str, ...]
    place: str
    created: str


def canary_values(kind: str) -> tuple[str, ...]:
    """Return the parts of a fresh credential of *kind*; KeyError for one that is not made."""
    return KINDS[kind]()


def canary_name(place: str, taken: Iterable[str]) -> str:
    """Return a name for what is planted at *place* that none of *taken* is: a-z, 0-9 and ``-``."""
    letters = "".join(c if c in _LETTERS else "-" for c in place.lower())
    base = "-".join(filter(None, letters.split("-")))[:40].strip("-") or "canary"
    known, name, number = frozenset(taken), base, 1
    while name in known:
        number += 1
        name = f"{base}-{number}"
    return name


def canary_pack(canaries: Iterable[Canary]) -> Pack:
    """Return the rules that find *canaries*, one for each of their parts."""
    rules = [
        _rule(canary, number, value)
        for canary in canaries
        for number, value in enumerate(canary.values)
    ]
    return Pack("canaries", "canary", tuple(rules))


def _rule(canary: Canary, number: int, value: str) -> Rule:
    part = f".{number + 1}" if len(canary.values) > 1 else ""  # no name has a dot
    return Rule(
        id=f"canary.{canary.name}{part}",
        title=f"the canary planted at {canary.place}",
        detector="canary",
        severity="critical",
        provider=None,
        regex=Pattern(re2.escape(value)),
        words=(value.lower().encode(),),
        runs=False,
        starts=frozenset(),
        also=(),
        token=0,
        reach=16,
        min_distinct=0,
        entropy=0.0,
        contains=(),
        unless=(),
        validator=None,
        surfaces=None,
        weight=1.0,
        generic=False,
        home=(),
        match=(value,),
        clean=(),
        known_miss=(),
    )


def _drawn(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _checked(prefix: str) -> str:
    """Return a token as GitHub and npm make them: 30 characters, then CRC-32 of them in base62."""
    body = _drawn(_BASE62, 30)
    rest, check = zlib.crc32(body.encode()), ""
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        check = _BASE62[digit] + check
    return prefix + body + check


def _aws() -> tuple[str, ...]:
    return f"AKIA{_drawn(_BASE32, 16)}", _drawn(_BASE62 + "+/", 40)


def _jwt() -> tuple[str, ...]:
    def part(value: Mapping[str, object]) -> str:
        text = json.dumps(value, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(text).decode().rstrip("=")

    head = part({"alg": "HS256", "typ": "JWT"})
    claims = part({"sub": _drawn(string.digits, 10), "iss": "auth", "jti": _drawn(_HEX, 24)})
    return (f"{head}.{claims}.{_drawn(_BASE62 + '-_', 43)}",)


KINDS: Mapping[str, Callable[[], tuple[str, ...]]] = {
    "anthropic": lambda: (f"sk-ant-api03-{_drawn(_BASE62 + '-_', 93)}AA",),
    "aws": _aws,
    "database-url": lambda: (
        f"postgres://app_{_drawn(_HEX, 6)}:{_drawn(_BASE62, 20)}"
        f"@db-{_drawn(_HEX, 8)}.internal:5432/app",
    ),
    "github": lambda: (_checked("ghp_"),),
    "gitlab": lambda: (f"glpat-{_drawn(_BASE62, 20)}",),
    "google-api": lambda: (f"AIza{_drawn(_BASE62 + '-_', 35)}",),
    "jwt": _jwt,
    "npm": lambda: (_checked("npm_"),),
    "openai": lambda: (f"sk-{_drawn(_BASE62, 20)}T3BlbkFJ{_drawn(_BASE62, 20)}",),
    "password": lambda: (_drawn(_BASE62, 24),),
    "slack": lambda: (
        f"xoxb-{_drawn(string.digits, 12)}-{_drawn(string.digits, 12)}-{_drawn(_BASE62, 24)}",
    ),
    "stripe": lambda: (f"sk_live_{_drawn(_BASE62, 24)}",),
}
"""How each kind of canary is made: as realistic as its format allows, and never the same."""
