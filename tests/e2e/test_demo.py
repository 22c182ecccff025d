"""The guided minute, as somebody without a terminal sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded import replay_recorded

# The command itself, whose folder stays where it was made: in the one that is named.
KEPT = """
import functools, sys, tempfile
tempfile.tempdir = sys.argv[1]
tempfile.TemporaryDirectory = functools.partial(tempfile.TemporaryDirectory, delete=False)
from mitmgate.cli.app import invoke
sys.exit(invoke(["demo"]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a name that is short enough for the sockets in it."""
    with tempfile.TemporaryDirectory(prefix="mg-") as name:
        yield Path(name)


def test_the_demo_shows_every_decision_and_replays_to_the_same(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEPT, str(folder)], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=100, check=False, process_group=0,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = [
        "revision 2026-07-28",
        "read_note: The note 'plants' says: water the plants.",
        "delete_notes: Deleting everything needs a person at the keyboard.",
        "$ mitmgate approve ",
        "save_note: Saved 'idea'.",
        "secret.github-token at /params/arguments/text",
        "The tool has run; its result was withheld.",
        "GET docs.demo.example: 200",
        "GET paste.demo.example: 403",
        "0 different, 0 weaker",
        "approved by",
    ]
    assert [text for text in told if text not in done.stdout] == []
    (kept,) = folder.glob("mitmgate-demo-*")
    assert replay_recorded(kept / "captures", kept / "policy.yaml") == 1


def test_nothing_of_the_demo_stays_behind() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mitmgate", "demo"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if "approve" in line:
                os.killpg(process.pid, 2)  # Ctrl-C in the middle
                break
        process.stdout.read()
    with pytest.raises(ProcessLookupError):  # no process of its group is left
        os.killpg(process.pid, 0)
