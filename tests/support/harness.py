"""Real servers, a real proxy process and real clients, all on loopback and on free ports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from warm import WarmPopen, warm_run

from mitmgate.ca.authority import ensure_ca
from mitmgate.cli.env import variables
from mitmgate.control.models import Row
from mitmgate.demo.server import build_app, build_server
from mitmgate.serve.launch import Running

MCP_NAME = "mcp.upstream.example"
WEB_NAME = "docs.upstream.example"
OTHER_NAME = "paste.upstream.example"

POLICY = """\
version: 1
network:
  resolve: {mcp.upstream.example: 127.0.0.1, docs.upstream.example: 127.0.0.1,
            paste.upstream.example: 127.0.0.1}
servers:
  notes: {url: "https://mcp.upstream.example:MCP_PORT/mcp"}
mcp:
  rules:
    - id: no-mass-delete
      tool: delete_*
      where: {/arguments/force: {equals: true}}
      then: deny
      reason: Deleting everything needs a person at the keyboard.
    - id: reads
      server: notes
      tool: read_*
      then: allow
  otherwise: ask
egress:
  rules:
    - {id: docs, host: docs.upstream.example, methods: [GET, POST], then: allow}
  otherwise: deny
hold: {wait: 30s, unattended: wait}
"""


@dataclass
class Web:
    """A TLS server that counts what reaches it, down to the TCP connection."""

    port: int = 0
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
    came: threading.Condition = field(default_factory=threading.Condition)

    def wait_for_requests(self, count: int) -> None:
        """Wait until *count* requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.requests) >= count, timeout=20)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                               if line.lower().startswith(b"content-length:")), 0)  # fmt: skip
                body = await reader.readexactly(length)
                if b"transfer-encoding: chunked" in head.lower():
                    body = await _chunks(reader)  # no request of its own, whenever it comes
                with self.came:
                    self.requests.append(head + body)
                    self.came.notify_all()
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """Read a chunked body as it is, with its trailers."""
    read, line, size = b"", b"", -1
    while size != 0:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        read += line + (await reader.readexactly(size + 2) if size else b"")
    while line != b"\r\n":
        line = await reader.readuntil(b"\r\n")
        read += line
    return read


@dataclass
class Mcp:
    """An official SDK server, and the tools that truly ran on it."""

    port: int = 0
    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://{MCP_NAME}:{self.port}/mcp"


async def closed(server: asyncio.Server) -> None:
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    # What was accepted becomes a transport a turn later, which a closed server cannot take in.
    await asyncio.sleep(0)
    server.close()
    server.close_clients()


class LoopThread:
    """An event loop in a thread; entering gives a function that runs a coroutine there."""

    def __enter__(self) -> Callable[[Any], Any]:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return lambda work: asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._drain(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _drain(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def serving_tls(server: Any, certificate: Path) -> Iterator[None]:
    """Let *server*, which has ``handle`` and ``port``, listen on a free port with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with LoopThread() as run:

        async def start() -> asyncio.Server:
            return await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=context)

        listening = run(start())
        server.port = listening.sockets[0].getsockname()[1]
        yield
        run(closed(listening))


@contextmanager
def serving_mcp(*, json_response: bool, ssl_certfile: str | None = None) -> Iterator[Mcp]:
    """Run an SDK server in a thread, for the length of the block."""
    server = Mcp()
    tools = build_server(lambda name, arguments: server.calls.append((name, arguments)))
    config = uvicorn.Config(
        build_app(tools, json_response=json_response), host="127.0.0.1", port=0,
        ssl_certfile=ssl_certfile, log_config=None, timeout_graceful_shutdown=1,
    )  # fmt: skip
    listener = config.bind_socket()
    server.port = listener.getsockname()[1]
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield server
    finally:
        running.should_exit = True
        thread.join()
        listener.close()


@dataclass
class Gate:
    """A running ``mitmgate run``."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    state: Path
    captures: Path
    policy: Path

    @property
    def port(self) -> int:
        return int(self.ready["listen"].rpartition(":")[2])

    @property
    def agent_environment(self) -> dict[str, str]:
        """What ``mitmgate env`` tells to set, on top of nothing but a path."""
        named = variables(ensure_ca(self.state / "ca"), ("127.0.0.1", self.port))
        return {"PATH": os.environ["PATH"], **named}

    def command(self, *arguments: str, key: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "MITMGATE_STATE_DIR": str(self.state)}
        if key:
            environment["MITMGATE_OPERATOR_KEY"] = self.ready["operator_key"]
        return mitmgate(*arguments, environment=environment)

    def audit(self) -> list[dict[str, Any]]:
        text = (self.state / "audit" / "audit.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def decisions(self, **wanted: object) -> list[dict[str, Any]]:
        return [record for record in self.audit() if record["type"] == "decision"
                and all(record[key] == value for key, value in wanted.items())]  # fmt: skip

    def wait_pending(self) -> dict[str, Any]:
        """Return the oldest call that waits, as soon as one does."""
        transport = httpx.HTTPTransport(uds=str(self.state / "control.sock"))
        headers = {"authorization": f"Bearer {self.ready['operator_key']}"}
        with (
            httpx.Client(transport=transport, base_url="http://gate", headers=headers) as client,
            client.stream("GET", "/v1/events", timeout=20) as events,
        ):
            for line in events.iter_lines():
                event = json.loads(line)
                if event["type"] == "held":
                    held: dict[str, Any] = event["pending"]
                    return held
                if event["type"] == "snapshot" and event["pending"]:
                    first: dict[str, Any] = event["pending"][0]
                    return first
        raise AssertionError("nothing waits")

    def stop(self) -> tuple[int, str]:
        """End it as Ctrl-C does; return its exit code and what it logged."""
        self.process.send_signal(signal.SIGINT)
        return self.end()[1:]

    def end(self) -> tuple[str, int, str]:
        """Wait for its end; return what it printed, its exit code and what it logged."""
        out, errors = self.process.communicate(timeout=30)
        log = self.policy.with_name("log")
        # Standard error is a file where the fixture made one: a pipe that nobody reads fills.
        return out, self.process.returncode, errors or (log.read_text() if log.exists() else "")


def mitmgate(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command of ours to its end."""
    return warm_run([sys.executable, "-m", "mitmgate", *arguments], environment=environment)


def ended(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


class Agent:
    """A real SDK client in a process of its own that was given environment variables only."""

    def __init__(self, url: str, mode: str, environment: dict[str, str]) -> None:
        self.process = WarmPopen(
            [sys.executable, "-m", "mitmgate.demo.client", url, mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip
        self.first = self.read()

    def ask(self, **step: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(step) + "\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def do(self, **step: Any) -> dict[str, Any]:
        self.ask(**step)
        return self.read()

    def close(self) -> None:
        """Let it end its session; kill it where it does not."""
        with self.process as process:
            if process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@dataclass
class InProcess:
    """A proxy in a thread of this process."""

    running: Running

    def client(self) -> httpx.Client:
        """Return a client that trusts the CA and goes through the proxy."""
        trust = ssl.create_default_context(cafile=str(self.running.authority.cert_path))
        where = f"http://{self.running.listen}"
        return httpx.Client(proxy=where, verify=trust, trust_env=False, timeout=10)

    def wait_for_rows(self, count: int) -> list[Row]:
        """Return the decisions of the live view once there are *count* of them."""
        transport = httpx.HTTPTransport(uds=str(self.running.control))
        with (
            httpx.Client(transport=transport, base_url="http://gate", timeout=20) as client,
            client.stream("GET", "/v1/events") as events,
        ):
            for _ in events.iter_lines():
                if len(self.running.pipeline.hub.rows) >= count:
                    return list(self.running.pipeline.hub.rows)
        raise AssertionError("too few decisions")

    def get(self, url: str) -> httpx.Response:
        with self.client() as client:
            return client.get(url)
