"""Captures: files of recorded inputs, with the outcomes they had beside them.

A thread does the encoding and the writing, so that the proxy never waits for a disk; when it
falls behind or dies, ``offer`` says so and the caller denies.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mitmgate.errors import ConfigError, Problem
from mitmgate.record.lines import LineFile, encode_line, timestamp
from mitmgate.record.meta import META_VERSION, Meta, Profile, Sums, meta_path, write_meta
from mitmgate.record.outage import Outage
from mitmgate.record.ring import Ring, prune

CAPTURE_VERSION = 2
GOLDEN_SUFFIX = ".golden.jsonl"
FLUSH_SECONDS = 0.1
_PRUNE_SECONDS = 60.0

type Job = Callable[[Sink], None]


def golden_path(capture: Path) -> Path:
    """Return where the golden file of *capture* lies."""
    return capture.with_name(capture.name.removesuffix(".jsonl") + GOLDEN_SUFFIX)


class Sink:
    """Where a job puts its lines; only the writer thread touches it.

    ``header`` is what the first line says; it is written when the first exchange comes. ``told``
    is what the header of the next segment says instead.
    """

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.header = dict(header)
        self.told: dict[str, Any] = {}
        self.segment = 1
        self.lines = 1
        self.exchanges = 0
        self._begun = False
        self._capture = bytearray()
        self._golden = bytearray()

    @property
    def ready(self) -> bool:
        """Whether there is an exchange to write: without one there is no capture."""
        return self.exchanges > 0

    @property
    def size(self) -> int:
        """The bytes that wait to be written to the capture."""
        return len(self._capture)

    def exchange(self) -> int:
        """Count a new exchange and return its number, counted from 1."""
        self.exchanges += 1
        return self.exchanges

    def capture(self, record: Mapping[str, Any]) -> int:
        """Add a line to the capture and return its number; the header has number 1."""
        self._capture += encode_line(record)
        self.lines += 1
        return self.lines

    def golden(self, record: Mapping[str, Any]) -> None:
        """Add a line to the golden file."""
        self._golden += encode_line(record)

    def turn(self) -> None:
        """Begin the next segment: what is added from now on is for another file."""
        self.segment += 1
        self.header |= self.told | {"segment": self.segment}
        self.lines, self.exchanges, self._begun = 1, 0, False

    def take(self) -> tuple[bytes, bytes]:
        """Return what was added to the capture and the golden file, and forget it."""
        first = b""
        if not self._begun:
            first = encode_line({"v": CAPTURE_VERSION, "type": "capture", **self.header})
            self._begun = True
        taken = first + bytes(self._capture), bytes(self._golden)
        self._capture.clear()
        self._golden.clear()
        return taken


class _Files:
    """The open files of a capture, and the sums of what was written to them."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.capture = _open_new(folder, stem)
        self.size = 0
        self.began = time.monotonic()
        self._sums = hashlib.sha256(), hashlib.sha256()
        try:
            self.golden = LineFile(golden_path(self.capture.path), exclusive=True)
        except OSError:
            self.capture.close()
            self.capture.path.unlink(missing_ok=True)
            raise

    def append(self, capture: bytes, golden: bytes) -> None:
        """Write both; inputs first: an outcome without its input could never be replayed."""
        pairs = (self.capture, capture), (self.golden, golden)
        for (file, data), summed in zip(pairs, self._sums, strict=True):
            if data:
                file.append(data)
                summed.update(data)
                self.size += len(data)

    def describe(self, header: Mapping[str, Any], flows: int | None = None) -> None:
        """Write the meta file; *flows* are given at the end, with the sums."""
        sums = None
        if flows is not None:
            capture, golden = (summed.hexdigest() for summed in self._sums)
            sums = Sums(capture=capture, golden=golden)
        profile = Profile(policy=header["policy"], mode=header["mode"], shadow=header["shadow"])
        meta = Meta(
            version=META_VERSION, tool=header["tool"], date=timestamp(header["started"]),
            profile=profile, flows=flows, complete=flows is not None, sha256=sums,
        )  # fmt: skip
        write_meta(self.capture.path, meta)

    def close(self) -> None:
        """Close both files."""
        self.capture.close()
        self.golden.close()

    def abandon(self) -> None:
        """Close both files, whatever is in them; where that is nothing they go."""
        self.close()
        if self.size == 0:
            for path in (self.capture.path, self.golden.path, meta_path(self.capture.path)):
                path.unlink(missing_ok=True)


class CaptureWriter:
    """Writes one capture, its golden file and its meta file from a thread of its own.

    At most ``queue_size`` jobs and ``queue_bytes`` of their sizes wait at any time. The files are
    made when the first exchange comes. ``header`` needs ``tool``, ``policy``, ``mode``, ``shadow``
    and ``started`` (seconds since the epoch). ``path`` is the capture. With a ``ring`` it is a
    row of segments: ``before_turn`` may add lines to one that ends, ``after_turn`` to the next, and
    ``may_turn`` says whether one can end here.

    What cannot be written ends a capture without a ring for good (``alive``). In a ring it is lost
    and counted (``lost``), and a new segment begins when there is room; ``outage.warn`` is told of
    both. ``failure`` says what is wrong now.
    """

    def __init__(
        self,
        folder: Path,
        *,
        header: Mapping[str, Any],
        queue_size: int = 10_000,
        queue_bytes: int = 64 * 1024 * 1024,
        ring: Ring | None = None,
    ) -> None:
        _check(folder)
        self._ring = ring
        self._pruned = time.monotonic()
        self._carried = 0
        self.may_turn: Callable[[], bool] = lambda: True
        self.before_turn: Job = _nothing
        self.after_turn: Job = _nothing
        moment = datetime.fromtimestamp(header["started"], UTC)
        self._stem = f"capture-{moment:%Y%m%dT%H%M%SZ}-{os.getpid()}"
        self.path = folder / f"{self._stem}.jsonl"
        self._files: _Files | None = None
        self.outage = Outage(folder)
        self._died: str | None = None
        self._jobs: deque[tuple[Job, int]] = deque()
        self._waiting_bytes = 0
        self._queue_size = queue_size
        self._queue_bytes = queue_bytes
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._sink = Sink(header)
        # Not a daemon: a daemon thread is cut off in the middle of a line at exit.
        self._thread = threading.Thread(target=self._run, name="mitmgate-capture", daemon=False)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """Why nothing is written now, None where all is well."""
        return self._died or self.outage.reason

    @property
    def lost(self) -> int:
        """The lines that a ring could not write."""
        return self.outage.lost

    @property
    def alive(self) -> bool:
        """Whether what is offered now is taken."""
        return self._died is None and not self._closing.is_set()

    @property
    def crowded(self) -> bool:
        """Whether more waits to be written than should: who can wait should."""
        behind = len(self._jobs) * 2 > self._queue_size
        return self.alive and (behind or self._waiting_bytes * 2 > self._queue_bytes)

    def offer(self, job: Job, *, size: int = 0, spare: int = 0) -> bool:
        """Queue *job*, which writes about *size* bytes; False when it will not be written.

        *spare* percent of the queue are left to others.
        """
        share = (100 - spare) / 100
        with self._lock:
            if not self.alive or len(self._jobs) >= self._queue_size * share:
                return False
            if self._waiting_bytes + size > self._queue_bytes * share:
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
                self._turn_if_due()
                if not threading.main_thread().is_alive():
                    break  # the process ends without close(): do not keep it
            with self._lock:
                self._closing.set()
            self._drain()
            self._tried(self._end)
        except Exception as error:  # noqa: BLE001  whatever it was: the caller must learn of it
            self._died = f"{type(error).__name__}: {error}"
        finally:
            if self._files is not None:
                self._files.close()

    def _end(self) -> None:
        if self._files is not None:
            self._sink.capture({"type": "close", "lines": self._sink.lines})
            self._flush()
            self._files.describe(self._sink.header, self._sink.exchanges)

    def _drain(self) -> None:
        # Small batches bound the memory between two writes.
        while True:
            with self._lock:
                batch = [self._jobs.popleft() for _ in range(min(64, len(self._jobs)))]
                self._waiting_bytes -= sum(size for _, size in batch)
            if not batch:
                return
            for job, _ in batch:
                self._tried(partial(job, self._sink))
            self._tried(self._flush)
            self._turn_if_due()

    def _tried(self, step: Callable[[], None]) -> None:
        """Take *step*; where it fails in a ring, what was not written by then is lost."""
        try:
            step()
        except Exception as error:
            if self._ring is None:
                raise
            self.outage.begin(error)
            files, self._files = self._files, None
            self._lose(self._sink.take()[0])
            if files is not None:
                with contextlib.suppress(OSError):
                    files.abandon()

    def _turn_if_due(self) -> None:
        if self._ring is not None and self.may_turn():
            self._tried(partial(self._turn, self._ring))

    def _turn(self, ring: Ring) -> None:
        """Begin a new segment where this one is full or was given up, and remove the oldest."""
        files, now = self._files, time.monotonic()
        if self.outage.reason is not None:
            if not self.outage.is_due:
                return
            self._prune(ring)  # that may make room
            if self.outage.is_over():
                self.before_turn(self._sink)
                self._lose(self._sink.take()[0])
                self._next_segment()
        elif files is not None and ring.is_full(files.size - self._carried, now - files.began):
            self.before_turn(self._sink)
            self._end()
            files.close()
            self._files = None
            self._next_segment()
            self._prune(ring)
        elif now - self._pruned >= _PRUNE_SECONDS:
            self._prune(ring)

    def _next_segment(self) -> None:
        self._sink.turn()
        self.after_turn(self._sink)
        self._carried = self._sink.size

    def _prune(self, ring: Ring) -> None:
        self._pruned = time.monotonic()
        current = None if self._files is None else self.path
        prune(self.path.parent, ring, now=time.time(), current=current)

    def _lose(self, lines: bytes) -> None:
        self.outage.lost += lines.count(b"\n")

    def _flush(self) -> None:
        if not self._sink.ready:
            return
        if self.outage.reason is not None:
            self._lose(self._sink.take()[0])
            return
        if self._files is None:
            stem = self._stem if self._ring is None else f"{self._stem}-{self._sink.segment:04}"
            self._files = _Files(self.path.parent, stem)
            self.path = self._files.capture.path
            self._files.describe(self._sink.header)
        capture, golden = self._sink.take()
        try:
            self._files.append(capture, golden)
        except OSError:
            self._lose(capture)
            raise


def _nothing(sink: Sink) -> None:
    """Do nothing: most captures have one segment."""


def _check(folder: Path) -> None:
    """Make *folder*; ConfigError where captures cannot be written to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
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
