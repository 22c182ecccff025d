"""The console's own command, ``mitmgate-tui``: finds the socket and the key, then draws.

Textual is imported only after everything that can be refused was checked.
"""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mitmgate_tui.columns import ColumnName
    from mitmgate_tui.keys import Key

SOCKET = "control.sock"
KEY_VARIABLE = "MITMGATE_OPERATOR_KEY"
MAX_KEY = 4096
CRASHED = 70


class Wishes(NamedTuple):
    """How the operator wants the console: the theme's name, the columns, the keys, a bell."""

    theme: str
    columns: tuple[ColumnName, ...] | None
    keys: tuple[Key, ...]
    bell: bool


_EXAMPLE = """\
Example:
  mitmgate-tui --operator-key-file ~/.config/mitmgate-operator.key
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console; return 0, 2 for a problem with usage or files, 70 for our own crash."""
    try:
        return _run(_parser().parse_args(argv))
    except ConfigError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mitmgate-tui",
        description="Watch a running mitmgate and answer the calls that wait.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--state-dir", type=Path, metavar="DIR", help="the proxy's state folder")
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument(
        "--key-fd", type=int, metavar="N", help="read the operator key from this inherited pipe"
    )
    keys.add_argument(
        "--operator-key-file",
        type=Path,
        metavar="FILE",
        help=f"read the operator key from this file (else ${KEY_VARIABLE}; none: read-only)",
    )
    add("--until-decided", action="store_true", help="leave by itself after the first decision")
    add(
        "--spawned",
        action="store_true",
        help="started by `mitmgate run`: ctrl+c exits with 130, so that it ends as well",
    )
    add("--welcome", metavar="TEXT", help="what the live view says before the first call")
    add("--theme", choices=("auto", "dark", "light", "ansi"), help="ansi: 16 colours")
    add(
        "--config", type=Path, metavar="FILE", help="settings; else ~/.config/mitmgate/console.yaml"
    )
    return parser


def _run(options: argparse.Namespace) -> int:
    key = operator_key(options.key_fd, options.operator_key_file, os.environ)
    # Nothing that this process starts needs it.
    os.environ.pop(KEY_VARIABLE, None)
    path = state_dir(options.state_dir, os.environ) / SOCKET
    wishes = settings(options, os.environ)
    knock(path)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            Problem("the console needs a terminal", hint="without one use `mitmgate pending`")
        )
    return _draw(path, key, options, wishes)


def settings(options: argparse.Namespace, env: Mapping[str, str]) -> Wishes:
    """Return theme, columns and keys, from the file of settings and the options."""
    from mitmgate_tui.config import config_path, read_config
    from mitmgate_tui.keymap import remap
    from mitmgate_tui.themes import chosen

    file = options.config or config_path(env)
    config = read_config(file, must_exist=options.config is not None)
    return Wishes(
        theme=chosen(options.theme or config.theme, env),
        columns=config.columns,
        keys=remap(config.keys, file=str(file)),
        bell=config.bell,
    )


def _draw(path: Path, key: str | None, options: argparse.Namespace, wishes: Wishes) -> int:
    from mitmgate_tui.app import Options, connect
    from mitmgate_tui.screens.main import NO_CALLS

    how = Options(
        until_decided=options.until_decided,
        spawned=options.spawned,
        signals=True,
        welcome=options.welcome or NO_CALLS,
        theme=wishes.theme,
        columns=wishes.columns,
        keys=wishes.keys,
        bell=wishes.bell,
    )
    app = connect(path, key, operator=_user(), options=how)
    app.run()
    if app.return_code == 1:
        return CRASHED
    if app.return_code == 0 and not (options.until_decided or options.spawned):
        print("The console is closed, the gate goes on. `mitmgate tui` comes back to it.")
    return app.return_code or 0


def state_dir(option: Path | None, env: Mapping[str, str]) -> Path:
    """Return the proxy's state folder: the option, else what the environment says, else ours."""
    if option is not None:
        return option
    if env.get("MITMGATE_STATE_DIR"):
        return Path(env["MITMGATE_STATE_DIR"])
    if env.get("XDG_STATE_HOME"):
        return Path(env["XDG_STATE_HOME"]) / "mitmgate"
    return Path.home() / ".local" / "state" / "mitmgate"


def operator_key(fd: int | None, file: Path | None, env: Mapping[str, str]) -> str | None:
    """Return the operator key of the first source given, None without any."""
    if fd is not None:
        return _checked(_read_pipe(fd), f"--key-fd {fd}")
    if file is not None:
        return _checked(_read_file(file), str(file))
    text = env.get(KEY_VARIABLE)
    return _checked(text, KEY_VARIABLE) if text else None


def _checked(text: str, source: str) -> str:
    key = text.strip()
    # The key becomes a header line: a line break or a blank in it would be another header.
    if not key or len(key) > MAX_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            Problem("holds no operator key", file=source, hint="take it from the ready line of run")
        )
    return key


def _read_pipe(fd: int) -> str:
    data = b""
    try:
        while b"\n" not in data and len(data) <= MAX_KEY:
            piece = os.read(fd, MAX_KEY)
            if not piece:
                break
            data += piece
        os.close(fd)
    except OSError as error:
        raise ConfigError(
            Problem(
                f"cannot be read: {error.strerror}",
                file=f"--key-fd {fd}",
                hint="`mitmgate run` sets this option; use --operator-key-file by hand",
            )
        ) from error
    return data.decode("ascii", "replace")


def _read_file(file: Path) -> str:
    try:
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            # The agent may be another user of this machine: it must not approve its own calls.
            raise ConfigError(
                Problem("is open to other users", file=str(file), hint=f"chmod 600 {file}")
            )
        with file.open("rb") as stream:
            return stream.read(MAX_KEY + 1).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(
            Problem(
                f"cannot be read: {error.strerror}",
                file=str(file),
                hint="name the file with the operator key, or leave the option out to only watch",
            )
        ) from error


def knock(path: Path) -> None:
    """Raise :class:`ConfigError` with the next step unless a proxy listens on *path*."""
    try:
        with socket.socket(socket.AF_UNIX) as knocker:
            knocker.settimeout(5)
            knocker.connect(str(path))
    except PermissionError as error:
        raise ConfigError(
            Problem("belongs to another user", file=str(path), hint="run as the proxy's user")
        ) from error
    except OSError as error:
        raise ConfigError(
            Problem(
                "no mitmgate runs there",
                file=str(path),
                hint="start it with `mitmgate run`, or name its folder with --state-dir",
            )
        ) from error


def _user() -> str | None:
    try:
        return getpass.getuser()[:100]
    except (OSError, KeyError):
        return None


if __name__ == "__main__":
    sys.exit(main())
