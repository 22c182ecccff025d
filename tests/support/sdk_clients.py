"""The SDKs' own clients and servers as processes that take and give JSON lines."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from harness import MCP_NAME, Gate
from peers import NODE, NODE_MODULES, python_of
from warm import IMPORTS, WarmPopen

PROGRAMS = Path(__file__).parents[1] / "peers"
WAIT = 30.0

DENIED = "Deleting notes needs a person at the keyboard."
PRIVATE = "This text is not for agents."

POLICY = """\
version: 1
network:
  resolve: {mcp.upstream.example: 127.0.0.1}
servers:
  notes: {url: "https://mcp.upstream.example:PORT/PATH"}
mcp:
  rules:
    - {id: no-delete, tool: delete_*, then: deny, reason: DENIED}
    - {id: publish, tool: publish_*, then: ask}
    - {id: no-farewell, method: prompts/get, tool: farewell, then: deny, reason: PRIVATE}
    - {id: no-private, method: resources/read, tool: "note://private", then: deny, reason: PRIVATE}
    - {id: rest, method: "*", then: allow}
  otherwise: deny
scan:
  secrets: {arguments: redact, results: redact}
hold: {wait: 30s, unattended: wait}
"""


def policy_for(port: int, path: str) -> str:
    """Return the policy for the server at *port* and *path*."""
    text = POLICY.replace("PORT", str(port)).replace("PATH", path)
    return text.replace("DENIED", json.dumps(DENIED)).replace("PRIVATE", json.dumps(PRIVATE))


def without_rules(policy: str) -> str:
    """Return *policy* with nothing left in it that stops, holds or changes a call."""
    kept = [line for line in policy.splitlines() if "then:" not in line or "id: rest" in line]
    return "\n".join(kept).replace("redact", "log") + "\n"


class Program:
    """A process that is spoken to in JSON lines; nothing it says is waited for without end."""

    def __init__(self, command: list[str], environment: dict[str, str] | None = None) -> None:
        start = WarmPopen if command[0] in IMPORTS else subprocess.Popen
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open while the process lives
        self._lines: queue.Queue[str] = queue.Queue()
        self.process = start(
            command, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def read(self) -> dict[str, Any]:
        """Return the next line it prints; fail with what it logged where none comes."""
        try:
            line = self._lines.get(timeout=WAIT)
        except queue.Empty:
            line = ""
        if not line:
            self._errors.seek(0)
            raise AssertionError(f"{self.process.args!r} said nothing more: {self._errors.read()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **step: object) -> None:
        """Give it a step, and do not wait for the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(step) + "\n")
        self.process.stdin.flush()

    def do(self, **step: object) -> dict[str, Any]:
        """Give it a step and return the answer."""
        self.ask(**step)
        return self.read()

    def forget(self) -> None:
        """Drop what it said until now, which a failed test may have left."""
        while not self._lines.empty():
            self._lines.get_nowait()

    def close(self, *, wait: float = 10) -> None:
        """Let it end by itself at the end of its input; kill it where it does not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self._errors.close()


@dataclass(frozen=True)
class Server:
    """One kind of server: its program, and the path of its endpoint."""

    program: str
    path: str
    python: Callable[[], Path] = lambda: Path(sys.executable)
    mode: str = ""
    scheme: str = "https"

    def start(self, folder: Path, certificate: Path) -> Upstream:
        """Start it; it listens when this returns. *folder* is scratch space."""
        program = _program(folder, self.program, self.python)
        return Upstream(self, [*program, str(certificate), *filter(None, [self.mode])])


class Upstream(Program):
    """A running server; what it prints is what truly ran on it, in order."""

    def __init__(self, kind: Server, command: list[str]) -> None:
        super().__init__(command)
        self.port = int(self.read()["port"])
        self.policy = policy_for(self.port, kind.path)
        self.url = f"{kind.scheme}://{MCP_NAME}:{self.port}/{kind.path}"

    def ran(self) -> tuple[str, dict[str, Any]]:
        """Return the oldest thing that ran and was not asked about yet."""
        line = self.read()
        return line["ran"], line["arguments"]


STREAMABLE_JSON = Server("sdk_client_server.py", "mcp", mode="json")
STREAMABLE_SSE = Server("sdk_client_server.py", "mcp", mode="sse")
TYPESCRIPT = Server("servers/sdk_v1.mjs", "mcp")
LEGACY_SSE = Server("legacy_sse_server.py", "sse")
WEBSOCKET = Server("websocket_server.py", "ws", python=lambda: python_of("mcp1"), scheme="wss")


@dataclass(frozen=True)
class Client:
    """One SDK's client: its program and the mode to run it in."""

    program: str
    mode: str
    version: str | None
    python: Callable[[], Path] = lambda: Path(sys.executable)

    def start(self, folder: Path, url: str, environment: dict[str, str]) -> Program:
        """Start it in an *environment* of variables only; *folder* is scratch space."""
        command = _program(folder, self.program, self.python)
        return Program([*command, url, self.mode], environment)


def _program(folder: Path, name: str, python: Callable[[], Path]) -> list[str]:
    if not name.endswith(".mjs"):
        return [str(python()), str(PROGRAMS / name)]
    # Node looks for packages in the folders above a program, and they are not in the source tree.
    copied = folder / "node"
    shutil.copytree(PROGRAMS / "node", copied)
    (copied / "node_modules").symlink_to(NODE_MODULES)
    return [str(NODE), str(copied / name)]


def decide(gate: Gate, held: dict[str, Any], decision: str, reason: str | None = None) -> None:
    """Answer a waiting call as an operator's program does."""
    transport = httpx.HTTPTransport(uds=str(gate.state / "control.sock"))
    headers = {"authorization": f"Bearer {gate.ready['operator_key']}"}
    body = {"decision": decision, "reason": reason, "via": "api", "operator": "tester"}
    with httpx.Client(transport=transport, base_url="http://gate", headers=headers) as client:
        client.post(f"/v1/pending/{held['id']}", json=body).raise_for_status()
