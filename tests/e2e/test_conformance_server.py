"""The official conformance suite on a server of ours: directly, through the proxy, behind a gate.

Whatever the suite says of the server it must say with mitmgate between, check for check.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conformance import REVISIONS, Outcome, difference, read_checks, table_rows
from harness import Gate, ended
from peers import CONFORMANCE, NODE, needs_peers
from recorded import kept

from mitmgate.demo.pki import make_pki

pytestmark = needs_peers

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "tests" / "peers" / "everything_server.py"
TLS = ROOT / "tests" / "peers" / "conformance_server_tls.mjs"

# The suite wants to be told localhost: it looks whether the server knows what it is called.
POLICY = """\
version: 1
network: {resolve: {localhost: 127.0.0.1}}
servers: {everything: {url: "https://localhost:PORT/mcp"}}
mcp:
  unknown_servers: deny
  rules: [{id: all-calls, server: everything, method: "*", then: allow}]
egress: {otherwise: deny}
"""

DIRECT = "direct"
FORWARD = "through the proxy (CONNECT, TLS)"
REVERSE = "behind the gate (reverse mode, TLS)"


@contextmanager
def everything(*options: str) -> Iterator[int]:
    """Run the server under test; gives its port."""
    process = subprocess.Popen(
        [sys.executable, str(SERVER), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline() if process.stdout else ""
        assert line, "the server under test did not start"
        yield json.loads(line)["port"]
    finally:
        ended(process)


def suite(url: str, revision: str, results: Path, environment: dict[str, str]) -> Outcome:
    """Run the server side of the suite against *url*."""
    done = subprocess.run(
        [str(NODE), "--import", str(TLS), str(CONFORMANCE), "server", "--url", url,
         "--requirements", revision, "-o", str(results)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    summary = done.stdout.rpartition("=== SUMMARY ===")[2] + done.stderr
    return Outcome(done.returncode, read_checks(results, kind="server-"), summary)


@pytest.fixture(autouse=True)
def _each_gate_is_replayed(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a gate recorded replays to the same: it is stopped and replayed before this ends."""
    before = len(kept().sums)
    yield
    assert len(kept().sums) == before + ("start_gate" in request.fixturenames)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    # One scenario sends a wrong Host, and its client then wants a certificate for that name.
    return make_pki(tmp_path_factory.mktemp("pki"), "localhost", "evil.example.com")


@pytest.fixture(scope="module")
def port(pki: tuple[Path, Path]) -> Iterator[int]:
    with everything("--certfile", str(pki[1])) as port:
        yield port


@pytest.fixture(scope="module", params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def direct(
    pki: tuple[Path, Path], port: int, revision: str, tmp_path_factory: pytest.TempPathFactory
) -> Outcome:
    trust = {"NODE_EXTRA_CA_CERTS": str(pki[0])}
    url = f"https://localhost:{port}/mcp"
    return suite(url, revision, tmp_path_factory.mktemp("direct"), trust)


def forward(gate: Gate, port: int, revision: str) -> Outcome:
    """Run the suite with the variables that ``mitmgate env`` tells."""
    environment = gate.agent_environment
    assert environment["NODE_USE_ENV_PROXY"] == "1"
    url = f"https://localhost:{port}/mcp"
    return suite(url, revision, gate.state.parent / "results", environment)


def reverse(gate: Gate, port: int, revision: str) -> Outcome:
    """Run the suite against the gate, as if it were the server."""
    assert gate.port != port
    trust = {"NODE_EXTRA_CA_CERTS": gate.ready["ca"]}
    url = f"https://localhost:{gate.port}/mcp"
    return suite(url, revision, gate.state.parent / "results", trust)


def assert_same(gate: Gate, direct: Outcome, judged: Outcome) -> None:
    assert difference(direct, judged) == [], judged.log
    assert judged.code == 0, judged.log
    # It was this gate that the suite's requests went through, and it judged them.
    assert len(gate.decisions(server="everything", verdict="allow")) > len(judged.scenarios)


def assert_told(leg: str, revision: str, outcome: Outcome) -> None:
    """Compare *outcome* with what the page says of it."""
    page = (ROOT / "docs" / "conformance.md").read_text()
    head, *rows = table_rows(page, "## Server side")
    told = {row[0]: row[head.index(revision)] for row in rows}
    assert told.keys() == {DIRECT, FORWARD, REVERSE}
    assert told[leg] == "{}/{}".format(*outcome.score), outcome.log


def test_the_server_meets_every_requirement(direct: Outcome, revision: str) -> None:
    assert direct.code == 0, direct.log
    assert_told(DIRECT, revision, direct)


def test_through_the_proxy_every_check_ends_as_it_does_directly(
    start_gate: Callable[..., Gate], port: int, revision: str, direct: Outcome
) -> None:
    gate = start_gate(POLICY.replace("PORT", str(port)))
    judged = forward(gate, port, revision)
    assert_same(gate, direct, judged)
    assert_told(FORWARD, revision, judged)


def test_behind_a_reverse_gate_every_check_ends_as_it_does_directly(
    start_gate: Callable[..., Gate], port: int, revision: str, direct: Outcome
) -> None:
    upstream = f"https://localhost:{port}"
    gate = start_gate(POLICY.replace("PORT", str(port)), "--mode", f"reverse:{upstream}")
    judged = reverse(gate, port, revision)
    assert_same(gate, direct, judged)
    assert_told(REVERSE, revision, judged)
