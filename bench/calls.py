"""Latency of a 2 KB ``tools/call`` over TLS, keep-alive: direct, stock mitmdump, mitmgate.

One client, rounds interleaved in one run, medians, and the ratios first: the milliseconds are
this machine's. mitmgate runs with every check, audit included. Start it with ``make bench``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mitmgate.demo.pki import make_pki

NAME = "mcp.bench.example"
ROUNDS, CALLS, WARM = 8, 150, 150
CALL = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "read_note", "arguments": {"text": "plain words about gardens " * 75}},
}  # fmt: skip
ANSWER = json.dumps(
    {"jsonrpc": "2.0", "id": 1,
     "result": {"content": [{"type": "text", "text": "an ordinary answer " * 100}]}}
).encode()  # fmt: skip
POLICY = """\
version: 1
network: {{resolve: {{{name}: 127.0.0.1}}}}
servers: {{bench: {{url: "https://{name}:{port}/mcp"}}}}
mcp: {{rules: [{{id: reads, tool: "read_*", then: allow}}]}}
"""


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request with the same tool result."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
    try:
        while True:
            request = await reader.readuntil(b"\r\n\r\n")
            size = next(int(line[15:]) for line in request.lower().split(b"\r\n")
                        if line.startswith(b"content-length:"))  # fmt: skip
            await reader.readexactly(size)
            writer.write(head + str(len(ANSWER)).encode() + b"\r\n\r\n" + ANSWER)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


@contextmanager
def server(certificate: Path) -> Iterator[int]:
    """Run the upstream in a thread; give its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield listening.sockets[0].getsockname()[1]
    asyncio.run_coroutine_threadsafe(_closed(listening), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


async def _closed(listening: asyncio.Server) -> None:
    listening.close()
    listening.close_clients()
    await listening.wait_closed()


@contextmanager
def process(*command: str, ready: str) -> Iterator[str]:
    """Run *command* until the block ends; give the first line that holds *ready*."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    try:
        assert child.stdout is not None
        yield next(line for line in child.stdout if ready in line)
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate()


class Connection:
    """One keep-alive connection, direct or through a proxy."""

    def __init__(self, port: int, ca: str, proxy: int | None) -> None:
        plain = socket.create_connection(("127.0.0.1", proxy or port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy:
            plain.sendall(f"CONNECT {NAME}:{port} HTTP/1.1\r\n\r\n".encode())
            assert b" 200 " in plain.recv(4096)
        context = ssl.create_default_context(cafile=ca)
        self._socket = context.wrap_socket(plain, server_hostname=NAME)
        body = json.dumps(CALL).encode()
        self._request = (
            f"POST /mcp HTTP/1.1\r\nhost: {NAME}:{port}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode() + body

    def call(self) -> float:
        """Make one call; return its seconds."""
        started = time.perf_counter()
        self._socket.sendall(self._request)
        got = b""
        while not got.endswith(ANSWER):
            piece = self._socket.recv(65536)
            assert piece, got[:300]
            got += piece
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print the table."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mitmgate-bench-")))
        ca, certificate = make_pki(folder, NAME)
        port = stack.enter_context(server(certificate))
        policy = folder / "policy.yaml"
        policy.write_text(POLICY.format(name=NAME, port=port))
        ours = json.loads(stack.enter_context(process(
            sys.executable, "-m", "mitmgate", "run", "--listen", "127.0.0.1:0", "--policy",
            str(policy), "--state-dir", str(folder / "state"), "--upstream-ca", str(ca),
            ready="ready")))  # fmt: skip
        stock = stack.enter_context(process(
            str(Path(sys.executable).with_name("mitmdump")), "-q", "--listen-host", "127.0.0.1",
            "-p", "0", "--set", f"confdir={folder / 'stock'}", "--set",
            f"ssl_verify_upstream_trusted_ca={ca}", "-s", str(_rewriter(folder, port)),
            ready="port"))  # fmt: skip
        ways = {
            "direct": Connection(port, str(ca), None),
            "stock mitmdump": Connection(
                port, str(folder / "stock" / "mitmproxy-ca-cert.pem"), int(stock.split()[1])
            ),
            "mitmgate": Connection(port, ours["ca"], int(ours["listen"].rpartition(":")[2])),
        }
        report(measure(ways))


def _rewriter(folder: Path, port: int) -> Path:
    # Stock resolves by DNS, which knows no such name: send its connections to loopback.
    script = folder / "loopback.py"
    script.write_text(
        "from mitmproxy import ctx\n"
        f"def server_connect(data):\n    data.server.address = ('127.0.0.1', {port})\n"
        f"def server_connected(data):\n    data.server.__dict__['address'] = ({NAME!r}, {port})\n"
        "def running():\n"
        "    print('port', ctx.master.addons.get('proxyserver').listen_addrs()[0][1], flush=True)\n"
    )
    return script


def measure(ways: dict[str, Connection]) -> dict[str, list[float]]:
    """Return the seconds of every call, the rounds of all ways interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for connection in ways.values():
        for _ in range(WARM):
            connection.call()
    for _ in range(ROUNDS):
        for name, connection in ways.items():
            seconds[name] += [connection.call() for _ in range(CALLS)]
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    """Print ratios and medians."""
    stock = statistics.median(seconds["stock mitmdump"])
    print(
        f"{'':16} of stock   p50 ms   p99 ms    ({os.cpu_count()} cores, {sys.version.split()[0]})"
    )
    for name, values in seconds.items():
        median = statistics.median(values)
        high = statistics.quantiles(values, n=100)[98]
        print(f"{name:16} {median / stock:8.2f} {median * 1e3:8.2f} {high * 1e3:8.2f}")


if __name__ == "__main__":
    main()
