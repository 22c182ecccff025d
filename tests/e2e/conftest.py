"""Fixtures of the tests with real sockets; what they are made of stands in ``harness``."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import (
    MCP_NAME,
    OTHER_NAME,
    POLICY,
    WEB_NAME,
    Agent,
    Gate,
    InProcess,
    LoopThread,
    Mcp,
    Web,
    ended,
    serving_mcp,
    serving_tls,
)
from recorded import kept, replayed
from warm import WarmPopen

from mitmgate.demo.pki import make_pki
from mitmgate.mitm.gate import Gate as GateAddon
from mitmgate.policy.source import PolicySource
from mitmgate.serve.launch import Running, Settings, proxy


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The CA that the proxy is told to trust upstream, and the servers' key and certificate."""
    folder = tmp_path_factory.mktemp("pki")
    return make_pki(folder, MCP_NAME, WEB_NAME, OTHER_NAME)


@pytest.fixture(scope="session", autouse=True)
def _replayed_again() -> Iterator[None]:
    """Replay what the proxies recorded in a second process too."""
    yield
    kept().again()
    shutil.rmtree(kept().folder)


@pytest.fixture
def web_kind() -> type[Web]:
    """Override it for a server with other answers."""
    return Web


@pytest.fixture
def web(pki: tuple[Path, Path], web_kind: type[Web]) -> Iterator[Web]:
    server = web_kind()
    with serving_tls(server, pki[1]):
        yield server


@pytest.fixture(params=[False], ids=["sse"])
def mcp(pki: tuple[Path, Path], request: pytest.FixtureRequest) -> Iterator[Mcp]:
    with serving_mcp(json_response=request.param, ssl_certfile=str(pki[1])) as server:
        yield server


@pytest.fixture
def start_gate(tmp_path: Path, pki: tuple[Path, Path]) -> Iterator[Callable[..., Gate]]:
    """Start proxies as processes; whatever still runs at the end is killed."""
    with ExitStack() as stack:

        def start(policy: str, *arguments: str, name: str = "gate") -> Gate:
            folder = tmp_path / name
            folder.mkdir()
            file = folder / "policy.yaml"
            file.write_text(policy)
            state, captures = folder / "state", folder / "captures"
            log = stack.enter_context((folder / "log").open("w"))  # a pipe that nobody reads fills
            process = WarmPopen(
                [sys.executable, "-m", "mitmgate", "run", "--listen", "127.0.0.1:0",
                 "--policy", str(file), "--state-dir", str(state), "--capture", str(captures),
                 "--upstream-ca", str(pki[0]), *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
            stack.callback(ended, process)
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise AssertionError(f"did not start: {(folder / 'log').read_text()}")
            locked = None
            if "--locked" in arguments:
                locked = Path(arguments[arguments.index("--locked") + 1])
            made = Gate(process, json.loads(line), state, captures, file)
            if "--state-dir" in arguments:  # what an earlier run learned is not in the capture
                return made
            return stack.enter_context(replayed(made, locked))

        yield start


@pytest.fixture
def gate(start_gate: Callable[..., Gate], mcp: Mcp) -> Gate:
    """A proxy with the policy above."""
    return start_gate(POLICY.replace("MCP_PORT", str(mcp.port)))


@pytest.fixture
def start_agent() -> Iterator[Callable[[Gate, str, str], Agent]]:
    """Start clients; each is closed at the end."""
    with ExitStack() as stack:

        def start(gate: Gate, url: str, mode: str) -> Agent:
            agent = Agent(url, mode, gate.agent_environment)
            stack.callback(agent.close)
            return agent

        yield start


@pytest.fixture
def raw(gate: Gate) -> Callable[..., socket.socket]:
    """Open plain sockets to the proxy, or TLS inside a tunnel to a name."""

    def connect(name: str | None = None, port: int = 443, sni: str | None = None) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", gate.port), timeout=20)
        if name is None:
            return plain
        plain.sendall(f"CONNECT {name}:{port} HTTP/1.1\r\nhost: {name}:{port}\r\n\r\n".encode())
        head = plain.recv(65536)
        assert head.startswith(b"HTTP/1.1 200"), head
        context = ssl.create_default_context(cafile=gate.ready["ca"])
        context.check_hostname = False
        return context.wrap_socket(plain, server_hostname=sni or name)

    return connect


@pytest.fixture
def run_proxy(tmp_path: Path, pki: tuple[Path, Path]) -> Iterator[Callable[..., InProcess]]:
    """Run proxies with a gate of the test's own."""
    with LoopThread() as run:
        ending: list[Callable[[], None]] = []

        def start(
            make_gate: Any = GateAddon,
            *,
            port_of_mcp: int = 9,
            injection: str = "ask",
            **changes: Any,
        ) -> InProcess:
            text = changes.pop("policy", POLICY).replace("MCP_PORT", str(port_of_mcp))
            text += f"scan: {{injection: {{results: {injection}}}}}\n"
            policy = tmp_path / "policy.yaml"
            policy.write_text(text)
            settings = Settings(source=PolicySource(policy), state=tmp_path / "state", port=0,
                                upstream_ca=pki[0], **changes)  # fmt: skip

            async def enter() -> tuple[Any, Running]:
                context = proxy(settings, log=lambda _: None, make_gate=make_gate)
                return context, await context.__aenter__()

            context, running = run(enter())
            ending.append(lambda: run(context.__aexit__(None, None, None)))
            return InProcess(running)

        yield start
        for end in ending:
            end()
