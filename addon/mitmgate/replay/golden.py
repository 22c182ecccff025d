"""Golden files: the outcomes that a capture must keep, one canonical line for each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.records import GOLDEN_VERSION
from mitmgate.policy.verdict import Verdict
from mitmgate.record.lines import encode_line
from mitmgate.replay.lines import DamagedLineError, parse_line, read_lines

type Pair = tuple[str, str]
type Place = tuple[int, int]
"""An input of a capture: the number of its exchange, its ordinal among the inputs of that."""
type Key = tuple[int, str]
"""An outcome: the number of its exchange, and ``message`` as in :class:`Golden`."""

_KEYS = frozenset(
    {"v", "exchange", "message", "kind", "channel", "method", "server", "tool", "verdict", "rule",
     "code", "findings", "effects"}
)  # fmt: skip
_CHANGES = ("edit ", "cut ", "swap ")
_FLOOR = "floor-"
_BEGIN = f'{{"v":{GOLDEN_VERSION},"exchange":'
_MOST_KNOWN = 4_096
_HINT = "write it anew with --update after you looked at the differences"


class Golden(NamedTuple):
    """One outcome as a golden file keeps it.

    ``message`` is the ordinal of its input in the exchange, as in the capture; ``2.0`` is the first
    message of the batch that was input 2. ``findings`` are pairs of rule and pointer. ``effects``
    are sorted words: ``shadow`` (not enforced), ``hidden``, ``floor:deny`` (what the locked layer
    wants), ``would-deny:RULE`` (a rule in shadow mode), ``edit POINTER RULE``, ``cut POINTER``,
    ``swap POINTER``, and the last three with ``floor-`` before them for the locked layer.
    """

    exchange: int
    message: str
    kind: str
    channel: str
    method: str
    server: str | None
    tool: str | None
    verdict: Verdict
    rule: str
    code: str
    findings: tuple[Pair, ...] = ()
    effects: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """What finds the same outcome in another replay."""
        return self.exchange, self.message

    @property
    def place(self) -> Place:
        """The input that gave it."""
        return self.exchange, int(self.message.partition(".")[0])

    @property
    def part(self) -> int:
        """The ordinal of the message in its batch, -1 for what is no part of one."""
        return int(self.message.partition(".")[2] or -1)

    @property
    def whole(self) -> Key | None:
        """The key of the batch that this is a message of, None for what is no part of one."""
        whole, dot, _ = self.message.partition(".")
        return (self.exchange, whole) if dot else None

    @property
    def enforced(self) -> bool:
        """Whether what the verdict says was done."""
        return "shadow" not in self.effects

    @property
    def floor(self) -> str | None:
        """The verdict that the locked layer wants in any case, None where it wants none."""
        return self._told("floor:")

    @property
    def effective(self) -> Verdict:
        """What is done: the verdict where it is enforced, else what the locked layer wants."""
        return self.verdict if self.enforced else Verdict.from_word(self.floor or "allow")

    @property
    def hidden(self) -> bool:
        """Whether it says that what was called does not exist."""
        return "hidden" in self.effects

    @property
    def would(self) -> str | None:
        """The verdict and the rule of a rule in shadow mode that would have decided otherwise."""
        return self._told("would-")

    @property
    def edits(self) -> tuple[str, ...]:
        """What is changed in the message, as kind and place: all edits, or those of the floor."""
        changes = self.effects
        if not self.enforced:
            changes = tuple(w.removeprefix(_FLOOR) for w in changes if w.startswith(_FLOOR))
        made = [word for word in changes if word.startswith(_CHANGES)]
        return tuple(w.rpartition(" ")[0] if w.startswith("edit ") else w for w in made)

    @property
    def cleaned(self) -> frozenset[Pair]:
        """The rules and places of what is replaced in the message by a finding."""
        floor = () if self.enforced else (_FLOOR,)
        words = [w.removeprefix(_FLOOR) for w in self.effects if not floor or w.startswith(_FLOOR)]
        edits = [w.removeprefix("edit ").rpartition(" ") for w in words if w.startswith("edit ")]
        return frozenset((rule, place) for place, _, rule in edits)

    def at(self, exchange: int, message: str) -> Golden:
        """Return the same outcome of another input."""
        return Golden(
            exchange, message, self.kind, self.channel, self.method, self.server, self.tool,
            self.verdict, self.rule, self.code, self.findings, self.effects,
        )  # fmt: skip

    def _told(self, prefix: str) -> str | None:
        words = (word for word in self.effects if word.startswith(prefix))
        word = next(words, None)
        return None if word is None else word.removeprefix(prefix)

    def record(self) -> dict[str, Any]:
        """Return the line as it stands in the file."""
        return {
            "v": GOLDEN_VERSION, "exchange": self.exchange, "message": self.message,
            "kind": self.kind, "channel": self.channel, "method": self.method,
            "server": self.server, "tool": self.tool, "verdict": self.verdict.word,
            "rule": self.rule, "code": self.code,
            "findings": [list(pair) for pair in self.findings], "effects": list(self.effects),
        }  # fmt: skip


def golden_from(record: Mapping[str, Any]) -> Golden:
    """Return the golden line that *record* spells; ValueError says what is wrong with it."""
    if record.get("v") != GOLDEN_VERSION:
        raise ValueError(f"golden version {record.get('v')!r} is not {GOLDEN_VERSION}")
    if record.keys() != _KEYS:
        odd = ", ".join(sorted(record.keys() ^ _KEYS))
        raise ValueError(f"unknown or missing keys: {odd}")
    _check_types(record)
    return Golden(
        exchange=record["exchange"],
        message=record["message"],
        kind=record["kind"],
        channel=record["channel"],
        method=record["method"],
        server=record["server"],
        tool=record["tool"],
        verdict=Verdict.from_word(record["verdict"]),
        rule=record["rule"],
        code=record["code"],
        findings=_pairs(record["findings"]),
        effects=tuple(map(_effect, record["effects"])),
    )


def iter_golden(path: Path) -> Iterator[Golden]:
    """Yield the golden lines of *path* in their order; ConfigError: it is damaged, or not there."""
    known: dict[str, Golden] = {}
    try:
        for number, text in read_lines(path):
            try:
                golden = _read(text, known)
            except ValueError as error:
                raise ConfigError(_problem(path, number, str(error))) from None
            yield golden
    except DamagedLineError as error:
        raise ConfigError(_problem(path, error.line, str(error))) from None
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error


def _read(text: str, known: dict[str, Golden]) -> Golden:
    """Return the golden line that *text* is; *known* are some by what follows their place."""
    placed = _placed(text)
    if placed is None:
        return golden_from(parse_line(text))
    exchange, message, rest = placed
    golden = known.get(rest)
    if golden is None:
        golden = golden_from(parse_line(f'{_BEGIN}0,"message":"0",{rest}'))
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[rest] = golden
    return golden.at(exchange, message)


def _placed(text: str) -> tuple[int, str, str] | None:
    """Return exchange, message and what follows, None where it is not as we write it."""
    exchange, comma, rest = text.removeprefix(_BEGIN).partition(',"message":"')
    message, quote, rest = rest.partition('",')
    if not (text.startswith(_BEGIN) and comma and quote and _is_ordinal(exchange)):
        return None
    if exchange != str(int(exchange)) or not _is_ordinal(message):
        return None
    return int(exchange), message, rest


def read_golden(path: Path) -> dict[Key, Golden] | None:
    """Return the golden lines of *path* in their order, None when there is no such file.

    ConfigError: the file is damaged.
    """
    if not path.exists():
        return None
    lines: dict[Key, Golden] = {}
    for golden in iter_golden(path):
        if golden.key in lines:
            raise ConfigError(twice(path, golden))
        lines[golden.key] = golden
    return lines


def twice(path: Path, golden: Golden) -> Problem:
    """Return that *golden* stands in its file a second time."""
    told = f"message {golden.message} of exchange {golden.exchange} occurs twice"
    return Problem(told, file=str(path), hint=_HINT)


class StagedGolden:
    """A golden file being written beside the one that it will replace; ConfigError: cannot.

    Nothing of it is seen before :meth:`commit`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with _writing(path):
            self._file = os.fdopen(os.open(self.temporary, flags, 0o600), "wb")

    def add(self, golden: Golden) -> None:
        """Write one more line."""
        with _writing(self.path):
            self._file.write(encode_line(golden.record()))

    def close(self) -> None:
        """Write everything to the disk."""
        with _writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def commit(self) -> None:
        """Replace the old file at once."""
        with _writing(self.path):
            self.temporary.replace(self.path)

    def discard(self) -> None:
        """Leave the old file as it is."""
        self._file.close()
        self.temporary.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot write the golden file: {error.strerror}", file=str(path),
                    hint="make its folder writable")
        ) from error  # fmt: skip


def _check_types(record: Mapping[str, Any]) -> None:
    if type(record["exchange"]) is not int:
        raise ValueError("exchange is not a whole number")
    for key in ("message", "kind", "channel", "method", "verdict", "rule", "code"):
        if not isinstance(record[key], str):
            raise ValueError(f"{key} is not a string")
    for key in ("server", "tool"):
        if not (record[key] is None or isinstance(record[key], str)):
            raise ValueError(f"{key} is neither a string nor null")
    message, dot, part = record["message"].partition(".")
    if not (_is_ordinal(message) and (_is_ordinal(part) if dot else True)):
        raise ValueError("message is no ordinal such as 2, or 2.0 in a batch")
    if not isinstance(record["effects"], list):
        raise ValueError("effects is not a list")


def _is_ordinal(text: str) -> bool:
    return 0 < len(text) < 10 and text.isascii() and text.isdigit()


def _effect(word: object) -> str:
    if not isinstance(word, str):
        raise ValueError("an effect is not a string")
    kind, _, rest = word.partition(":")
    if word in ("shadow", "hidden") or word.removeprefix(_FLOOR).startswith(_CHANGES):
        return word
    if kind in ("floor", "would-deny", "would-ask", "would-allow") and rest:
        if kind == "floor":
            Verdict.from_word(rest)
        return word
    raise ValueError("an unknown effect")


def _pairs(value: Any) -> tuple[Pair, ...]:
    if not isinstance(value, list):
        raise ValueError("findings is not a list of pairs")
    pairs: list[Pair] = []
    for item in value:
        match item:
            case [str() as first, str() as second]:
                pairs.append((first, second))
            case _:
                raise ValueError("findings is not a list of pairs of strings")
    return tuple(pairs)


def _problem(path: Path, line: int, message: str) -> Problem:
    return Problem(message, file=str(path), line=line, hint=_HINT)
