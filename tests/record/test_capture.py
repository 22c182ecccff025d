"""The capture's writer: never waits, never loses silently, and ends in good order."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from mitmgate.errors import ConfigError
from mitmgate.record.capture import CaptureWriter, Sink, golden_path

HEADER = {"tool": "t", "policy": "p", "mode": "enforce", "shadow": False, "started": 0.0}


def _writer(folder: Path, *, queue_size: int = 10_000, queue_bytes: int = 1 << 20) -> CaptureWriter:
    return CaptureWriter(folder, header=HEADER, queue_size=queue_size, queue_bytes=queue_bytes)


def _line(number: int, sink: Sink) -> None:
    sink.exchange()
    sink.golden({"line": sink.capture({"number": number})})


def _stop_until(event: threading.Event, started: threading.Event, sink: Sink) -> None:
    started.set()
    event.wait(30)
    _line(0, sink)


def test_close_writes_everything_in_order_between_header_and_end(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    assert all(writer.offer(partial(_line, number)) for number in range(500))
    writer.close()
    lines = [json.loads(line) for line in writer.path.read_text().splitlines()]
    assert lines[0] == {"v": 2, "type": "capture", **HEADER}
    assert [line["number"] for line in lines[1:-1]] == list(range(500))
    assert lines[-1] == {"type": "close", "lines": 501}
    golden = golden_path(writer.path).read_text().splitlines()
    assert [json.loads(line)["line"] for line in golden] == list(range(2, 502))


def test_the_files_are_named_after_time_and_process_and_are_private(tmp_path: Path) -> None:
    first, second = _writer(tmp_path / "new"), _writer(tmp_path / "new")
    for writer in (first, second):
        assert writer.offer(partial(_line, 1))
    first.close()
    second.close()
    assert first.path.name.startswith("capture-19700101T000000Z-")
    assert second.path.name != first.path.name
    files = list((tmp_path / "new").iterdir())
    assert len(files) == 6
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("queue_size", "queue_bytes", "size"),
    [(2, 1000, 1), (100, 1000, 400)],
    ids=["as many jobs as may wait", "as many bytes as may wait"],
)
def test_a_full_queue_says_no_and_does_not_wait(
    tmp_path: Path, queue_size: int, queue_bytes: int, size: int
) -> None:
    release, started = threading.Event(), threading.Event()
    writer = _writer(tmp_path, queue_size=queue_size, queue_bytes=queue_bytes)
    writer.offer(lambda sink: _stop_until(release, started, sink))
    assert started.wait(30)
    taken = [writer.offer(lambda sink: _line(1, sink), size=size) for _ in range(3)]
    release.set()
    writer.close()
    assert taken == [True, True, False]
    assert len(writer.path.read_text().splitlines()) == 1 + 1 + 2 + 1


def test_a_dead_writer_says_no_and_why(tmp_path: Path) -> None:
    writer = _writer(tmp_path)

    def crash(_: Sink) -> None:
        raise RuntimeError("boom")

    assert writer.offer(crash)
    writer.close()
    assert writer.failure == "RuntimeError: boom"
    assert not writer.alive
    assert not writer.offer(lambda sink: _line(1, sink))


def test_after_close_nothing_is_taken(tmp_path: Path) -> None:
    writer = _writer(tmp_path)
    writer.close()
    assert not writer.offer(lambda sink: _line(1, sink))


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as caught:
        _writer(tmp_path / "file")
    assert "--capture" in str(caught.value)


PROCESS = """
import sys, threading
from itertools import count
from pathlib import Path
from mitmgate.record.capture import CaptureWriter
mode = sys.argv[2]
header = {"tool": "t", "policy": "p", "mode": "enforce", "shadow": False, "started": 0}
writer = CaptureWriter(Path(sys.argv[1]), header=header)
def job(number, written):
    def run(sink):
        sink.exchange()
        sink.golden({"line": sink.capture({"number": number, "text": "x" * 3000})})
        written.set()
    return run
if mode == "forget":
    writer.offer(job(0, threading.Event()))
    sys.exit(0)
if mode == "full":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
for number in count():
    written = threading.Event()
    if not writer.offer(job(number, written)):
        print(writer.failure, flush=True)
        break
    if number % 50 == 0:
        while not written.wait(0.05) and writer.alive:
            pass
        print(number, flush=True)
writer.close()
"""


def _start(folder: Path, mode: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(folder), mode], stdout=subprocess.PIPE, text=True
    )


def _capture(folder: Path) -> Path:
    return next(p for p in folder.glob("*.jsonl") if ".golden." not in p.name)


def test_kill_9_leaves_whole_lines_and_no_golden_line_without_its_input(tmp_path: Path) -> None:
    with _start(tmp_path, "run") as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 300:
            pass
        process.send_signal(signal.SIGKILL)
    capture = _capture(tmp_path)
    *whole, _torn = capture.read_bytes().split(b"\n")
    inputs = [json.loads(line) for line in whole]
    assert len(inputs) > 200
    *golden, _torn = golden_path(capture).read_bytes().split(b"\n")
    assert all(json.loads(line)["line"] <= len(inputs) for line in golden)


def test_a_process_that_ends_without_close_still_ends_its_capture(tmp_path: Path) -> None:
    with _start(tmp_path, "forget") as process:
        assert process.wait(30) == 0
    last = _capture(tmp_path).read_text().splitlines()[-1]
    assert json.loads(last) == {"type": "close", "lines": 2}


def test_a_full_disk_ends_the_capture_and_the_caller_learns_of_it(tmp_path: Path) -> None:
    with _start(tmp_path, "full") as process:
        output, _ = process.communicate(timeout=60)
    assert "OSError" in output
    for path in tmp_path.iterdir():
        assert path.read_bytes().endswith(b"\n")
