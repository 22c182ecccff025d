"""Ports, paths and sizes of egress rules, through real sockets; and what `learn` makes of them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest
from harness import Gate, LoopThread, Web, closed

type StartGate = Callable[..., Gate]

HERE = "127.0.0.1"
# The address is open as a network, and not by `resolve`: its ports stay closed.
POLICY = """\
version: 1
network: {{allow_private: [127.0.0.0/8]}}
egress:
  rules:
    - {{id: no-admin, host: 127.0.0.1, paths: /admin, then: deny}}
    - {{id: api, host: 127.0.0.1, ports: [{port}], paths: /v1, methods: [GET, POST],
       max_request: 1KB, then: allow}}
"""


@pytest.fixture
def web() -> Iterator[Web]:
    """A server without TLS: its certificate would be for a name."""
    server = Web()
    with LoopThread() as run:

        async def start() -> asyncio.Server:
            return await asyncio.start_server(server.handle, HERE, 0)

        listening = run(start())
        server.port = listening.sockets[0].getsockname()[1]
        yield server
        run(closed(listening))


@pytest.fixture
def gate(web: Web, start_gate: StartGate) -> Gate:
    """A gate with the policy above."""
    return start_gate(POLICY.format(port=web.port))


def asked(gate: Gate, web: Web, method: str, path: str, size: int = 0) -> httpx.Response:
    with httpx.Client(proxy=f"http://{HERE}:{gate.port}", trust_env=False, timeout=30) as client:
        return client.request(method, f"http://{HERE}:{web.port}{path}", content=b"x" * size)


# sentence: the method, the path, the size of the body, the rule, the code
DENIED: dict[str, tuple[str, str, int, str, str]] = {
    "a path that no rule names": ("GET", "/v10", 0, "otherwise", "otherwise"),
    "a path that a rule denies": ("GET", "/admin/x", 0, "no-admin", "rule"),
    "a path that a rule denies, escaped": ("GET", "/%61dmin", 0, "no-admin", "rule"),
    "a path that leads elsewhere": ("GET", "/v1/..%2fx", 0, "no-admin", "rule"),
    "another method": ("PUT", "/v1/x", 0, "otherwise", "otherwise"),
    "a body that is too large": ("POST", "/v1/x", 1025, "api", "request_too_large"),
}


def test_what_no_rule_lets_through_reaches_nobody(gate: Gate, web: Web) -> None:
    for method, path, size, rule, code in DENIED.values():
        answer = asked(gate, web, method, path, size)
        assert (answer.json()["rule"], answer.json()["code"]) == (rule, code)
        assert answer.is_client_error
    assert web.connections == 0
    assert asked(gate, web, "POST", "/v1/x", 1024).text == "hello"
    assert len(web.requests) == 1


def test_a_port_that_no_rule_names_is_closed(web: Web, start_gate: StartGate) -> None:
    gate = start_gate(POLICY.format(port=443))
    assert asked(gate, web, "GET", "/v1/x").json()["code"] == "port"
    with socket.create_connection((HERE, gate.port), timeout=20) as plain:
        name = f"{HERE}:{web.port}"
        plain.sendall(f"CONNECT {name} HTTP/1.1\r\nhost: {name}\r\n\r\n".encode())
        assert plain.recv(65536).startswith(b"HTTP/1.1 403 ")
    assert web.connections == 0


def test_what_no_rule_was_for_can_be_learned(gate: Gate, web: Web) -> None:
    asked(gate, web, "GET", "/v2/items?secret=1")
    told = gate.command("learn", "--policy", str(gate.policy), "--json", key=False)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["rules"] == [
        {"id": f"learned-{HERE}", "host": HERE, "ports": [web.port], "paths": ["/v2/items"],
         "methods": ["GET"], "then": "ask"}
    ]  # fmt: skip
    assert "secret" not in told.stdout
