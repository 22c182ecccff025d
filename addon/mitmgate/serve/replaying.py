"""Captures through the rules of a policy: from files to a comparison, or two policies in step."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import Policy
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import check_sums, read_meta, seal
from mitmgate.replay.capture import read_capture, read_header
from mitmgate.replay.compare import Comparison
from mitmgate.replay.entries import CaptureLine, HeaderLine, InputLine
from mitmgate.replay.files import capture_files
from mitmgate.replay.golden import Golden, Key, read_golden, write_golden
from mitmgate.replay.run import Judged, Replayed, Run, replay
from mitmgate.scan.book import book_of
from mitmgate.scan.canary import Canary, canary_pack
from mitmgate.scan.engine import Scanner
from mitmgate.serve.books import packs_for

type Accept = Literal["nothing", "different", "weaker"]
"""What is written as the new golden outcomes: nothing, what is not weaker, or all."""


class Words(Protocol):
    """Chooses which outcomes are compared; all are judged."""

    def __call__(self, golden: Golden) -> bool:
        """Tell whether *golden* is one of them."""
        ...


class Coverage(Protocol):
    """Watches which rules of a policy decide something."""

    def watch(self, policy: Policy) -> None:
        """Begin to watch *policy*; called once, before anything is judged by it."""
        ...


@dataclass(frozen=True, slots=True)
class Pair:
    """One input under two policies; ``before`` and ``after`` say what became of it."""

    line: InputLine
    before: Judged
    after: Judged


def run_files(
    paths: Sequence[Path],
    policy: Policy,
    *,
    only: Words | None = None,
    watch: Coverage | None = None,
    accept: Accept = "nothing",
) -> Comparison:
    """Replay every capture that *paths* name, and compare it with its golden file.

    With *accept* the golden files are written, all or none. ConfigError with every problem when
    any input cannot be used.
    """
    if watch is not None:
        watch.watch(policy)
    compared, written, problems = Comparison(), list[tuple[Path, list[Golden]]](), list[Problem]()
    for file in _files(paths, problems):
        try:
            golden, replayed = _replayed(file, policy, compared, accept)
        except ConfigError as error:
            problems += error.problems
            continue
        compared.add(file, *_chosen(golden, replayed, only))
        written.append((file, _accepted(golden, replayed)))
    if problems:
        raise ConfigError(*problems)
    if accept == "weaker" or (accept == "different" and not compared.weaker):
        for file, lines in written:
            write_golden(golden_path(file), lines)
            seal(file, golden_path(file))
        compared.updated = True
    return compared


def pairs(lines: Iterable[CaptureLine], before: Policy, after: Policy) -> Iterator[Pair]:
    """Judge the inputs of *lines* by two policies in step, with what operators answered then.

    *lines* begin with the header, as :func:`read_lines_for` gives them.
    """
    lines = iter(lines)
    header = next(lines)
    if not isinstance(header, HeaderLine):
        raise TypeError("a capture begins with its header")
    runs = [_run(policy, header) for policy in (before, after)]
    for line in lines:
        one, other = (run.take(line) for run in runs)
        if one is not None and other is not None:
            yield Pair(one.line, one, other)


def read_lines_for(file: Path, policy: Policy) -> Iterator[CaptureLine]:
    """Yield the lines of a capture with samples that the rules of *policy* find again."""
    return read_capture(file, scanner_for(policy, read_header(file).canaries).sample_for)


def scanner_for(policy: Policy, canaries: Iterable[str] = ()) -> Scanner:
    """Return a scanner with the rules of *policy*, and stand-ins for rules of *canaries*.

    The key of its hashes is random: here they only tell equal values apart.
    """
    packs = packs_for(policy)
    stand_ins = tuple(_stand_ins(canaries))
    if stand_ins:
        packs.append(canary_pack(stand_ins))
    return Scanner(book_of(tuple(packs)), hash_key=os.urandom(32))


def _stand_ins(rules: Iterable[str]) -> Iterator[Canary]:
    parts = Counter(rule.removeprefix("canary.").partition(".")[0] for rule in rules)
    for name, count in sorted(parts.items()):
        values = (hashlib.sha256(f"{name}.{n}".encode()).hexdigest()[:24] for n in range(count))
        yield Canary(name, "password", tuple(values), "the place of a capture", "")


def _run(policy: Policy, header: HeaderLine) -> Run:
    scanner = scanner_for(policy, header.canaries)
    return Run(Judge(policy, scanner, shadow=header.shadow), scanner)


def _replayed(
    file: Path, policy: Policy, compared: Comparison, accept: Accept
) -> tuple[dict[Key, Golden], Replayed]:
    golden, meta = read_golden(golden_path(file)), read_meta(file)
    if golden is None and accept == "nothing":
        raise ConfigError(_no_golden(file))
    scanner = scanner_for(policy, read_header(file).canaries)
    replayed = replay(read_capture(file, scanner.sample_for), _judges(policy, scanner), scanner)
    if replayed.exchanges == 0:
        raise ConfigError(_nothing(file))
    # Last: what is damaged says better where.
    if meta is None or meta.sha256 is None:
        compared.unsealed += 1
    elif accept == "nothing" and (problems := check_sums(meta, file, golden_path(file))):
        raise ConfigError(*problems)
    return replayed.outcomes if golden is None else golden, replayed


def _judges(policy: Policy, scanner: Scanner) -> Callable[[bool], Judge]:
    return lambda shadow: Judge(policy, scanner, shadow=shadow)


def _files(paths: Sequence[Path], problems: list[Problem]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        try:
            files += [file for file in capture_files(path) if file not in files]
        except ConfigError as error:
            problems += error.problems
    return files


def _chosen(
    golden: dict[Key, Golden], replayed: Replayed, only: Words | None
) -> tuple[dict[Key, Golden], Replayed]:
    """Return both with the outcomes of which *only* wants what was or what is now."""
    if only is None:
        return golden, replayed
    keys = {key for side in (golden, replayed.outcomes) for key, one in side.items() if only(one)}
    outcomes = {key: one for key, one in replayed.outcomes.items() if key in keys}
    kept = {key: one for key, one in golden.items() if key in keys}
    return kept, replace(replayed, outcomes=outcomes)


def _accepted(golden: dict[Key, Golden], replayed: Replayed) -> list[Golden]:
    """Return the new golden lines; what could not be judged again keeps its old one."""
    unsure = (replayed.uncertain | replayed.lost) - replayed.superseded
    kept = {key: one for key, one in golden.items() if one.place in unsure}
    lines = (replayed.outcomes | kept).values()
    return sorted(lines, key=lambda one: (replayed.lines.get(one.place, 0), one.part))


def _no_golden(file: Path) -> Problem:
    return Problem(
        "its golden file is missing",
        file=str(file),
        hint="`mitmgate replay --update` writes it from what the policy decides now",
    )


def _nothing(path: Path) -> Problem:
    return Problem(
        "nothing was recorded here",
        file=str(path),
        hint="send traffic through `mitmgate run --capture DIR` and stop it with Ctrl-C",
    )
