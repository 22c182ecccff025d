"""Captures: files of recorded inputs, with the outcomes they had beside them.

A thread does the encoding and the writing, so that the proxy never waits for a disk; when it
falls behind or dies, ``offer`` says so and the caller denies.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.lines import LineFile, encode_line

CAPTURE_VERSION = 1
GOLDEN_SUFFIX = ".golden.jsonl"
FLUSH_SECONDS = 0.1

type Job = Callable[[Sink], None]


def golden_path(capture: Path) -> Path:
    """Return where the golden file of *capture* lies."""
    return capture.with_name(capture.name.removesuffix(".jsonl") + GOLDEN_SUFFIX)


class Sink:
    """Where a job puts its lines; only the writer thread touches it."""

    def __init__(self) -> None:
        self.lines = 0
        self._capture = bytearray()
        self._golden = bytearray()

    def capture(self, record: Mapping[str, Any]) -> int:
        """Add a line to the capture and return its number, counted from 1."""
        self._capture += encode_line(record)
        self.lines += 1
        return self.lines

    def golden(self, record: Mapping[str, Any]) -> None:
        """Add a line to the golden file."""
        self._golden += encode_line(record)

    def take(self) -> tuple[bytes, bytes]:
        """Return what was added to the capture and the golden file, and forget it."""
        taken = bytes(self._capture), bytes(self._golden)
        self._capture.clear()
        self._golden.clear()
        return taken


class CaptureWriter:
    """Writes one capture and its golden file from a thread of its own.

    At most ``queue_size`` jobs and ``queue_bytes`` of their sizes wait at any time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        header: Mapping[str, Any],
        time: float,
        queue_size: int = 10_000,
        queue_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._capture, self._golden = _open_pair(folder, time)
        self.path = self._capture.path
        self.failure: str | None = None
        self._jobs: deque[tuple[Job, int]] = deque()
        self._waiting_bytes = 0
        self._queue_size = queue_size
        self._queue_bytes = queue_bytes
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sink = Sink()
        first = {"v": CAPTURE_VERSION, "type": "capture", **header}
        self._jobs.append((lambda sink: _ignore(sink.capture(first)), 0))
        # Not a daemon: a daemon thread is cut off in the middle of a line at exit.
        self._thread = threading.Thread(target=self._run, name="mitmgate-capture", daemon=False)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether what is offered now will be written."""
        return self.failure is None and not self._closing.is_set()

    @property
    def crowded(self) -> bool:
        """Whether more waits to be written than should: who can wait should."""
        behind = len(self._jobs) * 2 > self._queue_size
        return self.alive and (behind or self._waiting_bytes * 2 > self._queue_bytes)

    def offer(self, job: Job, *, size: int = 0) -> bool:
        """Queue *job*, which writes about *size* bytes; False when it will not be written."""
        with self._lock:
            if not self.alive or len(self._jobs) >= self._queue_size:
                return False
            if self._waiting_bytes + size > self._queue_bytes:
                return False
            self._waiting_bytes += size
            self._jobs.append((job, size))
        return True

    def close(self) -> None:
        """Write what was queued and an end line, and wait for the thread."""
        with self._lock:
            self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.wait(FLUSH_SECONDS):
                self._drain()
                if not threading.main_thread().is_alive():
                    break  # the process ends without close(): do not keep it
            with self._lock:
                self._closing.set()
            self._drain()
            self._sink.capture({"type": "close", "lines": self._sink.lines})
            self._flush()
        except Exception as error:  # noqa: BLE001  whatever it was: the caller must learn of it
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self._capture.close()
            self._golden.close()

    def _drain(self) -> None:
        # Small batches bound the memory between two writes.
        while True:
            with self._lock:
                batch = [self._jobs.popleft() for _ in range(min(64, len(self._jobs)))]
                self._waiting_bytes -= sum(size for _, size in batch)
            if not batch:
                return
            for job, _ in batch:
                job(self._sink)
            self._flush()

    def _flush(self) -> None:
        # Inputs first: an outcome without its input could never be replayed.
        capture, golden = self._sink.take()
        if capture:
            self._capture.append(capture)
        if golden:
            self._golden.append(golden)


def _ignore(_: int) -> None:
    return None


def _open_pair(folder: Path, time: float) -> tuple[LineFile, LineFile]:
    stem = f"capture-{datetime.fromtimestamp(time, UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        capture = _open_new(folder, stem)
        try:
            return capture, LineFile(golden_path(capture.path), exclusive=True)
        except OSError:
            capture.close()
            raise
    except OSError as error:
        raise ConfigError(
            Problem(
                f"cannot write captures here: {error.strerror}",
                file=str(folder),
                hint="name a folder that you may write to with --capture",
            )
        ) from error


def _open_new(folder: Path, stem: str) -> LineFile:
    for number in range(1, 1000):
        name = stem if number == 1 else f"{stem}-{number}"
        try:
            return LineFile(folder / f"{name}.jsonl", exclusive=True)
        except FileExistsError:
            continue
    raise FileExistsError(0, "a thousand captures of this second exist already")
