"""A scanner with the installed packs, and a redactor on it."""

from __future__ import annotations

import pytest

from mitmgate.record.redact import Redactor
from mitmgate.scan.engine import Scanner
from mitmgate.scan.packs import installed_packs


@pytest.fixture(scope="session")
def scanner() -> Scanner:
    return Scanner(installed_packs(), hash_key=b"k" * 32)


@pytest.fixture
def redactor(scanner: Scanner) -> Redactor:
    return Redactor(scanner, key=b"r" * 32)
