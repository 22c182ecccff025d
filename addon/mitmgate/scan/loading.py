"""Rule packs from YAML: rules carry their own proof and do not load without it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mitmgate.scan.finding import Detector
from mitmgate.scan.gate import Gate
from mitmgate.scan.models import PackModel, RuleModel
from mitmgate.scan.named import REFUSED, named_value
from mitmgate.scan.patterns import Pattern, encode
from mitmgate.scan.rule import Rule
from mitmgate.scan.search import spans_of
from mitmgate.scan.shapes import run_word, stands_in
from mitmgate.scan.validators import VALIDATORS
from mitmgate.strictyaml import KeyPath, load, read_file, refuse, validate

ID_PREFIX: dict[Detector, str] = {
    "secrets": "secret.",
    "injection": "injection.",
    "poisoning": "poisoning.",
    "pii": "pii.",
}
_ID_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

type Flaw = tuple[KeyPath, str]


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


def _proven(entry: RuleModel, kind: Detector) -> tuple[Rule | None, list[Flaw]]:
    """Return the rule if its patterns compile, and all that is wrong with it."""
    if (entry.pattern is None) == (entry.value is None):
        return None, [((), "give a pattern or a value, one of the two")]
    if not entry.keywords and (not entry.runs or entry.value is not None):
        return None, [((), "give keywords: the rule is only tried where one of them stands")]
    flaws: list[Flaw] = []
    if entry.validator is not None and entry.validator not in VALIDATORS:
        known = ", ".join(sorted(VALIDATORS))
        flaws.append((("validator",), f"there is no such validator; there are {known}"))
        return None, flaws
    rule = rule_of(entry, kind)
    place = "value" if entry.pattern is None else "pattern"
    patterns: dict[KeyPath, Pattern] = {(place,): rule.regex}
    patterns |= {("unless", number): pattern for number, pattern in enumerate(rule.unless)}
    for path, pattern in patterns.items():
        try:
            pattern.compile()
        except ValueError as error:
            flaws.append((path, str(error)))
    return (None, flaws) if flaws else (rule, list(_flaws(rule)))


def rule_of(entry: RuleModel, kind: Detector) -> Rule:
    """Return the rule that *entry* spells. Nothing of it is proven, no pattern compiled."""
    text, unless = entry.pattern, entry.unless
    if text is None:
        text = named_value(entry.keywords, entry.value or "")
        unless = (*unless, REFUSED)
    return Rule(
        id=entry.id,
        title=entry.title,
        detector=kind,
        severity=entry.severity,
        provider=entry.provider,
        regex=Pattern(text),
        words=(*_words(entry.keywords), *map(run_word, entry.runs)),
        runs=bool(entry.runs),
        starts=frozenset(_words(entry.keywords if entry.starts == "all" else entry.starts)),
        also=_words(entry.also),
        token=entry.token,
        reach=0 if entry.reach == "all" else entry.reach,
        min_distinct=entry.min_distinct,
        entropy=entry.entropy,
        contains=entry.contains,
        unless=tuple(map(Pattern, unless)),
        validator=None if entry.validator is None else VALIDATORS[entry.validator],
        surfaces=None if entry.surfaces is None else frozenset(entry.surfaces),
        weight=entry.weight,
        generic=entry.generic,
        home=entry.home,
        match=entry.match,
        clean=entry.clean,
        known_miss=entry.known_miss,
    )


def _words(keywords: Iterable[str]) -> tuple[bytes, ...]:
    """Return *keywords* as they are looked for: in text whose ASCII is in lower case."""
    cases = (spelled for word in keywords for spelled in (word.lower(), word.upper(), word.title()))
    return tuple(dict.fromkeys(encode(word).lower() for word in cases))


def hits(rule: Rule, text: str) -> bool:
    """Tell whether *rule* finds anything in *text*, as it stands there."""
    return bool(spans_of(rule, Gate([rule]), text))


def _flaws(rule: Rule) -> Iterator[Flaw]:
    gate = Gate([rule])
    prefix = ID_PREFIX[rule.detector]
    rest = rule.id.removeprefix(prefix)
    if rest == rule.id or not rest or not _ID_LETTERS.issuperset(rest):
        yield ("id",), f"an id of this kind is {prefix} followed by a-z, 0-9 and - only"
    if not rule.starts.issubset(rule.words):
        yield ("starts",), "name keywords of this rule, or all"
    for number, sample in enumerate(rule.match):
        # Keywords are the gate before the pattern: a match without one would never be found.
        if not any(stands_in(word, encode(sample).lower()) for word in rule.words):
            yield ("match", number), "none of the rule's keywords stands in this sample"
        elif not spans_of(rule, gate, sample):
            yield ("match", number), "the rule does not find this sample of its own"
    for number, sample in enumerate(rule.clean):
        if spans_of(rule, gate, sample):
            yield ("clean", number), "the rule finds something in this clean sample"
    for number, sample in enumerate(rule.known_miss):
        if spans_of(rule, gate, sample):
            yield ("known_miss", number), "the rule finds this sample now: move it to match"


def _repeated(names: Iterable[str]) -> Iterator[int]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield index
        seen.add(name)
