"""Speed of the scanner on ordinary text, next to one bare ``re2.Set`` pass over the same bytes.

Rounds interleaved in one run, medians: megabytes a second and microseconds of a scan with all
packs and views, the set of all keywords alone, and their ratio. Then the longest time that a
scan in a thread keeps the event loop from its next turn. ``--profile`` shows where time goes,
``--worst`` searches for the text that is slowest for its size.
"""

from __future__ import annotations

import asyncio
import base64
import cProfile
import os
import pstats
import random
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

from mitmgate.scan.bare import BarePass
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs
from mitmgate.serve.warming import TURN
from mitmgate.wire.surfaces import Surface, Text

HERE = Path(__file__).resolve().parent.parent
SIZES = (200, 2_000, 20_000, 200_000)
ROUNDS, BUDGET = 9, 400_000
GOAL_SPEED, GOAL_RATIO, GOAL_BLOCK = 15.0, 16.0, 5.0


def _repeated(text: str, size: int) -> str:
    start = min(3_000, len(text) // 3)
    text = text[start:] + text[:start]
    return (text * (size // len(text) + 1))[:size]


def texts() -> dict[str, str]:
    """Return a long ordinary text of each kind, and our own pages: prose about attacks."""
    prose = "\n".join(topics.values())
    pages = "\n".join(p.read_text() for p in sorted((HERE / "docs").glob("*.md")))
    json_text = (HERE / "rules" / "policy.schema.json").read_text()
    source = "\n".join(
        p.read_text(errors="replace") for p in sorted(Path(os.__file__).parent.glob("*.py"))[:40]
    )
    noise = base64.b64encode(random.Random(7).randbytes(200_000)).decode()
    return {"prose": prose, "json": json_text, "source": source, "base64": noise, "pages": pages}


def _timed(call: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def measure(scanner: Scanner) -> list[tuple[str, int, float, float, int]]:
    """Return kind, bytes, seconds of a scan, seconds of the bare pass, and findings."""
    rows = []
    bare_pass = BarePass(scanner.rules.values())
    for kind, long in texts().items():
        for size in SIZES:
            text = _repeated(long, size)
            item = (Text(Surface.RESULTS, "/result", text),)
            data = text.encode().lower()  # what the first pass of a scan sees
            found = len(scanner.scan(item))
            bare_pass.search(data)
            times = max(1, BUDGET // size)
            pairs = [
                (
                    _timed(partial(scanner.scan, item), times),
                    _timed(partial(bare_pass.search, data), times),
                )
                for _ in range(ROUNDS)
            ]
            ours, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
            rows.append((kind, len(data), ours, bare, found))
    return rows


def _fragments(scanner: Scanner) -> list[str]:
    """Return pieces of text that begin to look like something: keywords, samples, their halves."""
    found: list[str] = []
    for rule in scanner.rules.values():
        found += [word.decode() for word in (*rule.words, *rule.also)]
        for sample in (*rule.match[:3], *rule.clean[:3]):
            found += [sample, sample[: len(sample) // 2], sample[:-2]]
    return list(dict.fromkeys(found))


def worst(scanner: Scanner, *, size: int = 64_000, tries: int = 400) -> None:
    """Search for the slowest text: mixes of fragments, the slowest of them mixed again."""
    draw = random.Random(1)
    pool = _fragments(scanner)
    best: list[tuple[float, list[str], str]] = []

    def speed(pieces: list[str]) -> tuple[float, str]:
        unit = draw.choice([" ", "\n", "", "="]).join(pieces)
        item = (Text(Surface.RESULTS, "/result", _repeated(unit, size)),)
        start = time.perf_counter()
        found = {finding.rule for finding in scanner.scan(item)}
        taken = time.perf_counter() - start
        return size / taken / 1e6, "over budget" if "limits.work" in found else ""

    for number in range(tries):
        if best and draw.random() < 0.6:
            pieces = [*draw.choice(best)[1]]
            pieces[draw.randrange(len(pieces))] = draw.choice(pool)
            pieces = pieces + draw.sample(pool, 2) if draw.random() < 0.5 else pieces
        else:
            pieces = draw.sample(pool, min(len(pool), draw.choice([1, 2, 5, 20, 100, 400])))
        rate, note = speed(pieces[:500])
        best = sorted([*best, (rate, pieces, note)], key=lambda one: one[0])[:12]
        if number % 100 == 99:
            print(f"after {number + 1}: slowest {best[0][0]:.2f} MB/s {best[0][2]}")
    for rate, pieces, note in best[:5]:
        print(f"{rate:6.2f} MB/s {note} {len(pieces)} pieces")


async def longest_block(scanner: Scanner, text: str) -> float:
    """Return the longest time, in seconds, between two turns of the loop during a scan."""
    loop = asyncio.get_running_loop()
    item = (Text(Surface.RESULTS, "/result", text),)
    longest, last = 0.0, time.perf_counter()
    scan = loop.run_in_executor(None, scanner.scan, item)
    while not scan.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await scan
    return longest


def main() -> None:
    """Print the table, and what of the goals is missed."""
    scanner = Scanner(installed_packs(), hash_key=os.urandom(16))
    if "--profile" in sys.argv:
        kind = next((a for a in sys.argv[1:] if a in texts()), "source")
        text = _repeated(texts()[kind], 20_000)
        profile = cProfile.Profile()
        profile.enable()
        for _ in range(200):
            scanner.scan((Text(Surface.RESULTS, "/result", text),))
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    if "--worst" in sys.argv:
        worst(scanner)
        return
    print(f"{len(scanner.rules)} rules")
    print(f"{'text':8} {'bytes':>8} {'scan us':>10} {'MB/s':>8} {'set MB/s':>9} {'times':>6} found")
    missed = []
    for kind, size, ours, bare, found in measure(scanner):
        speed, ratio = size / ours / 1e6, ours / bare
        print(
            f"{kind:8} {size:8} {ours * 1e6:10.1f} {speed:8.1f} {size / bare / 1e6:9.1f}"
            f" {ratio:6.1f} {found}"
        )
        if kind != "pages" and size >= 2_000 and (speed < GOAL_SPEED or ratio > GOAL_RATIO):
            missed.append(f"{kind} {size}")
    sys.setswitchinterval(TURN)  # as the proxy does
    for size in (*SIZES, 2_000_000):
        text = _repeated(texts()["source"], size)
        block = asyncio.run(longest_block(scanner, text)) * 1e3
        print(f"loop blocked at {size:8} bytes: {block:.2f} ms")
        if block > GOAL_BLOCK:
            missed.append(f"block at {size}")
    print("missed:", ", ".join(missed) or "nothing")


if __name__ == "__main__":
    main()
