"""The file of remembered answers: rules that an operator made by approving or denying for ever.

They stand beside the policy's own rules and are asked after them. Every value is meant exactly as
it is written, never as a glob: servers choose the names of their tools. Arguments and URLs stand in
it as keyed hashes only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from mitmgate.errors import ConfigError
from mitmgate.policy import syntax
from mitmgate.policy.fields import Reason, RuleId, Section, checked, number_not_bool
from mitmgate.strictyaml import KeyPath, load, read_file, refuse, validate

MOST_RULES = 1_000
MOST_NAMES = 8
_MOST_ALIKE = 64
_HASH_DIGITS = 32
_KEY_DIGITS = 8

type On = Literal["call", "values", "tool", "server", "url", "prefix", "host"]

_NEEDS: Final[Mapping[tuple[str, On], frozenset[str]]] = {
    ("mcp", "call"): frozenset({"server", "method", "call"}),
    ("mcp", "values"): frozenset({"server", "method", "tool", "values"}),
    ("mcp", "tool"): frozenset({"server", "method", "tool"}),
    ("mcp", "server"): frozenset({"server"}),
    ("egress", "call"): frozenset({"origin", "method", "call"}),
    ("egress", "url"): frozenset({"origin", "method", "url"}),
    ("egress", "prefix"): frozenset({"origin", "method", "prefix"}),
    ("egress", "host"): frozenset({"origin"}),
}
_AIMS: Final = ("server", "origin", "method", "tool", "prefix", "call", "url", "values")


def parse_hash(text: str) -> str:
    """Return *text* if it is a keyed hash."""
    if len(text) != _HASH_DIGITS or not frozenset("0123456789abcdef").issuperset(text):
        raise ValueError(f"a hash has {_HASH_DIGITS} hex digits")
    return text


def parse_folder_path(text: str) -> str:
    """Return *text* if it is the plain path of a folder below the root, without a last slash."""
    if not text.startswith("/") or text.endswith("/") or not syntax.is_plain_path(text):
        raise ValueError("a prefix is a plain path such as /api, without a slash at its end")
    return text


Given = Annotated[str, Field(min_length=1, max_length=1000)]
Hash = Annotated[str, checked(parse_hash)]


class RememberedEntry(Section):
    """One answer. ``covers`` says how much it covers, see ``mitmgate.hold.target``."""

    id: RuleId
    then: Literal["allow", "deny"]
    covers: On
    agent: Given
    server: Given | None = None
    origin: Given | None = None
    method: Given | None = None
    tool: Given | None = None
    prefix: Annotated[str, checked(parse_folder_path)] | None = None
    call: Hash | None = None
    url: Hash | None = None
    values: Annotated[dict[Given, Hash], Field(min_length=1, max_length=MOST_NAMES)] | None = None
    reason: Reason | None = None
    note: Reason | None = None
    by: Given | None = None
    made: Given | None = None
    outcome: Given | None = None


def _listed(value: Any) -> Any:
    if value is None:  # the last answer was taken back
        return ()
    return tuple(value) if isinstance(value, list) else value


class RememberedFile(Section):
    """The whole file. ``key`` tells which key its hashes were made with."""

    version: Annotated[Literal[1], BeforeValidator(number_not_bool)]
    key: Given
    rules: Annotated[tuple[RememberedEntry, ...], BeforeValidator(_listed)] = ()


@dataclass(frozen=True, slots=True)
class RememberedRule:
    """An answer for ever; the fields are those of the file, None where it has none.

    ``server`` is a name of the policy or the URL of an endpoint without one, ``origin`` scheme,
    host and port of what is not MCP. ``made`` is a time in ISO 8601, ``outcome`` the call that was
    answered.
    """

    id: str
    then: Literal["allow", "deny"]
    covers: On
    agent: str
    server: str | None = None
    origin: str | None = None
    method: str | None = None
    tool: str | None = None
    prefix: str | None = None
    call: str | None = None
    url: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    note: str | None = None
    by: str | None = None
    made: str | None = None
    outcome: str | None = None

    @property
    def channel(self) -> Literal["mcp", "egress"]:
        """What it is about."""
        return "egress" if self.server is None else "mcp"

    @property
    def meaning(self) -> tuple[object, ...]:
        """What it decides of what: rules of one meaning are the same rule."""
        aims = (getattr(self, name) for name in _AIMS)
        return (self.then, self.covers, self.agent, *aims)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The rules of the file, and the key of their hashes. ``made`` is for whoever tries them."""

    rules: tuple[RememberedRule, ...]
    key: bytes = field(repr=False)
    text: str = field(default="", repr=False)
    made: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def keyed(self, digest: str) -> str:
        """Return the hash that stands in the file for the plain hash *digest*."""
        return keyed(self.key, digest)

    def get(self, rule_id: str) -> RememberedRule | None:
        """Return the rule with that id."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)

    def strays(self, servers: Mapping[str, object]) -> tuple[str, ...]:
        """Return a sentence for each rule about a server that is none of *servers*."""
        return tuple(
            f"remembered rule {rule.id} is for server {rule.server}, which the policy does not name"
            for rule in self.rules
            if rule.server is not None and "://" not in rule.server and rule.server not in servers
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """Where remembered answers are kept, and the key of their hashes."""

    path: Path
    key: bytes = field(repr=False)

    def read(self) -> Remembered | None:
        """Return what is remembered, None where there is no file; ConfigError if it is broken."""
        if not self.path.exists():
            return None
        return parse_remembered(read_file(self.path), key=self.key, file=str(self.path))


def keyed(key: bytes, digest: str) -> str:
    """Return the keyed hash (HMAC-SHA-256, 128 bits) of a plain one."""
    return hmac.new(key, b"remembered\0" + digest.encode(), "sha256").hexdigest()[:_HASH_DIGITS]


def key_name(key: bytes) -> str:
    """Return what names *key* in the file and gives nothing of it away."""
    return keyed(key, "key")[:_KEY_DIGITS]


def joined(base: str, remembered: Remembered | None) -> str:
    """Return the hash of a policy whose files have the hash *base*, with what is *remembered*."""
    if remembered is None:
        return base
    digest = hashlib.sha256(f"{base}\nremembered\n".encode() + remembered.text.encode("utf-8"))
    return f"sha256:{digest.hexdigest()}"


def parse_remembered(text: str, *, key: bytes, file: str) -> Remembered:
    """Return the rules in *text*, or raise ConfigError with every problem."""
    document = load(text, file=file)
    parsed, problems = validate(RememberedFile, document)
    if parsed is None:
        raise refuse(problems)
    if parsed.key != key_name(key):
        raise ConfigError(document.problem(
            ("key",), "its hashes were made with another hash.key",
            hint="put that key back, or remove this file and answer anew"))  # fmt: skip
    rules = tuple(_rule(entry) for entry in parsed.rules)
    problems += [document.problem(*found) for found in _bad(rules)]
    if problems:
        raise refuse(problems)
    return Remembered(rules, key, text)


def entry_of(rule: RememberedRule) -> dict[str, Any]:
    """Return *rule* as it is written."""
    entry = {name: getattr(rule, name) for name in RememberedEntry.model_fields}
    entry["values"] = dict(rule.values) or None
    return {name: value for name, value in entry.items() if value is not None}


def _rule(entry: RememberedEntry) -> RememberedRule:
    given = entry.model_dump()
    given["values"] = tuple(sorted((given["values"] or {}).items()))
    return RememberedRule(**given)


def _bad(rules: tuple[RememberedRule, ...]) -> Iterator[tuple[KeyPath, str]]:
    if len(rules) > MOST_RULES:
        yield ("rules",), f"more than {MOST_RULES} answers; take some back"
    seen: set[str] = set()
    alike: dict[tuple[object, ...], set[tuple[str, ...]]] = {}
    for number, rule in enumerate(rules):
        here: KeyPath = ("rules", number)
        if rule.id in seen:
            yield (*here, "id"), f"{rule.id} is already the id of another rule"
        seen.add(rule.id)
        yield from _bad_aim(here, rule)
        if rule.covers == "values":
            place = (rule.agent, rule.server, rule.method, rule.tool)
            names = alike.setdefault(place, set())
            names.add(tuple(name for name, _ in rule.values))
            if len(names) > _MOST_ALIKE:
                yield here, "too many rules look at other arguments of this tool"


def _bad_aim(here: KeyPath, rule: RememberedRule) -> Iterator[tuple[KeyPath, str]]:
    if rule.server is not None and rule.origin is not None:
        yield here, "server is for MCP and origin for the rest: give one"
        return
    needs = _NEEDS.get((rule.channel, rule.covers))
    if needs is None:
        other = "server" if rule.origin else "origin"
        yield (*here, "covers"), f"covers: {rule.covers} goes with {other}"
        return
    given = {name for name in _AIMS if getattr(rule, name) not in (None, ())}
    may = needs | {"tool"} if (rule.channel, rule.covers) == ("mcp", "call") else needs
    for name in sorted(needs - given):
        yield here, f"covers: {rule.covers} needs {name}"
    for name in sorted(given - may):
        yield (*here, name), f"covers: {rule.covers} would leave {name} out"
