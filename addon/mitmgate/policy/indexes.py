"""Which package indexes a host's own tools use, read from what these say of themselves.

Only hosts, ports and paths are taken: configurations hold passwords and tokens.
"""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mitmgate.errors import WireError
from mitmgate.policy.call import request_call
from mitmgate.policy.egress_rule import WEB_PORTS
from mitmgate.policy.syntax import parse_path_prefix

_PIP_KEYS = ("index-url", "extra-index-url", "find-links")
_APT_SCHEMES = ("http://", "https://", "mirror+http://", "mirror+https://")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where packages come from: a host, a port that is not the web's, a path if that is all.

    ``port`` is None for the web's, ``path`` ``""`` where files may lie elsewhere on the host.
    """

    host: str
    port: int | None = None
    path: str = ""


def place_of(url: str, *, whole: bool = True) -> Place | None:
    """Return the place of *url*, None where it is none that a proxy sees.

    User names and passwords in it are left out. *whole* says that files may lie anywhere on its
    host; else they are below its path.
    """
    text = url.strip().removeprefix("sparse+").removeprefix("mirror+").removeprefix("git+")
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    bare = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    try:
        call = request_call(bare, "GET", "")
    except WireError:
        return None
    below = ""
    if not whole:
        with suppress(ValueError):  # a path that no rule can name: the whole host then
            below = parse_path_prefix(call.path)
    return Place(call.host, None if call.port in WEB_PORTS else call.port, below)


def pip_places(listing: str) -> list[Place]:
    """Return the indexes in *listing*, what ``pip config list`` prints; no entry, no place."""
    found: list[Place | None] = []
    for line in listing.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.rpartition(".")[2] in _PIP_KEYS:
            # It prints values as Python spells them; several stand on lines of their own.
            with suppress(ValueError, SyntaxError):
                found += map(place_of, str(ast.literal_eval(value)).split())
    return _sorted(found)


def pip_defaults(source: str) -> list[Place]:
    """Return pip's own index and file host, from the *source* of its ``models/index.py``."""
    found: list[Place | None] = []
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign) and [_name(one) for one in node.targets] == ["PyPI"]:
                texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
                urls = [text if "://" in text else f"https://{text}"
                        for text in texts if isinstance(text, str)]  # fmt: skip
                found += map(place_of, urls)
    return _sorted(found)


def npm_places(listing: str) -> list[Place]:
    """Return the registries in *listing*, what ``npm config list --json`` prints."""
    try:
        settings = json.loads(listing)
    except ValueError:
        return []
    pairs = settings.items() if isinstance(settings, dict) else ()
    urls = [
        value
        for key, value in pairs
        if isinstance(value, str) and (key == "registry" or key.endswith(":registry"))
    ]
    return _sorted(map(place_of, urls))


def cargo_places(text: str) -> list[Place]:
    """Return the registries and sources that a ``config.toml`` of cargo names."""
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return []
    entries = [
        entry
        for section in ("registries", "source", "registry")
        for entry in _tables(settings.get(section))
    ]
    urls = [entry.get(key) for entry in entries for key in ("index", "registry")]
    return _sorted(place_of(url) for url in urls if isinstance(url, str))


def cargo_downloads(text: str) -> list[Place]:
    """Return where the crates of an index are, from its ``config.json``."""
    with suppress(ValueError):
        settings = json.loads(text)
        url = settings.get("dl") if isinstance(settings, dict) else None
        if isinstance(url, str):
            return _sorted([place_of(url)])
    return []


def apt_places(text: str) -> list[Place]:
    """Return the archives in *text*, a ``sources.list`` (sources.list(5)), one line each."""
    found: list[Place | None] = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words and words[0] in ("deb", "deb-src"):
            found += [_archive(word) for word in words if word.startswith(_APT_SCHEMES)][:1]
    return _sorted(found)


def apt_stanzas(text: str) -> list[Place]:
    """Return the archives in *text*, a file of the deb822 form (sources.list(5))."""
    found: list[Place | None] = []
    for stanza in _stanzas(text):
        if stanza.get("enabled", "yes").strip().lower() not in ("no", "false", "0"):
            words = stanza.get("uris", "").split()
            found += [_archive(word) for word in words if word.startswith(_APT_SCHEMES)]
    return _sorted(found)


def index_rules(tool: str, places: Iterable[Place]) -> Iterator[dict[str, Any]]:
    """Yield egress rules, as plain values, that let *tool* read from *places*."""
    groups: dict[tuple[int | None, str], list[str]] = {}
    for place in places:
        groups.setdefault((place.port, place.path), []).append(place.host)
    for number, ((port, path), hosts) in enumerate(groups.items(), 1):
        rule: dict[str, Any] = {
            "id": f"index-{tool}" if len(groups) == 1 else f"index-{tool}-{number}",
            "host": sorted(set(hosts)),
        }
        if port is not None:
            rule["ports"] = [port]
        if path:
            rule["paths"] = [path]
        yield rule | {"methods": ["GET", "HEAD"], "then": "allow"}


def _archive(url: str) -> Place | None:
    return place_of(url, whole=False)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _tables(section: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(section, dict):
        yield section
        yield from (entry for entry in section.values() if isinstance(entry, dict))


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if stanza:
                yield stanza
            stanza, key = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            stanza[key] = f"{stanza.get(key, '')} {line}"
        else:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            stanza[key] = value


def _sorted(places: Iterable[Place | None]) -> list[Place]:
    return sorted({place for place in places if place is not None})
