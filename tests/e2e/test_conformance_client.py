"""The official conformance suite on the SDK's client: directly, through the proxy, behind a gate.

Whatever the suite says of the client it must say with mitmgate between, check for check.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_legs import Legs, forward_gate, legs
from conformance import REVISIONS, Outcome, difference, table_rows
from peers import needs_peers
from recorded import kept, replay_recorded

pytestmark = [needs_peers, pytest.mark.timeout(300)]  # one of these is dozens of programs

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
DIRECT = "direct"
FORWARD = "through the proxy (CONNECT, TLS)"
REVERSE = "behind a gate (reverse mode, TLS)"

# The SDK's client offers neither; the suite scores no extension.
UNSUPPORTED = {"auth/dpop", "auth/dpop-nonce", "auth/wif-jwt-bearer"}
SCENARIOS = {"2025-11-25": 18 + 7, "2026-07-28": 32 + 7}  # required, and run without a score


@pytest.fixture(scope="module")
def suite() -> Iterator[Legs]:
    with tempfile.TemporaryDirectory(prefix="mg-") as folder, legs(Path(folder)) as ready:
        yield ready


@pytest.fixture(scope="module", params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def direct(suite: Legs, revision: str) -> Outcome:
    return suite.direct(revision)


def ports(records: list[dict[str, Any]]) -> set[int]:
    """Return the ports of the servers that MCP was spoken with, one for each scenario."""
    return {record["port"] for record in records
            if record["type"] == "decision" and record["channel"] == "mcp"}  # fmt: skip


def assert_told(leg: str, revision: str, outcome: Outcome) -> None:
    """Compare *outcome* with what the page says of it."""
    head, *rows = table_rows(PAGE.read_text(), "## Client side")
    told = {row[0]: row[head.index(revision)] for row in rows}
    assert told.keys() == {DIRECT, FORWARD, REVERSE}
    assert told[leg] == "{}/{}".format(*outcome.score), outcome.log


def test_without_us_the_client_passes_every_scored_scenario(direct: Outcome, revision: str) -> None:
    assert direct.code == 0, direct.log
    assert len(direct.scenarios) == SCENARIOS[revision]
    failed = {check.scenario for check in direct.checks if check.status == "FAILURE"}
    assert failed == UNSUPPORTED
    assert_told(DIRECT, revision, direct)


def test_through_the_proxy_every_check_ends_as_it_does_directly(
    suite: Legs, revision: str, direct: Outcome, tmp_path: Path
) -> None:
    before = len(kept().sums)
    with forward_gate(tmp_path, suite.upstream_ca) as gate:
        forward = suite.forward(revision, gate)
    assert len(kept().sums) == before + 1
    assert difference(direct, forward) == []
    assert forward.code == 0, forward.log
    assert len(ports(gate.audit())) == SCENARIOS[revision]
    assert_told(FORWARD, revision, forward)


def test_behind_reverse_gates_every_check_ends_as_it_does_directly(
    suite: Legs, revision: str, direct: Outcome
) -> None:
    reverse = suite.reverse(revision)
    assert difference(direct, reverse) == []
    assert reverse.code == 0, reverse.log
    audits = list(suite.gates(revision).glob("*/state/audit/audit.jsonl"))
    lines = [line for audit in audits for line in audit.read_text().splitlines()]
    assert len(audits) == len(ports([json.loads(line) for line in lines])) == SCENARIOS[revision]
    gates = [audit.parents[2] for audit in audits]
    again = [replay_recorded(gate / "captures", gate / "policy.yaml") for gate in gates]
    assert again == [1] * len(gates)
    assert_told(REVERSE, revision, reverse)
