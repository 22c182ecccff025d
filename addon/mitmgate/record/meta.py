"""``NAME.meta.yaml``: what a capture is, and the sums by which a change by hand shows.

The proxy writes it when the capture begins and again when it ends in good order; one that was
killed leaves ``complete: false`` and no sums.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from mitmgate.errors import ConfigError, Problem
from mitmgate.strictyaml import load_model, read_file

META_VERSION: Final = 1
META_SUFFIX = ".meta.yaml"
_SEAL = "look at it; then `mitmgate replay --update` seals it as it is"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Profile(_Model):
    """How the run judged: the hash of its policy, its mode, whether ``--shadow`` was given."""

    policy: str
    mode: str
    shadow: bool = False


class Sums(_Model):
    """SHA-256 of the capture and of its golden file, in hexadecimal digits."""

    capture: str
    golden: str


class Meta(_Model):
    """The content of a meta file.

    ``tool`` names program and version, ``date`` is the start (RFC 3339, UTC), ``flows`` the number
    of exchanges (None while it is written), ``complete`` whether the capture was written to its
    end. ``notes`` are for people.
    """

    version: Literal[1]
    tool: str
    date: str
    profile: Profile
    flows: int | None = None
    complete: bool = False
    sha256: Sums | None = None
    notes: str = ""


def meta_path(capture: Path) -> Path:
    """Return where the meta file of *capture* lies."""
    return capture.with_name(capture.name.removesuffix(".jsonl") + META_SUFFIX)


def meta_text(meta: Meta) -> str:
    """Return *meta* as YAML; its scalars are written as JSON, as YAML 1.2 allows."""
    return "".join(_lines(meta.model_dump(exclude_none=True), ""))


def read_meta(capture: Path) -> Meta | None:
    """Return the meta of *capture*, None where it has none; ConfigError when it is damaged."""
    path = meta_path(capture)
    if not path.exists():
        return None
    return load_model(Meta, read_file(path), file=str(path))


def write_meta(capture: Path, meta: Meta) -> None:
    """Replace the meta file of *capture* at once; OSError when it cannot be written."""
    replace_file(meta_path(capture), [meta_text(meta).encode()])


def check_sums(meta: Meta, capture: Path, golden: Path) -> list[Problem]:
    """Return a problem for each file that is not what *meta* says; a missing golden is none."""
    if meta.sha256 is None:
        return []
    pairs = [(capture, meta.sha256.capture), (golden, meta.sha256.golden)]
    return [
        Problem("is not what its meta file says: edited by hand, or damaged", file=str(path),
                hint=_SEAL)
        for path, told in pairs
        if path.exists() and sum_of(path) != told
    ]  # fmt: skip


def seal(capture: Path, golden: Path) -> None:
    """Write the sums of both files as they are now into the meta file, where there is one.

    ConfigError where that cannot be done. The meta of a killed proxy stays without sums.
    """
    meta = read_meta(capture)
    if meta is None or not meta.complete:
        return
    sums = Sums(capture=sum_of(capture), golden=sum_of(golden))
    try:
        write_meta(capture, meta.model_copy(update={"sha256": sums}))
    except OSError as error:
        raise ConfigError(
            Problem(f"cannot write the meta file: {error.strerror}", file=str(meta_path(capture)),
                    hint="make its folder writable")
        ) from error  # fmt: skip


def sum_of(path: Path) -> str:
    """Return the SHA-256 of the file at *path*; ConfigError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from error


def replace_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Put *chunks* at *path*, readable by its owner only, whole or not at all; OSError."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123  a descriptor, opened with 0600
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _lines(values: dict[str, Any], indent: str) -> Iterable[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:\n"
            yield from _lines(value, f"{indent}  ")
        else:
            yield f"{indent}{key}: {_scalar(value)}\n"


def _scalar(value: str | bool | int) -> str:
    # YAML has no pairs of escapes for one character, and JSON no escape for those beyond U+FFFF.
    plain = json.dumps(value, ensure_ascii=False)
    return "".join(c if " " <= c <= "~" or c > "\uffff" else f"\\u{ord(c):04x}" for c in plain)
