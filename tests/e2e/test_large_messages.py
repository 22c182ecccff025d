"""The official SDK through the proxy with messages of megabytes: every byte arrives as it was."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from harness import MCP_NAME, Gate
from mcp.server.mcpserver import MCPServer

from mitmgate.demo.server import build_app

CLIENT = Path(__file__).parents[1] / "peers" / "sdk_client_large.py"
POLICY = """\
version: 1
network: {resolve: {mcp.upstream.example: 127.0.0.1}}
servers: {large: {url: "https://mcp.upstream.example:PORT/mcp"}}
mcp:
  rules:
    - {id: resources, method: resources/read, then: allow}
    - {id: digests, tool: digest, then: VERDICT}
  otherwise: deny
hold: {wait: 5s, unattended: deny}
"""
SIZE = 5_000_000
TEXT = "plain words about gärdens and rivers, " * 100_000  # the SDK's servers take no 4 MiB
DATA = b"\x89PNG\r\n\x1a\n" + random.Random(SIZE).randbytes(SIZE)  # noqa: S311 - the same in every run


def served(texts: list[str]) -> MCPServer:
    """Return a server with a large resource; each text that its tool gets goes to *texts*."""
    server = MCPServer("large", version="1.0", log_level="ERROR")

    @server.resource("data://large", mime_type="image/png")
    def large() -> bytes:
        return DATA

    @server.tool()
    def digest(text: str) -> str:
        texts.append(text)
        return sha256(text.encode())

    return server


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(params=[False, True], ids=["sse", "json"])
def upstream(
    pki: tuple[Path, Path], request: pytest.FixtureRequest
) -> Iterator[tuple[int, list[str]]]:
    texts: list[str] = []
    app = build_app(served(texts), json_response=request.param)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, ssl_certfile=str(pki[1]),
                            log_config=None, timeout_graceful_shutdown=1)  # fmt: skip
    listener = config.bind_socket()
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1], texts
    running.should_exit = True
    thread.join()
    listener.close()


def run(gate: Gate, port: int) -> subprocess.CompletedProcess[str]:
    file = gate.policy.with_name("text")
    file.write_text(TEXT)
    url = f"https://{MCP_NAME}:{port}/mcp"
    return subprocess.run(
        [sys.executable, str(CLIENT), url, "auto", str(file)], env=gate.agent_environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_a_resource_and_an_argument_of_megabytes_arrive_whole(
    start_gate: Callable[..., Gate], upstream: tuple[int, list[str]]
) -> None:
    port, texts = upstream
    gate = start_gate(POLICY.replace("PORT", str(port)).replace("VERDICT", "allow"))
    done = run(gate, port)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["got"], told["sent"]) == (sha256(DATA), sha256(TEXT.encode()))
    assert texts == [TEXT]
    assert gate.decisions(tool="digest")[0]["rule"] == "digests"

    denying = start_gate(POLICY.replace("PORT", str(port)).replace("VERDICT", "deny"), name="no")
    refused = json.loads(run(denying, port).stdout)
    assert refused["got"] == sha256(DATA)
    assert "does not allow this tool" in refused["sent"]
    assert texts == [TEXT]
