"""Fixtures of the tests of the wire, a plugin that their files name: they share their proxies."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires import Wires, wiring


@pytest.fixture(scope="session")
def running_wires(pki: tuple[Path, Path]) -> Iterator[Wires]:
    """Both servers; the proxies start as they are asked for."""
    with tempfile.TemporaryDirectory(prefix="mg-") as name, wiring(Path(name), pki) as wires:
        yield wires


@pytest.fixture
def wires(running_wires: Wires) -> Wires:
    """Both servers and the proxies, with nothing left of the test before."""
    return running_wires.reset()
