"""On a terminal: the console that was left comes back, with the operator key, on Enter."""

from __future__ import annotations

import os
import pty
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ended

FULL_SCREEN = b"\x1b[?1049h"
PLAIN_SCREEN = b"\x1b[?1049l"
WAIT = 30


class Terminal:
    """A terminal with `mitmgate run` on it."""

    def __init__(self, folder: Path) -> None:
        policy = folder / "policy.yaml"
        policy.write_text("version: 1\n")
        self._end, inner = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mitmgate", "run", "--listen", "127.0.0.1:0",
             "--policy", str(policy), "--state-dir", str(folder / "state")],
            stdin=inner, stdout=inner, stderr=inner, start_new_session=True, text=True,
            env=os.environ | {"TERM": "xterm-256color"},
        )  # fmt: skip
        os.close(inner)
        self._unread = b""

    def until(self, mark: bytes) -> bytes:
        """Return what is printed up to and with *mark*; what follows is for the next call."""
        while mark not in self._unread:
            assert select.select([self._end], [], [], WAIT)[0], (mark, self._unread)
            self._unread += os.read(self._end, 65536)
        before, _, self._unread = self._unread.partition(mark)
        return before + mark

    def press(self, keys: bytes) -> None:
        """Type *keys*."""
        os.write(self._end, keys)

    def close(self) -> None:
        """End what still runs."""
        ended(self.process)
        os.close(self._end)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    started = Terminal(tmp_path)
    yield started
    started.close()


def test_enter_brings_the_console_back_with_the_operator_key(
    terminal: Terminal, tmp_path: Path
) -> None:
    greeting = terminal.until(FULL_SCREEN).decode()
    assert f"export MITMGATE_STATE_DIR={shlex.quote(str(tmp_path / 'state'))}" in greeting
    assert "operator_key" not in greeting

    terminal.until(b"nothing waits")
    terminal.press(b"q")
    terminal.until(PLAIN_SCREEN)
    terminal.until(b"nobody watches: calls that need a person are denied at once")
    terminal.until(b"Enter opens the console again")

    terminal.press(b"\r")
    terminal.until(FULL_SCREEN)
    assert b"read-only" not in terminal.until(b"nothing waits")

    terminal.process.send_signal(signal.SIGINT)
    terminal.until(PLAIN_SCREEN)
    assert terminal.process.wait(WAIT) == 0
