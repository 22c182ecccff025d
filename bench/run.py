"""Measures the proxy: ``make bench``.

Writes ``bench/results/DATE-COMMIT.json`` and, after a whole run, ``docs/performance.md``.
``--quick`` takes three minutes and writes only ``bench/results/quick.json``; ``--only NAME``
measures a part and takes the other parts from the newest file; ``--page`` measures nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import calls
import hostile
import memory
import stages
from page import page
from processes import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
QUICK = "quick.json"
PAGE = HERE.parent / "docs" / "performance.md"
PARTS: dict[str, Callable[..., Any]] = {
    "calls": calls.measure,
    "stages": stages.measure,
    "memory": memory.measure,
    "hostile": hostile.measure,
}


def newest(folder: Path) -> dict[str, Any]:
    """Return the newest results of a run that was not quick; nothing where there are none."""
    files = sorted(file for file in folder.glob("*.json") if file.name != QUICK)
    return json.loads(files[-1].read_text()) if files else {}


def write(file: Path, text: str) -> None:
    """Write *text* into *file*, whole or not at all."""
    file.parent.mkdir(exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)


def measured(names: list[str], *, quick: bool) -> dict[str, Any]:
    """Return the results of the parts *names*, the facts of the machine first."""
    now = datetime.now(UTC)
    found: dict[str, Any] = {
        "when": now.isoformat(timespec="seconds"), "quick": quick, "machine": machine(),
        "seconds": {},
    }  # fmt: skip
    for name in names:
        begun = time.monotonic()
        found[name] = PARTS[name](quick=quick)
        found["seconds"][name] = round(time.monotonic() - begun, 1)
    return found


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    _many_files()
    if not options.page:
        results = measured(options.only or list(PARTS), quick=options.quick)
        commit = results["machine"]["commit"]
        name = QUICK if options.quick else f"{results['when'][:19].replace(':', '')}-{commit}.json"
        if options.only and not options.quick:
            results = {**newest(RESULTS), **results}
        write(RESULTS / name, json.dumps(results, indent=1) + "\n")
        print(page(results), f"\nwritten to bench/results/{name}", sep="")
    if not options.quick:
        write(PAGE, page(newest(RESULTS)))


def _many_files() -> None:
    """Let this process, and those that it starts, have as many sockets as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < 12_000:
        print("few open files are allowed: 5,000 connections will not fit", file=sys.stderr)


if __name__ == "__main__":
    main()
