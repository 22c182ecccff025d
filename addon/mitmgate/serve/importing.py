"""From flow files of mitmproxy and HAR files to captures: redacted, judged, sealed."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from mitmgate import __version__
from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.imported import Lines, Timed
from mitmgate.mitm.flow_inputs import inputs_of
from mitmgate.mitm.flows import Index, flow_at, index_flows, is_flow_file
from mitmgate.policy.load import Policy
from mitmgate.record.capture import CAPTURE_VERSION, golden_path
from mitmgate.record.lines import timestamp
from mitmgate.record.meta import (
    META_VERSION,
    Meta,
    Profile,
    meta_path,
    replace_file,
    seal,
    write_meta,
)
from mitmgate.record.ours import paths_of
from mitmgate.record.redact import Redactor
from mitmgate.record.verify import look_at
from mitmgate.replay.capture import read_capture
from mitmgate.replay.entries import CloseLine, HeaderLine, InputLine
from mitmgate.replay.har import LATEST, is_har_file, read_har
from mitmgate.serve.replaying import run_files
from mitmgate.serve.restoring import kept_in, made, merged, restored, woven
from mitmgate.serve.verifying import scanner_of


@dataclass(slots=True)
class Imported:
    """What was imported.

    ``restored``: the lines of a capture that was exported, unchanged. ``missing`` bodies were not
    in the file, ``skipped`` flows are not HTTP, ``changed`` flows came from a capture and are not
    what they were, ``foreign`` flows from another capture than the first. ``problems`` name what
    was left out.
    """

    capture: Path
    exchanges: int = 0
    restored: bool = False
    missing: int = 0
    skipped: int = 0
    changed: int = 0
    foreign: int = 0
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class How:
    """How to import: *partial* takes what can be read of a damaged file, *force* replaces files.

    ``state`` is the folder with the planted canaries.
    """

    partial: bool = False
    force: bool = False
    state: Path | None = None


_PLAINLY = How()


def import_file(source: Path, out: Path, policy: Policy, how: How = _PLAINLY) -> Imported:
    """Make the capture *out* of the flow file or HAR file *source*, its golden and meta file too.

    What *policy* decides becomes the golden outcomes, unless *source* is an exported capture as it
    was: then its own are. Of one in which some flows were changed, the others keep their lines.
    ConfigError with every problem where nothing was written.
    """
    _check_names(out, force=how.force)
    kind = _kind(source)
    try:
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.stem}-", dir=out.parent))
        try:
            taken = _Import(source, folder / out.name, policy, how).run(kind)
            taken.capture = out
            for path in (golden_path(out), meta_path(out), out):
                (folder / path.name).replace(path)
        except ConfigError as error:
            raise ConfigError(*(_of(source, folder, one) for one in error.problems)) from None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot be written: {error.strerror}", file=str(out),
                    hint="name another file with --out")
        ) from error  # fmt: skip
    return taken


def _of(source: Path, folder: Path, problem: Problem) -> Problem:
    """Return *problem* of a file in *folder* as one of what the user named."""
    if problem.file is None or Path(problem.file).parent != folder:
        return problem
    return replace(problem, file=str(source), line=None)


def is_foreign(path: Path) -> bool:
    """Tell whether *path* is a flow file or a HAR file; False where it cannot be read."""
    try:
        return path.is_file() and (is_flow_file(path) or is_har_file(path))
    except OSError:
        return False


def as_capture(source: Path, folder: Path, policy: Policy) -> Path:
    """Return a capture in *folder* of a flow or HAR file, with the golden file beside *source*.

    That is ``NAME.golden.jsonl``; where it is missing, the capture has none. ConfigError as
    :func:`import_file`.
    """
    if source.with_suffix(".jsonl").exists():
        raise ConfigError(
            Problem("a capture of the same name has its golden file beside it", file=str(source),
                    hint=f"replay {source.with_suffix('.jsonl').name}, or rename this file")
        )  # fmt: skip
    capture = folder / f"{source.stem}.jsonl"
    import_file(source, capture, policy)
    meta_path(capture).unlink()  # its sums are of the golden file made here
    golden_path(capture).unlink()
    beside = golden_path(source.with_suffix(".jsonl"))
    if beside.exists():
        shutil.copyfile(beside, golden_path(capture))
    return capture


def _kind(source: Path) -> str:
    try:
        if is_flow_file(source):
            return "flows"
        if is_har_file(source):
            return "har"
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(source))) from error
    raise ConfigError(
        Problem("neither a flow file of mitmproxy nor a HAR file", file=str(source),
                hint="a capture needs no import: `mitmgate replay` reads it")
    )  # fmt: skip


def _check_names(out: Path, *, force: bool) -> None:
    if out.suffix != ".jsonl" or out.name.endswith(".golden.jsonl"):
        raise ConfigError(
            Problem("a capture is named NAME.jsonl", file=str(out), hint="name it with --out")
        )
    taken = [path for path in (out, golden_path(out), meta_path(out)) if path.exists()]
    if taken and not force:
        raise ConfigError(
            *(Problem("is there already", file=str(path),
                      hint="name another with --out, or replace it with --force")
              for path in taken)
        )  # fmt: skip


class _Import:
    """One import into *capture*, in a folder of its own."""

    def __init__(self, source: Path, capture: Path, policy: Policy, how: How) -> None:
        self._source = source
        self._capture = capture
        self._policy = policy
        self._how = how
        self._scanner = scanner_of(policy, how.state)
        self._made = Imported(capture)
        self._notes = ""

    def run(self, kind: str) -> Imported:
        """Write the three files."""
        if kind == "har":
            archive = read_har(self._source)
            self._accept(archive.problems)
            exchanges = iter(archive.exchanges)
            timed = merged((one[0].at, partial(_keyed, one)) for one in exchanges)
            self._convert(timed, Index())
            return self._made
        index = index_flows(self._source, lambda flow: _keyed(inputs_of(flow, "0")))
        self._made.skipped, self._made.changed = index.skipped, index.changed
        self._made.foreign, self._notes = index.foreign, index.notes
        if index.problem is not None:
            hint = "--partial takes what comes before"
            self._accept([Problem(index.problem, file=str(self._source), hint=hint)])
        if index.kept and not index.others:
            self._restore(index)
        else:
            self._convert(self._timed(index), index)
        return self._made

    def _accept(self, problems: list[Problem]) -> None:
        if problems and not self._how.partial:
            raise ConfigError(*problems)
        self._made.problems = tuple(problems)

    def _timed(self, index: Index) -> Iterator[Timed]:
        with self._source.open("rb") as file:

            def load(number: int, offset: int) -> list[tuple[float, Timed]]:
                return _keyed(inputs_of(flow_at(file, offset), str(number)))

            yield from merged(
                (at, partial(load, n, offset)) for n, (at, offset) in enumerate(index.others)
            )

    def _convert(self, timed: Iterable[Timed], index: Index) -> None:
        """Write what something else recorded beside what *index* keeps, and what is decided."""
        timed = iter(timed)
        first = next(timed, None)
        if first is None:
            raise ConfigError(
                Problem("no HTTP exchanges are in it", file=str(self._source),
                        hint="save flows with traffic")
            )  # fmt: skip
        redactor = Redactor(self._scanner, key=secrets.token_bytes(32))
        redactor.adopt(paths_of(self._policy))
        kept = kept_in(self._source, index.kept, redactor.numbering)
        header = self._header(kept.header, first.at)
        lines = Lines(redactor, started=header["started"])
        before = lines.exchanges = max(kept.exchanges, default=0)
        more = made(chain([first], timed), lines)
        replace_file(self._capture, woven(self._source, index.kept, header, more))
        self._made.exchanges = lines.exchanges - before + len(kept.exchanges)
        self._made.missing = lines.missing
        self._refuse_secrets()
        self._judge(header)

    def _header(self, kept: dict[str, Any], at: float) -> dict[str, Any]:
        canaries = {rule.id for rule in self._scanner.rules.values() if rule.detector == "canary"}
        plain = {
            "v": CAPTURE_VERSION, "type": "capture", "tool": f"mitmgate {__version__}",
            "policy": self._policy.hash, "mode": self._policy.mode, "shadow": False,
            "started": at, "run": "", "keep": [], "segment": 1, "canaries": sorted(canaries),
        }  # fmt: skip
        if not kept:
            return plain
        canaries |= {one for one in kept.get("canaries", ()) if isinstance(one, str)}
        same = {key: kept[key] for key in ("started", "run", "keep", "segment") if key in kept}
        return plain | same | {"canaries": sorted(canaries)}

    def _judge(self, header: dict[str, Any]) -> None:
        profile = Profile(policy=self._policy.hash, mode=self._policy.mode)
        self._describe(header["started"], header["tool"], profile, complete=True)
        run_files([self._capture], self._policy, accept="different")
        self._describe(header["started"], header["tool"], profile, complete=not self._made.problems)
        seal(self._capture, golden_path(self._capture))

    def _describe(self, started: float, tool: str, profile: Profile, *, complete: bool) -> None:
        meta = Meta(
            version=META_VERSION, tool=tool, date=timestamp(started), profile=profile,
            flows=self._made.exchanges, complete=complete, notes=self._notes,
        )  # fmt: skip
        write_meta(self._capture, meta)

    def _restore(self, index: Index) -> None:
        """Write the lines of an exported capture as they were, if they are fit to be written."""
        with golden_path(self._capture).open("xb") as golden:
            replace_file(self._capture, restored(self._source, index.kept, golden))
        self._check()

    def _check(self) -> None:
        """Refuse lines that no capture has: the metadata of a flow file is anybody's word."""
        header, complete, seen = None, False, set[int]()
        for line in read_capture(self._capture, _placeholder):
            if isinstance(line, HeaderLine):
                header = line
            if isinstance(line, InputLine):
                seen.add(line.exchange)
            complete = isinstance(line, CloseLine)
        if header is None:
            raise ConfigError(Problem("holds no capture", file=str(self._source)))
        self._made.exchanges, self._made.restored = len(seen), True
        profile = Profile(policy=header.policy, mode=header.mode, shadow=header.shadow)
        self._describe(header.started, header.tool, profile, complete=complete)
        self._refuse_secrets()
        if golden_path(self._capture).stat().st_size == 0:
            golden_path(self._capture).unlink()
            run_files([self._capture], self._policy, accept="different")
        seal(self._capture, golden_path(self._capture))

    def _refuse_secrets(self) -> None:
        if look_at([self._capture], self._scanner).found:
            raise ConfigError(
                Problem("what it says of its capture holds a secret", file=str(self._source),
                        hint="export the capture again")
            )  # fmt: skip


def _keyed(inputs: list[Timed]) -> list[tuple[float, Timed]]:
    """Return *inputs* of one exchange by their times, which never run backwards in it."""
    keyed: list[tuple[float, Timed]] = []
    last = inputs[0].at
    for timed in inputs:
        last = max(last, timed.at)
        if not 0 <= last < LATEST:
            raise ValueError("a time that is none")
        keyed.append((last, timed))
    return keyed


def _placeholder(rule: str, number: int) -> str:
    return f"[{rule}:{number}]"
