"""Which files are captures, and which belong beside one."""

from __future__ import annotations

from pathlib import Path

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.capture import GOLDEN_SUFFIX
from mitmgate.record.meta import META_SUFFIX

_BESIDE = {GOLDEN_SUFFIX: "golden", META_SUFFIX: "meta"}


def capture_files(path: Path) -> list[Path]:
    """Return the captures that *path* names, a file or a folder; ConfigError if there are none.

    A golden or meta file in a folder whose capture is missing is an error too.
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


def _files_in(folder: Path) -> list[Path]:
    files = [p for p in sorted(folder.glob("*.jsonl")) if not p.name.endswith(GOLDEN_SUFFIX)]
    problems = [
        Problem("its capture is missing", file=str(beside),
                hint="restore the capture, or remove this file")
        for suffix in _BESIDE
        for beside in sorted(folder.glob(f"*{suffix}"))
        if beside.with_name(beside.name.removesuffix(suffix) + ".jsonl") not in files
    ]  # fmt: skip
    if not files and not problems:
        problems = [
            Problem("no captures in this folder", file=str(folder),
                    hint="record one with `mitmgate run --capture DIR`")
        ]  # fmt: skip
    if problems:
        raise ConfigError(*problems)
    return files
