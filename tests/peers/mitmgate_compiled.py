"""``mitmgate`` with every pattern compiled before it is ready: what memory grows by is traffic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mitmgate.cli import main
from mitmgate.scan.engine import Scanner
from mitmgate.serve import launch


@asynccontextmanager
async def _compiled(scanner: Scanner) -> AsyncIterator[None]:
    for rule in scanner.book.rules.values():
        for pattern in (rule.regex, *rule.unless):
            pattern.compile()
    yield


if __name__ == "__main__":
    vars(launch)["warming"] = _compiled
    main()
