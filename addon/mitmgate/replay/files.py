"""Which files are captures, and which belong beside one."""

from __future__ import annotations

from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.capture import GOLDEN_SUFFIX
from mitmgate.record.folders import files_below
from mitmgate.record.meta import META_SUFFIX

_BESIDE = {GOLDEN_SUFFIX: "golden", META_SUFFIX: "meta"}
_FOREIGN = (".har", ".mitm", ".flow", ".flows", ".dump")  # their golden file stands beside them


def capture_files(path: Path) -> list[Path]:
    """Return the captures that *path* names, a file or a folder; ConfigError if there are none.

    A folder names those in the folders below it, too. A golden or meta file there whose capture is
    missing is an error.
    """
    for suffix, what in _BESIDE.items():
        if path.name.endswith(suffix):
            name = path.name.removesuffix(suffix) + ".jsonl"
            raise ConfigError(
                Problem(f"this is a {what} file", file=str(path), hint=f"replay the capture {name}")
            )
    if path.is_dir():
        return _files_in(path)
    if not path.exists():
        raise ConfigError(
            Problem("no such file or folder", file=str(path),
                    hint="name a capture, or the folder given to `mitmgate run --capture`")
        )  # fmt: skip
    return [path]


def without_capture(beside: Path) -> Problem:
    """Return that the capture of *beside*, a golden or meta file, is not there, and what helps."""
    hint = "restore the capture, or remove this file"
    stem = next((beside.name.removesuffix(end) for end in _BESIDE if beside.name.endswith(end)), "")
    found = (beside.with_name(stem + end) for end in _FOREIGN)
    foreign = next((file.name for file in found if file.exists()), None)
    if foreign is not None:
        hint = f"replay {foreign} by its name, or make a capture of it: mitmgate capture import"
    return Problem("its capture is missing", file=str(beside), hint=hint)


def _files_in(folder: Path) -> list[Path]:
    try:
        below = files_below(folder)
    except OSError as error:
        where = str(error.filename or folder)
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=where)) from error
    files = [p for p in below if p.name.endswith(".jsonl") and not p.name.endswith(GOLDEN_SUFFIX)]
    known = set(files)
    problems = [
        without_capture(beside)
        for suffix in _BESIDE
        for beside in below
        if beside.name.endswith(suffix)
        and beside.with_name(beside.name.removesuffix(suffix) + ".jsonl") not in known
    ]  # fmt: skip
    if not files and not problems:
        problems = [
            Problem("no captures in this folder", file=str(folder),
                    hint="record one with `mitmgate run --capture DIR`")
        ]  # fmt: skip
    if problems:
        raise ConfigError(*problems)
    return files
