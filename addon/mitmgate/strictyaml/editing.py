"""Edits of a user's file: replaced whole or not at all, and never over somebody else's change."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.strictyaml.reader import read_file


class Editing:
    """A file that is being edited: its ``text``, and the one way to put another in its place."""

    def __init__(self, path: Path, temporary: Path, check: Callable[[str], object]) -> None:
        self._path = path
        self._temporary = temporary
        self._check = check
        self.text = read_file(path)

    def save(self, text: str) -> None:
        """Put *text* in place of the file, whole or not at all; its mode and owner stay.

        Raises what the check raises, or ConfigError if the file changed meanwhile or cannot be
        written. The file is then as it was.
        """
        self._check(text)
        try:
            self._write(text.encode("utf-8"))
            if read_file(self._path) != self.text:
                raise _refused(self._path, "changed while it was edited", "run the command again")
            self._temporary.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path, error) from None
        self.text = text

    def _write(self, data: bytes) -> None:
        info = self._path.stat()
        with self._temporary.open("wb") as file:
            file.write(data)
            file.flush()
            own = os.fstat(file.fileno())
            if (own.st_uid, own.st_gid) != (info.st_uid, info.st_gid):
                os.fchown(file.fileno(), info.st_uid, info.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(info.st_mode))
            os.fsync(file.fileno())


@contextmanager
def editing(path: Path, *, check: Callable[[str], object]) -> Iterator[Editing]:
    """Edit the file at *path*, a link to it followed; *check* refuses texts by raising.

    One edit at a time: a second one is refused by ConfigError, as is what is no file.
    """
    try:
        target = path.resolve(strict=True)
        if not stat.S_ISREG(target.stat().st_mode):
            raise _refused(path, "this is not a file", "name a YAML file")
    except OSError:
        read_file(path)  # says why it is not there
        raise
    temporary = target.with_name(f".{target.name}.edit")
    try:
        # Never through something that stands there: it may be a link, or readable by others.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        hint = f"wait for it; if none runs, it was killed: rm {shlex.quote(str(temporary))}"
        raise _refused(path, "another command is editing it", hint) from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        yield Editing(target, temporary, check)
    finally:
        temporary.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or type(error).__name__
    return _refused(path, f"cannot be written: {reason}", "run this as the owner of the file")


def _refused(path: Path, message: str, hint: str) -> ConfigError:
    return ConfigError(Problem(message, file=str(path), hint=hint))
