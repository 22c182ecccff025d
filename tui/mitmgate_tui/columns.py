"""The columns of the live view: how wide, what they say, by what they sort."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from mitmgate.control.models import Row
from mitmgate_tui.clock import Clock
from mitmgate_tui.entry import Entry
from mitmgate_tui.signs import shown, sign_of, what, whom, why
from mitmgate_tui.text import fit

type ColumnName = Literal[
    "time", "verdict", "agent", "server", "method", "what", "rule", "latency", "bytes", "findings"
]
type Part = tuple[str, str]
"""A piece of a line, already clean and of its final width, and the name of its style."""
type Key = Callable[[Entry], Any]

MIN_WHAT = 16
_KILO = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """A column *width* cells wide, the blank behind it not counted; 0 takes the room left.

    ``key`` sorts by it, largest first where ``down``.
    """

    name: ColumnName
    title: str
    width: int
    draw: Callable[[Entry, Row, Clock], Part]
    key: Key
    down: bool = False
    right: bool = False


def _time(entry: Entry, row: Row, clock: Clock) -> Part:
    del entry
    return clock.hms(row.time), "faint"


def _verdict(entry: Entry, row: Row, clock: Clock) -> Part:
    del row, clock
    sign = sign_of(entry)
    return str(sign), sign.style


def _agent(entry: Entry, row: Row, clock: Clock) -> Part:
    del clock
    return shown(row.agent), "plain" if entry.notable else "faint"


def _server(entry: Entry, row: Row, clock: Clock) -> Part:
    del clock
    return whom(row), "plain" if entry.notable else "faint"


def _method(entry: Entry, row: Row, clock: Clock) -> Part:
    del entry, clock
    return shown(row.method), "faint"


def _what(entry: Entry, row: Row, clock: Clock) -> Part:
    del entry, clock
    return what(row), "plain"


def _rule(entry: Entry, row: Row, clock: Clock) -> Part:
    del row, clock
    return why(entry), "faint"


def _latency(entry: Entry, row: Row, clock: Clock) -> Part:
    del row, clock
    return seconds(entry.latency), "faint"


def _bytes(entry: Entry, row: Row, clock: Clock) -> Part:
    del row, clock
    return ("" if entry.sizes is None else size(sum(entry.sizes))), "faint"


def _findings(entry: Entry, row: Row, clock: Clock) -> Part:
    del entry, clock
    count = len(row.findings)
    return (f"⚠{min(count, 9)}" if count else ""), "deny"


def _field(name: str) -> Key:
    return lambda entry: entry.get(name) or ""


COLUMNS: Final = (
    Column("time", "time", 8, _time, lambda entry: entry.seq),
    Column("verdict", "verdict", 10, _verdict, lambda entry: sign_of(entry).word),
    Column("agent", "agent", 10, _agent, _field("agent")),
    Column("server", "server", 8, _server, _field("server")),
    Column("method", "method", 10, _method, _field("method")),
    Column("what", "tool or request", 0, _what, _field("tool")),
    Column("findings", "findings", 2, _findings, lambda e: len(e.get("findings")), down=True),
    Column("rule", "rule", 14, _rule, _field("rule")),
    Column("bytes", "bytes out and back", 6, _bytes, lambda e: sum(e.sizes or (-1,)), down=True,
           right=True),
    Column("latency", "latency", 6, _latency, lambda entry: entry.latency or -1.0, down=True,
           right=True),
)  # fmt: skip
BY_NAME: Final[dict[ColumnName, Column]] = {column.name: column for column in COLUMNS}
SORTS: Final[tuple[ColumnName, ...]] = (
    "latency",
    "bytes",
    "findings",
    "verdict",
    "agent",
    "server",
    "what",
    "rule",
)
_WANTED: Final[tuple[ColumnName, ...]] = (
    "time", "verdict", "server", "rule", "latency", "findings", "agent", "bytes", "method",
)  # fmt: skip


def fitting(width: int, chosen: Sequence[ColumnName] | None = None) -> list[Column]:
    """Return the columns that fit in *width* cells: those *chosen*, else the most wanted ones."""
    room = width - MIN_WHAT
    fit_in: set[ColumnName] = {"what"}
    for name in _WANTED:
        need = BY_NAME[name].width + 1
        if (chosen is None or name in chosen) and need <= room:
            fit_in.add(name)
            room -= need
    order = COLUMNS if chosen is None else [BY_NAME[name] for name in dict.fromkeys(chosen)]
    columns = [column for column in order if column.name in fit_in]
    return columns if BY_NAME["what"] in columns else [*columns, BY_NAME["what"]]


def line(entry: Entry, columns: Sequence[Column], width: int, clock: Clock) -> list[Part]:
    """Return the pieces of one row, *width* cells in all."""
    row = entry.row
    if row.channel == "egress":  # has no server: its address takes the room
        columns = [column for column in columns if column.name != "server"]
    room = width - sum(column.width + 1 for column in columns if column.width)
    parts = []
    for column in columns:
        text, style = column.draw(entry, row, clock)
        cells = column.width or max(room - 1, 1)
        text = f"{text:>{cells}}" if column.right else text
        parts.append((fit(text, cells) + " ", style))
    return parts


def seconds(latency: float | None) -> str:
    """Spell a latency as ``12 ms`` or ``1.2 s``; None is empty."""
    if latency is None:
        return ""
    if latency < 1:
        return f"{latency * _KILO:.0f} ms"
    return f"{latency:.1f} s" if latency < 100 else f"{latency:.0f} s"


def milliseconds(latency: float | None) -> str:
    """Spell a time with a tenth of a millisecond where it is short; None is ``-``."""
    if latency is None:
        return "-"
    return f"{latency * _KILO:.1f} ms" if latency < 0.01 else seconds(latency)


def size(count: int) -> str:
    """Spell a number of bytes in at most 6 cells: ``412 B``, ``2.7 kB``, ``13 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < _KILO or unit == "GB":
            break
        amount /= _KILO
    return f"{amount:.1f} {unit}" if amount < 10 and unit != "B" else f"{amount:.0f} {unit}"
