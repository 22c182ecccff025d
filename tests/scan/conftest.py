"""What the scanner's tests share: the installed packs and a scanner over them."""

from __future__ import annotations

import pytest

from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import Pack, installed_packs


@pytest.fixture(scope="session")
def packs() -> tuple[Pack, ...]:
    return installed_packs()


@pytest.fixture(scope="session")
def scanner(packs: tuple[Pack, ...]) -> Scanner:
    return Scanner(packs, hash_key=b"key of the tests")
