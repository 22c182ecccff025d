"""Where a policy comes from: its file, or the starter, and the locked layer over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.policy.load import STARTER_NAME, ReadPolicy, read_policy, starter_text
from mitmgate.policy.remembered import Kept
from mitmgate.strictyaml import read_file

LOCKED_FILE = Path("/etc/mitmgate/locked.yaml")
"""The locked layer of an organisation; it is in force wherever this file is."""
_TRIES = 5

type FileStamp = tuple[str, int, int, int]
"""Name, time of the last change, size and inode of a file: another one is another content."""
type Stamp = tuple[FileStamp, ...]


@dataclass(frozen=True, slots=True)
class PolicySource:
    """``path`` is None for the starter policy, ``locked`` None where there is no locked layer.

    ``kept`` is where answers for ever are kept, if they are.
    """

    path: Path | None
    locked: Path | None = None
    kept: Kept | None = None

    @property
    def name(self) -> str:
        """The source as people are told of it."""
        return "the starter policy" if self.path is None else str(self.path)

    def read(self) -> tuple[ReadPolicy, Stamp]:
        """Return the policy and the stamp of its files; ConfigError with every problem.

        Files that change while they are read are read again, so that it is one state of them.
        """
        for _ in range(_TRIES):
            before = self.stamp(())
            read = self._read()
            if before == self.stamp(()):
                return read, self.stamp(read.files)
        raise ConfigError(
            Problem("changes while it is read", self.name, hint="write it whole, then rename it")
        )

    def stamp(self, more: tuple[Path, ...]) -> Stamp:
        """Return the stamp of the policy's files now, *more* of them included."""
        kept = None if self.kept is None else self.kept.path
        paths = [one for one in (self.path, self.locked, kept, *more) if one is not None]
        return tuple(map(stamp_of, dict.fromkeys(paths)))

    def _read(self) -> ReadPolicy:
        if self.path is None:
            return read_policy(
                starter_text(), file=STARTER_NAME, locked=self.locked, kept=self.kept
            )
        text = read_file(self.path)
        return read_policy(
            text, file=str(self.path), base=self.path.parent, locked=self.locked, kept=self.kept
        )


def stamp_of(path: Path) -> FileStamp:
    """Return the stamp of the file at *path* now, whether it is there or not."""
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, -1, 0
    return str(path), status.st_mtime_ns, status.st_size, status.st_ino


def locked_file(option: Path | None) -> Path | None:
    """Return the file of the locked layer: *option*, else the organisation's where it exists."""
    if option is not None:
        return option
    return LOCKED_FILE if LOCKED_FILE.exists() else None
