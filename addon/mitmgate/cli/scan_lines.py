"""The filter of ``mitmgate scan``: lines in, lines out, on every processor that it may use."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context
from typing import TYPE_CHECKING, cast

from mitmgate.errors import ConfigError, Problem

if TYPE_CHECKING:
    from io import BufferedReader

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
    with ProcessPoolExecutor(
        workers, get_context("fork"), initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as pool:  # fmt: skip
        pool.submit(int).result()  # forks all of them, before there is a second thread
        try:
            for answered in _in_order(pool, workers):
                _print(answered)
        except BrokenProcessPool:
            hint = "has the system run out of memory?"
            raise ConfigError(Problem("a worker was ended from outside", hint=hint)) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _in_order(pool: ProcessPoolExecutor, workers: int) -> Iterator[_Answered]:
    """Yield what *pool* answers to standard input, as soon as it is there."""
    waiting: queue.Queue[Future[_Answered] | None] = queue.Queue(workers * _AHEAD)

    def read() -> None:
        try:
            for number, lines in _batches():
                waiting.put(pool.submit(_answered, number, lines))
        except RuntimeError:
            pass  # the pool has ended: nobody waits for answers any more
        finally:
            waiting.put(None)

    threading.Thread(target=read, daemon=True, name="standard input").start()
    while (future := waiting.get()) is not None:
        yield future.result()


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
    source = cast("BufferedReader", sys.stdin.buffer)
    number, rest = 1, [b""]
    while chunk := source.read1(_CHUNK):
        first, *more = chunk.split(b"\n")
        rest.append(first)
        if more:
            lines = [b"".join(rest), *more[:-1]]
            rest = [more[-1]]
            for start in range(0, len(lines), _LINES):
                yield number + start, lines[start : start + _LINES]
            number += len(lines)
    yield number, [b"".join(rest)]
