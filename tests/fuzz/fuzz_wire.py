"""The oracles of the wire and the judge against random mutations, for as long as it is told.

`make fuzz` runs it; its name keeps it out of `make test`. ``FUZZ_SECONDS`` is the time of each
oracle (60 by default), ``FUZZ_SEED`` repeats a run; a failure prints the seed of its round.
"""

from __future__ import annotations

import gc
import os
import random
import time
import tracemalloc
from collections.abc import Callable

import pytest
from fuzzing import (
    Step,
    as_stream,
    check_decoding,
    check_judge,
    check_parsing,
    check_stream,
    corpus,
    fuzz_judge,
    inputs_of,
    mutate,
)

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
ROUND = 200  # inputs of one seed
GROWTH = 4 * 1024 * 1024  # bytes: what a memory of 8 exchanges, and no more, may come to

pytestmark = pytest.mark.timeout(SECONDS * 2 + 120)


def number(rng: random.Random) -> int:
    return rng.randrange(2**20)


def steps(rng: random.Random) -> list[Step]:
    count = rng.choice((1, 1, 2, 3, 5, 8))
    return [(number(rng), number(rng), number(rng)) for _ in range(count)]


def decoding(rng: random.Random, data: bytes) -> None:
    check_decoding(data, number(rng))


def parsing(rng: random.Random, data: bytes) -> None:
    del rng
    check_parsing(data)


def streaming(rng: random.Random, data: bytes) -> None:
    stream = b"".join(as_stream(piece, number(rng)) for piece in (data, rng.choice(corpus())))
    cuts = [number(rng) for _ in range(rng.randrange(6))]
    check_stream(mutate(stream, steps(rng)), cuts)


def judging() -> Callable[[random.Random, bytes], None]:
    judge = fuzz_judge()

    def check(rng: random.Random, data: bytes) -> None:
        for one in inputs_of(data, number(rng)):
            check_judge(judge, one)

    return check


ORACLES: dict[str, Callable[[random.Random, bytes], None]] = {
    "bodies": decoding, "messages": parsing, "streams": streaming, "the judge": judging(),
}  # fmt: skip


def run_round(oracle: Callable[[random.Random, bytes], None], seed: int) -> None:
    """Try the inputs of *seed*; AssertionError tells which of them broke the oracle."""
    rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
    for _ in range(ROUND):
        data = mutate(rng.choice(corpus()), steps(rng))
        try:
            oracle(rng, data)
        except Exception as error:
            told = f"FUZZ_SEED={seed}: {type(error).__name__}: {error}; made of {data[:2000]!r}"
            raise AssertionError(told) from error


@pytest.mark.parametrize("oracle", ORACLES.values(), ids=ORACLES)
def test_holds(oracle: Callable[[random.Random, bytes], None]) -> None:
    seed, end, rounds = SEED, time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        run_round(oracle, seed + rounds)
        rounds += 1
    print(f"{rounds * ROUND} inputs from FUZZ_SEED={SEED}")  # noqa: T201 - what a fuzzer tells


def test_the_judge_forgets_what_it_must() -> None:
    check = judging()
    for seed in range(SEED, SEED + 10):
        run_round(check, seed)
    gc.collect()
    tracemalloc.start()
    try:
        for seed in range(SEED + 10, SEED + 40):
            run_round(check, seed)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < GROWTH, f"{grown} bytes are left of {30 * ROUND} inputs"
