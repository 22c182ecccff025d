"""From flow files of mitmproxy and HAR files to captures: redacted, judged, sealed."""

from __future__ import annotations

import heapq
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from mitmgate import __version__
from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.imported import Lines, Timed
from mitmgate.mitm.flow_inputs import inputs_of
from mitmgate.mitm.flows import Index, flow_at, index_flows, is_flow_file, lines_of
from mitmgate.policy.load import Policy
from mitmgate.record.capture import CAPTURE_VERSION, golden_path
from mitmgate.record.lines import encode_line, timestamp
from mitmgate.record.meta import (
    META_VERSION,
    Meta,
    Profile,
    meta_path,
    replace_file,
    seal,
    write_meta,
)
from mitmgate.record.redact import Redactor
from mitmgate.record.verify import look_at
from mitmgate.replay.capture import read_capture
from mitmgate.replay.entries import CloseLine, HeaderLine, InputLine
from mitmgate.replay.har import LATEST, is_har_file, read_har
from mitmgate.serve.replaying import run_files, scanner_for


@dataclass(slots=True)
class Imported:
    """What was imported.

    ``restored``: the lines of a capture that was exported, unchanged. ``missing`` bodies were not
    in the file, ``skipped`` flows are not HTTP, ``changed`` flows came from a capture and are not
    what they were. ``problems`` name what was left out.
    """

    capture: Path
    exchanges: int = 0
    restored: bool = False
    missing: int = 0
    skipped: int = 0
    changed: int = 0
    problems: tuple[Problem, ...] = ()


def import_file(
    source: Path, out: Path, policy: Policy, *, partial: bool = False, force: bool = False
) -> Imported:
    """Make the capture *out* of the flow file or HAR file *source*, its golden and meta file too.

    What *policy* decides becomes the golden outcomes, unless *source* is an exported capture as it
    was: then its own are. *partial* takes what can be read of a damaged file, *force* replaces
    files. ConfigError with every problem where nothing was written.
    """
    _check_names(out, force=force)
    kind = _kind(source)
    try:
        out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.stem}-", dir=out.parent))
        try:
            made = _Import(source, folder / out.name, policy, partial=partial).run(kind)
            made.capture = out
            for path in (golden_path(out), meta_path(out), out):
                (folder / path.name).replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot be written: {error.strerror}", file=str(out),
                    hint="name another file with --out")
        ) from error  # fmt: skip
    return made


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

    def __init__(self, source: Path, capture: Path, policy: Policy, *, partial: bool) -> None:
        self._source = source
        self._capture = capture
        self._policy = policy
        self._partial = partial
        self._made = Imported(capture)

    def run(self, kind: str) -> Imported:
        """Write the three files."""
        if kind == "har":
            archive = read_har(self._source)
            self._accept(archive.problems)
            exchanges = iter(archive.exchanges)
            self._convert(_merged((one[0].at, partial(_keyed, one)) for one in exchanges))
            return self._made
        index = index_flows(self._source, lambda flow: _keyed(inputs_of(flow, "0")))
        self._made.skipped, self._made.changed = index.skipped, index.changed
        if index.problem is not None:
            hint = "--partial takes what comes before"
            self._accept([Problem(index.problem, file=str(self._source), hint=hint)])
        if index.ours:
            self._restore(index)
        else:
            self._convert(self._timed(index))
        return self._made

    def _accept(self, problems: list[Problem]) -> None:
        if problems and not self._partial:
            raise ConfigError(*problems)
        self._made.problems = tuple(problems)

    def _timed(self, index: Index) -> Iterator[Timed]:
        with self._source.open("rb") as file:

            def load(number: int, offset: int) -> list[tuple[float, Timed]]:
                return _keyed(inputs_of(flow_at(file, offset), str(number)))

            yield from _merged(
                (at, partial(load, n, offset)) for n, (at, offset) in enumerate(index.places)
            )

    def _convert(self, timed: Iterable[Timed]) -> None:
        """Write what something else recorded, and what the policy decides on it."""
        timed = iter(timed)
        first = next(timed, None)
        if first is None:
            raise ConfigError(
                Problem("no HTTP exchanges are in it", file=str(self._source),
                        hint="save flows with traffic")
            )  # fmt: skip
        scanner = scanner_for(self._policy)
        lines = Lines(Redactor(scanner, key=secrets.token_bytes(32)), started=first.at)
        header = {
            "v": CAPTURE_VERSION, "type": "capture", "tool": f"mitmgate {__version__}",
            "policy": self._policy.hash, "mode": self._policy.mode, "shadow": False,
            "started": first.at, "run": "", "keep": [], "segment": 1, "canaries": [],
        }  # fmt: skip

        def chunks() -> Iterator[bytes]:
            yield encode_line(header)
            count = 1
            for one in chain([first], timed):
                yield encode_line(lines.line(one))
                count += 1
            yield encode_line({"type": "close", "lines": count})

        replace_file(self._capture, chunks())
        self._made.exchanges, self._made.missing = lines.exchanges, lines.missing
        self._judge(header)

    def _judge(self, header: dict[str, Any]) -> None:
        profile = Profile(policy=self._policy.hash, mode=self._policy.mode)
        self._describe(header["started"], header["tool"], profile, complete=True)
        run_files([self._capture], self._policy, accept="different")
        self._describe(header["started"], header["tool"], profile, complete=not self._made.problems)
        seal(self._capture, golden_path(self._capture))

    def _describe(self, started: float, tool: str, profile: Profile, *, complete: bool) -> None:
        meta = Meta(
            version=META_VERSION, tool=tool, date=timestamp(started), profile=profile,
            flows=self._made.exchanges, complete=complete,
        )  # fmt: skip
        write_meta(self._capture, meta)

    def _restore(self, index: Index) -> None:
        """Write the lines of an exported capture as they were, if they are fit to be written."""
        with (
            self._source.open("rb") as file,
            golden_path(self._capture).open("xb") as golden,
        ):
            merged = _merged(
                (first, partial(_numbered, file, offset)) for first, offset in index.places
            )
            replace_file(self._capture, _counted(_parted(merged, golden)))
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
        if look_at([self._capture, golden_path(self._capture)], scanner_for(self._policy)).found:
            raise ConfigError(
                Problem("what it says of its capture holds a secret", file=str(self._source),
                        hint="export the capture again")
            )  # fmt: skip
        profile = Profile(policy=header.policy, mode=header.mode, shadow=header.shadow)
        self._describe(header.started, header.tool, profile, complete=complete)
        if golden_path(self._capture).stat().st_size == 0:
            golden_path(self._capture).unlink()
            run_files([self._capture], self._policy, accept="different")
        seal(self._capture, golden_path(self._capture))


def _numbered(file: Any, offset: int) -> list[tuple[float, tuple[int, str, bool]]]:
    lines = lines_of(flow_at(file, offset))
    if lines is None:
        raise ConfigError(Problem("the file has changed"))
    told = [(float(n), (n, text, False)) for n, text in lines.capture]
    return told + [(float(n), (n, text, True)) for n, text in lines.golden]


def _parted(lines: Iterable[tuple[int, str, bool]], golden: BinaryIO) -> Iterator[bytes]:
    """Yield lines of the capture once each; write those of the golden file to *golden*."""
    written, place, told = 0, 0, set[str]()
    for number, text, is_golden in lines:
        data = text.encode("utf-8", "replace") + b"\n"
        if not is_golden and number > written:
            written = number
            yield data
        elif is_golden:
            place, told = (place, told) if number == place else (number, set())
            if text not in told:
                golden.write(data)
            told.add(text)


def _counted(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Yield *lines*; one that ends the capture tells how many there are before it."""
    for count, line in enumerate(lines):
        is_end = line.startswith(b'{"type":"close"')
        yield encode_line({"type": "close", "lines": count}) if is_end else line


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


def _merged[T](
    parts: Iterable[tuple[float, Callable[[], list[tuple[float, T]]]]],
) -> Iterator[T]:
    """Yield the items of *parts* by their keys; a part begins at its key, in that order.

    Only parts that are not over yet are held.
    """
    heap: list[tuple[float, int, T]] = []
    order = 0
    for key, load in parts:
        while heap and heap[0][0] < key:
            yield heapq.heappop(heap)[2]
        for at, item in load():
            heapq.heappush(heap, (at, order, item))
            order += 1
    while heap:
        yield heapq.heappop(heap)[2]


def _placeholder(rule: str, number: int) -> str:
    return f"[{rule}:{number}]"
