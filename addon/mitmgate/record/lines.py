"""JSON lines on disk: one write for each line or batch, and whole lines again after trouble."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def encode_line(record: Mapping[str, Any]) -> bytes:
    """Return *record* as one compact line of UTF-8, its keys in the order given."""
    # A lone surrogate has no UTF-8 form; escaping everything keeps such a line readable.
    text = _ENCODER.encode(record)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def timestamp(seconds: float) -> str:
    """Return *seconds* since the epoch in RFC 3339, UTC, with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


class LineFile:
    """An append-only file of lines, readable by its owner only.

    ``append`` is one ``write(2)``. A write that the disk cut short is taken back; where that
    fails the next one starts on a line of its own, so a reader loses only the torn line.
    """

    def __init__(self, path: Path, *, exclusive: bool = False) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.path = path
        self._fd = os.open(path, flags | (os.O_EXCL if exclusive else 0), 0o600)
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(path))
            os.fchmod(self._fd, 0o600)
            self._size = status.st_size
            self._torn = self._ends_torn()
        except OSError:
            os.close(self._fd)
            raise
        self.was_torn = self._torn

    def append(self, data: bytes) -> None:
        """Write *data*, which ends with a newline, or raise OSError when it is not all there."""
        if self._torn:
            data = b"\n" + data
        written = os.write(self._fd, data)
        self._size += written
        if written != len(data):
            self._take_back(written)
            said = f"only {written} of {len(data)} bytes were written"
            raise OSError(errno.ENOSPC, said, str(self.path))
        self._torn = False

    def _take_back(self, written: int) -> None:
        self._torn = True
        try:
            if os.fstat(self._fd).st_size != self._size:
                return  # somebody else appends here: cutting would take their line
            os.ftruncate(self._fd, self._size - written)
        except OSError:
            return
        self._size -= written
        self._torn = self._ends_torn()

    def _ends_torn(self) -> bool:
        return self._size > 0 and os.pread(self._fd, 1, self._size - 1) != b"\n"

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def printable(text: str) -> str:
    """Return *text* for a terminal: what could move the cursor or reorder is shown as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
