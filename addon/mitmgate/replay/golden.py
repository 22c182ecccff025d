"""Golden files: the outcomes that a capture must keep, one canonical line for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem
from mitmgate.judge.records import GOLDEN_VERSION
from mitmgate.policy.verdict import Verdict
from mitmgate.record.lines import encode_line
from mitmgate.replay.lines import DamagedLineError, parse_line, read_lines

type Pair = tuple[str, str]

_KEYS = frozenset(
    {"v", "input", "exchange", "number", "kind", "channel", "method", "server", "tool", "verdict",
     "rule", "code", "enforced", "findings", "edits"}
)  # fmt: skip
_OPTIONAL = frozenset({"shadow", "floor", "parts"})
_HINT = "write it anew with --update after you looked at the differences"


@dataclass(frozen=True, slots=True)
class Golden:
    """One outcome as a golden file keeps it; ``input`` is the line of its input in the capture."""

    input: int
    exchange: int
    number: int
    kind: str
    channel: str
    method: str
    server: str | None
    tool: str | None
    verdict: Verdict
    rule: str
    code: str
    enforced: bool
    findings: tuple[Pair, ...]
    edits: tuple[Pair, ...]
    shadow: Pair | None = None
    """A rule in shadow mode that would have decided otherwise, and its verdict."""
    floor: Verdict = Verdict.ALLOW
    """What the locked layer wants where nothing is enforced."""
    parts: tuple[Pair, ...] = ()
    """What is done with each message of a batch, and its rule."""

    @property
    def effective(self) -> Verdict:
        """What is done: the verdict where it is enforced, else what the locked layer wants."""
        return self.verdict if self.enforced else self.floor

    def record(self) -> dict[str, Any]:
        """Return the line as it stands in the file."""
        told: dict[str, Any] = {}
        if self.shadow is not None:
            told["shadow"] = {"rule": self.shadow[0], "verdict": self.shadow[1]}
        if self.floor is not Verdict.ALLOW:
            told["floor"] = self.floor.word
        if self.parts:
            told["parts"] = [list(pair) for pair in self.parts]
        return {
            "v": GOLDEN_VERSION, "input": self.input, "exchange": self.exchange,
            "number": self.number, "kind": self.kind, "channel": self.channel,
            "method": self.method, "server": self.server, "tool": self.tool,
            "verdict": self.verdict.word, "rule": self.rule, "code": self.code,
            "enforced": self.enforced, "findings": [list(pair) for pair in self.findings],
            "edits": [list(pair) for pair in self.edits],
        } | told  # fmt: skip


def golden_from(record: Mapping[str, Any]) -> Golden:
    """Return the golden line that *record* spells; ValueError says what is wrong with it."""
    if record.get("v") != GOLDEN_VERSION:
        raise ValueError(f"version {record.get('v')!r} is not {GOLDEN_VERSION}")
    if record.keys() - _OPTIONAL != _KEYS:
        odd = ", ".join(sorted(record.keys() ^ _KEYS))
        raise ValueError(f"unknown or missing keys: {odd}")
    _check_types(record)
    return Golden(
        input=record["input"],
        exchange=record["exchange"],
        number=record["number"],
        kind=record["kind"],
        channel=record["channel"],
        method=record["method"],
        server=record["server"],
        tool=record["tool"],
        verdict=Verdict.from_word(record["verdict"]),
        rule=record["rule"],
        code=record["code"],
        enforced=record["enforced"],
        findings=_pairs(record["findings"]),
        edits=_pairs(record["edits"]),
        shadow=_shadow(record.get("shadow")),
        floor=Verdict.from_word(record.get("floor", "allow")),
        parts=_pairs(record.get("parts", [])),
    )


def read_golden(path: Path) -> dict[int, Golden] | None:
    """Return the golden lines of *path* by input line, None when there is no such file.

    ConfigError: the file is damaged.
    """
    lines: dict[int, Golden] = {}
    try:
        for number, text in read_lines(path):
            try:
                golden = golden_from(parse_line(text))
            except ValueError as error:
                raise ConfigError(_problem(path, number, str(error))) from None
            if golden.input in lines:
                raise ConfigError(_problem(path, number, f"input {golden.input} occurs twice"))
            lines[golden.input] = golden
    except FileNotFoundError:
        return None
    except DamagedLineError as error:
        raise ConfigError(_problem(path, error.line, str(error))) from None
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error
    return lines


def write_golden(path: Path, lines: Iterable[Golden]) -> None:
    """Replace the golden file by *lines* at once; ConfigError when it cannot be written."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    data = b"".join(encode_line(golden.record()) for golden in lines)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, opened with 0600
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot write the golden file: {error.strerror}", file=str(path),
                    hint="make its folder writable")
        ) from error  # fmt: skip


def _check_types(record: Mapping[str, Any]) -> None:
    for key in ("input", "exchange", "number"):
        if type(record[key]) is not int:
            raise ValueError(f"{key} is not a whole number")
    for key in ("kind", "channel", "method", "verdict", "rule", "code"):
        if not isinstance(record[key], str):
            raise ValueError(f"{key} is not a string")
    if not isinstance(record.get("floor", ""), str):
        raise ValueError("floor is not a string")
    for key in ("server", "tool"):
        if not (record[key] is None or isinstance(record[key], str)):
            raise ValueError(f"{key} is neither a string nor null")
    if not isinstance(record["enforced"], bool):
        raise ValueError("enforced is neither true nor false")


def _shadow(value: Any) -> Pair | None:
    match value:
        case None:
            return None
        case {"rule": str() as rule, "verdict": str() as verdict, **others} if not others:
            return rule, Verdict.from_word(verdict).word
        case _:
            raise ValueError("shadow is not a rule with its verdict")


def _pairs(value: Any) -> tuple[Pair, ...]:
    if not isinstance(value, list):
        raise ValueError("findings and edits are lists of pairs")
    pairs: list[Pair] = []
    for item in value:
        match item:
            case [str() as first, str() as second]:
                pairs.append((first, second))
            case _:
                raise ValueError("findings and edits are lists of pairs of strings")
    return tuple(pairs)


def _problem(path: Path, line: int, message: str) -> Problem:
    return Problem(message, file=str(path), line=line, hint=_HINT)
