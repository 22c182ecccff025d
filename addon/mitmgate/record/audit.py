"""The audit file: one JSON line for each record, written before anything it tells is released.

Record types: ``start``, ``policy``, ``decision``, ``resolution``, ``grant``, ``switch``,
``completion``, ``note``. Every one has ``v``, ``type`` and ``time``. Their fields never hold
arguments, queries or matched text.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.lines import LineFile, encode_line, timestamp

VERSION = 1
TORN_NOTE = "the line before was cut off: power or disk"


def base_record(kind: str, *, time: float) -> dict[str, Any]:
    """Return the fields that every audit record begins with."""
    return {"v": VERSION, "type": kind, "time": timestamp(time)}


def start_record(*, time: float, tool: str, policy: str, mode: str, listen: str) -> dict[str, Any]:
    """Return the record of a proxy's start."""
    record = base_record("start", time=time)
    return record | {"tool": tool, "policy": policy, "mode": mode, "listen": listen}


def note_record(text: str, *, time: float) -> dict[str, Any]:
    """Return a record that tells readers of the file something about it or about the proxy."""
    return base_record("note", time=time) | {"note": text}


def grant_record(event: str, facts: Mapping[str, Any], *, time: float) -> dict[str, Any]:
    """Return the record of something that an operator said and that counts for calls to come.

    *event*: ``made``, ``undone``, ``ended`` (used up, or replaced), ``expired``. *facts* are
    ``id``, ``kind``, ``answer``, ``on``, ``lasting``, ``covers``, ``agent``, ``outcome``,
    ``operator`` and ``via``.
    """
    return base_record("grant", time=time) | {"event": event, **facts}


def switch_record(on: bool, facts: Mapping[str, Any], *, time: float) -> dict[str, Any]:
    """Return the record of a turn of the kill switch.

    *facts* are ``by`` (the operator, ``signal`` or ``file``), ``reason``, ``via``, ``peer`` and
    ``released``, the number of waiting calls that were denied.
    """
    return base_record("switch", time=time) | {"on": on, **facts}


class AuditLog:
    """Appends records to the audit file; what it cannot write whole, it raises as OSError."""

    def __init__(self, path: Path, *, time: float) -> None:
        try:
            self._file = LineFile(path)
        except OSError as error:
            raise ConfigError(
                Problem(
                    f"cannot write the audit file: {error.strerror}",
                    file=str(path),
                    hint="no decision is released unrecorded; make the folder writable or "
                    "choose another with --state-dir",
                )
            ) from error
        if self._file.was_torn:
            try:
                self.append(note_record(TORN_NOTE, time=time))
            except OSError:
                self._file.close()
                raise

    def append(self, record: Mapping[str, Any]) -> None:
        """Write *record* in one ``write(2)``, or raise OSError: then the caller denies."""
        self._file.append(encode_line(record))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
