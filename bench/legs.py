"""What the benchmarks share: an upstream, a stock mitmdump and a mitmgate, ready to be dialled."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mitmgate.demo.pki import make_pki

NAME = "mcp.bench.example"
POLICY = """\
version: 1
network: {{resolve: {{{name}: 127.0.0.1}}}}
servers: {{bench: {{url: "https://{name}:{port}/mcp"}}}}
mcp: {{rules: [{{id: reads, tool: "read_*", then: allow}}]}}
egress: {{rules: [{{id: pages, host: {name}, ports: [{port}], then: allow}}]}}
"""
# Stock resolves by DNS, which knows no such name: send its connections to loopback.
STOCK = """\
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

type Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Leg:
    """A way to the upstream: directly without *proxy*, else through that port.

    *state* is mitmgate's state folder, *key* its operator key.
    """

    port: int
    ca: str
    proxy: int | None = None
    state: Path | None = None
    key: str = ""

    def connect(self, alpn: str = "http/1.1") -> ssl.SSLSocket:
        """Open a connection on which the upstream has proved its name, and *alpn* was asked for."""
        plain = socket.create_connection(("127.0.0.1", self.proxy or self.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.proxy:
            plain.sendall(f"CONNECT {NAME}:{self.port} HTTP/1.1\r\n\r\n".encode())
            assert b" 200 " in plain.recv(4096)
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols([alpn])
        return context.wrap_socket(plain, server_hostname=NAME)

    def request(self, message: object) -> bytes:
        """Return a POST of *message*."""
        body = json.dumps(message).encode()
        return (
            f"POST /mcp HTTP/1.1\r\nhost: {NAME}:{self.port}\r\ncontent-type: application/json\r\n"
            f"accept: application/json, text/event-stream\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """Read one request with a length; return its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(int(line[15:]) for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:"))  # fmt: skip
    return await reader.readexactly(size)


@contextmanager
def legs(answer: Answer, *options: str) -> Iterator[dict[str, Leg]]:
    """Run an upstream that speaks by *answer*; give the three legs to it.

    *options* are more of ``mitmgate run``.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mitmgate-bench-")))
        ca, certificate = make_pki(folder, NAME)
        port = stack.enter_context(_server(certificate, answer))
        policy, script = folder / "policy.yaml", folder / "stock.py"
        policy.write_text(POLICY.format(name=NAME, port=port))
        script.write_text(STOCK.format(name=NAME, port=port))
        ours = json.loads(stack.enter_context(_process(
            sys.executable, "-m", "mitmgate", "run", "--listen", "127.0.0.1:0", "--policy",
            str(policy), "--state-dir", str(folder / "state"), "--upstream-ca", str(ca), *options,
            ready="ready")))  # fmt: skip
        stock = stack.enter_context(_process(
            str(Path(sys.executable).with_name("mitmdump")), "-q", "--listen-host", "127.0.0.1",
            "-p", "0", "--set", f"confdir={folder / 'stock'}", "--set",
            f"ssl_verify_upstream_trusted_ca={ca}", "--set",
            "connection_strategy=lazy", "-s", str(script), ready="port"))  # fmt: skip
        yield {
            "direct": Leg(port, str(ca)),
            "stock mitmdump": Leg(
                port, str(folder / "stock" / "mitmproxy-ca-cert.pem"), int(stock.split()[1])
            ),
            "mitmgate": Leg(
                port, ours["ca"], int(ours["listen"].rpartition(":")[2]), folder / "state",
                ours["operator_key"],
            ),
        }  # fmt: skip


@contextmanager
def _server(certificate: Path, answer: Answer) -> Iterator[int]:
    """Run the upstream in a thread; give its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await answer(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    listening = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_closed(listening), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _closed(listening: asyncio.Server) -> None:
    listening.close()
    listening.close_clients()
    await listening.wait_closed()


@contextmanager
def _process(*command: str, ready: str) -> Iterator[str]:
    """Run *command* until the block ends; give the first line that holds *ready*."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True)  # fmt: skip
    try:
        assert child.stdout is not None
        yield next(line for line in child.stdout if ready in line)
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate()
