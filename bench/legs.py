"""The ways to the upstream: directly, by a stock mitmdump, by mitmgate without and with checks."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from payloads import NAME

from mitmgate.demo.pki import make_pki

HERE = Path(__file__).parent
DIRECT, STOCK, BARE, FULL = "direct", "stock mitmdump", "mitmgate, no checks", "mitmgate"
LEGS = (DIRECT, STOCK, BARE, FULL)
POLICY = """\
version: 1
network: {{resolve: {{{name}: 127.0.0.1}}}}
servers: {{bench: {{url: "https://{name}:{port}/mcp/**"}}}}
mcp: {{rules: [{{id: reads, tool: "read_*", then: allow}}]}}
egress: {{rules: [{{id: pages, host: {name}, ports: [{port}], then: allow}}]}}
"""
OPEN = """\
version: 1
network: {{resolve: {{{name}: 127.0.0.1}}}}
servers: {{bench: {{url: "https://{name}:{port}/mcp/**"}}}}
mcp: {{unknown_servers: allow, otherwise: allow}}
egress: {{otherwise: allow}}
"""
# Stock resolves by DNS, which knows no such name: send its connections to loopback.
STOCK_SCRIPT = """\
from mitmproxy import ctx
def server_connect(data):
    data.server.address = ('127.0.0.1', {port})
def server_connected(data):
    data.server.__dict__['address'] = ({name!r}, {port})
def responseheaders(flow):
    flow.response.stream = 'event-stream' in flow.response.headers.get('content-type', '')
def running():
    print('port', ctx.master.addons.get('proxyserver').listen_addrs()[0][1], flush=True)
"""


@dataclass(frozen=True, slots=True)
class Leg:
    """A way to the upstream at *port*: directly without *proxy*, else through that port.

    *pid* is the proxy's process, *state* mitmgate's state folder, *key* its operator key.
    """

    name: str
    port: int
    ca: str
    proxy: int | None = None
    pid: int | None = None
    state: Path | None = None
    key: str = ""

    @property
    def authority(self) -> str:
        """Host and port of the upstream."""
        return f"{NAME}:{self.port}"

    def connect(self, alpn: str = "http/1.1", *, source: str = "") -> ssl.SSLSocket:
        """Open a connection on which the upstream has proved its name, and *alpn* was asked for.

        *source* is the address of the client, where one is not enough for the ports it needs.
        """
        plain = self.plain(source)
        plain.sendall(self.tunnel())
        if self.proxy and b" 200 " not in plain.recv(4096):
            plain.close()
            raise ConnectionRefusedError("the proxy opens no tunnel")
        return _context(self.ca, alpn).wrap_socket(plain, server_hostname=NAME)

    def plain(self, source: str = "") -> socket.socket:
        """Open a connection to the proxy, or to the upstream, and say nothing."""
        plain = socket.create_connection(
            ("127.0.0.1", self.proxy or self.port),
            timeout=60,
            source_address=(source, 0) if source else None,
        )
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain

    def tunnel(self) -> bytes:
        """Return what asks the proxy for a way to the upstream."""
        return f"CONNECT {self.authority} HTTP/1.1\r\n\r\n".encode() if self.proxy else b""

    def head(self, path: str, size: int) -> bytes:
        """Return the head of a request: a POST of *size* bytes, or a GET of none."""
        if not size:
            return f"GET {path} HTTP/1.1\r\nhost: {self.authority}\r\naccept: */*\r\n\r\n".encode()
        return (
            f"POST {path} HTTP/1.1\r\nhost: {self.authority}\r\ncontent-type: application/json\r\n"
            f"accept: application/json, text/event-stream\r\ncontent-length: {size}\r\n\r\n"
        ).encode()


@cache
def _context(ca: str, alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols([alpn])
    return context


@contextmanager
def legs(wanted: Sequence[str] = LEGS, *options: str) -> Iterator[dict[str, Leg]]:
    """Run the upstream and the *wanted* legs to it.

    *options* are more of ``mitmgate run``. mitmgate runs with every check, audit and the capture
    of whatever has a finding; without checks it allows everything, scans and writes nothing.
    """
    with ExitStack() as stack:
        folder, direct = stack.enter_context(_upstream())
        found = {DIRECT: direct}
        if STOCK in wanted:
            found[STOCK] = stack.enter_context(_stock(folder, direct))
        if BARE in wanted:
            found[BARE] = stack.enter_context(_ours(folder, direct, "--bare", *options))
        if FULL in wanted:
            found[FULL] = stack.enter_context(_ours(folder, direct, *options))
        yield found


@contextmanager
def profiled(stages: Path) -> Iterator[Leg]:
    """Run mitmgate with every check, and write where its time goes to the file *stages*.

    SIGUSR2 begins and ends a measurement.
    """
    with _upstream() as (folder, direct), _ours(folder, direct, "--stages", str(stages)) as leg:
        yield leg


@contextmanager
def _upstream() -> Iterator[tuple[Path, Leg]]:
    with tempfile.TemporaryDirectory(prefix="mitmgate-bench-") as name:
        folder = Path(name)
        ca, certificate = make_pki(folder, NAME)
        program = sys.executable, str(HERE / "upstream.py"), str(certificate)
        with _process(*program, ready="") as (line, _):
            yield folder, Leg(DIRECT, int(line), str(ca))


@contextmanager
def _ours(folder: Path, direct: Leg, *options: str) -> Iterator[Leg]:
    """Run mitmgate; *options* of ``gate.py`` come first, then those of ``mitmgate run``."""
    own = {"--bare": 1, "--stages": 2}.get(options[0] if options else "", 0)
    name = BARE if "--bare" in options else FULL
    state = folder / name.replace(", ", "-").replace(" ", "-")
    policy = folder / f"{state.name}.yaml"
    policy.write_text((OPEN if name == BARE else POLICY).format(name=NAME, port=direct.port))
    keep = ("--capture", str(folder / "captures"), "--capture-findings", "--capture-size", "256MB")
    with _process(
        sys.executable, str(HERE / "gate.py"), *options[:own], "run", "--listen", "127.0.0.1:0",
        "--policy", str(policy), "--state-dir", str(state), "--upstream-ca", direct.ca,
        *(keep if name == FULL else ()), *options[own:], ready="ready",
    ) as (line, pid):  # fmt: skip
        told = json.loads(line)
        port = int(told["listen"].rpartition(":")[2])
        yield Leg(name, direct.port, told["ca"], port, pid, state, told["operator_key"])


@contextmanager
def _stock(folder: Path, direct: Leg) -> Iterator[Leg]:
    script, confdir = folder / "stock.py", folder / "stock"
    script.write_text(STOCK_SCRIPT.format(name=NAME, port=direct.port))
    with _process(
        str(Path(sys.executable).with_name("mitmdump")), "-q", "--listen-host", "127.0.0.1", "-p",
        "0", "--set", f"confdir={confdir}", "--set", f"ssl_verify_upstream_trusted_ca={direct.ca}",
        "--set", "connection_strategy=lazy", "-s", str(script), ready="port",
    ) as (line, pid):  # fmt: skip
        ca = str(confdir / "mitmproxy-ca-cert.pem")
        yield Leg(STOCK, direct.port, ca, int(line.split()[1]), pid)


@contextmanager
def _process(*command: str, ready: str) -> Iterator[tuple[str, int]]:
    """Run *command* until the block ends; give the first line that holds *ready*, and the pid."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=log, text=True)  # fmt: skip
        yield from _until_done(child, log, ready)


def _until_done(
    child: subprocess.Popen[str], log: IO[str], ready: str
) -> Iterator[tuple[str, int]]:
    try:
        assert child.stdout is not None
        line = next((line for line in child.stdout if ready in line), None)
        if line is None:
            log.seek(0)
            raise RuntimeError(f"did not start: {child.args}\n{log.read()[-2000:]}")
        yield line, child.pid
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
