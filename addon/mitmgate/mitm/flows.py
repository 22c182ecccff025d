"""Flow files of mitmproxy: exchanges read from them, and written to them.

What was written here keeps the exact lines of its capture in the flow's metadata; a sum tells
whether somebody changed the flow since.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from mitmproxy import exceptions, http
from mitmproxy.flow import Flow
from mitmproxy.io import FlowReader, tnetstring

from mitmgate.errors import ConfigError, Problem

_KEY: Final = "mitmgate"
_VERSION: Final = 1
_LONGEST_NOTES = 10_000
_LARGEST_READ = 512 * 1024 * 1024

type Numbered = tuple[int, str]
"""A line of a file, and its number there, from 1."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a capture and of its golden file that belong to one exchange.

    The first is the header of the capture. A golden line has the number of its input's line.
    ``notes`` are those of the capture's meta file.
    """

    capture: tuple[Numbered, ...]
    golden: tuple[Numbered, ...]
    notes: str = ""

    @property
    def first(self) -> int:
        """The number of the first line after the header."""
        return min((number for number, _ in self.capture if number > 1), default=1)


@dataclass(slots=True)
class Index:
    """What stands where in a flow file.

    ``kept`` are the flows that were written here, of one capture, and are unchanged: the number of
    the first line and the offset in bytes of each, in order of lines. ``others`` are all other
    flows: when each began and its offset, in order of time; ``changed`` of them were written here
    and are not what they were, ``foreign`` belong to another capture than ``kept``. ``skipped``
    counts what is not HTTP. ``notes`` are those of the capture. ``problem`` says why reading ended
    before the file did.
    """

    kept: list[tuple[int, int]] = field(default_factory=list)
    others: list[tuple[float, int]] = field(default_factory=list)
    changed: int = 0
    foreign: int = 0
    skipped: int = 0
    notes: str = ""
    problem: str | None = None


def is_flow_file(path: Path) -> bool:
    """Tell whether *path* begins as a flow file does: a length, then a colon."""
    with path.open("rb") as file:
        digits, colon, _ = file.read(14).partition(b":")
    return bool(colon) and digits.isdigit()


def index_flows(path: Path, check: Callable[[http.HTTPFlow], object]) -> Index:
    """Return what stands where in the flow file at *path*; ConfigError where it cannot be read.

    A flow at which *check* raises anything counts as damaged.
    """
    found = Index()
    header: str | None = None
    try:
        with path.open("rb") as file:
            for offset, flow, lines in _flows(file, found, check):
                if not isinstance(flow, http.HTTPFlow):
                    found.skipped += 1
                    continue
                if lines is not None and header is None:
                    header, found.notes = lines.capture[0][1], lines.notes
                if lines is not None and lines.capture[0][1] == header:
                    found.kept.append((lines.first, offset))
                    continue
                found.changed += lines is None and _KEY in flow.metadata
                found.foreign += lines is not None
                found.others.append((began(flow), offset))
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error
    found.kept.sort()
    found.others.sort()
    return found


def flow_at(file: BinaryIO, offset: int) -> http.HTTPFlow:
    """Return the flow that begins at *offset*, where :func:`index_flows` found one."""
    file.seek(offset)
    flow = next(iter(_reader(file).stream()))
    if not isinstance(flow, http.HTTPFlow):
        raise TypeError("the file has changed")
    return flow


def began(flow: http.HTTPFlow) -> float:
    """Return when *flow* began, in seconds since the epoch."""
    return flow.request.timestamp_start or flow.timestamp_created


def lines_of(flow: http.HTTPFlow) -> Lines | None:
    """Return the lines that *flow* was made of; None: it was not made here, or was changed."""
    told = flow.metadata.get(_KEY)
    if not isinstance(told, dict) or told.get("v") != _VERSION or told.get("sum") != _sum(flow):
        return None
    capture, golden = _numbered(told.get("capture")), _numbered(told.get("golden"))
    notes = told.get("notes", "")
    if not capture or golden is None or not isinstance(notes, str) or len(notes) > _LONGEST_NOTES:
        return None
    return Lines(capture, golden, notes)


def write_flow(file: BinaryIO, flow: http.HTTPFlow, lines: Lines) -> None:
    """Append *flow* to *file*, with the lines that it was made of."""
    flow.metadata[_KEY] = {
        "v": _VERSION, "sum": _sum(flow), "capture": list(map(list, lines.capture)),
        "golden": list(map(list, lines.golden)), "notes": lines.notes[:_LONGEST_NOTES],
    }  # fmt: skip
    tnetstring.dump(flow.get_state(), file)


def _sum(flow: http.HTTPFlow) -> str:
    state = flow.get_state()
    shown = [state["request"], state["response"], state["websocket"]]
    return hashlib.sha256(tnetstring.dumps(shown)).hexdigest()


def _numbered(value: Any) -> tuple[Numbered, ...] | None:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return None
    found: list[Numbered] = []
    for item in value:
        match item:
            case [int() as number, str() as text] if number > 0 and "\n" not in text:
                found.append((number, text))
            case _:
                return None
    return tuple(found)


def _flows(
    file: BinaryIO, found: Index, check: Callable[[http.HTTPFlow], object]
) -> Iterator[tuple[int, Flow, Lines | None]]:
    bounded = _Bounded(file)
    stream = iter(FlowReader(cast(BinaryIO, bounded)).stream())
    count = 0
    while True:
        offset = bounded.tell()
        try:
            flow, lines = next(stream), None
            if isinstance(flow, http.HTTPFlow):
                check(flow)
                lines = lines_of(flow)
        except StopIteration:
            return
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - a damaged flow raises anything at all
            found.problem = _why(error, count)
            return
        count += 1
        yield offset, flow, lines


def _why(error: Exception, count: int) -> str:
    # Its own words may quote the flow.
    newer = isinstance(error, exceptions.FlowReadException) and "flow format version" in str(error)
    if newer:
        return "it was written by a newer mitmproxy than this one"
    return f"it is damaged or cut off after {count} whole flows"


def _reader(file: BinaryIO) -> FlowReader:
    return FlowReader(cast(BinaryIO, _Bounded(file)))


class _Bounded(io.RawIOBase):
    """A file that refuses to read much at once: the length of a flow is the flow's own claim."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def peek(self, size: int) -> bytes:
        """Return the next bytes without taking them."""
        place = self._file.tell()
        data = self._file.read(size)
        self._file.seek(place)
        return data

    def read(self, size: int = -1) -> bytes:
        """Return the next *size* bytes; ValueError where that is too many."""
        if not 0 <= size <= _LARGEST_READ:
            raise ValueError("a flow is too large")
        return self._file.read(size)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()
