"""The oracles of the wire and the judge against random mutations, for as long as it is told.

`make fuzz` runs it; its name keeps it out of `make test`. ``FUZZ_SECONDS`` is the time of each
oracle (60 by default), ``FUZZ_SEED`` repeats a run; a failure prints the seed of its round.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import fuzz_authority
import fuzz_heads
import pytest
from fuzzing import (
    Step,
    as_stream,
    check_decoding,
    check_parsing,
    check_stream,
    corpus,
    mutate,
)
from hostile_exchanges import fuzz_judge, inputs_of, reachable, run
from planting import check_clean, plant, redacting_judge

from mitmgate.judge.judge import Judge

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
ROUND = 200  # inputs of one seed
ROUNDS = 120  # of the test of memory: 24,000 mutations make some 100,000 inputs
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


def judging(judge: Judge) -> Callable[[random.Random, bytes], None]:
    def check(rng: random.Random, data: bytes) -> None:
        run(judge, inputs_of(data, number(rng)))

    return check


def redacting(judge: Judge) -> Callable[[random.Random, bytes], None]:
    def check(rng: random.Random, data: bytes) -> None:
        # Most mutations are no JSON any more, and refused; half of these are as they were made.
        told = plant(rng.choice((data, rng.choice(corpus()))), number(rng))
        for text in run(judge, inputs_of(told, number(rng))):
            check_clean(text)

    return check


def authorities(rng: random.Random, data: bytes) -> None:
    del data
    fuzz_authority.check_authority(fuzz_authority.mutated(number(rng), steps(rng)))


def heads(rng: random.Random, data: bytes) -> None:
    del data
    cuts = [number(rng) for _ in range(rng.randrange(4))]
    fuzz_heads.check_request(fuzz_heads.mutated(number(rng), steps(rng)), cuts)


ORACLES: dict[str, Callable[[random.Random, bytes], None]] = {
    "bodies": decoding, "messages": parsing, "streams": streaming,
    "the judge": judging(fuzz_judge()), "secrets": redacting(redacting_judge()),
    "authorities": authorities, "request heads": heads,
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
    judge, grown = fuzz_judge(), []
    check = judging(judge)
    for seed in range(SEED, SEED + ROUNDS):
        run_round(check, seed)
        if seed % (ROUNDS // 5) == 0:
            grown.append(reachable(judge._memory))
    assert max(grown) < GROWTH, f"the judge holds {grown} bytes of {ROUNDS * ROUND} mutations"
