"""What the proxies of the tests recorded replays to the same, in this process and in another one.

Each proxy that still runs at the end of its test is stopped as Ctrl-C does. Then its captures are
judged again by its policy: exit code 0, and the golden file written anew has every byte of the one
that was written live. At the end of the session a second process with another hash seed does all
of them once more.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import Gate, ended
from warm import warm_run

from mitmgate.errors import ConfigError
from mitmgate.policy.load import Policy
from mitmgate.policy.source import PolicySource
from mitmgate.record.capture import golden_path
from mitmgate.record.meta import meta_path, read_meta
from mitmgate.replay.capture import read_capture
from mitmgate.replay.entries import HeaderLine, PolicyLine
from mitmgate.serve.replaying import run_files

AGAIN = Path(__file__).parents[1] / "peers" / "replayed_again.py"
LARGEST = 2_000_000
"""Bytes of a capture that is still replayed: a larger one holds one call thousands of times."""
SECONDS = 10


@dataclass
class Kept:
    """Copies of captures that replayed to the same; ``sums`` are those of their golden files."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mg-kept-")))
    sums: dict[str, str] = field(default_factory=dict)

    def add(self, captures: list[Path], policy: Path, locked: Path | None) -> None:
        """Keep copies of *captures*, and of what lies beside their *policy*."""
        own = self.folder / str(len(list(self.folder.iterdir())))
        (own / "policy").mkdir(parents=True)
        for file in policy.parent.iterdir():
            if file.is_file() and file.suffix in (".yaml", ".yml"):
                shutil.copy(file, own / "policy" / file.name)
        shutil.copy(policy, own / "policy" / "policy.yaml")
        if locked is not None:
            shutil.copy(locked, own / "policy" / "locked.yaml")
        for capture in captures:
            for file in (capture, golden_path(capture), meta_path(capture)):
                shutil.copy(file, own / file.name)
            golden = golden_path(capture)
            name = f"{own.name}/{golden.name}"
            self.sums[name] = hashlib.sha256(golden.read_bytes()).hexdigest()

    def again(self) -> None:
        """Replay them all in a second process."""
        if not self.sums:
            return
        done = warm_run([sys.executable, str(AGAIN), str(self.folder)], seconds=300)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["hash"] != hash("mitmgate"), "the hash seed is the same"
        assert told["sums"] == self.sums


@functools.cache
def kept() -> Kept:
    """Return those of this session."""
    return Kept()


def replay_recorded(folder: Path, by: Path, locked: Path | None = None) -> int:
    """Replay the captures in *folder* by the policy file *by*, now and at the end of the session.

    Return how many: those that are too large, were not written to their end, or saw another policy
    are left out.
    """
    captures = [file for file in _captures(folder) if file.stat().st_size <= LARGEST]
    policy = _policy(by, locked)
    captures = [file for file in captures if policy and _is_whole(file, policy)]
    if captures and policy is not None:
        check(captures, policy)
        kept().add(captures, by, locked)
    return len(captures)


@contextmanager
def replayed(gate: Gate, locked: Path | None = None) -> Iterator[Gate]:
    """Give *gate*; at the end stop it and replay what it recorded."""
    try:
        yield gate
    except BaseException:
        ended(gate.process)
        raise
    if gate.process.poll() is None:
        gate.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            gate.process.wait(timeout=SECONDS)
    replay_recorded(gate.captures, gate.policy, locked)


def check(captures: list[Path], policy: Policy) -> None:
    """Replay *captures*, and write their golden files anew: both change nothing."""
    before = [golden_path(file).read_bytes() for file in captures]
    compared = run_files(captures, policy)
    assert compared.exit_code == 0, [
        (found.what, found.line, found.before, found.after) for found in compared.differences
    ]
    assert run_files(captures, policy, accept="different").updated
    assert [golden_path(file).read_bytes() for file in captures] == before


def _captures(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.jsonl")) if folder.exists() else []
    return [file for file in files if not file.name.endswith(".golden.jsonl")]


def _policy(path: Path, locked: Path | None) -> Policy | None:
    try:
        return PolicySource(path, locked).read()[0].policy
    except ConfigError:  # the test broke it
        return None


def _is_whole(capture: Path, policy: Policy) -> bool:
    """Tell whether *capture* was written to its end, by *policy* alone: no reload, no kill."""
    meta = read_meta(capture)
    if meta is None or not meta.complete:
        return False
    lines = read_capture(capture, lambda rule, number: f"[{rule}:{number}]")
    told = {one.policy for one in lines if isinstance(one, HeaderLine | PolicyLine)}
    return told == {policy.hash}
