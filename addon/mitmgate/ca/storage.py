"""Files of the CA folder: private from the first byte, whole or not there at all."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mitmgate.errors import ConfigError, Problem

_OTHERS = 0o077


def private_folder(folder: Path) -> None:
    """Make *folder* with mode 0700, or check the one that is there."""
    try:
        # mkdir gives its mode to the last folder only, and the state folder above is private too
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _refused(folder, f"cannot be made: {error.strerror}") from error
    _check_private(folder, mode="700")


def check_private_file(path: Path) -> None:
    """Refuse a key that another user could read."""
    _check_private(path, mode="600")


def _check_private(path: Path, *, mode: str) -> None:
    info = path.stat()
    if info.st_uid != os.geteuid():
        # Its owner can put another key there at any time, and we would sign with it.
        raise _refused(path, "belongs to another user", hint="choose another --state-dir")
    if stat.S_IMODE(info.st_mode) & _OTHERS:
        raise _refused(
            path,
            f"is open to other users (mode {stat.S_IMODE(info.st_mode):o})",
            hint=f"run: chmod {mode} {shlex.quote(str(path))}",
        )


@contextmanager
def only_one_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from making a CA in *folder* at the same time."""
    # Two first runs at once would each make a key, and one would sign with the lost one.
    try:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _refused(folder, f"cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def update(path: Path, data: bytes, *, mode: int) -> None:
    """Put *data* at *path* unless it is there already."""
    try:
        current = path.read_bytes()
    except OSError:
        current = None  # whatever stands there, writing says what is wrong with it
    if current != data:
        write_whole(path, data, mode=mode)


def write_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Put *data* at *path* with *mode*; a crash leaves the old file or the new one."""
    try:
        # mkstemp opens with 0600: there is no moment at which another user could read it
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _refused(path, f"cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _refused(path, f"cannot be written: {error.strerror}") from error


def _refused(path: Path, message: str, *, hint: str = "choose another --state-dir") -> ConfigError:
    return ConfigError(Problem(message, file=str(path), hint=hint))
