"""Rule packs: YAML files whose rules carry their own proof and do not load without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

import re2
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mitmgate.scan.finding import Detector, Severity
from mitmgate.scan.patterns import SECRET_GROUP, compile_pattern, frame
from mitmgate.strictyaml import KeyPath, load, read_file, refuse, validate

ID_PREFIX: dict[Detector, str] = {"secrets": "secret.", "injection": "injection."}
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


def _join_parts(value: object) -> object:
    # Samples come in parts so that no complete credential shape stands in any file.
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return "".join(value)
    return value


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


type Flaw = tuple[KeyPath, str]
type Sample = Annotated[str, BeforeValidator(_join_parts), Field(min_length=1)]
type Samples = Annotated[tuple[Sample, ...], BeforeValidator(_tuple)]
type Keywords = Annotated[
    tuple[Annotated[str, Field(min_length=2)], ...], BeforeValidator(_tuple), Field(min_length=1)
]


class RuleModel(BaseModel):
    """One rule as its file spells it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: str
    title: str
    severity: Severity
    pattern: str
    keywords: Keywords
    min_distinct: Annotated[int, Field(ge=0, le=64)] = 0
    match: Annotated[Samples, Field(min_length=1)]
    clean: Samples = ()
    known_miss: Samples = ()


class PackModel(BaseModel):
    """A pack file as it is written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    pack: Annotated[str, Field(min_length=1)]
    kind: Detector
    rules: Annotated[tuple[RuleModel, ...], BeforeValidator(_tuple), Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that has passed its own samples.

    ``group`` is the group of the pattern that holds the value, 0 for all that it matches.
    ``min_distinct`` is the least number of different characters of a value that counts:
    rows of one letter in documentation are no credentials.
    """

    id: str
    title: str
    detector: Detector
    severity: Severity
    pattern: str
    regex: re2.Pattern
    group: int
    keywords: tuple[str, ...]
    min_distinct: int
    match: tuple[str, ...]
    clean: tuple[str, ...]
    known_miss: tuple[str, ...]

    def spans(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield the byte spans of the values of this rule in framed *data*, from left to right."""
        for match in self.regex.finditer(data):
            start, end = match.span(self.group)
            if start < 0:
                start, end = match.span()
            if len(set(data[start:end])) >= self.min_distinct:
                yield start, end

    def hits(self, text: str) -> bool:
        """Tell whether this rule finds anything in *text*."""
        return next(self.spans(frame([text]).data), None) is not None


@dataclass(frozen=True, slots=True)
class Pack:
    """The rules of one file, all of one detector."""

    name: str
    detector: Detector
    rules: tuple[Rule, ...]


def load_pack(text: str, *, file: str) -> Pack:
    """Return the pack that *text* spells, or raise ConfigError with every problem in it."""
    document = load(text, file=file)
    model, problems = validate(PackModel, document)
    if model is None:
        raise refuse(problems)
    rules: list[Rule] = []
    for index, entry in enumerate(model.rules):
        rule, flaws = _proven(entry, model.kind)
        problems += (document.problem(("rules", index, *path), words) for path, words in flaws)
        if rule is not None:
            rules.append(rule)
    problems += (
        document.problem(("rules", index, "id"), "another rule of this pack has this id")
        for index in _repeated(entry.id for entry in model.rules)
    )
    if problems:
        raise refuse(problems)
    return Pack(model.pack, model.kind, tuple(rules))


def load_pack_file(path: Path) -> Pack:
    """Read and check the pack at *path*; ConfigError names everything wrong with it."""
    return load_pack(read_file(path), file=str(path))


@cache
def installed_packs() -> tuple[Pack, ...]:
    """Return the packs that ship with mitmgate, in order of their file names."""
    folder = files("mitmgate_rules") / "packs"
    entries = sorted((e for e in folder.iterdir() if e.name.endswith(".yaml")), key=_name)
    return tuple(load_pack(e.read_text(encoding="utf-8"), file=e.name) for e in entries)


def _name(entry: Traversable) -> str:
    return entry.name


def _proven(entry: RuleModel, kind: Detector) -> tuple[Rule | None, list[Flaw]]:
    """Return the rule if its pattern compiles, and all that is wrong with it."""
    try:
        regex = compile_pattern(entry.pattern)
    except ValueError as error:
        return None, [(("pattern",), str(error))]
    rule = Rule(
        id=entry.id,
        title=entry.title,
        detector=kind,
        severity=entry.severity,
        pattern=entry.pattern,
        regex=regex,
        group=regex.groupindex.get(SECRET_GROUP, 0),
        keywords=entry.keywords,
        min_distinct=entry.min_distinct,
        match=entry.match,
        clean=entry.clean,
        known_miss=entry.known_miss,
    )
    return rule, list(_flaws(rule))


def _flaws(rule: Rule) -> Iterator[Flaw]:
    prefix = ID_PREFIX[rule.detector]
    rest = rule.id.removeprefix(prefix)
    if rest == rule.id or not rest or not _ID_LETTERS.issuperset(rest):
        yield ("id",), f"an id of this kind is {prefix} followed by a-z, 0-9 and - only"
    for number, sample in enumerate(rule.match):
        if not rule.hits(sample):
            yield ("match", number), "the rule does not find this sample of its own"
        # Keywords are the gate before the pattern: a match without one would never be found.
        elif not any(word.lower() in sample.lower() for word in rule.keywords):
            yield ("match", number), "none of the rule's keywords stands in this sample"
    for number, sample in enumerate(rule.clean):
        if rule.hits(sample):
            yield ("clean", number), "the rule finds something in this clean sample"
    for number, sample in enumerate(rule.known_miss):
        if rule.hits(sample):
            yield ("known_miss", number), "the rule finds this sample now: move it to match"


def _repeated(names: Iterable[str]) -> Iterator[int]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield index
        seen.add(name)
