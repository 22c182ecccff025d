"""The benchmark's modules stand in no package: they are loaded from their folder, and taken out."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "bench"
NAMES = ("payloads", "line", "processes", "legs", "client", "gate", "upstream", "calls", "memory",
         "hostile", "stages", "goals", "page", "run")  # fmt: skip


@pytest.fixture(scope="package")
def bench() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in NAMES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)
