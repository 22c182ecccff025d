"""The files of a folder of captures, with those of the folders below it."""

from __future__ import annotations

from pathlib import Path

_PACKAGES = "node_modules"
_ENVIRONMENT = "pyvenv.cfg"  # PEP 405: stands in each virtual environment


def files_below(folder: Path) -> list[Path]:
    """Return the files in *folder* and below it, sorted by their paths; OSError.

    Not looked into: hidden folders, ``node_modules``, virtual environments, and links to folders,
    which could lead round in a circle. *folder* itself may be any of these.
    """
    found: list[Path] = []
    for parent, folders, files in folder.walk(on_error=_raise):
        if parent != folder and _ENVIRONMENT in files:
            folders.clear()
            continue
        folders[:] = [one for one in folders if not one.startswith(".") and one != _PACKAGES]
        found += [parent / file for file in files if (parent / file).is_file()]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
