"""Patterns are compiled in the background, and never two in one turn of the loop."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from mitmgate.scan.book import RuleBook
from mitmgate.scan.engine import Scanner
from mitmgate.scan.loading import load_pack
from mitmgate.serve.warming import warming

PACK = """\
version: 1
pack: mine
kind: secrets
rules:
"""
RULE = """\
  - {{id: secret.rule-{0}, title: Rule, severity: low, pattern: 'acme{0}_[a-z]{{4}}', unless: [zz],
     keywords: [acme{0}_], match: ['acme{0}_abcd'], clean: [x]}}
"""


def scanner() -> Scanner:
    pack = load_pack(PACK + "".join(map(RULE.format, range(4))), file="mine.yaml")
    made = Scanner(RuleBook([pack]), hash_key=b"k")
    for rule in made.rules.values():
        for pattern in (rule.regex, *rule.unless):
            pattern._compiled = None  # loading proved them
    return made


def compiled(made: Scanner) -> int:
    patterns = [p for rule in made.rules.values() for p in (rule.regex, *rule.unless)]
    return sum(pattern.compiled for pattern in patterns)


def test_each_turn_of_the_loop_compiles_one() -> None:
    async def turns() -> list[int]:
        made = scanner()
        async with warming(made, pause=0):
            counts = [0]
            while counts[-1] < 8:
                await asyncio.sleep(0)
                counts.append(compiled(made))
        return counts

    counts = asyncio.run(turns())
    assert counts[-1] == 8
    assert all(after - before <= 1 for before, after in pairwise(counts))


def test_it_ends_with_the_block() -> None:
    async def run() -> int:
        made = scanner()
        async with warming(made, pause=3600):
            await asyncio.sleep(0)
        return compiled(made)

    assert asyncio.run(run()) == 1
