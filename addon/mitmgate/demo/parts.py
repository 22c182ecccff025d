"""The processes of the demo: server, gate and client, each a real one, all ended with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem

HERE = "127.0.0.1"


@contextmanager
def child(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a Python module of ours for the length of the block, then end it."""
    said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        **options,
    )
    process.stderr = said
    with process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Stop *process* as Ctrl-C does, and wait until it is gone."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    """Return the next line *process* prints; ConfigError, in its words, when it ended instead."""
    line = process.stdout.readline() if process.stdout is not None else ""
    if line:
        return line
    process.wait(10)
    said = ""
    if process.stderr is not None:
        process.stderr.seek(0)
        said = process.stderr.read()
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    raise ConfigError(
        Problem(f"a part of the demo did not start: {last[0]}", hint="mitmgate run says more")
    )


def command(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run one mitmgate command; return its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mitmgate", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return done.returncode, done.stdout


class McpClient:
    """The client process; ``do`` is one step of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, **step: Any) -> None:
        """Begin a step, without waiting for its answer."""
        if self._process.stdin is None:
            raise RuntimeError("the client has no input")
        self._process.stdin.write(json.dumps(step) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return the answer of the step that was begun."""
        answer: dict[str, Any] = json.loads(read_line(self._process))
        return answer

    def do(self, **step: Any) -> dict[str, Any]:
        """Do a step and return its answer."""
        self.ask(**step)
        return self.answer()


def run_console(state: Path, key: str) -> None:
    """Run the console on this terminal until one decision was made, or it was left."""
    reading, writing = os.pipe()
    os.write(writing, key.encode())
    os.close(writing)
    try:
        subprocess.run(
            [sys.executable, "-m", "mitmgate_tui", "--state-dir", str(state),
             "--key-fd", str(reading), "--until-decided", "--welcome", " one call waits above"],
            pass_fds=(reading,),
            check=False,
        )  # fmt: skip
    finally:
        os.close(reading)
