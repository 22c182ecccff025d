"""``mitmgate indexes``: egress rules for the package indexes that this host's tools use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mitmgate.policy.indexes import Place

_SECONDS = 30.0
_APT = Path("/etc/apt")
_LONGEST = 1 << 20

type Found = tuple[list[Place], str]
"""Places, and where they are written."""


def indexes(
    tools: Annotated[
        list[str] | None,
        typer.Argument(help="Only these: pip, npm, cargo, apt; else all that are found."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print egress rules for the package indexes that pip, npm, cargo and apt use here.

    Nothing is changed: read the rules, and put those that you want below egress in the policy.
    They let GET and HEAD through. Passwords and tokens in the configuration are not printed.

    \b
    Example: mitmgate indexes pip npm
    """
    for tool in tools or ():
        if tool not in _READERS:
            raise typer.BadParameter(f"no tool is called {tool}: {', '.join(_READERS)} are known")
    found = {tool: _READERS[tool]() for tool in tools or _READERS}
    if as_json:
        typer.echo(json.dumps([rule for tool, (places, _) in found.items()
                               for rule in _rules(tool, places)], indent=2))  # fmt: skip
        return
    typer.echo("\n".join(listing(found)))


def listing(found: dict[str, Found]) -> Iterator[str]:
    """Yield the lines of a list of rules, and comments that say where they come from."""
    yield "# For the list `rules` below `egress` in the policy. Read before you paste."
    for tool, (places, source) in found.items():
        if not places:
            yield f"# {tool}: {source}"
            continue
        yield f"# {tool}, from {source}"
        for rule in _rules(tool, places):
            # JSON is YAML, and no text in it can be taken for something else.
            body = ", ".join(f"{key}: {json.dumps(value)}" for key, value in rule.items())
            yield f"- {{{body}}}"


def _rules(tool: str, places: list[Place]) -> list[dict[str, Any]]:
    from mitmgate.policy.indexes import index_rules

    return list(index_rules(tool, places))


def _pip() -> Found:
    from mitmgate.policy.indexes import pip_defaults, pip_places

    listed = _printed("pip", "config", "list")
    if listed is None:
        return [], "not found here"
    places = pip_places(listed)
    if any(key in listed for key in (".index-url=", ".no-index=")):
        return places, "pip config list; the files of packages may lie on another host"
    version = _printed("pip", "--version") or ""
    folder = version.partition(" from ")[2].rpartition(" (python")[0]
    own = pip_defaults(_text(Path(folder) / "_internal" / "models" / "index.py"))
    return sorted({*places, *own}), "pip's own defaults and pip config list"


def _npm() -> Found:
    from mitmgate.policy.indexes import npm_places

    listed = _printed("npm", "config", "list", "--long", "--json")
    if listed is None:
        return [], "not found here"
    return npm_places(listed), "npm config list"


def _cargo() -> Found:
    from mitmgate.policy.indexes import cargo_downloads, cargo_places, place_of

    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    folders = [home, *(one / ".cargo" for one in (Path.cwd(), *Path.cwd().parents))]
    files = [folder / name for folder in folders for name in ("config.toml", "config")]
    places = [place for file in files for place in cargo_places(_text(file))]
    # The folders of what was fetched already are named HOST-HASH.
    for folder in _children(home / "registry" / "index"):
        used = place_of(f"https://{folder.name.rpartition('-')[0]}/")
        places += [used] if used is not None else []
        places += cargo_downloads(_text(folder / "config.json"))
    if not places:
        return [], "nothing is configured, and nothing was fetched yet"
    return sorted(set(places)), "cargo's configuration and the registries it has used"


def _apt() -> Found:
    from mitmgate.policy.indexes import apt_places, apt_stanzas

    if not _APT.is_dir():
        return [], "not found here"
    files = [_APT / "sources.list", *_children(_APT / "sources.list.d")]
    places = [
        place
        for file in files
        for place in (apt_stanzas if file.suffix == ".sources" else apt_places)(_text(file))
        if file.suffix in (".list", ".sources")
    ]
    return sorted(set(places)), str(_APT) if places else "no archive is configured"


_READERS: dict[str, Callable[[], Found]] = {"pip": _pip, "npm": _npm, "cargo": _cargo, "apt": _apt}


def _printed(program: str, *arguments: str) -> str | None:
    """Return what *program* prints, None where there is none or it fails."""
    path = shutil.which(program)
    if path is None:
        return None
    quiet = {**os.environ, "NO_UPDATE_NOTIFIER": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - the user's own tool, asked about itself
            [path, *arguments], stdin=subprocess.DEVNULL, capture_output=True, env=quiet,
            timeout=_SECONDS, check=False, text=True, errors="replace",
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _children(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode("utf-8", "replace")
    except OSError:
        return ""
