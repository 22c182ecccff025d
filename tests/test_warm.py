"""A fork of a warm interpreter is, to a test, the process that it would have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from warm import WarmPopen, warm_run

PROGRAM = """\
import os, sys
print(os.environ.get("ONLY"), os.environ.get("HOME"), sys.argv[1:], os.getcwd(), os.getppid())
sys.stdout.flush()
for line in sys.stdin:
    print(line.upper(), end="", flush=True)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "program.py").write_text(PROGRAM)
    return str(tmp_path / "program.py")


def test_it_has_its_arguments_streams_and_folder_and_no_other_variables(
    program: str, tmp_path: Path
) -> None:
    with WarmPopen(
        [sys.executable, program, "3"], env={"ONLY": "this"}, cwd=tmp_path, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        out, errors = process.communicate("a line\n", timeout=30)
    assert out == f"this None ['3'] {tmp_path} {os.getpid()}\nA LINE\n"
    assert errors == ""
    assert process.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(program: str, number: signal.Signals) -> None:
    with WarmPopen(
        [sys.executable, program, "0"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == -number


def test_a_module_runs_and_what_it_raises_is_printed(tmp_path: Path) -> None:
    assert warm_run([sys.executable, "-m", "mitmgate", "--version"]).stdout.startswith("mitmgate ")
    (tmp_path / "bad.py").write_text("raise ValueError('told')")
    done = warm_run([sys.executable, str(tmp_path / "bad.py")])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("ValueError: told\n")
