"""The filter of ``mitmgate scan``: lines in, lines out, on every processor that it may use."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_all_start_methods, get_context
from typing import TYPE_CHECKING, cast

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from io import BufferedReader, FileIO

_CHUNK = 256 * 1024
_LINES = 32
"""Lines that are handed over at once."""
_AHEAD = 4
"""Hand-overs that may wait for each worker: more is not read before they are answered."""

type Answer = Callable[[bytes, int], str]
"""What answers a line with its number; ConfigError where it is no good."""
type _Answered = tuple[list[str], tuple[Problem, ...]]

_answer: Answer


def filter_lines(answer: Answer) -> None:
    """Print the answers to the lines of standard input, in their order.

    ConfigError names the first line that *answer* refuses; all before it are answered then.
    Workers are forks, so that what *answer* needs is made only once; where the system has none,
    or one processor, this process does all the work.
    """
    global _answer  # noqa: PLW0603 - forks find it there
    _answer = answer
    workers = os.process_cpu_count() or 1
    if workers == 1 or "fork" not in get_all_start_methods():
        for batch in _batches():
            _print(_answered(*batch))
        return
    # The pipe lasts longer than the pool, whose last answers still write to it.
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with os.fdopen(reading, "rb", 0) as wakes, os.fdopen(writing, "wb", 0), ProcessPoolExecutor(
        workers, get_context("fork"), initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:  # fmt: skip
        pool.submit(int).result()  # forks all of them, before there is a second thread
        try:
            for answered in _in_order(pool, wakes, lambda: _wake(writing), workers * _AHEAD):
                _print(answered)
        except BrokenProcessPool:
            hint = "has the system run out of memory?"
            raise ConfigError(Problem("a worker was ended from outside", hint=hint)) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _wake(writing: int) -> None:
    with suppress(BlockingIOError):  # a pipe that is full will wake us too
        os.write(writing, b".")


def _in_order(
    pool: ProcessPoolExecutor, wakes: FileIO, wake: Callable[[], None], most: int
) -> Iterator[_Answered]:
    """Yield what *pool* answers to standard input, as soon as it is there.

    *wakes* can be read after each *wake*; *most* batches are read ahead. One thread does it
    all: one that waited for standard input could not be ended.
    """
    source, lines = sys.stdin.fileno(), _Lines()
    waiting: deque[Future[_Answered]] = deque()
    while waiting or not lines.ended:
        hungry = not lines.ended and len(waiting) < most
        ready, _, _ = select.select([wakes, source] if hungry else [wakes], (), ())
        if wakes in ready:
            wakes.read(_CHUNK)
        if source in ready:
            for batch in lines.read(os.read(source, _CHUNK)):
                waiting.append(pool.submit(_answered, *batch))
                waiting[-1].add_done_callback(lambda _: wake())
        while waiting and waiting[0].done():
            yield waiting.popleft().result()


def _answered(number: int, lines: Sequence[bytes]) -> _Answered:
    """Answer *lines*, of which the first has this *number*, up to one that is no good."""
    done: list[str] = []
    for line in lines:
        try:
            if line.strip():
                done.append(_answer(line, number))
        except ConfigError as error:
            return done, error.problems
        number += 1
    return done, ()


def _print(answered: _Answered) -> None:
    lines, problems = answered
    if lines:
        sys.stdout.write("\n".join([*lines, ""]))
        sys.stdout.flush()
    if problems:
        raise ConfigError(*problems)


def _batches() -> Iterator[tuple[int, list[bytes]]]:
    """Yield lines of standard input, with the number of the first, as soon as they are there."""
    source, lines = cast("BufferedReader", sys.stdin.buffer), _Lines()
    while not lines.ended:
        yield from lines.read(source.read1(_CHUNK))


class _Lines:
    """Lines out of the pieces that they come in."""

    def __init__(self) -> None:
        self.ended = False
        self._number = 1
        self._rest = [b""]

    def read(self, piece: bytes) -> Iterator[tuple[int, list[bytes]]]:
        """Yield what is whole with *piece*, in small batches; an empty piece is the end."""
        self.ended = not piece
        first, *more = piece.split(b"\n")
        self._rest.append(first)
        if not more and piece:
            return
        lines = [b"".join(self._rest), *more[:-1]]
        self._rest = more[-1:]
        for start in range(0, len(lines), _LINES):
            yield self._number + start, lines[start : start + _LINES]
        self._number += len(lines)
