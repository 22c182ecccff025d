"""Captures through the rules of a policy: from files to a comparison, or two policies in step."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.judge import Judge
from mitmgate.policy.load import Policy
from mitmgate.record.capture import golden_path
from mitmgate.record.expansion import Sample
from mitmgate.record.meta import Meta, check_sums, read_meta, seal, sum_of
from mitmgate.record.ours import paths_of, with_servers
from mitmgate.replay.capture import is_closed, read_capture, read_header
from mitmgate.replay.compare import Comparison
from mitmgate.replay.entries import CaptureLine, HeaderLine, InputLine, PolicyLine
from mitmgate.replay.files import capture_files
from mitmgate.replay.golden import StagedGolden, iter_golden
from mitmgate.replay.merge import Chosen, Hear, Merge, Window, Words
from mitmgate.replay.run import Judged, Run
from mitmgate.scan.book import RuleBook, book_of
from mitmgate.scan.canary import Canary, canary_pack
from mitmgate.scan.engine import Scanner
from mitmgate.serve.books import packs_for
from mitmgate.serve.foretelling import WORTH_IT, Foretold, foretelling

type Accept = Literal["nothing", "different", "weaker"]
"""What is written as the new golden outcomes: nothing, what is not weaker, or all."""


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


def run_files(  # noqa: PLR0913  each is one thing that a replay can be asked
    paths: Sequence[Path] | Mapping[Path, Path],
    policy: Policy,
    *,
    only: Words | None = None,
    watch: Coverage | None = None,
    accept: Accept = "nothing",
    hear: Hear | None = None,
) -> Comparison:
    """Replay every capture that *paths* name, and compare it with its golden file.

    Of a mapping the values are the files that its captures were made of: these are named in all
    that is told, errors too. With *accept* the golden files are written, all or none. *hear* takes
    each outcome. ConfigError with every problem when any input cannot be used.
    """
    named = paths if isinstance(paths, Mapping) else {}
    if watch is not None:
        watch.watch(policy)
    compared, staged, problems = Comparison(), list[_Staged](), list[Problem]()
    try:
        for file in _files(paths, problems):
            try:
                asked = _Asked(only, hear, accept, staged, named.get(file))
                _compare_file(file, policy, compared, asked)
            except ConfigError as error:
                problems += renamed(error, file, named.get(file, file)).problems
        if problems:
            raise ConfigError(*problems)
        if only is not None and compared.outcomes == 0:
            raise ConfigError(Problem("the filter fits no outcome", hint="leave out a word of it"))
        if accept == "weaker" or (accept == "different" and not compared.lowered):
            for one in staged:
                one.golden.commit()
                seal(one.capture, golden_path(one.capture))
            compared.updated = True
    finally:
        for one in staged:
            one.golden.discard()
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
    scanner = scanner_for(policy, read_header(file).canaries)
    for line in read_capture(file, _sample(scanner, policy)):
        if isinstance(line, PolicyLine):
            look_for(scanner, policy, line.canaries)
        yield line


def scanner_for(policy: Policy, canaries: Iterable[str] = ()) -> Foretold:
    """Return a scanner with the rules of *policy*, and stand-ins for rules of *canaries*.

    The key of its hashes is random: here they only tell equal values apart.
    """
    return Foretold(_book(policy, canaries), hash_key=os.urandom(32))


def _sample(scanner: Scanner, policy: Policy) -> Sample:
    """Return what stands for secrets: samples, and the paths of the servers of *policy*."""
    return with_servers(scanner.sample_for, paths_of(policy))


def look_for(scanner: Scanner, policy: Policy, canaries: Iterable[str]) -> None:
    """Let *scanner* look for stand-ins of *canaries* from now on, and no others."""
    known = {rule for rule in scanner.rules if rule.startswith("canary.")}
    if known != set(canaries):
        scanner.book = _book(policy, canaries)


def _book(policy: Policy, canaries: Iterable[str]) -> RuleBook:
    packs = packs_for(policy)
    stand_ins = tuple(_stand_ins(canaries))
    if stand_ins:
        packs.append(canary_pack(stand_ins))
    return book_of(tuple(packs))


def _stand_ins(rules: Iterable[str]) -> Iterator[Canary]:
    parts = Counter(rule.removeprefix("canary.").partition(".")[0] for rule in rules)
    for name, count in sorted(parts.items()):
        values = (hashlib.sha256(f"{name}.{n}".encode()).hexdigest()[:24] for n in range(count))
        yield Canary(name, "password", tuple(values), "the place of a capture", "")


@dataclass(frozen=True, slots=True)
class _Staged:
    capture: Path
    golden: StagedGolden


@dataclass(frozen=True, slots=True)
class _Asked:
    only: Words | None
    hear: Hear | None
    accept: Accept
    staged: list[_Staged]
    source: Path | None = None


def _run(policy: Policy, header: HeaderLine, scanner: Scanner | None = None) -> Run:
    looking = scanner or scanner_for(policy, header.canaries)
    judge = Judge(policy, looking, shadow=header.shadow)
    return Run(judge, looking, lambda canaries: look_for(looking, policy, canaries))


def _compare_file(file: Path, policy: Policy, compared: Comparison, asked: _Asked) -> None:
    """Replay one capture; what shall be its golden file is staged."""
    lines, golden, meta = golden_path(file), None, read_meta(file)
    if lines.exists():
        golden = Window(lines, iter_golden(lines))
    elif asked.accept == "nothing" or asked.only is not None:
        raise ConfigError(_no_golden(file))
    scanner, keep = scanner_for(policy, read_header(file).canaries), None
    if asked.accept != "nothing":
        asked.staged.append(_Staged(file, StagedGolden(lines)))
        keep = asked.staged[-1].golden.add
    chosen = Chosen(asked.only, asked.hear, keep, asked.accept == "weaker")
    shown = asked.source or file
    merge = Merge(shown, golden, compared, closed=is_closed(file), chosen=chosen)
    sample = _sample(scanner, policy)
    read: Iterator[CaptureLine] = read_capture(file, sample)
    if shown != file:
        read = map(_unnumbered, read)
    shared = file.stat().st_size >= WORTH_IT
    with foretelling(file, scanner, sample) if shared else nullcontext():
        compare_lines(read, policy, scanner, merge)
    if merge.exchanges == 0:
        raise ConfigError(_nothing(file))
    if merge.is_short and asked.accept != "weaker":
        raise ConfigError(_short_golden(file))
    if keep is not None:
        asked.staged[-1].golden.close()
    # Last: what is damaged says better where.
    _check(file, meta, compared, asked)


def compare_lines(
    lines: Iterator[CaptureLine], policy: Policy, scanner: Scanner, merge: Merge
) -> None:
    """Judge *lines*, which begin with the header, and give what becomes of each to *merge*."""
    header = next(lines)
    if not isinstance(header, HeaderLine):
        raise TypeError("a capture begins with its header")
    run = _run(policy, header, scanner)
    for line in lines:
        merge.take(line, run.take(line))
    merge.finish()


def _unnumbered(line: CaptureLine) -> CaptureLine:
    """Return *line* without its number, which says nothing of the file it was made of."""
    return line._replace(line=0) if isinstance(line, InputLine) else line


def renamed(error: ConfigError, capture: Path, source: Path) -> ConfigError:
    """Return *error* with *source*, what *capture* was made of, named in the place of it.

    A golden file is the one beside *source*.
    """
    if capture == source:
        return error
    beside = golden_path(source.with_suffix(".jsonl"))
    names = {str(capture): str(source), str(golden_path(capture)): str(beside)}

    def told(problem: Problem) -> Problem:
        name = names.get(problem.file or "", problem.file)
        numbered = problem.file != str(capture)
        return replace(problem, file=name, line=problem.line if numbered else None)

    return ConfigError(*map(told, error.problems))


def _check(file: Path, meta: Meta | None, compared: Comparison, asked: _Asked) -> None:
    if meta is None or meta.sha256 is None:
        compared.unsealed += 1
        return
    if asked.accept == "nothing":
        problems = check_sums(meta, file, golden_path(file))
        if problems:
            raise ConfigError(*problems)
        return
    gone = asked.accept == "different" and not golden_path(file).exists()
    if gone and sum_of(asked.staged[-1].golden.temporary) != meta.sha256.golden:
        raise ConfigError(_other_golden(file))


def _files(paths: Iterable[Path], problems: list[Problem]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        try:
            files += [file for file in capture_files(path) if file not in files]
        except ConfigError as error:
            problems += error.problems
    return files


def _no_golden(file: Path) -> Problem:
    return Problem(
        "its golden file is missing",
        file=str(file),
        hint="`mitmgate replay --update` writes it from what the policy decides now",
    )


def _short_golden(file: Path) -> Problem:
    return Problem(
        "its golden file ends long before the capture does",
        file=str(file),
        hint="restore the golden file, or write a new one with --update --accept-weaker",
    )


def _other_golden(file: Path) -> Problem:
    return Problem(
        "its golden file is missing, and what the policy decides now is not what was in it",
        file=str(file),
        hint="restore the golden file, or write a new one with --update --accept-weaker",
    )


def _nothing(path: Path) -> Problem:
    return Problem(
        "nothing was recorded here",
        file=str(path),
        hint="send traffic through `mitmgate run --capture DIR` and stop it with Ctrl-C",
    )
