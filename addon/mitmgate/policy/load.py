"""Policy files to policies: reading them with all their layers, and the shipped starters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.net.domains import parse_domain_pattern
from mitmgate.policy.compiled import Policy, ScanPack
from mitmgate.policy.compiling import compile_policy
from mitmgate.policy.crosschecks import cross_problems, locked_problems, rule_ids
from mitmgate.policy.layers import LoadedLayer, Loader, digest_of, read_layer
from mitmgate.policy.models import PolicyFile, RulesFile
from mitmgate.policy.remembered import Kept, Remembered, joined
from mitmgate.strictyaml import Document, load, read_file, refuse, validate

__all__ = [
    "Policy",
    "ReadPolicy",
    "load_policy",
    "load_policy_file",
    "read_policy",
    "starter_policy",
    "starter_text",
    "with_model_api",
    "with_remembered",
]

STARTER_NAME = "starter.yaml"


def load_policy(
    text: str, *, file: str, base: Path | None = None, locked: Path | None = None
) -> Policy:
    """Return the policy that *text* spells, or raise ConfigError with every problem.

    *base* is the folder that the paths in ``extends`` are relative to, *locked* the file of the
    locked layer.
    """
    return read_policy(text, file=file, base=base, locked=locked).policy


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """A policy, the document it was read from, and the files that it depends on."""

    policy: Policy
    document: Document
    packs: tuple[LoadedLayer, ...]
    locked: tuple[LoadedLayer, ...]
    scanned: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of its layers but its own, and those of scanner rules."""
        layers = (one.path for one in (*self.packs, *self.locked) if one.path is not None)
        return (*layers, *self.scanned)


def read_policy(
    text: str,
    *,
    file: str,
    base: Path | None = None,
    locked: Path | None = None,
    kept: Kept | None = None,
) -> ReadPolicy:
    """Return what :func:`load_policy` does, with all that it was read from.

    *kept* is where answers for ever are kept.
    """
    document = load(text, file=file, past_duplicates=True)
    parsed, problems = validate(PolicyFile, document)
    packs, floor = Loader(), Loader()
    packs.extend(document, base)
    if locked is not None:
        layer = read_layer(read_file(locked), locked.name, locked, floor.problems)
        floor.layers.append(layer)
        floor.extend(layer.document, locked.parent, (str(locked.resolve()),))
    problems += cross_problems(document, [one.document for one in packs.layers])
    problems += locked_problems([one.document for one in floor.layers])
    problems += [*document.problems, *packs.problems, *floor.problems]
    paths = [(base or Path()) / name for name in parsed.scan.packs] if parsed is not None else []
    rules = _scan_packs(paths, problems)
    if parsed is None or problems:
        raise refuse(problems)
    layers = [one.text for one in (*packs.layers, *floor.layers)]
    digest = digest_of([text, *layers, *(one.text for one in rules)])
    policy = compile_policy(parsed, digest, _files(packs), _files(floor), rules)
    policy = with_remembered(policy, None if kept is None else kept.read())
    return ReadPolicy(policy, document, tuple(packs.layers), tuple(floor.layers), tuple(paths))


def with_remembered(policy: Policy, remembered: Remembered | None) -> Policy:
    """Return *policy* with the answers for ever that are *remembered*, and none else."""
    return replace(policy, hash=joined(policy.base, remembered), remembered=remembered)


def _scan_packs(paths: Iterable[Path], problems: list[Problem]) -> list[ScanPack]:
    """Return the files of scanner rules at *paths*; the scanner says whether they are any good."""
    found: list[ScanPack] = []
    for path in paths:
        try:
            found.append(ScanPack(str(path), read_file(path)))
        except ConfigError as error:
            problems += error.problems
    return found


def _files(loader: Loader) -> list[tuple[str, RulesFile]]:
    return [(one.name, one.file) for one in loader.layers if one.file is not None]


def load_policy_file(path: Path, *, locked: Path | None = None) -> Policy:
    """Return the policy in the file at *path*, or raise ConfigError with every problem."""
    return load_policy(read_file(path), file=str(path), base=path.parent, locked=locked)


def starter_text() -> str:
    """Return the text of the policy that is in force when the user gives none."""
    folder = resources.files("mitmgate_rules")
    return folder.joinpath("policies", STARTER_NAME).read_bytes().decode("utf-8")


def starter_policy() -> Policy:
    """Return the policy that is in force when the user gives none."""
    return load_policy(starter_text(), file=STARTER_NAME)


def with_model_api(text: str, host: str) -> str:
    """Return the policy *text* with an egress rule for the model API at *host* put first.

    Every line of the text stays as it was, comments too. Raises ConfigError if *host* is no
    exact host, or if *text* is no policy with a list of egress rules in block style.
    """
    document = load(text, file=STARTER_NAME)
    problems = [*_model_host_problems(host), *_no_block_of_rules(document)]
    if problems:
        raise refuse(problems)
    name = str(parse_domain_pattern(host))
    taken = {rule_id for _, rule_id in rule_ids(document)}
    rule_id = "model-api" if "model-api" not in taken else f"model-api-{name}"
    lines = text.splitlines(keepends=True)
    first_rule = lines[document.lines["egress", "rules", 0] - 1]
    indent = first_rule[: len(first_rule) - len(first_rule.lstrip(" "))]
    entry = f'{{id: {rule_id}, host: "{name}", methods: [GET, HEAD, POST], then: allow}}'
    at = document.lines["egress", "rules"]
    changed = "".join([*lines[:at], f"{indent}- {entry}\n", *lines[at:]])
    load_policy(changed, file=STARTER_NAME)
    return changed


def _no_block_of_rules(document: Document) -> Iterator[Problem]:
    key = document.lines.get(("egress", "rules"))
    first = document.lines.get(("egress", "rules", 0))
    if key is None or first is None or first <= key:
        yield document.problem(
            ("egress", "rules"), "there is no list of rules, one a line, to add to",
            hint="add the rule by hand")  # fmt: skip


def _model_host_problems(host: str) -> Iterator[Problem]:
    hint = "name one exact host, as in api.example.com"
    try:
        if parse_domain_pattern(host).wildcard:
            yield Problem("a wildcard is too wide for a model API", key="model API", hint=hint)
    except ValueError as error:
        yield Problem(str(error), key="model API", hint=hint)
