"""The state folder of a running proxy: private, locked, and with the installation's own key."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mitmgate.ca.storage import check_private_file, private_folder, write_whole
from mitmgate.errors import ConfigError, Problem

KEY_BYTES = 32


def default_state_dir(environment: Mapping[str, str]) -> Path:
    """Return the state folder that *environment* names, else the user's own."""
    named = environment.get("MITMGATE_STATE_DIR")
    if named:
        return Path(named).expanduser().absolute()
    base = environment.get("XDG_STATE_HOME")
    root = Path(base) if base else Path.home() / ".local" / "state"
    return root.expanduser().absolute() / "mitmgate"


@contextmanager
def locked_state(folder: Path) -> Iterator[Path]:
    """Make *folder* (0700) if it is missing and hold it; raise ConfigError where it is in use."""
    private_folder(folder)
    try:
        handle = os.open(folder / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            Problem(
                f"cannot write here: {error.strerror}",
                file=str(folder),
                hint="make it writable or choose another --state-dir",
            )
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                Problem(
                    "another mitmgate runs with this state folder",
                    file=str(folder),
                    hint="attach to it with `mitmgate tui`, or choose another --state-dir",
                )
            ) from error
        yield folder
    finally:
        os.close(handle)


def hash_key(folder: Path) -> bytes:
    """Return the key of this installation's value hashes; made once, readable by its user only."""
    path = folder / "hash.key"
    try:
        if not path.exists():
            write_whole(path, secrets.token_bytes(KEY_BYTES), mode=0o600)
        check_private_file(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            Problem(
                f"cannot be read: {error.strerror}",
                file=str(path),
                hint="make it readable for you alone: chmod 600",
            )
        ) from error
    if len(key) != KEY_BYTES:
        raise ConfigError(
            Problem(
                "is damaged: it does not hold 32 bytes",
                file=str(path),
                hint="remove it; findings before and after will not be grouped",
            )
        )
    return key


@contextmanager
def run_file(folder: Path, content: Mapping[str, object]) -> Iterator[None]:
    """Tell other commands, for the length of the block, where this proxy listens."""
    path = folder / "run.json"
    write_whole(path, json.dumps(content).encode() + b"\n", mode=0o600)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
