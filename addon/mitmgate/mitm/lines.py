"""Answers of one JSON value a line (NDJSON, JSON Lines), cut as they come.

Source: https://github.com/ndjson/ndjson-spec, https://jsonlines.org.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mitmgate.errors import WireError


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its end. ``data`` is its text, None for a blank one."""

    raw: bytes
    data: str | None
    event: str = "message"
    notes: tuple[str, ...] = ()


class LineDecoder:
    """Cut a stream into lines of at most *limit* bytes; all ``raw`` joined are the stream again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Line]:
        """Yield the lines that *data* ends; ``WireError('event_too_large')`` beyond the limit."""
        whole, newline, rest = data.rpartition(b"\n")
        if newline:
            lines = (bytes(self._rest) + whole).split(b"\n")
            self._rest.clear()
            for line in lines:
                self._check(len(line))
                yield _line(line + b"\n")
        self._rest += rest
        self._check(len(self._rest))

    def finish(self) -> Iterator[Line]:
        """Yield the last line, where nothing ends it."""
        if self._rest:
            yield _line(bytes(self._rest))
            self._rest.clear()

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise WireError("event_too_large", f"a line is larger than {self._limit} bytes")


def _line(raw: bytes) -> Line:
    try:
        text = raw.decode().strip("\r\n\ufeff \t")
    except UnicodeDecodeError:
        raise WireError("not_utf8", "a line of JSON is no UTF-8 (RFC 8259 section 8.1)") from None
    return Line(raw, text or None)
