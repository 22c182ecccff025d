"""The console's own settings: ``~/.config/mitmgate/console.yaml``, strict, none of it needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mitmgate_tui.columns import ColumnName
from mitmgate_tui.themes import Choice

NAME = "console.yaml"


class ConsoleConfig(BaseModel):
    """``theme``, ``columns`` of the live view in their order, ``keys``: action to keys.

    ``bell`` rings the terminal's bell when a call begins to wait.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    theme: Choice = "auto"
    columns: tuple[ColumnName, ...] | None = None
    keys: dict[str, tuple[str, ...]] = {}
    bell: bool = False


def config_path(env: Mapping[str, str]) -> Path:
    """Return where the settings stand: below $XDG_CONFIG_HOME, else ``~/.config``."""
    base = env.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "mitmgate" / NAME


def read_config(path: Path, *, must_exist: bool = False) -> ConsoleConfig:
    """Return the settings of the file at *path*, or raise ConfigError with every problem."""
    if not must_exist and not path.exists():
        return ConsoleConfig()
    from mitmgate.strictyaml import load_model, read_file  # noqa: PLC0415 - only who has a file

    text = read_file(path)
    return load_model(ConsoleConfig, text, file=str(path)) if text.strip() else ConsoleConfig()
