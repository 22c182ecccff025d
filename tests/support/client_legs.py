"""The official conformance suite on our client: directly, through the proxy, and behind a gate.

The suite's servers listen with TLS on every leg, as servers that agents talk to do.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conformance import Outcome, read_checks
from harness import Gate, ended
from peers import CONFORMANCE, NODE
from recorded import replayed
from warm import WarmPopen

from mitmgate.ca.authority import ensure_ca
from mitmgate.demo.pki import make_pki

PEER_FILES = Path(__file__).parents[1] / "peers"
WARM = PEER_FILES / "conformance_client_warm.py"
TLS = PEER_FILES / "conformance_client_tls.mjs"

# Random ports: the forward leg cannot name its servers, so it lets unknown ones in.
FORWARD_POLICY = """\
version: 1
network: {resolve: {localhost: 127.0.0.1}}
mcp: {unknown_servers: allow, otherwise: allow}
egress:
  rules: [{id: authorization-servers, host: localhost, oauth: true, then: allow}]
"""
REVERSE_POLICY = """\
version: 1
network: {resolve: {localhost: 127.0.0.1}}
servers: {suite: {url: "SERVER_URL"}}
mcp:
  unknown_servers: deny
  rules: [{id: all-calls, server: suite, method: "*", then: allow}]
egress:
  rules: [{id: metadata, host: localhost, then: allow}]
"""


@dataclass(frozen=True)
class Legs:
    """The suite, ready to run: *folder* holds certificates, sockets and everything written."""

    folder: Path

    @property
    def upstream_ca(self) -> Path:
        return self.folder / "upstream.pem"

    def gates(self, revision: str) -> Path:
        """Return where the reverse leg keeps its gates; short, for the sake of their sockets."""
        return self.folder / f"g{revision[:4]}"

    def direct(self, revision: str) -> Outcome:
        return self._run("direct", revision, {"SSL_CERT_FILE": str(self.upstream_ca)})

    def forward(self, revision: str, gate: Gate) -> Outcome:
        """Run with clients that have the variables which ``mitmgate env`` tells, no more."""
        return self._run("forward", revision, gate.agent_environment)

    def reverse(self, revision: str) -> Outcome:
        """Run with a gate in front of each server that is spoken MCP with."""
        gates = self.gates(revision)
        gates.mkdir()
        for name in ("ca", "mitmgate.sock", "upstream.pem"):
            (gates / name).symlink_to(self.folder / name)
        (gates / "policy.yaml").write_text(REVERSE_POLICY)
        trust = {"SSL_CERT_FILE": str(self.folder / "both.pem"), "CONFORMANCE_GATES": str(gates)}
        return self._run("reverse", revision, trust)

    def _run(self, leg: str, revision: str, of_client: dict[str, str]) -> Outcome:
        results = self.folder / f"{leg}-{revision}"
        # Through env: the variables of the client are not for the suite's own requests.
        words = ["env", "-i", *(f"{name}={value}" for name, value in of_client.items())]
        given = "MCP_CONFORMANCE_SCENARIO MCP_CONFORMANCE_CONTEXT MCP_CONFORMANCE_PROTOCOL_VERSION"
        words += [f'{name}="${name}"' for name in given.split()]
        words += [sys.executable, "-I", "-S", str(WARM), "client"]
        words += [str(self.folder / "client.sock")]
        done = subprocess.run(
            [str(NODE), "--import", str(TLS), str(CONFORMANCE), "client", "-o", str(results),
             "--requirements", revision, "--timeout", "120000", "--command", " ".join(words)],
            env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(self.upstream_ca),
                 "CONFORMANCE_SERVER_PEM": str(self.folder / "pki" / "server.pem")},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        log = f"{done.stdout}\n{done.stderr}"
        return Outcome(done.returncode, read_checks(results), log)


@contextmanager
def forward_gate(folder: Path, upstream_ca: Path) -> Iterator[Gate]:
    """Run a proxy that writes its hundreds of lines into a file: a pipe would be full."""
    state, captures, policy = folder / "state", folder / "captures", folder / "policy.yaml"
    policy.write_text(FORWARD_POLICY)
    with (folder / "log").open("w") as log:
        process = WarmPopen(
            [sys.executable, "-m", "mitmgate", "run", "--listen", "127.0.0.1:0",
             "--policy", str(policy), "--state-dir", str(state), "--capture", str(captures),
             "--upstream-ca", str(upstream_ca)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    try:
        line = process.stdout.readline() if process.stdout else ""
        assert line, (folder / "log").read_text()
        with replayed(Gate(process, json.loads(line), state, captures, policy)) as gate:
            yield gate
    finally:
        ended(process)


@contextmanager
def _warm(socket: Path, main: str, *modules: str) -> Iterator[None]:
    """Keep a program imported and forking, for the length of the block."""
    process = subprocess.Popen(
        [sys.executable, str(WARM), "serve", str(socket), main, *modules],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            assert line == "ready\n", f"{main} did not start"
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with the forks that still run


@contextmanager
def legs(folder: Path) -> Iterator[Legs]:
    """Get the suite ready to run in *folder*, whose name must be short."""
    (folder / "pki").mkdir()
    upstream, _ = make_pki(folder / "pki", "localhost")
    (folder / "upstream.pem").symlink_to(upstream)
    own = ensure_ca(folder / "ca").cert_path
    (folder / "both.pem").write_bytes(upstream.read_bytes() + own.read_bytes())
    with ExitStack() as stack:
        stack.enter_context(_warm(folder / "client.sock", "conformance_client:main"))
        stack.enter_context(_warm(folder / "mitmgate.sock", "mitmgate.cli:main", "mitmgate_warm"))
        yield Legs(folder)
