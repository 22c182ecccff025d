"""Files of rules that a policy extends, and the locked layer of an organisation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem
from mitmgate.policy.models import RulesFile
from mitmgate.strictyaml import Document, did_you_mean, load, read_file, validate

MAX_PACKS = 100
"""Files that one policy may extend, directly and through others."""


@dataclass(frozen=True, slots=True)
class LoadedLayer:
    """A file of rules as it was read. ``path`` is None for a pack that is shipped."""

    name: str
    text: str
    document: Document
    file: RulesFile | None
    path: Path | None


@dataclass(slots=True)
class Loader:
    """Reads files of rules, each once, in the order in which their rules count."""

    layers: list[LoadedLayer] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _seen: dict[str, LoadedLayer | None] = field(default_factory=dict)

    def extend(self, document: Document, base: Path | None, chain: tuple[str, ...] = ()) -> None:
        """Read what the ``extends`` of *document* names, relative to the folder *base*."""
        value = document.value.get("extends") if isinstance(document.value, dict) else None
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str):
                self._read(document, name, base, chain)

    def _read(
        self, document: Document, name: str, base: Path | None, chain: tuple[str, ...]
    ) -> None:
        path = _path(name, base)
        key = name if path is None else str(path)
        problem = self._refusal(name, key, chain)
        if problem is not None:
            message, hint = problem
            self.problems.append(document.problem(("extends",), message, hint=hint))
            return
        if key in self._seen:
            return
        self._seen[key] = None
        try:
            text = _shipped_text(name) if path is None else read_file(path)
            layer = read_layer(text, name, path, self.problems)
        except ConfigError as error:
            self.problems += error.problems
            return
        self._seen[key] = layer
        self.layers.append(layer)
        self.extend(layer.document, path.parent if path is not None else None, (*chain, key))

    def _refusal(self, name: str, key: str, chain: tuple[str, ...]) -> tuple[str, str] | None:
        if key in chain:
            circle = " -> ".join((*chain[chain.index(key) :], key))
            return f"extends itself: {circle}", "remove one of them"
        if len(self._seen) >= MAX_PACKS and key not in self._seen:
            return f"more than {MAX_PACKS} packs are extended", "put rules together in one file"
        if key == name and name not in shipped_packs() and "/" not in name:
            nearest = did_you_mean(name, shipped_packs())
            hint = f"did you mean {nearest}?" if nearest else "write ./ before the path of a file"
            return f"there is no pack {name}", hint
        return None


def read_layer(text: str, name: str, path: Path | None, problems: list[Problem]) -> LoadedLayer:
    """Return the file of rules in *text*; what is wrong with it is added to *problems*."""
    document = load(text, file=str(path or f"pack {name}"), past_duplicates=True)
    parsed, found = validate(RulesFile, document)
    problems += [*found, *document.problems]
    return LoadedLayer(name, text, document, parsed, path)


def digest_of(texts: Iterable[str]) -> str:
    """Return the hash that names exactly these *texts*."""
    first, *more = [hashlib.sha256(text.encode("utf-8")).digest() for text in texts]
    digest = hashlib.sha256(first + b"".join(more)).digest() if more else first
    return f"sha256:{digest.hex()}"


def shipped_packs() -> tuple[str, ...]:
    """Return the names of the packs that are shipped."""
    return tuple(sorted(_names()))


def _names() -> Iterator[str]:
    for entry in _folder().iterdir():
        if entry.name.endswith(".yaml"):
            yield entry.name.removesuffix(".yaml")


def _folder() -> Any:
    return resources.files("mitmgate_rules").joinpath("rulesets")


def _shipped_text(name: str) -> str:
    text: str = _folder().joinpath(f"{name}.yaml").read_bytes().decode("utf-8")
    return text


def _path(name: str, base: Path | None) -> Path | None:
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        return None
    return ((base or Path()) / name).resolve()
