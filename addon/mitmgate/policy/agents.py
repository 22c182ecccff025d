"""Agents that show who they are: the ``agents`` part of a policy, tokens, and proxy credentials.

A token is seen once, when it is made. Everything here holds its hash only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mitmgate.policy.syntax import parse_name
from mitmgate.strictyaml import load_model

MAX_TOKENS: Final = 16
"""Tokens of one agent: a rotation needs two, and every one of them is compared at each call."""
MAX_GROUPS: Final = 100
"""Groups of one agent: far more than a person keeps apart."""
MAX_HEADER: Final = 2048
"""Characters of credentials: the longest name and one of our tokens take 192."""
HASH_PREFIX: Final = "sha256:"
HASH_DIGITS: Final = 64
_TOKEN_PREFIX: Final = "mg_"  # tells people and secret scanners what it is
_TOKEN_BYTES: Final = 24  # 192 bits, 32 characters of base64url
_TOKEN_LENGTH: Final = len(_TOKEN_PREFIX) + 32
_HEX: Final = frozenset("0123456789abcdef")
_HOW: Final = "put NAME:TOKEN@ before the host in the URL of the proxy"
# No SHA-256 of anything that was ever found: it fills up what is compared.
_NOBODY: Final = HASH_PREFIX + "0" * HASH_DIGITS


def parse_agent_name(text: str) -> str:
    """Return *text* if it may name an agent."""
    parse_name(text)
    # An agent without credentials is called by its address, and a rule for an address must not
    # fit somebody who chose it as a name.
    if all(map(_is_number, text.split("."))):
        raise ValueError("an agent's name must not look like an IP address; add a letter")
    # Names are shown and recorded, so a token that was put in the place of one must not pass.
    if text.startswith(_TOKEN_PREFIX) and len(text) >= _TOKEN_LENGTH:
        raise ValueError("an agent's name must not look like a token; write NAME:TOKEN")
    return text


def _is_number(label: str) -> bool:
    """Say whether *label* may be a part of an IPv4 address, as the C library reads them."""
    lower = label.lower()
    if lower.startswith("0x"):
        return set(string.hexdigits).issuperset(lower[2:])
    return not label or (label.isascii() and label.isdigit())


def parse_token_hash(text: str) -> str:
    """Return *text* if it is the hash of a token as policies hold it."""
    digits = text.removeprefix(HASH_PREFIX)
    # The text is never quoted: it may be the token itself, put here by mistake.
    if len(digits) != HASH_DIGITS or len(text) == len(digits) or not _HEX.issuperset(digits):
        raise ValueError(
            "a token is given as its hash, sha256: and 64 hex digits in lower case; "
            "`mitmgate agent add` makes one"
        )
    return text


def _checked(check: Callable[[str], object]) -> AfterValidator:
    def keep(text: str) -> str:
        check(text)
        return text

    return AfterValidator(keep)


def _at_most(limit: int, what: str) -> AfterValidator:
    def check(items: tuple[str, ...]) -> tuple[str, ...]:
        if len(items) > limit:
            raise ValueError(f"an agent has at most {limit} {what}")
        return items

    return AfterValidator(check)


AgentName = Annotated[str, _checked(parse_agent_name)]
GroupName = Annotated[str, _checked(parse_name)]
TokenHash = Annotated[
    str,
    _checked(parse_token_hash),
    Field(json_schema_extra={"pattern": f"^{HASH_PREFIX}[0-9a-f]{{{HASH_DIGITS}}}$"}),
]


class AgentEntry(BaseModel):
    """An agent that shows who it is by a token."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    tokens: Annotated[tuple[TokenHash, ...], _at_most(MAX_TOKENS, "tokens")] = Field(
        default=(),
        description=(
            "Hashes of the tokens that the agent may show, as `mitmgate agent add` writes them. "
            "With two of them a token can be replaced without a pause; with none the agent is "
            "known and locked out."
        ),
        examples=[[_NOBODY]],
        json_schema_extra={"maxItems": MAX_TOKENS},
    )
    groups: Annotated[tuple[GroupName, ...], _at_most(MAX_GROUPS, "groups")] = Field(
        default=(),
        description="Groups that the agent belongs to; a rule may name a group instead of agents.",
        examples=[["bots", "nightly"]],
        json_schema_extra={"maxItems": MAX_GROUPS},
    )


class _AgentsPart(BaseModel):
    """A policy of which only the agents are looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    agents: dict[AgentName, AgentEntry] = Field(default_factory=dict)


def agents_in(text: str, *, file: str) -> Mapping[str, AgentEntry]:
    """Return the agents of the policy *text* by name, in their order.

    Raises ConfigError with every problem of this part; the other parts are not looked at.
    """
    return load_model(_AgentsPart, text, file=file).agents


def new_token() -> str:
    """Return a new token: ``mg_`` and 32 random characters that a URL holds as they are."""
    return _TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return the form in which policies keep *token*. Total.

    One round without salt is enough: a token has 192 random bits, so there is nothing to guess
    or to look up. A slow hash, as for passwords that people choose, would only slow each call.
    """
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    return HASH_PREFIX + digest


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an agent showed: its name, and the hash of its token. Nothing is verified yet."""

    name: str
    token_hash: str = field(repr=False)


def credentials(header: str | None) -> Credentials | None:
    """Return what the value of a Proxy-Authorization *header* says, None where there is none.

    Raises ValueError, which never quotes the header, for anything but ``Basic`` (RFC 7617, in
    UTF-8) with the name of an agent and a token.
    """
    if header is None:
        return None
    if len(header) > MAX_HEADER:
        raise ValueError(f"the proxy credentials are too long; {_HOW}")
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise ValueError(f"proxy credentials must be of the Basic scheme; {_HOW}")
    pair = _decoded(encoded.strip(" "))
    name, colon, token = (pair or "").partition(":")
    if pair is None or not colon or any(_is_control(char) for char in pair):
        raise ValueError(f"the proxy credentials are not readable; {_HOW}")
    if not token:
        raise ValueError(f"the proxy credentials have no token; {_HOW}")
    parse_agent_name(name)
    return Credentials(name, hash_token(token))


def _decoded(text: str) -> str | None:
    # Errors are not passed on: a UnicodeDecodeError carries the bytes, and the token in them.
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _is_control(char: str) -> bool:
    return char < " " or char == "\x7f"


@dataclass(frozen=True, slots=True)
class AgentTable:
    """Who may show which tokens, and who belongs to which groups."""

    _hashes: Mapping[str, tuple[str, ...]] = field(repr=False)
    _groups: Mapping[str, frozenset[str]]
    _width: int

    @classmethod
    def of(cls, entries: Mapping[str, AgentEntry]) -> AgentTable:
        """Return the table of *entries*, agents by name."""
        hashes = {name: entry.tokens for name, entry in entries.items()}
        groups = {name: frozenset(entry.groups) for name, entry in entries.items()}
        width = max((len(tokens) for tokens in hashes.values()), default=0)
        return cls(MappingProxyType(hashes), MappingProxyType(groups), max(width, 1))

    def __bool__(self) -> bool:
        """Say whether there is any agent, so that credentials can be asked for."""
        return bool(self._hashes)

    @property
    def names(self) -> frozenset[str]:
        """The names of all agents."""
        return frozenset(self._hashes)

    @property
    def groups(self) -> frozenset[str]:
        """All groups that an agent is of."""
        return frozenset().union(*self._groups.values())

    def verify(self, shown: Credentials) -> bool:
        """Say whether *shown* are the name and the token of an agent.

        Every name, known or not, costs the same comparisons: how long the answer takes tells
        neither which agents exist nor how many tokens they have.
        """
        known = self._hashes.get(shown.name, ())
        padded = known + (_NOBODY,) * (self._width - len(known))
        given = shown.token_hash.encode("utf-8", "surrogatepass")
        same = [hmac.compare_digest(given, entry.encode("ascii")) for entry in padded]
        return any(same[: len(known)])

    def groups_of(self, name: str) -> frozenset[str]:
        """Return the groups of the agent *name*; none for a name that nobody has."""
        return self._groups.get(name, frozenset())
