"""Every way to the proxy: plain HTTP servers, reverse mode, a client that distrusts the CA."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator

import httpx
import pytest
from harness import MCP_NAME, POLICY, WEB_NAME, Agent, Gate, InProcess, Mcp, Web, serving_mcp


@pytest.fixture
def plain_mcp() -> Iterator[Mcp]:
    """An SDK server without TLS, with JSON answers."""
    with serving_mcp(json_response=True) as server:
        yield server


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_an_http_server_is_judged_as_an_https_one(
    mode: str,
    plain_mcp: Mcp,
    start_gate: Callable[..., Gate],
    start_agent: Callable[[Gate, str, str], Agent],
) -> None:
    gate = start_gate(POLICY.replace("MCP_PORT", str(plain_mcp.port)))
    agent = start_agent(gate, f"http://{MCP_NAME}:{plain_mcp.port}/mcp", mode)
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    denied = agent.do(call="delete_notes", arguments={"force": True})
    assert denied["text"] == "Deleting everything needs a person at the keyboard."
    assert plain_mcp.calls == [("read_note", {"title": "x"})]
    [decision] = gate.decisions(tool="delete_notes")
    assert (decision["server"], decision["rule"]) == ("notes", "no-mass-delete")


def test_reverse_mode_stands_in_front_of_one_server(
    plain_mcp: Mcp, start_gate: Callable[..., Gate]
) -> None:
    policy = POLICY.replace("mcp.upstream.example:MCP_PORT", f"127.0.0.1:{plain_mcp.port}")
    gate = start_gate(policy, "--mode", f"reverse:http://127.0.0.1:{plain_mcp.port}")
    # This client was told of no proxy: it takes the gate for the server.
    agent = Agent(f"http://127.0.0.1:{gate.port}/mcp", "auto", {"PATH": os.environ["PATH"]})
    assert agent.do(call="read_note", arguments={"title": "x"})["error"] is False
    assert agent.do(call="delete_notes", arguments={"force": True})["error"] is True
    agent.close()
    assert plain_mcp.calls == [("read_note", {"title": "x"})]


def test_a_client_that_distrusts_the_ca_is_shown_with_the_fix(
    run_proxy: Callable[..., InProcess], web: Web
) -> None:
    proxy = run_proxy()
    stranger = ssl.create_default_context()
    with httpx.Client(proxy=f"http://{proxy.running.listen}", verify=stranger,
                      trust_env=False) as client, pytest.raises(httpx.ConnectError):  # fmt: skip
        client.get(f"https://{WEB_NAME}:{web.port}/")
    rows = proxy.wait_for_rows(1)
    assert (rows[0].code, rows[0].host) == ("client_distrusts_ca", WEB_NAME)
    assert "mitmgate env" in rows[0].reason
    assert web.connections == 0
