"""A second process that scans ahead of a long replay, so that two processors share the work.

It reads the same capture, and says of which texts nothing was found in them, by a digest. The
replay judges everything itself; it only does not scan again what it was told to be clean. What it
was not told, or not yet, it scans.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import NoReturn

from mitmgate.errors import ConfigError
from mitmgate.judge.inputs import AnswerInput, EndInput, EventInput, Input, RequestInput
from mitmgate.judge.limits import Limits
from mitmgate.judge.prepare import PreparedRequest, prepare_answer, prepare_event, prepare_request
from mitmgate.record.expansion import Sample
from mitmgate.replay.capture import read_capture
from mitmgate.replay.entries import InputLine, PolicyLine
from mitmgate.scan.book import RuleBook
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Detector, Finding
from mitmgate.wire.jsonrpc import Request, RequestId
from mitmgate.wire.recognise import Recognition
from mitmgate.wire.surfaces import Text

WORTH_IT = 4 << 20
"""Bytes of a capture from which on a second process is started."""
_DIGEST = 16
_MOST_CLEAN = 1 << 15
_BATCH = 64


class Foretold(Scanner):
    """A scanner that does not scan again what another process found nothing in."""

    def __init__(self, book: RuleBook, *, hash_key: bytes) -> None:
        super().__init__(book, hash_key=hash_key)
        self.saved = 0
        """How many scans were not made."""
        self._book_then = book
        self._source: int | None = None
        self._rest = b""
        self._clean: dict[bytes, None] = {}

    def listen(self, source: int) -> None:
        """Take what is told on the file descriptor *source*."""
        self._source = source

    def forget(self) -> None:
        """Forget what was told: nobody tells any more, or by other rules."""
        self._source, self._rest = None, b""
        self._clean.clear()

    def scan(
        self, texts: Iterable[Text], *, detectors: Collection[Detector] | None = None
    ) -> tuple[Finding, ...]:
        """Return what :meth:`Scanner.scan` does."""
        items = tuple(texts)
        told = self._source is not None or self._clean
        if told and detectors is None and items and self._is_clean(items):
            self.saved += 1
            return ()
        return super().scan(items, detectors=detectors)

    def _is_clean(self, items: Sequence[Text]) -> bool:
        if self.book is not self._book_then:
            self.forget()
            return False
        digest = digest_of(items)
        if digest not in self._clean:
            self._hear()
        return digest in self._clean

    def _hear(self) -> None:
        while self._source is not None and select.select([self._source], [], [], 0)[0]:
            data = os.read(self._source, 1 << 16)
            if not data:
                self._source = None
                return
            data = self._rest + data
            whole = len(data) - len(data) % _DIGEST
            self._rest = data[whole:]
            for at in range(0, whole, _DIGEST):
                self._clean[data[at : at + _DIGEST]] = None
            while len(self._clean) > _MOST_CLEAN:
                del self._clean[next(iter(self._clean))]


class _Telling(Scanner):
    """The scanner of the process ahead: *tell* takes the digest of what nothing was found in."""

    def __init__(self, book: RuleBook, tell: Callable[[bytes], None]) -> None:
        super().__init__(book, hash_key=b"of findings that nobody sees")
        self._tell = tell

    def scan(
        self, texts: Iterable[Text], *, detectors: Collection[Detector] | None = None
    ) -> tuple[Finding, ...]:
        """Scan, and tell."""
        items = tuple(texts)
        found = super().scan(items, detectors=detectors)
        if not found and items and detectors is None:
            self._tell(digest_of(items))
        return found


def digest_of(items: Sequence[Text]) -> bytes:
    """Return what only the same texts, in the same places, have in common."""
    told = [f"{s.value} {len(p)} {len(t)} {k:d}{d:d}{p}{t}" for s, p, t, k, d in items]
    data = "".join(told).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=_DIGEST).digest()


@contextmanager
def foretelling(file: Path, scanner: Foretold, sample: Sample) -> Iterator[None]:
    """Let a second process scan *file* ahead of this one while the block runs, where it can.

    *sample* gives the values that stand for the secrets that were taken out.
    """
    if not _can_fork():
        yield
        return
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _ahead(file, scanner.book, sample, writing)
    os.close(writing)
    scanner.listen(reading)
    try:
        yield
    finally:
        scanner.forget()
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _can_fork() -> bool:
    alone = threading.active_count() == 1  # locks that other threads hold stay locked in a fork
    return alone and (os.process_cpu_count() or 1) > 1 and "fork" in get_all_start_methods()


def _ahead(file: Path, book: RuleBook, sample: Sample, writing: int) -> NoReturn:
    """Scan *file* in the forked process, and end it without a word."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        told = bytearray()

        def tell(digest: bytes) -> None:
            told.extend(digest)
            if len(told) >= _BATCH * _DIGEST:
                _write(writing, told)

        _Reader(_Telling(book, tell)).read(file, sample)
        _write(writing, told)
    except (ConfigError, OSError, RecursionError, MemoryError):
        pass  # the replay meets it too, and says so
    finally:
        os._exit(0)


def _write(writing: int, told: bytearray) -> None:
    while told:
        del told[: os.write(writing, told)]


class _Reader:
    """Prepares the inputs of a capture as a judge would, as far as that takes no state."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._limits = Limits()
        self._methods: dict[str, dict[RequestId, str]] = {}

    def read(self, file: Path, sample: Sample) -> None:
        """Prepare all of *file* up to where the rules for canaries change."""
        for line in read_capture(file, sample):
            if isinstance(line, PolicyLine):
                return
            if isinstance(line, InputLine):
                self._take(line.input)

    def _take(self, given: Input) -> None:
        match given:
            case RequestInput():
                self._note(prepare_request(given, self._scanner, self._limits))
            case AnswerInput():
                lookup = self._lookup(given.exchange)
                prepare_answer(given, lookup, self._scanner, self._limits, tuple)
            case EventInput():
                prepare_event(given, self._lookup(given.exchange), self._scanner, tuple)
            case EndInput():
                self._methods.pop(given.exchange, None)
            case _:
                pass

    def _note(self, prepared: PreparedRequest) -> None:
        message = prepared.body.message
        if prepared.recognition is not Recognition.NONE and isinstance(message, Request):
            self._methods[prepared.input.exchange] = {message.id: message.method}

    def _lookup(self, exchange: str) -> Callable[[RequestId | None], str] | None:
        methods = self._methods.get(exchange)
        if methods is None:
            return None
        return lambda answer: "" if answer is None else methods.get(answer, "")
