"""Strict reading of JSON lines: every line whole, no duplicate keys, bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mitmgate.errors import WireError
from mitmgate.wire.strictjson import parse_json

_LONGEST = 16 * 1024 * 1024


class DamagedLineError(Exception):
    """A line that cannot be read; ``torn`` when it is the last one and has no end."""

    def __init__(self, line: int, message: str, *, torn: bool = False) -> None:
        super().__init__(message)
        self.line = line
        self.torn = torn


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of *path*; DamagedLineError, OSError."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) == _LONGEST:
                    raise DamagedLineError(number, "the line is too long")
                raise DamagedLineError(number, "the last line is cut off", torn=True)
            try:
                yield number, line.decode()
            except UnicodeDecodeError:
                raise DamagedLineError(number, "the line is not UTF-8") from None


def parse_line(text: str) -> dict[str, Any]:
    """Return the JSON object that *text* is; ValueError says what is wrong with it."""
    try:
        value = parse_json(text)
    except WireError as error:
        raise ValueError(str(error)) from None
    if not isinstance(value, dict):
        raise ValueError("the line is not a JSON object")
    return value
