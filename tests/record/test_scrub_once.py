"""Records of calls that are alike are looked through once, and what is new in one always is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from mitmgate.record.audit import base_record
from mitmgate.record.scrub import REDACTED, scrub
from mitmgate.scan.engine import Scanner
from mitmgate.scan.finding import Finding
from mitmgate.scan.packs import installed_packs
from mitmgate.wire.surfaces import Text

KEY = "AKIA" + "Z7VRSQ5TJN2XMPL4"


class Counting(Scanner):
    """A scanner that counts what it is given."""

    scans = 0

    def scan(self, texts: Iterable[Text], **options: Any) -> tuple[Finding, ...]:
        """Count, and scan."""
        self.scans += 1
        return super().scan(texts, **options)


@pytest.fixture(scope="module")
def scanner() -> Counting:
    return Counting(installed_packs(), hash_key=b"key")


def record(number: int, **more: Any) -> dict[str, Any]:
    told = {"id": f"8f3a2b1c-{number}.0", "exchange": f"8f3a2b1c-{number}", "tool": "read_note"}
    return base_record("decision", time=1_800_000_000.0 + number * 61.7) | told | more


def test_a_record_that_differs_in_time_and_number_alone_is_looked_through_once(
    scanner: Counting,
) -> None:
    scrub(record(1), scanner)
    before = scanner.scans
    for number in range(2, 200):
        assert scrub(record(number), scanner) == record(number)
    assert scanner.scans == before


@pytest.mark.parametrize("key", ["tool", "endpoint", "reason"])
def test_a_secret_in_a_record_like_others_is_found_wherever_it_stands(
    scanner: Counting, key: str
) -> None:
    scrub(record(1), scanner)
    assert scrub(record(2, **{key: KEY}), scanner)[key] == REDACTED


def test_rows_of_the_console_with_their_tuples_are_looked_through_once_too(
    scanner: Counting,
) -> None:
    scrub(record(1, findings=()), scanner)
    before = scanner.scans
    assert scrub(record(2, findings=()), scanner) == record(2, findings=())
    assert scanner.scans == before
