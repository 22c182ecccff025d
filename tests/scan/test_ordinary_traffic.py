"""What agents and tools say every day must stay silent; what is noisy is listed here as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mitmgate.scan.engine import Scanner
from mitmgate.wire.surfaces import PROTOCOL_KEYS, Surface, Text

LINES = (Path(__file__).parent / "data" / "ordinary.jsonl").read_text("utf-8").splitlines()
ORDINARY = [json.loads(line) for line in LINES]


def test_the_corpus_is_there() -> None:
    assert len(ORDINARY) >= 40
    assert {row["surface"] for row in ORDINARY} >= {"arguments", "results", "definitions"}


@pytest.mark.parametrize("row", ORDINARY, ids=[row["text"][:40] for row in ORDINARY])
def test_ordinary_traffic_is_silent(scanner: Scanner, row: dict[str, str]) -> None:
    found = scanner.scan_text(Surface(row["surface"]), "", row["text"])
    # An e-mail address is personal data, and the policy only logs that.
    assert [finding.rule for finding in found if finding.detector != "pii"] == []


def test_nothing_is_found_in_the_names_that_the_walker_leaves_out(scanner: Scanner) -> None:
    texts = [Text(surface, "", key) for surface in Surface for key in sorted(PROTOCOL_KEYS)]
    assert scanner.scan(texts) == ()
