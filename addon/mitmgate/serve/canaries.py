"""The file of planted canaries in the state folder, for its owner's eyes only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mitmgate.ca.storage import check_private_file, write_whole
from mitmgate.errors import ConfigError, Problem
from mitmgate.scan.canary import Canary

CANARIES = "canaries.json"
"""Its name in the state folder."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    kind: str
    values: list[str]
    place: str
    created: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    canaries: list[_Entry]


def load_canaries(folder: Path) -> tuple[Canary, ...]:
    """Return the canaries in *folder*, none where none was planted; ConfigError if it is bad."""
    path = folder / CANARIES
    try:
        if not path.exists():
            return ()
        check_private_file(path)
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error
    try:
        file = _File.model_validate_json(data)
    except ValidationError:
        raise _refused(path, "is damaged: it is no list of canaries") from None
    if any(not value for entry in file.canaries for value in entry.values):
        raise _refused(path, "is damaged: a canary is empty")
    return tuple(
        Canary(entry.name, entry.kind, tuple(entry.values), entry.place, entry.created)
        for entry in file.canaries
    )


def save_canaries(folder: Path, canaries: Iterable[Canary]) -> None:
    """Write *canaries* to *folder*; a crash leaves the old file or the new one."""
    entries = [
        _Entry(
            name=one.name,
            kind=one.kind,
            values=list(one.values),
            place=one.place,
            created=one.created,
        )
        for one in canaries
    ]
    text = _File(version=1, canaries=entries).model_dump_json(indent=1)
    write_whole(folder / CANARIES, text.encode() + b"\n", mode=0o600)


@contextmanager
def canaries_locked(folder: Path) -> Iterator[None]:
    """Keep others from changing the canaries of *folder* for the length of the block."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / f".{CANARIES}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _refused(path: Path, message: str) -> ConfigError:
    return ConfigError(Problem(message, file=str(path), hint="restore it, or move it away"))
