"""The command: where the key comes from, and what it says when it cannot start."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.tui.conftest import FakeProxy

from mitmgate.errors import ConfigError
from mitmgate_tui import cli
from mitmgate_tui.app import _place


def test_no_proxy_is_a_sentence_with_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--state-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/control.sock: no mitmgate runs there")
    assert "mitmgate run" in said


def test_a_folder_name_too_long_for_a_socket_is_no_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--state-dir", str(tmp_path / ("x" * 200))]) == 2
    assert "no mitmgate runs there" in capsys.readouterr().err


async def test_no_terminal_is_a_sentence_with_the_next_step(
    proxy: FakeProxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(["--state-dir", str(proxy.path.parent)]) == 2
    assert "needs a terminal" in capsys.readouterr().err


def test_the_key_comes_through_a_pipe_which_is_closed() -> None:
    read, write = os.pipe()
    os.write(write, b"the-key\n")
    try:
        assert cli.operator_key(read, None, {}) == "the-key"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(read)
    finally:
        os.close(write)


def test_the_key_comes_from_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-key\n")
    file.chmod(0o600)
    assert cli.operator_key(None, file, {cli.KEY_VARIABLE: "other"}) == "the-key"


def test_the_key_comes_from_the_environment() -> None:
    assert cli.operator_key(None, None, {cli.KEY_VARIABLE: "the-key"}) == "the-key"
    assert cli.operator_key(None, None, {}) is None


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("the-key\n")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        cli.operator_key(None, file, {})


BAD_KEYS = {"an empty one": "", "two lines": "a\nb: c", "blanks": "a b", "no ASCII": "schlüssel"}


@pytest.mark.parametrize("text", BAD_KEYS.values(), ids=list(BAD_KEYS))
def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        cli.operator_key(None, file, {})
    assert str(caught.value).startswith(f"{file}: holds no operator key")


@pytest.mark.parametrize("source", [["--key-fd", "987"], ["--operator-key-file", "/nonexistent"]])
def test_a_source_that_cannot_be_read_is_told(
    source: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(source) == 2
    assert "cannot be read" in capsys.readouterr().err


STATE_DIRS = {
    "the option wins": (Path("/o"), {"MITMGATE_STATE_DIR": "/m", "XDG_STATE_HOME": "/x"}, "/o"),
    "then our variable": (None, {"MITMGATE_STATE_DIR": "/m", "XDG_STATE_HOME": "/x"}, "/m"),
    "then the desktop's": (None, {"XDG_STATE_HOME": "/x"}, "/x/mitmgate"),
    "then the home folder": (None, {}, str(Path.home() / ".local/state/mitmgate")),
}


@pytest.mark.parametrize(("option", "env", "expected"), STATE_DIRS.values(), ids=list(STATE_DIRS))
def test_state_dir(option: Path | None, env: dict[str, str], expected: str) -> None:
    assert str(cli.state_dir(option, env)) == expected


def test_a_crash_names_the_place_and_no_values() -> None:
    try:
        raise ValueError("secret")
    except ValueError as error:
        assert _place(error).startswith("ValueError at test_cli.py:")
        assert "secret" not in _place(error)


def test_the_console_never_loads_the_proxy() -> None:
    code = (
        "import sys, mitmgate_tui.app, mitmgate_tui.cli\n"
        "print(*(n for n in sys.modules if n.partition('.')[0] in ('mitmproxy', 'mitmgate')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    others = {name for name in done.stdout.split() if not name.startswith("mitmgate.control.")}
    assert others == {"mitmgate", "mitmgate.control", "mitmgate.errors"}
