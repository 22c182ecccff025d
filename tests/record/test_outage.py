"""A ring whose disk is full: calls go on, it says so once, and comes back when there is room."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from captures import POLICY, STARTED, call, result

from mitmgate.cli.app import invoke
from mitmgate.judge.choosing import KEEP_ALL, Keep
from mitmgate.judge.inputs import EndInput, Input
from mitmgate.judge.judge import Judge
from mitmgate.judge.recording import Recording
from mitmgate.policy.load import load_policy
from mitmgate.record import outage as outages
from mitmgate.record.capture import CaptureWriter
from mitmgate.record.lines import LineFile
from mitmgate.record.outage import MOST_SECONDS, Outage
from mitmgate.record.ring import Ring
from mitmgate.scan.engine import Scanner

HEADER = {"tool": "t", "policy": "p", "mode": "enforce", "shadow": False, "started": STARTED,
          "run": "", "keep": ["size:1048576"], "segment": 1, "canaries": []}  # fmt: skip
RING = Keep(ring=Ring(size=1 << 20))


class Disk:
    """A disk that is full or not; ``wrote`` is set when something was written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.full, self.wrote = False, threading.Event()
        real = LineFile.append

        def append(file: LineFile, data: bytes) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(file, data)
            if file.path.name.endswith(".golden.jsonl"):
                self.wrote.set()

        patch.setattr(LineFile, "append", append)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(outages, "LEAST_SECONDS", 0.0)
    return Disk(monkeypatch)


class Made:
    """A recording of judged inputs, and what its writer warned of."""

    def __init__(self, folder: Path, scanner: Scanner, keep: Keep) -> None:
        self.writer = CaptureWriter(folder, header=HEADER, ring=keep.ring)
        self.warnings: list[str] = []
        self.warned = threading.Condition()
        self.writer.outage.warn = self._warn
        self.recording = Recording(
            self.writer, scanner, clock=lambda: STARTED, started=STARTED, keep=keep
        )
        self._judge = Judge(load_policy(POLICY, file="p.yaml"), scanner)
        self._now = STARTED

    def _warn(self, text: str) -> None:
        with self.warned:
            self.warnings.append(text)
            self.warned.notify_all()

    def has_warned(self, times: int) -> bool:
        with self.warned:
            return self.warned.wait_for(lambda: len(self.warnings) >= times, 30)

    def failure(self) -> str | None:
        return self.recording.failure

    def catch_up(self) -> None:
        """Wait until the writer has seen everything."""
        seen = threading.Event()
        assert self.writer.offer(lambda _: seen.set())
        assert seen.wait(30)

    def take(self, *inputs: Input) -> bool:
        """Tell whether nothing of *inputs* is denied for the capture's sake."""
        said = []
        for given in inputs:
            self._now += 1
            outcome = self._judge.conclude(self._judge.prepare(given), now=self._now)
            said.append(self.recording.input(given, now=self._now))
            if outcome is not None:
                said.append(self.recording.outcome(outcome))
        return all(said)


def _calls(name: str, count: int) -> Iterator[Input]:
    for number in range(count):
        yield call(f"{name}-{number}", "get", {"n": number})
        yield result(f"{name}-{number}", "done")
        yield EndInput(f"{name}-{number}")


def _segments(folder: Path) -> list[list[dict[str, Any]]]:
    paths = sorted(path for path in folder.glob("*.jsonl") if ".golden." not in path.name)
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]


def _ids(segment: list[dict[str, Any]]) -> set[str]:
    return {line["id"] for line in segment if "id" in line and not line.get("carried")}


def test_a_ring_comes_back_when_there_is_room_and_denies_nothing_meanwhile(
    tmp_path: Path, scanner: Scanner, disk: Disk
) -> None:
    folder = tmp_path / "ring"
    made = Made(folder, scanner, RING)
    over_all_of_it = call("s-0", "get", {})
    assert made.take(over_all_of_it, *_calls("before", 2))
    assert disk.wrote.wait(30)
    disk.full = True
    assert made.take(*_calls("lost", 3))
    assert made.has_warned(1)
    assert made.failure() == "cannot be written: No space left on device"
    assert made.take(*_calls("more", 3), call("o-0", "get", {}))
    made.catch_up()
    disk.full = False
    assert made.has_warned(2)
    assert made.take(*_calls("after", 2), result("s-0", "late"), EndInput("s-0"))
    assert made.take(result("o-0", "late"), EndInput("o-0"))
    made.recording.close()
    assert made.failure() is None
    assert len(made.warnings) == 2
    assert ["No space left" in text for text in made.warnings] == [True, False]
    first, last = _segments(folder)
    assert {"before-0", "before-1", "s-0"} <= _ids(first)
    assert {"after-0", "after-1"} <= _ids(last)
    assert {line["id"] for line in last if line.get("carried") and "id" in line} >= {"s-0", "o-0"}
    assert made.writer.lost >= 9
    (tmp_path / "p.yaml").write_text(POLICY)
    assert invoke(["replay", str(folder), "--policy", str(tmp_path / "p.yaml")]) == 0


def test_a_capture_of_everything_still_says_no(
    tmp_path: Path, scanner: Scanner, disk: Disk
) -> None:
    made = Made(tmp_path, scanner, KEEP_ALL)
    disk.full = True
    made.take(*_calls("a", 1))
    made.writer.close()
    disk.full = False
    assert not made.take(*_calls("b", 1))
    assert made.warnings == []
    assert made.recording.failure is not None


def test_a_full_disk_leaves_no_empty_files(tmp_path: Path, scanner: Scanner, disk: Disk) -> None:
    made = Made(tmp_path, scanner, RING)
    disk.full = True
    assert made.take(*_calls("a", 2))
    assert made.has_warned(1)
    made.recording.close()
    assert list(tmp_path.iterdir()) == []


FAILING: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "the old segments cannot be removed": lambda patch: patch.setattr(
        "mitmgate.record.capture.prune", _refuse),
    "the meta file cannot be written": lambda patch: patch.setattr(
        "mitmgate.record.capture.write_meta", _refuse),
}  # fmt: skip


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("sentence", FAILING)
def test_other_trouble_ends_nothing_either(
    sentence: str, tmp_path: Path, scanner: Scanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr("mitmgate.record.capture._PRUNE_SECONDS", 0.0)
    made = Made(tmp_path, scanner, RING)
    with monkeypatch.context() as patch:
        FAILING[sentence](patch)
        assert made.take(*_calls("a", 2))
        assert made.has_warned(1)
        assert "Permission denied" in made.warnings[0]
    assert made.has_warned(2)
    assert made.take(*_calls("b", 1))
    made.recording.close()
    assert "b-0" in _ids(_segments(tmp_path)[-1])


def test_trouble_that_comes_again_and_again_is_told_ever_less_often(tmp_path: Path) -> None:
    said: list[str] = []
    now = 0.0
    broken = Outage(tmp_path, said.append, lambda: now)
    error = OSError(errno.ENOSPC, "No space left on device")
    while now < 3600:
        if broken.reason is None:
            broken.begin(error)
        if broken.is_due:
            assert broken.is_over()
        now += 1
    assert len(said) <= 30
    assert list(tmp_path.iterdir()) == []
    assert broken.is_over()
    now += 2 * MOST_SECONDS
    broken.begin(error)
    now += outages.LEAST_SECONDS
    assert broken.is_due
